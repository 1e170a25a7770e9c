//! What the admin interface knows of the machine, across reloads.
//!
//! **In:** what the machine tells it. **Out:** the same, to whoever answers an operator. **Never:** holds anything up: nothing
//! that serves requests waits for a lock here.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::task::AbortHandle;

use crate::app::admin::Probes;
use crate::config::Changes;
use crate::config::Config;
use crate::config::problem::Problem;
use crate::domain::clock::Clock;
use crate::pipeline::Pipeline;
use crate::telemetry::dial::Dial;
use crate::telemetry::dial::Turn;
use crate::telemetry::events::Event;
use crate::telemetry::figures::Figures;
use crate::telemetry::rates::Rates;
use crate::telemetry::rates::Totals;

/// Where what is known comes together. Clones share it.
#[derive(Clone)]
pub struct Desk(Arc<Known>);

struct Known {
    probes: Probes,
    config: ArcSwap<Config>,
    clock: Clock,
    started: Moment,
    workers: usize,
    rates: Mutex<Rates>,
    notes: Mutex<Notes>,
}

/// What changes seldom.
#[derive(Clone, Default)]
struct Notes {
    dial: Option<Dial>,
    /// What ends a level by hand, if it ends by itself.
    timer: Option<Timer>,
    warnings: Vec<Problem>,
    reload: Option<Reload>,
}

/// Takes a turn by hand back when its time is over.
#[derive(Clone)]
pub struct Timer {
    /// Which.
    pub turn: Turn,
    /// When, since 1970-01-01 UTC.
    pub at: Duration,
    /// The task that does.
    pub task: AbortHandle,
}

#[derive(Clone, Copy)]
struct Moment {
    /// Since 1970-01-01 UTC.
    wall: Duration,
    monotonic: Instant,
}

/// How the last reading of the configuration went.
#[derive(Clone, Debug)]
pub struct Reload {
    /// When, since 1970-01-01 UTC.
    pub at: Duration,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of reading the configuration anew.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is in use.
    InUse(Changes),
    /// It is wrong, and the one before goes on.
    Invalid(Vec<Problem>),
    /// It cannot be used here and now, and the one before goes on.
    Unusable(String),
}

impl Desk {
    /// One that speaks of what `probes` do, in a process with so many workers that starts now.
    pub fn new(probes: Probes, config: Arc<Config>, workers: usize, clock: Clock) -> Self {
        let started = Moment { wall: clock.since_epoch(), monotonic: clock.monotonic() };
        let (rates, notes) = Default::default();
        Self(Arc::new(Known { probes, config: ArcSwap::new(config), clock, started, workers, rates, notes }))
    }

    /// From now on this is in use.
    pub fn follow(&self, config: Arc<Config>) {
        self.0.config.store(config);
    }

    /// What is logged stands on `dial`.
    pub fn log_by(&self, dial: Dial) {
        self.notes().dial = Some(dial);
    }

    /// What is probably not meant in the configuration in use.
    pub fn warned(&self, warnings: &[Problem]) {
        self.notes().warnings = warnings.to_vec();
    }

    /// The configuration was read anew.
    pub fn reloaded(&self, outcome: Outcome) {
        let at = self.now();
        self.notes().reload = Some(Reload { at, outcome });
    }

    /// There is somebody more to show things to.
    pub fn begin_to_watch(&self) {
        self.pipeline().events().begin_to_watch();
    }

    /// There is somebody less.
    pub fn cease_to_watch(&self) {
        self.pipeline().events().cease_to_watch();
    }

    /// Takes note of what was counted until now.
    pub fn sample(&self) {
        let totals = Totals::of(&self.figures());
        self.rates().note(self.0.clock.monotonic(), totals);
    }

    /// What is in use.
    pub fn config(&self) -> Arc<Config> {
        self.0.config.load_full()
    }

    /// What requests go through.
    pub fn pipeline(&self) -> Arc<Pipeline> {
        self.0.probes.pipeline()
    }

    /// Whether the proxy is ready, and the like.
    pub fn probes(&self) -> &Probes {
        &self.0.probes
    }

    /// What was counted.
    pub fn figures(&self) -> Figures {
        Figures::read(&self.0.probes.metrics().encode())
    }

    /// What was counted in the last minutes.
    pub fn rates_so_far(&self) -> Rates {
        self.rates().clone()
    }

    /// What was refused lately, newest first.
    pub fn events(&self) -> Vec<Event> {
        self.pipeline().events().latest()
    }

    /// The time since 1970-01-01 UTC.
    pub fn now(&self) -> Duration {
        self.0.clock.since_epoch()
    }

    /// The time that never goes backwards.
    pub fn monotonic(&self) -> Instant {
        self.0.clock.monotonic()
    }

    /// When it started, since 1970-01-01 UTC, and how long ago that is.
    pub fn started(&self) -> (Duration, Duration) {
        let Moment { wall, monotonic } = self.0.started;
        (wall, self.monotonic().saturating_duration_since(monotonic))
    }

    /// How many threads serve.
    pub fn workers(&self) -> usize {
        self.0.workers
    }

    /// What is probably not meant in the configuration in use.
    pub fn warnings(&self) -> Vec<Problem> {
        self.notes().warnings.clone()
    }

    /// How the last reload went, if there was one.
    pub fn reload(&self) -> Option<Reload> {
        self.notes().reload.clone()
    }

    /// What says what is logged; `None` = that is not ours to say.
    pub fn dial(&self) -> Option<Dial> {
        self.notes().dial.clone()
    }

    /// What ends a level by hand from now on, if anything does. What was to end one before has nothing to do any more.
    pub fn ends(&self, timer: Option<Timer>) {
        if let Some(before) = std::mem::replace(&mut self.notes().timer, timer) {
            before.task.abort();
        }
    }

    /// When that turn by hand ends, if it does by itself.
    pub fn end_of(&self, turn: Turn) -> Option<Duration> {
        self.notes().timer.as_ref().filter(|timer| timer.turn == turn).map(|timer| timer.at)
    }

    /// What is noted is whole after each change, so a poisoned lock is too.
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rates(&self) -> MutexGuard<'_, Rates> {
        self.0.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
