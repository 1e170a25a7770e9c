//! How often a caller was challenged with the same claims: who cannot satisfy them is told so without the IdP.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::config;
use crate::domain::bounded::Bounded;
use crate::domain::bounded::Kept;
use crate::domain::capacity::Capacity;
use crate::domain::clock::Clock;
use crate::domain::digest::Digest;
use crate::domain::holdings;
use crate::pipeline::exchange::demand::Claims;
use crate::pipeline::exchange::key::CacheKey;

/// In how long the third challenge is one too many.
const SPAN: Duration = Duration::from_secs(60);
/// Bytes a record takes besides its text. An entry of nothing takes most of it, as measured by
/// `cargo bench --bench memory`.
const OVERHEAD: usize = 640;
/// Challenges get this part of the bytes that tokens get.
const SHARE: u64 = 16;

/// The challenges of late, by cache key and claims. Clones share them.
#[derive(Clone, Debug)]
pub struct Rounds {
    records: Bounded<CacheKey, Record>,
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
#[derive(Debug)]
struct Record {
    holder: Option<Digest>,
    last: Instant,
    last_but_one: Option<Instant>,
    told: Claims,
}

impl Rounds {
    /// None yet; bounded as `cache` is.
    pub fn new(cache: &config::Cache, clock: Clock) -> Self {
        let capacity = Capacity::new(cache.max_entries, cache.max_bytes / SHARE);
        Self { records: Bounded::new(capacity, holdings::MOST, |_| {}), clock }
    }

    /// Where the caller stands whose challenges are filed under `key`.
    pub fn of(&self, key: CacheKey) -> Round {
        self.records.get(&key).map_or(Round::First, |record| record.round(self.clock.monotonic()))
    }

    /// The caller is challenged, and `told` these claims; `holder` is the user, if it is one.
    pub fn note(&self, key: CacheKey, holder: Option<Digest>, told: &Claims) {
        let last = self.clock.monotonic();
        self.records.update(key, holder, |known: Option<Arc<Record>>| Record {
            holder,
            last,
            last_but_one: known.map(|record| record.last),
            told: told.clone(),
        });
    }
}

impl Kept for Record {
    fn holder(&self) -> Option<Digest> {
        self.holder
    }

    fn size(&self) -> usize {
        self.told.text().len() + OVERHEAD
    }

    fn kept_for(&self) -> Duration {
        SPAN
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
    use crate::pipeline::exchange::tests::sample;

    #[test]
    fn the_third_challenge_in_a_minute_is_one_too_many() {
        let clock = Clock::manual(UnixTime::from_seconds(0));
        let rounds = Rounds::new(&sample::cache(), clock.clone());
        let (key, other) = (CacheKey::from(Digest::of(b"a")), CacheKey::from(Digest::of(b"b")));
        let [one, two] = ["{\"a\":1}", "{\"a\":2}"].map(|text| Claims::parse(text).unwrap());
        assert_eq!(rounds.of(key), Round::First);
        rounds.note(key, None, &one);
        assert_eq!((rounds.of(key), rounds.of(other)), (Round::Second, Round::First));
        clock.advance(Duration::from_secs(59));
        assert_eq!(rounds.of(key), Round::Second);
        rounds.note(key, None, &two);
        assert_eq!(rounds.of(key), Round::TooMany(two));
        // a minute after the first of the two the caller gets another chance
        clock.advance(Duration::from_secs(1));
        assert_eq!(rounds.of(key), Round::Second);
        clock.advance(Duration::from_secs(59));
        assert_eq!(rounds.of(key), Round::First);
    }

    #[test]
    fn one_user_s_challenges_displace_only_its_own() {
        let rounds = Rounds::new(&sample::cache(), Clock::manual(UnixTime::from_seconds(0)));
        let [alice, bob] = [b"alice".as_slice(), b"bob"].map(|name| Some(Digest::of(name)));
        let key = |number: u32| CacheKey::from(Digest::of(&number.to_be_bytes()));
        let claims = Claims::parse("{}").unwrap();
        rounds.note(key(0), bob, &claims);
        for number in 1..1000 {
            rounds.note(key(number), alice, &claims);
        }
        assert_eq!(rounds.of(key(0)), Round::Second);
        let known = (1..1000).filter(|number| rounds.of(key(*number)) == Round::Second).count();
        assert_eq!((known, rounds.of(key(999))), (holdings::MOST, Round::Second));
    }
}
