//! How fast a body must come whose length is known: it exists, and nothing keeps an honest caller from sending it. Of a body whose
//! length is not known nobody can say that: who streams messages, or what a microphone hears, sends nothing while there is
//! nothing. For those there is the idle timeout alone.
//!
//! Only the time counts in which the caller is waited for, not that in which the upstream does not take what came.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a caller may be waited for in any case.
pub const GRACE: Duration = Duration::from_secs(10);
/// And for each so many bytes that came, a second more.
const BYTES_A_SECOND: u64 = 1024;
/// While the caller is not waited for, how soon to look again.
const NOT_SOONER: Duration = Duration::from_secs(1);
/// While it is: the clock counts whole milliseconds.
const AT_ONCE: Duration = Duration::from_millis(10);

/// How long a caller was waited for, and how much came of it. Moments are milliseconds after the request began.
#[derive(Debug, Default)]
pub struct Pace {
    is_expected: AtomicBool,
    /// 0, or 1 + the moment since when the caller is waited for.
    since: AtomicU64,
    /// For how many milliseconds it was before.
    waited: AtomicU64,
    bytes: AtomicU64,
}

impl Pace {
    /// The length of the body is known.
    pub fn expect(&self) {
        self.is_expected.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_expected(&self) -> bool {
        self.is_expected.load(Ordering::Relaxed)
    }

    /// Whether the caller is waited for.
    pub fn is_waiting(&self) -> bool {
        self.since.load(Ordering::Relaxed) != 0
    }

    /// The caller is waited for from `now` on.
    pub fn awaits(&self, now: u64) {
        self.since.store(now.saturating_add(1), Ordering::Relaxed);
    }

    /// So many bytes came. Nobody else writes meanwhile.
    pub fn came(&self, bytes: usize, now: u64) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes.store(self.bytes.load(Ordering::Relaxed).saturating_add(bytes), Ordering::Relaxed);
        if self.is_waiting() {
            self.waited.store(self.waited(now), Ordering::Relaxed);
            self.since.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the caller has been waited for for too long.
    pub fn is_over(&self, now: u64) -> bool {
        self.is_expected() && self.is_waiting() && self.left(now).is_zero()
    }

    /// How soon to look again, if there is anything to look for.
    pub fn next_look(&self, now: u64) -> Option<Duration> {
        let soonest = if self.is_waiting() { AT_ONCE } else { NOT_SOONER };
        self.is_expected().then(|| self.left(now).max(soonest))
    }

    fn left(&self, now: u64) -> Duration {
        let earned = self.bytes.load(Ordering::Relaxed).saturating_mul(1000) / BYTES_A_SECOND;
        (GRACE + Duration::from_millis(earned)).saturating_sub(Duration::from_millis(self.waited(now)))
    }

    fn waited(&self, now: u64) -> u64 {
        let since = self.since.load(Ordering::Relaxed).checked_sub(1);
        let lately = since.map_or(0, |since| now.saturating_sub(since));
        self.waited.load(Ordering::Relaxed).saturating_add(lately)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1000;

    fn expected() -> Pace {
        let pace = Pace::default();
        pace.expect();
        pace
    }

    #[test]
    fn ten_seconds_are_given_and_one_more_for_each_kibibyte() {
        for (bytes, seconds) in [(0, 10), (1024, 11), (10 * 1024, 20), (1024 * 1024, 1034)] {
            let pace = expected();
            pace.came(bytes, 0);
            pace.awaits(0);
            assert!(!pace.is_over(seconds * SECOND - 1), "{bytes}");
            assert!(pace.is_over(seconds * SECOND), "{bytes}");
        }
    }

    #[test]
    fn who_keeps_the_pace_may_go_on_for_ever_and_who_is_slower_is_found_out() {
        for (bytes, is_over) in [(1024, false), (1000, true)] {
            let pace = expected();
            let mut found_out = false;
            for second in 0..1000 {
                pace.awaits(second * SECOND);
                found_out |= pace.is_over((second + 1) * SECOND);
                pace.came(bytes, (second + 1) * SECOND);
            }
            assert_eq!(found_out, is_over, "{bytes}");
        }
    }

    #[test]
    fn only_the_time_counts_in_which_the_caller_is_waited_for() {
        let pace = expected();
        assert!(!pace.is_over(100 * SECOND), "the upstream is not there yet");
        pace.awaits(100 * SECOND);
        pace.came(0, 104 * SECOND);
        assert!(!pace.is_over(200 * SECOND), "the upstream takes nothing");
        pace.awaits(200 * SECOND);
        assert!(!pace.is_over(206 * SECOND - 1));
        assert!(pace.is_over(206 * SECOND));
    }

    #[test]
    fn of_a_body_of_unknown_length_nothing_is_expected() {
        let pace = Pace::default();
        pace.awaits(0);
        assert!(!pace.is_over(u64::MAX));
        assert_eq!(pace.next_look(0), None);
    }

    #[test]
    fn it_is_looked_at_again_when_it_may_be_over_and_not_all_the_time() {
        let pace = expected();
        assert_eq!(pace.next_look(0), Some(GRACE));
        pace.awaits(0);
        assert_eq!(pace.next_look(4 * SECOND), Some(Duration::from_secs(6)));
        pace.came(0, 10 * SECOND - 1);
        assert_eq!(pace.next_look(10 * SECOND), Some(NOT_SOONER));
    }
}
