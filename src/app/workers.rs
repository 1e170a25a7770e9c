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
    connections: mpsc::UnboundedSender<Dealt>,
    /// How many connections it has.
    load: Arc<AtomicUsize>,
    /// Resolves when its last connection has ended. Dropped: it cuts them.
    ended: oneshot::Receiver<()>,
}

/// What a worker is given.
enum Dealt {
    Connection(Served),
    /// To be answered at once.
    Pulse(oneshot::Sender<()>),
}

/// A connection that counts for its worker until it is dropped.
struct Served {
    connection: Accepted,
    gate: Arc<Gate>,
    load: Load,
}

struct Load(Arc<AtomicUsize>);

/// Tells whether workers turn over. Keeps none of them from its end.
#[derive(Clone)]
pub struct Pulse(Vec<mpsc::WeakUnboundedSender<Dealt>>);

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
        let served = Served { connection, gate: gate.clone(), load };
        if worker.connections.send(Dealt::Connection(served)).is_err() {
            tracing::error!("a worker is gone; its connection is closed");
        }
    }

    /// What tells whether they turn over.
    pub fn pulse(&self) -> Pulse {
        Pulse(self.0.iter().map(|worker| worker.connections.downgrade()).collect())
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

impl Pulse {
    /// Resolves once every worker has come round to what is new: whether none is gone. One that is dealt to no more is only
    /// waited for by those who end it.
    pub async fn felt(&self) -> bool {
        let ask = |worker: &mpsc::WeakUnboundedSender<Dealt>| {
            let (answer, answered) = oneshot::channel();
            worker.upgrade().map(|worker| worker.send(Dealt::Pulse(answer)).map(|()| answered))
        };
        let asked: Vec<_> = self.0.iter().filter_map(ask).collect();
        for answered in asked {
            let Ok(answered) = answered else { return false };
            if answered.await.is_err() {
                return false;
            }
        }
        true
    }
}

/// A worker's life: until no more connections can come and the last has ended, or nobody waits for that any more.
fn work(
    number: usize,
    runtime: Runtime,
    mut dealt: mpsc::UnboundedReceiver<Dealt>,
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
                next = dealt.recv(), if is_dealt_to => {
                    let Served { connection, gate, load } = match next {
                        Some(Dealt::Connection(served)) => served,
                        Some(Dealt::Pulse(answer)) => {
                            // who does not wait any more knows enough
                            let _ = answer.send(());
                            continue;
                        }
                        None => {
                            is_dealt_to = false;
                            continue;
                        }
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc::Receiver;
    use std::sync::mpsc::Sender;
    use std::sync::mpsc::channel;
    use std::task::Context as Polling;
    use std::task::Wake;
    use std::task::Waker;
    use std::time::Duration;

    use super::*;

    /// Whoever wakes it waits until it may go on.
    struct Trap {
        sprung: Sender<()>,
        release: std::sync::Mutex<Receiver<()>>,
    }

    impl Wake for Trap {
        fn wake(self: Arc<Self>) {
            self.sprung.send(()).unwrap();
            // an error frees it too
            let _ = self.release.lock().unwrap().recv();
        }
    }

    #[tokio::test]
    async fn a_hung_worker_has_no_pulse_until_it_goes_on() {
        let workers = Workers::start(3).unwrap();
        let pulse = workers.pulse();
        assert!(pulse.felt().await);
        let (sprung, is_sprung) = channel();
        let (release, released) = channel();
        let trap = Waker::from(Arc::new(Trap { sprung, release: std::sync::Mutex::new(released) }));
        let (answer, answered) = oneshot::channel();
        let mut answered = pin!(answered);
        assert!(answered.as_mut().poll(&mut Polling::from_waker(&trap)).is_pending());
        // the worker answers, which wakes us, which holds its thread
        assert!(workers.0[1].connections.send(Dealt::Pulse(answer)).is_ok());
        is_sprung.recv_timeout(Duration::from_secs(30)).unwrap();
        let mut felt = Box::pin(pulse.felt());
        assert!(tokio::time::timeout(Duration::from_millis(200), felt.as_mut()).await.is_err());
        drop(release);
        assert!(felt.await);
        assert!(pulse.felt().await);
    }

    #[tokio::test]
    async fn a_worker_that_is_gone_has_no_pulse() {
        let mut workers = Workers::start(2).unwrap();
        let pulse = workers.pulse();
        // a worker whose end nobody waits for ends
        workers.0[0].ended = oneshot::channel().1;
        while pulse.felt().await {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_pulse_keeps_no_worker_from_its_end() {
        let workers = Workers::start(2).unwrap();
        let pulse = workers.pulse();
        workers.finish().await;
        assert!(pulse.felt().await);
    }
}
