//! Fetches of keys that fail: since when, how often, why, and when that is worth a line in the log. Pure.

use std::time::Duration;
use std::time::Instant;

/// How soon the log is told again. Fetches that fail are half a minute apart, and may take a while: so it is told at least
/// once a minute.
const TOLD_AGAIN: Duration = Duration::from_secs(20);

/// Fetches that have failed one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When the first of them ended.
    pub since: Instant,
    /// How many there were.
    pub failures: u32,
    /// Why the last one failed.
    pub cause: String,
    told: Option<Instant>,
}

impl Trouble {
    /// What becomes of `before` with a fetch that failed `now`.
    pub fn after(before: Option<Self>, now: Instant, cause: String) -> Self {
        match before {
            Some(before) => Self { failures: before.failures.saturating_add(1), cause, ..before },
            None => Self { since: now, failures: 1, cause, told: None },
        }
    }

    /// Whether the log is to be told of it `now`; then it counts as told.
    pub fn is_news(&mut self, now: Instant) -> bool {
        let is_news = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_AGAIN);
        if is_news {
            self.told = Some(now);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;
    use crate::domain::clock::UnixTime;

    #[test]
    fn trouble_is_told_when_it_begins_and_at_least_once_a_minute_while_it_goes_on() {
        let start = Clock::manual(UnixTime::from_seconds(0)).monotonic();
        let mut trouble = None;
        let mut told = Vec::new();
        // as far apart as fetches that fail ever are: half a minute, and a timeout
        let mut elapsed = [0, 1, 3, 7, 15, 31, 63, 127, 255, 511].map(|tenths| tenths * 100).to_vec();
        elapsed.extend((1..10).map(|failure| 51_100 + failure * 35_000));
        for milliseconds in elapsed {
            let now = start + Duration::from_millis(milliseconds);
            let mut after = Trouble::after(trouble, now, milliseconds.to_string());
            if after.is_news(now) {
                told.push((after.failures, milliseconds));
            }
            assert_eq!((after.since, &after.cause), (start, &milliseconds.to_string()));
            trouble = Some(after);
        }
        assert_eq!(told.first(), Some(&(1, 0)), "the first failure is the first");
        assert_eq!(told.get(1), Some(&(9, 25_500)));
        let gaps = told.windows(2).map(|pair| pair[1].1 - pair[0].1);
        assert!(gaps.max().is_some_and(|gap| gap <= 60_000), "{told:?}");
    }
}
