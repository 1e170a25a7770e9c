//! The listeners, from configuration to configuration: who stays keeps its socket, who changes its settings hands it on, who
//! goes brings its connections to an end.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Weak;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;

use crate::app::descriptors;
use crate::app::descriptors::Room;
use crate::app::gate::Gate;
use crate::app::workers::Workers;
use crate::config;
use crate::config::Limits;
use crate::domain::name::Name;
use crate::net::budget::Budget;
use crate::pipeline::Pipeline;
use crate::pipeline::accept;
use crate::pipeline::accept::Drain;
use crate::pipeline::accept::LocalAddress;
use crate::pipeline::accept::Spare;
use crate::telemetry::metrics::Metrics;

/// How long WebSockets have to close once the drain time is over.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long those who are connecting when nobody new is let in have until the socket is closed, which would reset them.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// Everything that accepts.
pub struct Lines {
    lines: Vec<Line>,
    fading: Vec<Fading>,
    workers: Arc<Workers>,
    permits: Arc<Semaphore>,
    /// How many connections there may be, and were to be.
    connections: usize,
    wanted: usize,
    /// How many connections there may be to upstreams.
    upstreams: Budget,
    metrics: Arc<Metrics>,
    accepting: JoinSet<()>,
    /// What happens by and by, and is not waited for.
    later: JoinSet<()>,
}

/// A listener that accepts.
struct Line {
    settings: config::Listener,
    /// Its socket, for the listener that takes its place.
    spare: Spare,
    /// Ends the accepting.
    closing: Drain,
    gate: Arc<Gate>,
}

/// A listener whose place is taken, or who is gone. Its connections come to an end.
struct Fading {
    closing: Drain,
    drain: Drain,
    gate: Weak<Gate>,
}

/// Listeners that are bound and do not accept yet.
pub struct Prepared(Vec<Next>);

enum Next {
    /// The line there goes on.
    Same(usize),
    /// This one begins.
    New(accept::Listener, Spare),
}

/// No listener any more: connections come to an end.
pub struct Closed {
    workers: Workers,
    drains: Vec<Drain>,
}

/// What the listeners of a configuration lead to.
#[derive(Clone, Copy)]
pub struct Behind<'a> {
    /// For each worker.
    pub pipelines: &'a [Arc<Pipeline>],
    /// For connections.
    pub limits: Limits,
    /// How long who goes still accepts: time for load balancers to notice.
    pub delay: Duration,
}

impl Lines {
    /// None yet.
    pub fn new(workers: Workers, limits: Limits, upstreams: Budget, metrics: Arc<Metrics>) -> Self {
        let (workers, wanted) = (Arc::new(workers), limits.connections);
        let Room { callers: connections, upstreams: most } = descriptors::room_for(wanted);
        upstreams.allow(most);
        metrics.connections_limited(connections);
        let permits = Arc::new(Semaphore::new(connections));
        let (accepting, later) = (JoinSet::new(), JoinSet::new());
        Self {
            lines: vec![],
            fading: vec![],
            workers,
            permits,
            connections,
            wanted,
            upstreams,
            metrics,
            accepting,
            later,
        }
    }

    /// Binds what is not bound yet. Nothing else changes.
    ///
    /// # Errors
    /// If an address cannot be bound.
    pub async fn prepare(&self, listeners: &[config::Listener]) -> anyhow::Result<Prepared> {
        let mut next = Vec::with_capacity(listeners.len());
        let mut taken = Vec::new();
        for settings in listeners {
            let free = |(at, _): &(usize, &Line)| !taken.contains(at);
            let mut before = self.lines.iter().enumerate().filter(free);
            let mut before = before.find(|(_, line)| line.stood_for(settings, listeners));
            taken.extend(before.map(|(at, _)| at));
            next.push(match before.take() {
                Some((at, line)) if line.settings == *settings => Next::Same(at),
                Some((_, line)) => Next::new(line.spare.listen(settings).await?)?,
                None => Next::new(accept::Listener::bind(settings).await?)?,
            });
        }
        Ok(Prepared(next))
    }

    /// From now on these listeners are the ones, and lead there.
    pub fn publish(&mut self, prepared: Prepared, behind: Behind<'_>) {
        let mut before: Vec<Option<Line>> = std::mem::take(&mut self.lines).into_iter().map(Some).collect();
        let mut begun = Vec::new();
        for next in prepared.0 {
            match next {
                Next::Same(at) => {
                    let Some(line) = before.get_mut(at).and_then(Option::take) else { continue };
                    line.gate.lead_to(behind.pipelines, behind.limits);
                    self.lines.push(line);
                }
                Next::New(listener, spare) => begun.push((listener, spare)),
            }
        }
        for (listener, spare) in begun {
            let line = self.begin(listener, spare, behind);
            self.lines.push(line);
        }
        for line in before.into_iter().flatten() {
            self.fade(line, behind.delay);
        }
        self.fading.retain(|fading| fading.gate.strong_count() > 0);
        for gate in self.fading.iter().filter_map(|fading| fading.gate.upgrade()) {
            // routes may name the listener; where it has gone, its connections end with the routes that knew it
            if self.lines.iter().any(|line| line.settings.name == *gate.listener()) {
                gate.lead_to(behind.pipelines, behind.limits);
            }
        }
        self.limit(behind.limits.connections);
    }

