//! Worker threads: each serves its share of the connections on a single-threaded runtime of its own.
//!
//! A busy worker delays no other, and nothing on the way of a request is handed between threads. What must outlive a
//! request (exchanges, key refreshes) runs on the runtime that started the workers.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;

use anyhow::Context;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::config::Limits;
use crate::domain::peer::Peer;
use crate::pipeline::Pipeline;
use crate::pipeline::accept::Accepted;
use crate::pipeline::accept::Drain;

/// Running workers. Dropping them cuts the connections they serve.
pub struct Workers(Vec<Worker>);

struct Worker {
    connections: mpsc::UnboundedSender<Served>,
    /// How many connections it has.
    load: Arc<AtomicUsize>,
    /// Resolves when its last connection has ended. Dropped: it cuts them.
    ended: oneshot::Receiver<()>,
}

/// A connection that counts for its worker until it is dropped.
struct Served {
    connection: Accepted,
    load: Load,
}

struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts `count` workers with the stages of `pipeline`.
    ///
    /// # Errors
    /// If a thread cannot be started or TLS towards an upstream cannot be set up.
    pub fn start(count: usize, config: &Config, pipeline: &Pipeline, drain: &Drain) -> anyhow::Result<Self> {
        let workers = (0..count).map(|number| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let pipeline = Arc::new(pipeline.for_worker(config)?);
            let (connections, dealt) = mpsc::unbounded_channel();
            let (ending, ended) = oneshot::channel();
            let (limits, drain) = (config.limits, drain.clone());
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || work(runtime, dealt, pipeline, limits, drain, ending))?;
            Ok(Worker { connections, load: Arc::default(), ended })
        });
        workers.collect::<anyhow::Result<_>>().map(Self).context("cannot start a worker")
    }

    /// Gives `connection` to the worker that has the fewest.
    pub fn deal(&self, connection: Accepted) {
        let Some(worker) = self.0.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed)) else {
            return;
        };
        worker.load.fetch_add(1, Ordering::Relaxed);
        let load = Load(worker.load.clone());
        if worker.connections.send(Served { connection, load }).is_err() {
            tracing::error!("a worker is gone; its connection is closed");
        }
    }

    /// Deals no more, and waits until the last connection has ended.
    pub async fn finish(self) {
        for Worker { connections, ended, .. } in self.0 {
            drop(connections);
            // an error is an end too
            let _ = ended.await;
        }
    }
}

/// A worker's life: until no more connections can come and the last has ended, or nobody waits for that any more.
fn work(
    runtime: Runtime,
    mut dealt: mpsc::UnboundedReceiver<Served>,
    pipeline: Arc<Pipeline>,
    limits: Limits,
    drain: Drain,
    mut ending: oneshot::Sender<()>,
) {
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        let mut is_dealt_to = true;
        while is_dealt_to || !connections.is_empty() {
            tokio::select! {
                biased;
                () = ending.closed() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if ended.is_err_and(|error| error.is_panic()) {
                        // the text of a panic may hold anything: it stays out of the log
                        tracing::error!("a connection ended in a panic");
                    }
                }
                served = dealt.recv(), if is_dealt_to => {
                    let Some(Served { connection, load }) = served else {
                        is_dealt_to = false;
                        continue;
                    };
                    let (pipeline, listener) = (pipeline.clone(), connection.listener().clone());
                    let handler = move |request, peer: Arc<Peer>| {
                        let (pipeline, listener) = (pipeline.clone(), listener.clone());
                        // on the heap: what is handed on is copied each time
                        Box::pin(async move { pipeline.handle(&listener, &peer, request).await })
                    };
                    let served = connection.serve(limits, handler, drain.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(load);
                    });
                }
            }
        }
    });
    let _ = ending.send(());
}
