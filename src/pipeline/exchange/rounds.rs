//! How often a caller was challenged with the same claims: who cannot satisfy them is told so without the IdP.

use std::time::Duration;
use std::time::Instant;

use moka::sync::Cache;

use crate::config;
use crate::domain::capacity::Capacity;
use crate::domain::clock::Clock;
use crate::domain::digest::DigestHashing;
use crate::pipeline::exchange::demand::Claims;
use crate::pipeline::exchange::key::CacheKey;

/// In how long the third challenge is one too many.
const SPAN: Duration = Duration::from_secs(60);
/// Bytes a record takes besides its text.
const OVERHEAD: usize = 256;
/// Challenges get this part of the bytes that tokens get.
const SHARE: u64 = 16;

/// The challenges of late, by cache key and claims.
#[derive(Debug)]
pub struct Rounds {
    records: Cache<CacheKey, Record, DigestHashing>,
    clock: Clock,
}

/// Where a caller stands who is to be challenged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Round {
    /// It was not challenged with these claims of late.
    First,
    /// It was, once.
    Second,
    /// It was too often, the last time with these claims.
    TooMany(Claims),
}

/// When a caller was challenged last, and what with.
#[derive(Clone, Debug)]
struct Record {
    last: Instant,
    last_but_one: Option<Instant>,
    told: Claims,
}

impl Rounds {
    /// None yet; bounded as `cache` is.
    pub fn new(cache: &config::Cache, clock: Clock) -> Self {
        let capacity = Capacity::new(cache.max_entries, cache.max_bytes / SHARE);
        let records = Cache::builder()
            .max_capacity(capacity.total())
            .weigher(move |_: &CacheKey, record: &Record| {
                capacity.weight(record.told.text().len() + OVERHEAD)
            })
            // housekeeping only: what counts is decided on every read, by the proxy's own clock
            .time_to_live(SPAN)
            .build_with_hasher(DigestHashing::default());
        Self { records, clock }
    }

    /// Where the caller stands whose challenges are filed under `key`.
    pub fn of(&self, key: CacheKey) -> Round {
        self.records.get(&key).map_or(Round::First, |record| record.round(self.clock.monotonic()))
    }

    /// The caller is challenged, and `told` these claims.
    pub fn note(&self, key: CacheKey, told: &Claims) {
        let now = self.clock.monotonic();
        self.records.entry(key).and_upsert_with(|known| Record {
            last: now,
            last_but_one: known.map(|entry| entry.into_value().last),
            told: told.clone(),
        });
    }
}

impl Record {
    fn round(&self, now: Instant) -> Round {
        let is_of_late = |then: &Instant| now.saturating_duration_since(*then) < SPAN;
        match self.last_but_one.filter(is_of_late) {
            Some(_) => Round::TooMany(self.told.clone()),
            None if is_of_late(&self.last) => Round::Second,
            None => Round::First,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::UnixTime;
    use crate::domain::digest::Digest;
    use crate::pipeline::exchange::tests::sample;

    #[test]
    fn the_third_challenge_in_a_minute_is_one_too_many() {
        let clock = Clock::manual(UnixTime::from_seconds(0));
        let rounds = Rounds::new(&sample::cache(), clock.clone());
        let (key, other) = (CacheKey::from(Digest::of(b"a")), CacheKey::from(Digest::of(b"b")));
        let [one, two] = ["{\"a\":1}", "{\"a\":2}"].map(|text| Claims::parse(text).unwrap());
        assert_eq!(rounds.of(key), Round::First);
        rounds.note(key, &one);
        assert_eq!((rounds.of(key), rounds.of(other)), (Round::Second, Round::First));
        clock.advance(Duration::from_secs(59));
        assert_eq!(rounds.of(key), Round::Second);
        rounds.note(key, &two);
        assert_eq!(rounds.of(key), Round::TooMany(two));
        // a minute after the first of the two the caller gets another chance
        clock.advance(Duration::from_secs(1));
        assert_eq!(rounds.of(key), Round::Second);
        clock.advance(Duration::from_secs(59));
        assert_eq!(rounds.of(key), Round::First);
    }
}
