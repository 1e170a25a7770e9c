//! The listeners, from configuration to configuration: who stays keeps its socket, who changes its settings hands it on, who
//! goes brings its connections to an end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::app::gate::Gate;
use crate::app::workers::Workers;
use crate::config;
use crate::config::Limits;
use crate::domain::name::Name;
use crate::pipeline::Pipeline;
use crate::pipeline::accept;
use crate::pipeline::accept::Drain;
use crate::pipeline::accept::Spare;
use crate::telemetry::metrics::Metrics;

/// Everything that accepts.
pub struct Lines {
    lines: Vec<Line>,
    fading: Vec<Fading>,
    workers: Arc<Workers>,
    permits: Arc<Semaphore>,
    /// How many connections there may be.
    connections: usize,
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
    pub fn new(workers: Workers, limits: Limits, metrics: Arc<Metrics>) -> Self {
        let (workers, connections) = (Arc::new(workers), limits.connections);
        let permits = Arc::new(Semaphore::new(connections));
        let (accepting, later) = (JoinSet::new(), JoinSet::new());
        Self { lines: vec![], fading: vec![], workers, permits, connections, metrics, accepting, later }
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
                Some((_, line)) => {
                    let handed_on = line.spare.listen(settings);
                    Next::new(handed_on, settings)?
                }
                None => Next::new(accept::Listener::bind(settings).await, settings)?,
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

    /// Stops accepting, and waits until that is so. What remains is the workers, who have yet to finish.
    pub async fn close(mut self) -> Option<Workers> {
        for Line { spare, closing, gate, .. } in self.lines {
            // a socket is closed with the last that holds it
            drop(spare);
            closing.start();
            gate.drain().start();
        }
        for fading in &self.fading {
            fading.closing.start();
            fading.drain.start();
        }
        while self.accepting.join_next().await.is_some() {}
        Arc::into_inner(self.workers)
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
        let fewer = self.connections.saturating_sub(connections);
        self.permits.add_permits(connections.saturating_sub(self.connections));
        self.connections = connections;
        if let Ok(fewer @ 1..) = u32::try_from(fewer) {
            let permits = self.permits.clone();
            self.later.spawn(async move {
                if let Ok(permits) = permits.acquire_many_owned(fewer).await {
                    permits.forget();
                }
            });
        }
        while self.later.try_join_next().is_some() {}
        while self.accepting.try_join_next().is_some() {}
    }
}

impl Prepared {
    /// Names and addresses of those that are new.
    ///
    /// # Errors
    /// If the system does not know.
    pub fn addresses(&self) -> io::Result<Vec<(Name, SocketAddr)>> {
        let new = self.0.iter().filter_map(|next| match next {
            Next::New(listener, _) => Some(listener),
            Next::Same(_) => None,
        });
        new.map(|listener| Ok((listener.settings().name.clone(), listener.local_addr()?))).collect()
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
    fn new(bound: io::Result<accept::Listener>, settings: &config::Listener) -> anyhow::Result<Self> {
        let failure = || format!("listener {} cannot bind {}", settings.name, settings.address);
        let listener = bound.with_context(failure)?;
        let spare = listener.spare().with_context(failure)?;
        Ok(Self::New(listener, spare))
    }
}
