//! What is known in memory: live tokens B, and refusals that still hold.
//!
//! **In:** tokens and refusals as they come, and whose they are. **Out:** the token for a key, or why there is none.
//! **Never:** a token at or past its end, or one that was purged; more than it may hold, of anyone.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::config;
use crate::domain::bounded::Bounded;
use crate::domain::bounded::Departure;
use crate::domain::capacity::Capacity;
use crate::domain::clock::Clock;
use crate::domain::digest::Digest;
use crate::domain::holdings;
use crate::domain::token::DownstreamToken;
use crate::pipeline::exchange::endpoint::Moment;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::filed::Filed;
use crate::pipeline::exchange::key::CacheKey;
use crate::pipeline::exchange::lifetime::LONGEST;
use crate::pipeline::exchange::lifetime::Lifetime;
use crate::pipeline::exchange::memory::moments::Moments;
use crate::pipeline::exchange::memory::purges::Purges;
use crate::pipeline::exchange::memory::refusal::Refusal;
use crate::pipeline::exchange::memory::refusal::Scope;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::row::Remembered;
use crate::telemetry::metrics::Metrics;

mod entry;
mod moments;
mod purges;
mod refusal;

pub use entry::Age;
pub use entry::Entry;

/// Refusals get this part of the bytes that tokens get.
const REFUSALS_SHARE: u64 = 4;

/// For how long an eviction keeps a second one off.
const LATELY: Duration = Duration::from_secs(30);

/// For how long it is known what other tiers may still hold and we dropped.
const DISOWNED_FOR: Duration = Duration::from_secs(60 * 60);

/// For how long it is known who was purged: other tiers may hold what nobody here had, as long as it lives.
const PURGED_FOR: Duration = LONGEST;

/// The memory tier of the cache. Clones share it.
#[derive(Clone, Debug)]
pub struct Memory {
    tokens: Bounded<CacheKey, Entry>,
    refusals: Bounded<Scope, Refusal>,
    /// When the token of a key was last evicted as its upstream refused it.
    evictions: Moments,
    /// When the token of a key was last found to be of no use.
    disowned: Moments,
    purges: Arc<Purges>,
    negative_ttl: Duration,
    refusals_capacity: Capacity,
    most: usize,
    clock: Clock,
    metrics: Arc<Metrics>,
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

/// What a purge met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// The users it was meant for, as far as anything of theirs was found.
    pub users: Vec<Digest>,
    /// How many tokens were dropped.
    pub tokens: usize,
}

impl Memory {
    /// An empty memory within the bounds of `cache`.
    pub fn new(cache: &config::Cache, clock: Clock, metrics: Arc<Metrics>) -> Self {
        Self::with(cache, holdings::MOST, clock, metrics)
    }

    /// An empty memory within the bounds of `cache`, where nobody has more than `most` entries of a kind.
    fn with(cache: &config::Cache, most: usize, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let counted = metrics.clone();
        let tokens =
            Bounded::new(Capacity::new(cache.max_entries, cache.max_bytes), most, move |departure| {
                counted.cache_eviction(match departure {
                    Departure::Size => "size",
                    Departure::Expired => "expired",
                    Departure::Holder => "user",
                });
            });
        let capacity = Capacity::new(cache.max_entries, cache.max_bytes / REFUSALS_SHARE);
        Self {
            tokens,
            refusals: Bounded::new(capacity, most, |_| {}),
            evictions: Moments::new(cache.max_entries, most, LATELY),
            disowned: Moments::new(cache.max_entries, most, DISOWNED_FOR),
            purges: Arc::default(),
            negative_ttl: cache.negative_ttl,
            refusals_capacity: capacity,
            most,
            clock,
            metrics,
        }
    }

    /// The same tokens, and of the refusals only those that say when to come back: whoever asks the IdP in another way from
    /// now on may fare better.
    pub fn forgiving(&self) -> Self {
        let refusals = Bounded::new(self.refusals_capacity, self.most, |_| {});
        for (scope, refusal) in self.refusals.iter() {
            if matches!(refusal.error.kind, Kind::Throttled { .. }) {
                refusals.insert(*scope, refusal);
            }
        }
        Self { refusals, ..self.clone() }
    }

