//! The tier of the cache that proxies share.
//!
//! **In:** what one proxy was given. **Out:** the same, to any other that has the same encryption keys; the duty to fetch
//! what is missing, to one of them at a time. **Never:** an error: whatever is wrong, it is as if nothing were there. Nothing
//! there can be read, or put to another use, by whoever has no key.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use redis::RedisError;
use redis::cmd;
use zeroize::Zeroizing;

use crate::config;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::pipeline::exchange::filed::Filed;
use crate::pipeline::exchange::key::CacheKey;
use crate::pipeline::exchange::lifetime::LONGEST;
use crate::pipeline::exchange::redis::connect::Error;
use crate::pipeline::exchange::redis::link::Link;
use crate::pipeline::exchange::redis::link::Session;
use crate::pipeline::exchange::redis::seal::Purpose;
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;

mod connect;
mod link;
mod record;
mod seal;

pub use record::Record;

/// How long one proxy may be the only one to fetch a token.
const LEASE: Duration = Duration::from_secs(2);
/// A lease is given back up to this time before its end: afterwards it may be another's.
const RESERVE: Duration = Duration::from_millis(500);
/// The first pause before another's lease is looked at again; it doubles from one to the next,
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(160);
/// By how much the clocks of two proxies may differ.
const SKEW: Duration = Duration::from_secs(60);

/// Tokens that proxies share.
#[derive(Debug)]
pub struct Redis {
    link: Arc<Link>,
    timeout: Duration,
    /// The last value could not be written.
    refuses: AtomicBool,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// What a proxy without a token is to do.
#[derive(Debug)]
pub enum Claim {
    /// Serve this one.
    Found(Record),
    /// Fetch one: others wait for it.
    Ours(Lease),
    /// Fetch one, though others may do the same.
    Free,
}

/// The duty to fetch a token, to be given back.
#[derive(Debug)]
pub struct Lease {
    flight: CacheKey,
    since: Instant,
}

/// What one look showed.
enum Look {
    Found(Record),
    Ours(Lease, Absence),
    Anothers,
}

/// How nothing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    /// There was nothing of use.
    Clean,
    /// There was something, and it was no proxy's work.
    Foreign,
}

impl Redis {
    /// Those behind `settings`. Nothing is contacted before something is wanted.
    pub fn new(settings: Arc<config::Redis>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let timeout = settings.timeout;
        let link = Arc::new(Link::new(settings, clock.clone()));
        Self { link, timeout, refuses: AtomicBool::new(false), clock, metrics }
    }

    /// The token filed there, if one is that `will_do`, or else who is to fetch it. If another proxy does, it is waited
    /// for, though not for long. `flight` is what the exchange is filed under.
    pub async fn claim(&self, filed: Filed, flight: CacheKey, will_do: impl Fn(&Record) -> bool) -> Claim {
        let (claim, result) = self.settle(filed, flight, &will_do).await;
        self.metrics.shared_cache_request(result);
        claim
    }

    /// Lets others find the token, as long as it lives.
    pub async fn keep(&self, filed: Filed, record: &Record) {
        let left = record.lifetime.expires_on.since(self.clock.now());
        self.write(Purpose::Token, filed.key.digest(), &record.to_bytes(), left).await;
    }

    /// Lets nobody find the token of `key` any more.
    pub async fn remove(&self, key: CacheKey) {
        self.delete(Purpose::Token, key.digest()).await;
    }

    /// Gives the duty back.
    pub async fn release(&self, lease: Lease) {
        if self.clock.monotonic().saturating_duration_since(lease.since) < LEASE.saturating_sub(RESERVE) {
            self.delete(Purpose::Lease, lease.flight.digest()).await;
        }
    }

    /// Lets nobody find a token of `holder` any more that was asked for until now.
    pub async fn purge(&self, holder: Digest) {
        let now = self.clock.now().as_seconds().to_be_bytes();
        self.write(Purpose::Purge, holder, &now, LONGEST).await;
    }

