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

use crate::app::gate::Gate;
use crate::domain::peer::Peer;
use crate::pipeline::accept::Accepted;

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
    gate: Arc<Gate>,
    load: Load,
}

struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts `count` workers.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(count: usize) -> anyhow::Result<Self> {
        let workers = (0..count).map(|number| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (connections, dealt) = mpsc::unbounded_channel();
            let (ending, ended) = oneshot::channel();
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || work(number, runtime, dealt, ending))?;
            Ok(Worker { connections, load: Arc::default(), ended })
        });
        workers.collect::<anyhow::Result<_>>().map(Self).context("cannot start a worker")
    }

    /// Gives `connection`, which goes through `gate`, to the worker that has the fewest.
    pub fn deal(&self, connection: Accepted, gate: &Arc<Gate>) {
        let Some(worker) = self.0.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed)) else {
            return;
        };
        worker.load.fetch_add(1, Ordering::Relaxed);
        let load = Load(worker.load.clone());
        if worker.connections.send(Served { connection, gate: gate.clone(), load }).is_err() {
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
    number: usize,
    runtime: Runtime,
    mut dealt: mpsc::UnboundedReceiver<Served>,
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
                    let Some(Served { connection, gate, load }) = served else {
                        is_dealt_to = false;
                        continue;
                    };
                    // there is one for each worker
                    let Some(pipeline) = gate.pipeline(number) else { continue };
                    let listener = connection.listener().clone();
                    let in_use = pipeline.clone();
                    let unread = move |why| in_use.load().unread(why);
                    let handler = move |request, peer: Arc<Peer>| {
                        // each request anew: the one in use may be another
                        let (pipeline, listener) = (pipeline.load_full(), listener.clone());
                        // on the heap: what is handed on is copied each time
                        Box::pin(async move { pipeline.handle(&listener, &peer, request).await })
                    };
                    let served = connection.serve(gate.limits(), handler, unread, gate.drain().clone());
                    connections.spawn(async move {
                        served.await;
                        drop((gate, load));
                    });
                }
            }
        }
    });
    let _ = ending.send(());
}