    /// Tells callers with their answers that connections come to an end.
    pub fn announce(&self) {
        self.lines.iter().for_each(|line| line.gate.drain().announce());
        // of the others they were told
    }

    /// Has the certificates of the listeners looked at now, not in a few seconds.
    pub async fn refresh_certificates(&self) {
        for tls in self.lines.iter().filter_map(|line| line.spare.tls()) {
            tls.refresh().await;
        }
    }

    /// Stops accepting, and waits until that is so. What remains has yet to finish.
    pub async fn close(mut self) -> Option<Closed> {
        self.lines.iter().for_each(|line| line.spare.let_nobody_new_in());
        tokio::time::sleep(HANDSHAKE).await;
        let mut drains = Vec::new();
        for Line { spare, closing, gate, .. } in self.lines {
            // a socket is closed with the last that holds it
            drop(spare);
            closing.start();
            drains.push(gate.drain().clone());
        }
        for Fading { closing, drain, .. } in self.fading {
            closing.start();
            drains.push(drain);
        }
        drains.iter().for_each(Drain::start);
        while self.accepting.join_next().await.is_some() {}
        Arc::into_inner(self.workers).map(|workers| Closed { workers, drains })
    }

    fn begin(&mut self, listener: accept::Listener, spare: Spare, behind: Behind<'_>) -> Line {
        let settings = listener.settings().clone();
        let gate = Arc::new(Gate::new(settings.name.clone(), behind.limits, behind.pipelines));
        let (dealer, closing) = (self.workers.clone(), Drain::new());
        let leading = gate.clone();
        let deal = move |connection| dealer.deal(connection, &leading);
        let (permits, metrics) = (self.permits.clone(), self.metrics.clone());
        self.accepting.spawn(accept::accept(listener, permits, metrics, closing.clone(), deal));
        Line { settings, spare, closing, gate }
    }

    /// Brings a line to an end. Where its address goes on, connections are taken under the new settings at once; where it
    /// does not, it is still there for a while.
    fn fade(&mut self, line: Line, delay: Duration) {
        let Line { settings, spare, closing, gate } = line;
        drop(spare);
        gate.drain().announce();
        if self.lines.iter().any(|line| line.settings.address == settings.address) {
            closing.start();
        }
        let drain = gate.drain().clone();
        self.fading.push(Fading {
            closing: closing.clone(),
            drain: drain.clone(),
            gate: Arc::downgrade(&gate),
        });
        self.later.spawn(async move {
            tokio::time::sleep(delay).await;
            closing.start();
            drain.start();
        });
    }

    /// Lets as many connections be there as `connections` says. What is there already stays.
    fn limit(&mut self, connections: usize) {
        while self.later.try_join_next().is_some() {}
        while self.accepting.try_join_next().is_some() {}
        if connections == self.wanted {
            return;
        }
        self.wanted = connections;
        let Room { callers: connections, upstreams } = descriptors::room_for(connections);
        self.upstreams.allow(upstreams);
        self.metrics.connections_limited(connections);
        let fewer = self.connections.saturating_sub(connections);
        self.permits.add_permits(connections.saturating_sub(self.connections));
        self.connections = connections;
        if let Ok(fewer @ 1..) = u32::try_from(fewer) {
            let mut given_back = Box::pin(self.permits.clone().acquire_many_owned(fewer));
            // it queues here and now, before whoever connects next
            let at_once = given_back.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            self.later.spawn(async move {
                let permits = match at_once {
                    Poll::Ready(permits) => permits,
                    Poll::Pending => given_back.await,
                };
                if let Ok(permits) = permits {
                    permits.forget();
                }
            });
        }
    }
}

impl Closed {
    /// Waits until the last connection has ended, for so long; then WebSockets have a little while to take their leave.
    ///
    /// # Errors
    /// If it did not: it is cut.
    pub async fn finish(self, patience: Duration) -> Result<(), Elapsed> {
        let mut finished = pin!(self.workers.finish());
        if tokio::time::timeout(patience, finished.as_mut()).await.is_ok() {
            return Ok(());
        }
        self.drains.iter().for_each(Drain::end);
        tokio::time::timeout(FAREWELL, finished).await
    }
}

impl Prepared {
    /// Names and addresses of those that are new.
    ///
    /// # Errors
    /// If the system does not know.
    pub fn addresses(&self) -> io::Result<Vec<(Name, LocalAddress)>> {
        let new = self.0.iter().filter_map(|next| match next {
            Next::New(listener, _) => Some(listener),
            Next::Same(_) => None,
        });
        new.map(|listener| Ok((listener.settings().name.clone(), listener.local_address()?))).collect()
    }
}

impl Line {
    /// Whether its socket is the one for `settings`: of two of the same address, which only ports of the system's choice
    /// can have, the name decides.
    fn stood_for(&self, settings: &config::Listener, all: &[config::Listener]) -> bool {
        let is_sole = all.iter().filter(|other| other.address == settings.address).count() == 1;
        self.settings.address == settings.address && (is_sole || self.settings.name == settings.name)
    }
}

impl Next {
    fn new(listener: accept::Listener) -> Result<Self, accept::Error> {
        let spare = listener.spare()?;
        Ok(Self::New(listener, spare))
    }
}
