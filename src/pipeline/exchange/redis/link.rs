//! The one connection that all share: made when it is first wanted, made anew when it is broken, and left alone for a while
//! when that fails.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;

use crate::config;
use crate::domain::clock::Clock;
use crate::pipeline::exchange::credential::file::Reader;
use crate::pipeline::exchange::redis::connect;
use crate::pipeline::exchange::redis::connect::Connection;
use crate::pipeline::exchange::redis::connect::Error;
use crate::pipeline::exchange::redis::seal::Ring;
use crate::telemetry::logs;

/// For how long nothing is asked of servers in trouble.
const LEFT_ALONE: Duration = Duration::from_secs(1);
/// How often the encryption keys are read anew.
const KEYS_LAST: Duration = Duration::from_secs(30);

/// The way to Redis.
pub struct Link {
    settings: Arc<config::Redis>,
    files: Reader,
    state: Mutex<State>,
    /// An attempt to connect has ended.
    settled: Notify,
    clock: Clock,
}

/// What a command takes.
#[derive(Clone)]
pub struct Session {
    /// The connection.
    pub connection: Connection,
    /// What names and values are made with.
    pub ring: Arc<Ring>,
    keys_read: Instant,
}

struct State {
    session: Option<Session>,
    work: Work,
    health: Health,
}

/// What is done about the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Nothing, and nothing until then.
    None(Option<Instant>),
    /// It is being made.
    Connecting,
    /// Its keys are being read.
    Reading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    /// Somebody waited in vain for a connection.
    Late,
    Ill,
}

impl Link {
    /// A way that was not gone yet.
    pub fn new(settings: Arc<config::Redis>, clock: Clock) -> Self {
        let state = State { session: None, work: Work::None(None), health: Health::Well };
        let (files, settled) = (Reader::default(), Notify::new());
        Self { settings, files, state: Mutex::new(state), settled, clock }
    }

    /// The session; `None` if there is none and none can be had now. Waits for the first one.
    pub async fn session(self: &Arc<Self>) -> Option<Session> {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // before the look at the state: what ends in between is not missed
            settled.as_mut().enable();
            if let Some(decided) = self.at_once() {
                return decided;
            }
            settled.await;
        }
    }

    /// It was of use.
    pub fn worked(&self) {
        let mut state = self.state();
        let was_ill = state.health == Health::Ill;
        state.health = Health::Well;
        drop(state);
        if was_ill {
            tracing::info!("Redis serves us again");
        }
    }

    /// Nobody else is to wait for the connection that is being made: it may take far longer than a look-up.
    pub fn kept_waiting(&self) {
        let mut state = self.state();
        if state.health == Health::Well {
            state.health = Health::Late;
        }
    }

    /// It was of no use: there will be a new one, in a while.
    pub fn failed(&self, error: &Error) {
        let mut state = self.state();
        state.session = None;
        if state.work != Work::Connecting {
            state.work = Work::None(self.clock.monotonic().checked_add(LEFT_ALONE));
        }
        self.fall_ill(state, error);
    }

    /// The session, or that there is none; `None` = wait.
    fn at_once(self: &Arc<Self>) -> Option<Option<Session>> {
        let now = self.clock.monotonic();
        let mut state = self.state();
        match (&state.session, state.work) {
            (Some(session), work) => {
                let session = session.clone();
                let are_old = now.saturating_duration_since(session.keys_read) >= KEYS_LAST;
                if are_old && matches!(work, Work::None(_)) {
                    state.work = Work::Reading;
                    tokio::spawn(self.clone().read());
                }
                Some(Some(session))
            }
            // whoever waited before it failed would wait each time
            (None, Work::Connecting | Work::Reading) => (state.health != Health::Well).then_some(None),
            (None, Work::None(Some(until))) if now < until => Some(None),
            (None, Work::None(_)) => {
                state.work = Work::Connecting;
                tokio::spawn(self.clone().connect());
                (state.health != Health::Well).then_some(None)
            }
        }
    }

    async fn connect(self: Arc<Self>) {
        let made = async {
            let ring = connect::ring(&self.settings, &self.files).await?;
            Ok((ring, Connection::open(&self.settings, &self.files).await?))
        };
        let made: Result<_, Error> = made.await;
        let now = self.clock.monotonic();
        let mut state = self.state();
        match made {
            Ok((ring, connection)) => {
                state.session = Some(Session { connection, ring: Arc::new(ring), keys_read: now });
                state.work = Work::None(None);
            }
            Err(error) => {
                state.work = Work::None(now.checked_add(LEFT_ALONE));
                self.fall_ill(state, &error);
            }
        }
        self.settled.notify_waiters();
    }

    /// Reads the encryption keys anew. Where they cannot be read, the old ones go on.
    async fn read(self: Arc<Self>) {
        let read = connect::ring(&self.settings, &self.files).await;
        let now = self.clock.monotonic();
        let mut state = self.state();
        if state.work == Work::Reading {
            state.work = Work::None(None);
        }
        if let Some(session) = &mut state.session {
            session.keys_read = now;
            match read {
                Ok(ring) => session.ring = Arc::new(ring),
                Err(error) => {
                    drop(state);
                    tracing::warn!(
                        cause = logs::report(&error),
                        "the encryption keys of the shared cache cannot be read; those read before go on"
                    );
                }
            }
        }
    }

    fn fall_ill(&self, mut state: MutexGuard<'_, State>, error: &Error) {
        if state.health != Health::Ill {
            state.health = Health::Ill;
            drop(state);
            tracing::warn!(
                cause = logs::report(error),
                "Redis does not serve us; this proxy goes on with its own memory and the identity provider"
            );
        }
    }

    /// Each change under this lock is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("settings", &self.settings).finish_non_exhaustive()
    }
}
