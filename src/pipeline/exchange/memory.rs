//! What is known in memory: live tokens B, and refusals that still hold.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use moka::Expiry;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::config;
use crate::domain::capacity::Capacity;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::digest::DigestHashing;
use crate::domain::token::DownstreamToken;
use crate::pipeline::exchange::endpoint::Moment;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::key::CacheKey;
use crate::pipeline::exchange::lifetime::Lifetime;
use crate::pipeline::exchange::renewal;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::row::Remembered;
use crate::telemetry::metrics::Metrics;

/// Bytes an entry takes besides its text: key, times, pointers, the cache's own lists.
const OVERHEAD: usize = 512;

/// Refusals get this part of the bytes that tokens get.
const REFUSALS_SHARE: u64 = 4;

/// For how long an eviction is known.
const LATELY: Duration = Duration::from_secs(30);

/// The memory tier of the cache.
#[derive(Debug)]
pub struct Memory {
    tokens: Cache<CacheKey, Arc<Entry>, DigestHashing>,
    refusals: Cache<Scope, Arc<Refusal>, DigestHashing>,
    /// When the token of a key was last evicted as its upstream refused it.
    evictions: Cache<CacheKey, Instant, DigestHashing>,
    negative_ttl: Duration,
    clock: Clock,
}

/// What there is for a key.
#[derive(Debug)]
pub enum Found {
    /// A token B that may be served now.
    Live(Arc<Entry>, Age),
    /// A refusal that still holds.
    Refused(Error),
    /// Nothing.
    Nothing,
}

/// Whether a new token should be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Not yet.
    Fresh,
    /// The end is near.
    Due,
}

/// A cached token B.
#[derive(Debug)]
pub struct Entry {
    /// The token.
    pub token: DownstreamToken,
    /// When it was asked for.
    pub asked_at: Instant,
    /// The digest of the claims that it was asked to satisfy.
    pub claims: Option<Digest>,
    lifetime: Lifetime,
    /// The same end in monotonic time: setting the clock back does not bring a dead token to life.
    deadline: Instant,
    /// The same moment of renewal in monotonic time: setting the clock back does not put renewal off.
    due: Instant,
    kept_for: Duration,
    renewals: renewal::Attempts,
}

/// Whom a refusal holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Key(CacheKey),
    Assertion(CacheKey, Digest),
}

#[derive(Debug)]
struct Refusal {
    error: Error,
    until: Instant,
    kept_for: Duration,
}

impl Memory {
    /// An empty memory within the bounds of `cache`.
    pub fn new(cache: &config::Cache, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let tokens = bounded(Capacity::new(cache.max_entries, cache.max_bytes), move |cause| match cause {
            RemovalCause::Size => metrics.cache_eviction("size"),
            RemovalCause::Expired => metrics.cache_eviction("expired"),
            RemovalCause::Explicit => metrics.cache_eviction("explicit"),
            RemovalCause::Replaced => {}
        });
        let refusals = bounded(Capacity::new(cache.max_entries, cache.max_bytes / REFUSALS_SHARE), |_| {});
        let evictions = Cache::builder()
            .max_capacity(cache.max_entries)
            .time_to_live(LATELY)
            .build_with_hasher(DigestHashing::default());
        Self { tokens, refusals, evictions, negative_ttl: cache.negative_ttl, clock }
    }

    /// What there is for `key` and a caller with that token A.
    pub fn find(&self, key: CacheKey, assertion: Digest) -> Found {
        if let Some(entry) = self.tokens.get(&key)
            && let Some(age) = entry.age(&self.clock)
        {
            return Found::Live(entry, age);
        }
        self.refusal(key, key, assertion).map_or(Found::Nothing, Found::Refused)
    }

    /// The refusal that keeps the IdP from being asked for `key` by an exchange that is filed under `flight`, with that
    /// token A.
    pub fn refusal(&self, key: CacheKey, flight: CacheKey, assertion: Digest) -> Option<Error> {
        let now = self.clock.monotonic();
        [Scope::Key(key), Scope::Assertion(flight, assertion)]
            .iter()
            .find_map(|scope| self.refusals.get(scope)?.holding(now))
    }

    /// Whether `token` is the one that is served for `key`.
    pub fn holds(&self, key: CacheKey, token: &DownstreamToken) -> bool {
        self.tokens.get(&key).is_some_and(|entry| entry.token.equals(token))
    }

    /// Drops `token`, which its upstream refuses, unless another one has taken its place.
    pub fn evict(&self, key: CacheKey, token: &DownstreamToken) {
        self.evictions.insert(key, self.clock.monotonic());
        self.tokens.entry(key).and_compute_with(|entry| match entry {
            Some(entry) if entry.value().token.equals(token) => Op::Remove,
            _ => Op::Nop,
        });
    }

    /// Whether a token of `key` was evicted in the last half minute.
    pub fn was_evicted_lately(&self, key: CacheKey) -> bool {
        let now = self.clock.monotonic();
        self.evictions.get(&key).is_some_and(|then| now.saturating_duration_since(then) < LATELY)
    }