    async fn settle(
        &self,
        filed: Filed,
        flight: CacheKey,
        will_do: &impl Fn(&Record) -> bool,
    ) -> (Claim, &'static str) {
        let started = self.clock.monotonic();
        let mut pause = SHORTEST_PAUSE;
        loop {
            match self.within_time(async |session| self.look(session, filed, flight, will_do).await).await {
                Some(Look::Found(record)) => return (Claim::Found(record), "hit"),
                Some(Look::Ours(lease, Absence::Clean)) => return (Claim::Ours(lease), "miss"),
                Some(Look::Ours(lease, Absence::Foreign)) => return (Claim::Ours(lease), "error"),
                Some(Look::Anothers) => {}
                None => return (Claim::Free, "error"),
            }
            if self.clock.monotonic().saturating_duration_since(started) >= LEASE {
                return (Claim::Free, "miss");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn look(
        &self,
        mut session: Session,
        filed: Filed,
        flight: CacheKey,
        will_do: &impl Fn(&Record) -> bool,
    ) -> Result<Look, RedisError> {
        let absence = match find(&mut session, Purpose::Token, filed.key.digest()).await? {
            Found::Text(text) => match Record::from_bytes(&text) {
                Some(record) if !will_do(&record) => Absence::Clean,
                Some(record) => match self.purged(&mut session, filed.holder, record.asked_at).await? {
                    None => return Ok(Look::Found(record)),
                    Some(absence) => absence,
                },
                None => Absence::Foreign,
            },
            Found::Foreign => Absence::Foreign,
            Found::Nothing => Absence::Clean,
        };
        if absence == Absence::Foreign {
            tracing::debug!(
                "what Redis holds under a name of ours was not written by a proxy with our encryption keys"
            );
        }
        let Some(key) = session.ring.keys().next() else { return Ok(Look::Anothers) };
        let since = self.clock.monotonic();
        let mut command = cmd("SET");
        let name = key.name(Purpose::Lease, flight.digest());
        command
            .arg(name)
            .arg("1")
            .arg("NX")
            .arg("PX")
            .arg(u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX));
        match session.connection.send::<Option<String>>(&command).await {
            Ok(Some(_)) => Ok(Look::Ours(Lease { flight, since }, absence)),
            Ok(None) => Ok(Look::Anothers),
            Err(error) => Err(error),
        }
    }

    /// Why a token that was asked for at `asked_at` is as good as none: its user was purged since.
    async fn purged(
        &self,
        session: &mut Session,
        holder: Option<Digest>,
        asked_at: UnixTime,
    ) -> Result<Option<Absence>, RedisError> {
        let Some(holder) = holder else { return Ok(None) };
        Ok(match find(session, Purpose::Purge, holder).await? {
            Found::Nothing => None,
            Found::Text(text) => match <[u8; 8]>::try_from(text.as_slice()) {
                Ok(seconds) => {
                    let purged_at = UnixTime::from_seconds(i64::from_be_bytes(seconds));
                    (asked_at <= purged_at.after(SKEW)).then_some(Absence::Clean)
                }
                Err(_) => Some(Absence::Foreign),
            },
            Found::Foreign => Some(Absence::Foreign),
        })
    }

    async fn write(&self, purpose: Purpose, subject: Digest, text: &[u8], left: Duration) {
        if left.is_zero() {
            return;
        }
        let written = self.within_time(async |mut session: Session| {
            let Some(key) = session.ring.keys().next() else { return Ok(()) };
            let Ok(sealed) = key.seal(purpose, subject, text) else { return Ok(()) };
            let mut command = cmd("SET");
            command.arg(key.name(purpose, subject)).arg(sealed).arg("EX").arg(left.as_secs());
            session.connection.send::<()>(&command).await
        });
        if written.await.is_some() {
            self.refuses.store(false, Ordering::Relaxed);
        }
    }

    async fn delete(&self, purpose: Purpose, subject: Digest) {
        // if that fails, everything has its end, and we have been told of the trouble
        let _ = self
            .within_time(async |mut session: Session| {
                let names: Vec<String> = session.ring.keys().map(|key| key.name(purpose, subject)).collect();
                for name in names {
                    session.connection.send::<()>(cmd("DEL").arg(name)).await?;
                }
                Ok(())
            })
            .await;
    }

    /// What comes of `work`, which has the time of one look-up; `None` if nothing does.
    async fn within_time<T>(&self, work: impl AsyncFnOnce(Session) -> Result<T, RedisError>) -> Option<T> {
        let mut is_asked = false;
        let doing = async {
            let session = self.link.session().await?;
            is_asked = true;
            Some(work(session).await)
        };
        let error = match tokio::time::timeout(self.timeout, doing).await {
            Ok(Some(Ok(done))) => {
                self.link.worked();
                return Some(done);
            }
            Ok(Some(Err(error))) if is_refusal(&error) => {
                self.refused(&error);
                return None;
            }
            Ok(Some(Err(error))) => Error::from(error),
            Err(_) if is_asked => Error::Slow(self.timeout),
            Err(_) => {
                self.link.kept_waiting();
                return None;
            }
            Ok(None) => return None,
        };
        self.link.failed(&error);
        None
    }

    /// Says once that Redis refuses what we ask.
    fn refused(&self, error: &RedisError) {
        if !self.refuses.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                cause = logs::report(error),
                "Redis refuses a command; is it full, or may this user not read and write obo:*?"
            );
        }
    }
}

/// What stands under a name.
enum Found {
    /// This, and we or one of us wrote it.
    Text(Zeroizing<Vec<u8>>),
    /// Something else.
    Foreign,
    /// Nothing.
    Nothing,
}

/// What is kept of `subject`, under the name that any of the keys gives it.
async fn find(session: &mut Session, purpose: Purpose, subject: Digest) -> Result<Found, RedisError> {
    let mut found = Found::Nothing;
    for key in session.ring.keys() {
        let name = key.name(purpose, subject);
        match session.connection.send::<Option<Vec<u8>>>(cmd("GET").arg(name)).await {
            Ok(None) => {}
            Ok(Some(sealed)) => match key.open(purpose, subject, sealed) {
                Some(text) => return Ok(Found::Text(text)),
                None => found = Found::Foreign,
            },
            Err(error) if error.code() == Some("WRONGTYPE") => found = Found::Foreign,
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Whether the server is well, and will not do this all the same.
fn is_refusal(error: &RedisError) -> bool {
    matches!(error.code(), Some("OOM" | "NOPERM" | "MISCONF" | "NOREPLICAS"))
}