    /// An empty memory within the bounds of `cache`. What must not be taken up again is known to it as it is here.
    pub fn resized(&self, cache: &config::Cache) -> Self {
        let Self { evictions, disowned, purges, .. } = self.clone();
        let empty = Self::with(cache, self.most, self.clock.clone(), self.metrics.clone());
        Self { evictions, disowned, purges, ..empty }
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

    /// Drops `token`, which its upstream refuses, unless another one has taken its place. Whether it was there.
    pub fn evict(&self, filed: Filed, token: &DownstreamToken) -> bool {
        let now = self.clock.monotonic();
        self.evictions.note(filed, now);
        self.disowned.note(filed, now);
        let was_held = self.tokens.remove_if(&filed.key, |entry| entry.token.equals(token));
        if was_held {
            self.metrics.cache_eviction("explicit");
        }
        was_held
    }

    /// Whether a token of `key` was evicted in the last half minute.
    pub fn was_evicted_lately(&self, key: CacheKey) -> bool {
        self.evictions.of(key, self.clock.monotonic()).is_some()
    }

    /// Whether a token that was asked for at `asked_at` must not be taken from another tier: after it was asked for, and
    /// within the last hour, a token of that key was found to be of no use, or its holder's were purged.
    pub fn disowns(&self, filed: Filed, asked_at: Instant) -> bool {
        let disowned = self.disowned.of(filed.key, self.clock.monotonic());
        disowned.is_some_and(|then| asked_at < then) || self.is_purged(filed, asked_at)
    }

    /// Keeps a token that was asked for at `asked_at`, to satisfy the claims of that digest. Whether it did: not if it is
    /// over, nor if its holder's tokens were purged since.
    pub fn keep(
        &self,
        filed: Filed,
        token: DownstreamToken,
        claims: Option<Digest>,
        lifetime: Lifetime,
        asked_at: Moment,
    ) -> bool {
        let entry = Entry::new(filed.holder, token, claims, lifetime, asked_at, &self.clock);
        let Some(entry) = entry.filter(|_| !self.is_purged(filed, asked_at.monotonic)) else {
            return false;
        };
        let entry = Arc::new(entry);
        self.tokens.insert(filed.key, entry.clone());
        // a purge that began in between may have passed by before it was there
        let is_purged = self.is_purged(filed, asked_at.monotonic);
        if is_purged && self.tokens.remove_if(&filed.key, |held| std::ptr::eq(held, &*entry)) {
            self.metrics.cache_eviction("purged");
        }
        !is_purged
    }

    /// Draws the consequences of the refusal of an exchange for what is filed there, itself filed under `flight`:
    /// remembers it for those it holds for, drops the token it disproves. Whether it disproves any, also one held elsewhere.
    pub fn refuse(&self, filed: Filed, flight: CacheKey, assertion: Digest, error: &Error) -> bool {
        let Some(row) = error.row else {
            return false;
        };
        let Filed { key, holder } = filed;
        // claims that cannot be satisfied say nothing of a token that was not asked to satisfy them
        let disproves = row.evicts() && flight == key;
        if disproves {
            self.disowned.note(filed, self.clock.monotonic());
            if self.tokens.remove(&key) {
                self.metrics.cache_eviction("explicit");
            }
        }
        let (scope, kept_for) = match row.remembered(self.negative_ttl) {
            Remembered::No => return disproves,
            Remembered::ForKey(span) => (Scope::Key(key), span),
            Remembered::ForAssertion(span) => (Scope::Assertion(flight, assertion), span),
        };
        if let Some(until) = self.clock.monotonic().checked_add(kept_for) {
            let refusal = Refusal { error: error.clone(), holder, until, kept_for };
            self.refusals.insert(scope, Arc::new(refusal));
        }
        disproves
    }

    /// Drops every token and refusal of the users who are meant. From now on nothing of theirs is kept that was asked
    /// for before, also of those of whom there is nothing yet but a flight.
    pub fn purge(&self, is_meant: impl Fn(Digest) -> bool + Send + Sync + 'static) -> Purged {
        let is_meant = Arc::new(is_meant);
        let meant = is_meant.clone();
        self.purges.note(self.clock.monotonic(), PURGED_FOR, move |user| meant(user));
        // to tell may be dear, and many entries are one user's
        let mut told = HashMap::new();
        let mut is_told = |user: &Digest| *told.entry(*user).or_insert_with(|| is_meant(*user));
        let (mut users, mut tokens) = (BTreeSet::new(), 0);
        for (key, entry) in self.tokens.iter() {
            if let Some(user) = entry.holder.filter(&mut is_told) {
                users.insert(user);
                if self.tokens.remove(&key) {
                    tokens += 1;
                    self.metrics.cache_eviction("purged");
                }
            }
        }
        for (scope, refusal) in self.refusals.iter() {
            if let Some(user) = refusal.holder.filter(&mut is_told) {
                users.insert(user);
                self.refusals.remove(&scope);
            }
        }
        // to be wiped now, and not when somebody comes by
        self.tokens.settle();
        Purged { users: users.into_iter().collect(), tokens }
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> u64 {
        self.tokens.count()
    }

    /// Bytes that the tokens take, by our reckoning.
    pub fn bytes(&self) -> u64 {
        self.tokens.weight()
    }

    fn is_purged(&self, filed: Filed, asked_at: Instant) -> bool {
        self.purges.cover(filed.holder, asked_at, self.clock.monotonic(), PURGED_FOR)
    }
}

#[cfg(test)]
mod tests;