    /// Keeps a token that was asked for at `asked_at`, to satisfy the claims of that digest.
    pub fn keep(
        &self,
        key: CacheKey,
        token: DownstreamToken,
        claims: Option<Digest>,
        lifetime: Lifetime,
        asked_at: Moment,
    ) {
        let monotonic = |moment: UnixTime| asked_at.monotonic.checked_add(moment.since(asked_at.wall));
        let (Some(deadline), Some(due)) = (monotonic(lifetime.expires_on), monotonic(lifetime.renew_at))
        else {
            return;
        };
        let entry = Entry {
            token,
            asked_at: asked_at.monotonic,
            claims,
            lifetime,
            deadline,
            due,
            kept_for: deadline.saturating_duration_since(self.clock.monotonic()),
            renewals: renewal::Attempts::default(),
        };
        if entry.age(&self.clock).is_some() {
            self.tokens.insert(key, Arc::new(entry));
        }
    }

    /// Draws the consequences of the refusal of an exchange for `key` that is filed under `flight`: remembers it for
    /// those it holds for, drops the token it disproves.
    pub fn refuse(&self, key: CacheKey, flight: CacheKey, assertion: Digest, error: &Error) {
        let Some(row) = error.row else {
            return;
        };
        // claims that cannot be satisfied say nothing of a token that was not asked to satisfy them
        if row.evicts() && flight == key {
            self.tokens.invalidate(&key);
        }
        let (scope, kept_for) = match row.remembered(self.negative_ttl) {
            Remembered::No => return,
            Remembered::ForKey(span) => (Scope::Key(key), span),
            Remembered::ForAssertion(span) => (Scope::Assertion(flight, assertion), span),
        };
        if let Some(until) = self.clock.monotonic().checked_add(kept_for) {
            self.refusals.insert(scope, Arc::new(Refusal { error: error.clone(), until, kept_for }));
        }
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> u64 {
        self.tokens.run_pending_tasks();
        self.tokens.entry_count()
    }
}

impl Entry {
    /// Whether the one who asks may try to renew it now: only one may, and not soon again.
    pub fn may_be_renewed(&self, now: Instant) -> bool {
        self.renewals.begin(now)
    }

    /// How old it is; `None` if it is over.
    fn age(&self, clock: &Clock) -> Option<Age> {
        let (wall, monotonic) = (clock.now(), clock.monotonic());
        let is_live = wall < self.lifetime.expires_on && monotonic < self.deadline;
        let is_fresh = wall < self.lifetime.renew_at && monotonic < self.due;
        is_live.then_some(if is_fresh { Age::Fresh } else { Age::Due })
    }
}

impl Refusal {
    /// The error, if it still holds; one that says how long to wait says how long is left.
    fn holding(&self, now: Instant) -> Option<Error> {
        let left = self.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        let mut error = self.error.clone();
        if let Kind::Throttled { retry_after } = &mut error.kind {
            // whole seconds, rounded up: that is how the header counts
            *retry_after = Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0));
        }
        Some(error)
    }
}

/// A value that knows its size and its time.
trait Kept: Send + Sync + 'static {
    fn size(&self) -> usize;
    fn kept_for(&self) -> Duration;
}

impl Kept for Entry {
    fn size(&self) -> usize {
        self.token.size()
    }

    fn kept_for(&self) -> Duration {
        self.kept_for
    }
}

impl Kept for Refusal {
    fn size(&self) -> usize {
        self.error.answer.as_ref().map_or(0, |answer| answer.size())
    }

    fn kept_for(&self) -> Duration {
        self.kept_for
    }
}

/// A cache that drops the least recently used beyond its capacity.
fn bounded<K: Hash + Eq + Send + Sync + 'static, V: Kept>(
    capacity: Capacity,
    evicted: impl Fn(RemovalCause) + Send + Sync + 'static,
) -> Cache<K, Arc<V>, DigestHashing> {
    Cache::builder()
        .max_capacity(capacity.total())
        .weigher(move |_: &K, value: &Arc<V>| capacity.weight(value.size() + OVERHEAD))
        .eviction_policy(EvictionPolicy::lru())
        .expire_after(Housekeeping)
        .eviction_listener(move |_, _, cause| evicted(cause))
        .build_with_hasher(DigestHashing::default())
}

/// Drops what is over, some time. What may be served is decided on every read, by the proxy's own clock.
struct Housekeeping;

impl<K, V: Kept> Expiry<K, Arc<V>> for Housekeeping {
    fn expire_after_create(&self, _: &K, value: &Arc<V>, _: Instant) -> Option<Duration> {
        Some(value.kept_for())
    }

    fn expire_after_update(
        &self,
        _: &K,
        value: &Arc<V>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        // the new value's time, not what was left of the old one's
        Some(value.kept_for())
    }
}
