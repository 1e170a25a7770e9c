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

use crate::config;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::pipeline::exchange::filed::Filed;
use crate::pipeline::exchange::key::CacheKey;
use crate::pipeline::exchange::lifetime::LONGEST;
use crate::pipeline::exchange::redis::commands::Found;
use crate::pipeline::exchange::redis::commands::Taken;
use crate::pipeline::exchange::redis::connect::Error;
use crate::pipeline::exchange::redis::link::Link;
use crate::pipeline::exchange::redis::link::Session;
use crate::pipeline::exchange::redis::refusals::Refusals;
use crate::pipeline::exchange::redis::seal::Purpose;
use crate::pipeline::exchange::survey::SharedTier;
use crate::telemetry::metrics::Metrics;

mod commands;
mod connect;
mod link;
pub mod probe;
pub mod record;
mod refusals;
pub mod seal;
mod told;

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
pub const SKEW: Duration = Duration::from_secs(60);

/// Tokens that proxies share.
#[derive(Debug)]
pub struct Redis {
    link: Arc<Link>,
    settings: Arc<config::Redis>,
    refusals: Refusals,
    /// Something was found that no proxy with our encryption keys wrote.
    met_foreign: AtomicBool,
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

/// What there is.
enum Sought {
    Record(Record),
    Absent(Absence),
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
        let link = Arc::new(Link::new(settings.clone(), clock.clone()));
        metrics.has_shared_cache();
        Self {
            link,
            settings,
            refusals: Refusals::default(),
            met_foreign: AtomicBool::new(false),
            clock,
            metrics,
        }
    }

    /// How they serve us.
    pub fn state(&self) -> SharedTier {
        match (self.link.standing(), self.refusals.cause()) {
            (SharedTier::Connected, Some(cause)) => SharedTier::Troubled(cause),
            (state, _) => state,
        }
    }

