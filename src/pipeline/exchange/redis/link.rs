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
use crate::pipeline::exchange::redis::told::Told;
use crate::pipeline::exchange::survey::SharedTier;
use crate::telemetry::logs;

/// For how long nothing is asked of servers in trouble.
const LEFT_ALONE: Duration = Duration::from_secs(1);
/// For how long servers that are asked may answer nobody before they count as in trouble.
const SILENCE: Duration = Duration::from_millis(500);
/// How soon it is told again that there is a connection.
const REPEATED: Duration = Duration::from_secs(30);
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
    /// Which connection it is: what becomes of one says nothing of the next.
    number: u64,
}

struct State {
    session: Option<Session>,
    /// How many connections there were.
    made: u64,
    /// Since when they have been asked and have answered nobody.
    silent: Option<Instant>,
    work: Work,
    health: Health,
    /// Why they did not serve us last.
    cause: Option<String>,
    told: Told,
    /// When it was last told that there is a connection.
    connected: Option<Instant>,
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
        let state = State {
            session: None,
            made: 0,
            silent: None,
            work: Work::None(None),
            health: Health::Well,
            cause: None,
            told: Told::default(),
            connected: None,
        };
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

    /// How they serve us.
    pub fn standing(&self) -> SharedTier {
        let state = self.state();
        match (&state.session, state.health, &state.cause) {
            (_, Health::Ill, Some(cause)) => SharedTier::Troubled(cause.clone()),
            (Some(_), ..) => SharedTier::Connected,
            (None, ..) => SharedTier::Resting,
        }
    }

    /// The session of that number was of use.
    pub fn worked(&self, number: u64) {
        let mut state = self.state();
        if !state.is_current(number) {
            return;
        }
        state.silent = None;
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

    /// The session of that number was of no use: there will be a new one, in a while. Where many ask at once, some wait too
    /// long for an answer while others get theirs: that alone is no trouble of the servers'.
    pub fn failed(&self, number: u64, error: &Error) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        let is_late = matches!(error, Error::Slow(_));
        if !state.is_current(number) || (is_late && !state.is_silent(now)) {
            return;
        }
        state.session = None;
        state.work = Work::None(now.checked_add(LEFT_ALONE));
        self.fall_ill(state, error);
    }

    /// The connection of that number is gone, as one that rested may be: there may be a new one at once.
    pub fn lost(&self, number: u64) {
        let mut state = self.state();
        if state.is_current(number) {
            state.session = None;
            state.work = Work::None(None);
        }
    }

    /// The session, or that there is none; `None` = wait.
    fn at_once(self: &Arc<Self>) -> Option<Option<Session>> {
        let now = self.clock.monotonic();
        let mut state = self.state();
        match (&state.session, state.work) {
            (Some(session), work) => {
                let session = session.clone();
                state.silent.get_or_insert(now);
                let are_old = now.saturating_duration_since(session.keys_read) >= KEYS_LAST;
                if are_old && matches!(work, Work::None(_)) {
                    state.work = Work::Reading;
                    drop(state);
                    tokio::spawn(self.clone().read(Undone(self.clone(), Work::Reading)));
                }
                Some(Some(session))
            }
            // whoever waited before it failed would wait each time
            (None, Work::Connecting | Work::Reading) => (state.health != Health::Well).then_some(None),
            (None, Work::None(Some(until))) if now < until => Some(None),
            (None, Work::None(_)) => {
                state.work = Work::Connecting;
                let is_well = state.health == Health::Well;
                drop(state);
                tokio::spawn(self.clone().connect(Undone(self.clone(), Work::Connecting)));
                (!is_well).then_some(None)
            }
        }
    }

    async fn connect(self: Arc<Self>, _undone: Undone) {
        let made = async {
            let ring = connect::ring(&self.settings, &self.files).await?;
            let mut connection = Connection::open(&self.settings, &self.files).await?;
            // a connection that was lost and is made anew is waited for
            if !self.state().is_proven() {
                connection.greet().await?;
            }
            Ok((ring, connection))
        };
        let made: Result<_, Error> = made.await;
        let now = self.clock.monotonic();
        let mut state = self.state();
        match made {
            Ok((ring, connection)) => {
                state.made = state.made.wrapping_add(1);
                let number = state.made;
                state.session = Some(Session { connection, ring: Arc::new(ring), keys_read: now, number });
                state.silent = None;
                state.work = Work::None(None);
                self.tell_connected(state, now);
            }
            Err(error) => {
                state.work = Work::None(now.checked_add(LEFT_ALONE));
                self.fall_ill(state, &error);
            }
        }
    }

    /// Says so, unless it was just said. After trouble, it is the first answer that counts.
    fn tell_connected(&self, mut state: MutexGuard<'_, State>, now: Instant) {
        let before = state.connected;
        let is_news = before.is_none_or(|then| now.saturating_duration_since(then) >= REPEATED);
        if state.health == Health::Ill || !is_news {
            return;
        }
        state.connected = Some(now);
        drop(state);
        match before {
            None => tracing::info!("connected to Redis"),
            Some(_) => tracing::info!("connected to Redis again"),
        }
    }