    /// Connects, so that the first look-up need not.
    pub async fn start(&self) {
        self.link.session().await;
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
        // whoever misses it asks for one
        let _ = self.write(Purpose::Token, filed.key.digest(), &record.to_bytes(), left).await;
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

    /// Lets nobody find a token of `holder` any more that was asked for until now. Whether Redis took note of it.
    pub async fn purge(&self, holder: Digest) -> bool {
        self.write(Purpose::Purge, holder, &self.moment(), LONGEST).await
    }

    async fn settle<W: Fn(&Record) -> bool>(
        &self,
        filed: Filed,
        flight: CacheKey,
        will_do: &W,
    ) -> (Claim, &'static str) {
        let started = self.clock.monotonic();
        let mut pause = SHORTEST_PAUSE;
        loop {
            match self.within_time(|session| self.look(session, filed, flight, will_do)).await {
                Some(Look::Found(record)) => return (Claim::Found(record), "hit"),
                Some(Look::Ours(lease, absence)) => {
                    self.refusals.end();
                    return self.begin(lease, absence, filed, will_do).await;
                }
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

    async fn look<W: Fn(&Record) -> bool>(
        &self,
        mut session: Session,
        filed: Filed,
        flight: CacheKey,
        will_do: &W,
    ) -> Result<Look, RedisError> {
        let absence = match self.sought(&mut session, filed, will_do).await? {
            Sought::Record(record) => return Ok(Look::Found(record)),
            Sought::Absent(absence) => absence,
        };
        if absence == Absence::Foreign && !self.met_foreign.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "what Redis holds under a name of ours was not written by a proxy with our encryption keys; this is told once, and counted each time"
            );
        }
        let since = self.clock.monotonic();
        Ok(match session.take(Purpose::Lease, flight.digest(), LEASE).await? {
            Taken::Now => Look::Ours(Lease { flight, since }, absence),
            Taken::Before => Look::Anothers,
        })
    }

    /// What comes of a lease that is ours: who held it before may have kept the token, and given it back, after we looked.
    async fn begin<W: Fn(&Record) -> bool>(
        &self,
        lease: Lease,
        absence: Absence,
        filed: Filed,
        will_do: &W,
    ) -> (Claim, &'static str) {
        let look = |mut session: Session| async move { self.sought(&mut session, filed, will_do).await };
        match (self.within_time(look).await, absence) {
            (Some(Sought::Record(record)), _) => {
                self.release(lease).await;
                (Claim::Found(record), "hit")
            }
            (_, Absence::Clean) => (Claim::Ours(lease), "miss"),
            (_, Absence::Foreign) => (Claim::Ours(lease), "error"),
        }
    }

    /// The token filed there, if one is that `will_do`.
    async fn sought<W: Fn(&Record) -> bool>(
        &self,
        session: &mut Session,
        filed: Filed,
        will_do: &W,
    ) -> Result<Sought, RedisError> {
        let absence = match session.find(Purpose::Token, filed.key.digest()).await? {
            Found::Nothing => Absence::Clean,
            Found::Foreign => Absence::Foreign,
            Found::Text(text) => match Record::from_bytes(&text) {
                None => Absence::Foreign,
                Some(record) if !will_do(&record) => Absence::Clean,
                Some(record) => match self.purged(session, filed.holder, record.asked_at).await? {
                    None => return Ok(Sought::Record(record)),
                    Some(absence) => absence,
                },
            },
        };
        Ok(Sought::Absent(absence))
    }

    /// Why a token that was asked for at `asked_at` is as good as none: its user was purged since, by a proxy that may have
    /// another key in front.
    async fn purged(
        &self,
        session: &mut Session,
        holder: Option<Digest>,
        asked_at: UnixTime,
    ) -> Result<Option<Absence>, RedisError> {
        let Some(holder) = holder else { return Ok(None) };
        let marks: Vec<_> = session.each(Purpose::Purge, holder).await?.iter().map(Mark::of).collect();
        if marks.contains(&Mark::Unreadable) {
            // whatever it said, what is asked for from now on is good
            session.clone().write(Purpose::Purge, holder, &self.moment(), LONGEST).await?;
            return Ok(Some(Absence::Foreign));
        }
        let is_purged = |mark: &Mark| matches!(mark, Mark::Until(then) if asked_at <= then.after(SKEW));
        Ok(marks.iter().any(is_purged).then_some(Absence::Clean))
    }

    /// Whether that is done, or nothing was to do.
    async fn write(&self, purpose: Purpose, subject: Digest, text: &[u8], left: Duration) -> bool {
        if left.is_zero() {
            return true;
        }
        let written = self.within_time(|session| session.write(purpose, subject, text, left));
        written.await.is_some()
    }

    async fn delete(&self, purpose: Purpose, subject: Digest) {
        // if that fails, everything has its end, and we have been told of the trouble
        let _ = self.within_time(|session| session.delete(purpose, subject)).await;
    }

    /// The present, as a mark says it.
    fn moment(&self) -> [u8; 8] {
        self.clock.now().as_seconds().to_be_bytes()
    }

    /// What comes of `work`, which has the time of one look-up; `None` if nothing does. A connection that is gone is made
    /// anew within that time: servers and balancers close those that rest.
    async fn within_time<T, F>(&self, work: impl Fn(Session) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let mut asked = None;
        let doing = async {
            let session = self.link.session().await?;
            let number = session.number();
            asked = Some(number);
            match work(session).await {
                Err(error) if error.is_connection_dropped() => {
                    self.link.lost(number);
                    let session = self.link.session().await?;
                    asked = Some(session.number());
                    Some(work(session).await)
                }
                settled => Some(settled),
            }
        };
        let outcome = tokio::time::timeout(self.settings.timeout, doing).await;
        // who got no session asked nothing
        let Some(number) = asked else {
            if outcome.is_err() {
                self.link.kept_waiting();
            }
            return None;
        };
        match outcome {
            Ok(outcome) => match outcome? {
                Ok(done) => {
                    self.link.worked(number);
                    return Some(done);
                }
                Err(error) if is_refusal(&error) => {
                    self.refusals.tell(&error, &self.settings, self.clock.monotonic())
                }
                Err(error) => self.link.failed(number, &Error::from(error)),
            },
            Err(_) => self.link.failed(number, &Error::Slow(self.settings.timeout)),
        }
        None
    }
}

/// What is known of a user's purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// There was none.
    None,
    /// What was asked for until then is void.
    Until(UnixTime),
    /// There may have been one.
    Unreadable,
}

impl Mark {
    fn of(found: &Found) -> Self {
        match found {
            Found::Nothing => Self::None,
            Found::Foreign => Self::Unreadable,
            Found::Text(text) => match <[u8; 8]>::try_from(text.as_slice()) {
                Ok(seconds) => Self::Until(UnixTime::from_seconds(i64::from_be_bytes(seconds))),
                Err(_) => Self::Unreadable,
            },
        }
    }
}

/// Whether the server is well, and will not do this all the same.
fn is_refusal(error: &RedisError) -> bool {
    matches!(error.code(), Some("OOM" | "NOPERM" | "MISCONF" | "NOREPLICAS"))
}