    /// Reads the encryption keys anew. Where they cannot be read, the old ones go on.
    async fn read(self: Arc<Self>, _undone: Undone) {
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

    /// Says so when it begins, and when it goes on for another cause.
    fn fall_ill(&self, mut state: MutexGuard<'_, State>, error: &Error) {
        let (cause, now) = (logs::report(error), self.clock.monotonic());
        if state.health != Health::Ill {
            state.health = Health::Ill;
            state.told.forget();
        }
        state.cause = Some(cause.clone());
        if state.told.is_news(&cause, now) {
            drop(state);
            tracing::warn!(
                server = self.settings.servers(),
                cause,
                "Redis does not serve us; this proxy goes on with its own memory and the identity provider"
            );
        }
    }

    /// Each change under this lock is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of an attempt, whatever ends it: of one that was cut short, as by a panic, nothing is left but the time until
/// the next. It locks the state.
struct Undone(Arc<Link>, Work);

impl Drop for Undone {
    fn drop(&mut self) {
        let Self(link, work) = self;
        let now = link.clock.monotonic();
        let mut state = link.state();
        if state.work == *work {
            state.work = Work::None(now.checked_add(LEFT_ALONE));
        }
        drop(state);
        link.settled.notify_waiters();
    }
}

impl Session {
    /// One over a connection of its own.
    pub fn over(connection: Connection, ring: Arc<Ring>, keys_read: Instant) -> Self {
        Self { connection, ring, keys_read, number: 0 }
    }

    /// Which connection it is.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl State {
    fn is_current(&self, number: u64) -> bool {
        self.session.as_ref().is_some_and(|session| session.number == number)
    }

    /// Whether the connection before this one was of use.
    fn is_proven(&self) -> bool {
        self.made > 0 && self.health == Health::Well
    }

    fn is_silent(&self, now: Instant) -> bool {
        self.silent.is_some_and(|since| now.saturating_duration_since(since) >= SILENCE)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::UnixTime;
    use crate::pipeline::exchange::tests::server::Server;

    const LATE: Error = Error::Slow(Duration::ZERO);

    fn link(server: &Server) -> (Arc<Link>, Clock) {
        let clock = Clock::manual(UnixTime::from_seconds(0));
        (Arc::new(Link::new(Arc::new(server.settings(&[1])), clock.clone())), clock)
    }

    async fn number(link: &Arc<Link>) -> Option<u64> {
        Some(link.session().await?.number())
    }

    #[tokio::test]
    async fn who_is_answered_late_does_not_take_the_connection_from_the_others() {
        let server = Server::start();
        let (link, clock) = link(&server);
        assert_eq!(number(&link).await, Some(1));
        for _ in 0..10 {
            clock.advance(SILENCE - Duration::from_millis(1));
            link.failed(1, &LATE);
            assert_eq!(number(&link).await, Some(1));
            // another one is answered
            link.worked(1);
            assert_eq!(number(&link).await, Some(1));
        }
        // nobody asked for an hour
        link.worked(1);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(number(&link).await, Some(1));
        link.failed(1, &LATE);
        assert_eq!(number(&link).await, Some(1));
    }

    #[tokio::test]
    async fn servers_that_answer_nobody_are_left_alone_for_a_second() {
        let server = Server::start();
        let (link, clock) = link(&server);
        assert_eq!(number(&link).await, Some(1));
        clock.advance(SILENCE);
        link.failed(1, &LATE);
        assert_eq!(number(&link).await, None);
        clock.advance(LEFT_ALONE - Duration::from_millis(1));
        assert_eq!(number(&link).await, None);
        clock.advance(Duration::from_millis(1));
        until_connected(&link, 2).await;
    }

    #[tokio::test]
    async fn what_becomes_of_one_connection_says_nothing_of_the_next() {
        let server = Server::start();
        let (link, clock) = link(&server);
        assert_eq!(number(&link).await, Some(1));
        link.failed(1, &broken());
        clock.advance(LEFT_ALONE - Duration::from_millis(1));
        // others had asked it too
        link.failed(1, &broken());
        clock.advance(Duration::from_millis(1));
        until_connected(&link, 2).await;
        link.failed(1, &broken());
        assert_eq!((number(&link).await, link.state().health), (Some(2), Health::Ill));
        link.worked(1);
        assert_eq!(link.state().health, Health::Ill);
        link.worked(2);
        assert_eq!(link.state().health, Health::Well);
    }

    #[tokio::test]
    async fn what_is_said_of_trouble_is_its_latest_cause() {
        let server = Server::start();
        let (link, clock) = link(&server);
        assert_eq!(number(&link).await, Some(1));
        link.failed(1, &broken());
        let first = SharedTier::Troubled(logs::report(&broken()));
        assert_eq!(link.standing(), first);
        clock.advance(LEFT_ALONE);
        until_connected(&link, 2).await;
        clock.advance(SILENCE);
        link.failed(2, &LATE);
        assert_eq!(link.standing(), SharedTier::Troubled(logs::report(&LATE)));
    }

    #[test]
    fn a_runtime_that_ends_while_it_connects_leaves_nobody_waiting() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let server = Server::start();
        let (link, clock) = link(&server);
        server.signal("STOP");
        let first = runtime();
        let waiting = async { tokio::time::timeout(Duration::from_millis(20), link.session()).await };
        assert!(first.block_on(waiting).is_err());
        assert_eq!(link.state().work, Work::Connecting);
        drop(first);
        server.signal("CONT");
        clock.advance(LEFT_ALONE);
        runtime().block_on(until_connected(&link, 1));
    }

    fn broken() -> Error {
        Error::Redis(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into())
    }

    async fn until_connected(link: &Arc<Link>, expected: u64) {
        let connecting = async {
            while number(link).await != Some(expected) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), connecting).await.unwrap();
    }
}
