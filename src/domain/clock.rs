//! Time, passed in: the real clock in production, a movable one in tests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// A moment in whole seconds since 1970-01-01 UTC, as `exp`, `nbf` and `expires_on` count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(i64);

impl UnixTime {
    /// `seconds` since the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the epoch.
    pub const fn as_seconds(self) -> i64 {
        self.0
    }

    /// `duration` later; the end of time at most.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_seconds(duration)))
    }

    /// `duration` earlier; the beginning of time at least.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_seconds(duration)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// A moment in the calendar, as log lines print it: RFC 3339, UTC, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The moment `since_epoch` after 1970-01-01 UTC.
    pub fn new(since_epoch: Duration) -> Self {
        Self(since_epoch)
    }

    /// Hour, minute and second of the day.
    pub fn time_of_day(self) -> (u64, u64, u64) {
        let second = self.0.as_secs() % 86_400;
        (second / 3_600, second / 60 % 60, second % 60)
    }

    /// Year, month and day: days are counted from 0000-03-01, so that the leap day is the last of its year.
    fn date(self) -> (u64, u64, u64) {
        let days = self.0.as_secs() / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        (era * 400 + year_of_era + u64::from(month <= 2), month, day)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.time_of_day();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            self.0.subsec_millis()
        )
    }
}

/// Where the time comes from. Cloning shares the source.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    wall: AtomicI64,
    started: Instant,
    elapsed: AtomicU64,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `wall` until it is moved.
    #[allow(clippy::disallowed_methods)] // an Instant can only be had from the real clock; it serves as an origin
    pub fn manual(wall: UnixTime) -> Self {
        Self(Source::Manual(Arc::new(Manual {
            wall: AtomicI64::new(wall.as_seconds()),
            started: Instant::now(),
            elapsed: AtomicU64::new(0),
        })))
    }

    /// The wall-clock time.
    pub fn now(&self) -> UnixTime {
        UnixTime(whole_seconds(self.since_epoch()))
    }

    /// The wall-clock time with its fraction of a second, for log lines.
    #[allow(clippy::disallowed_methods)] // this is the one place
    pub fn since_epoch(&self) -> Duration {
        match &self.0 {
            Source::System => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Source::Manual(manual) => {
                Duration::from_secs(u64::try_from(manual.wall.load(Ordering::SeqCst)).unwrap_or(0))
            }
        }
    }

    /// A reading that never goes backwards, for durations.
    #[allow(clippy::disallowed_methods)] // this is the one place
    pub fn monotonic(&self) -> Instant {
        match &self.0 {
            Source::System => Instant::now(),
            Source::Manual(manual) => {
                manual.started + Duration::from_nanos(manual.elapsed.load(Ordering::SeqCst))
            }
        }
    }

    /// Moves a manual clock forward, wall and monotonic alike. The system clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(manual) = &self.0 {
            manual.wall.fetch_add(whole_seconds(by), Ordering::SeqCst);
            manual.elapsed.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }

    /// Sets a manual clock's wall time, as an operator or NTP might; monotonic time goes on. The system clock is not set.
    pub fn set_wall(&self, wall: UnixTime) {
        if let Source::Manual(manual) = &self.0 {
            manual.wall.store(wall.as_seconds(), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(UnixTime::from_seconds(1_000));
        let before = clock.monotonic();
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), UnixTime::from_seconds(1_005));
        assert_eq!(clock.monotonic() - before, Duration::from_secs(5));
        clock.set_wall(UnixTime::from_seconds(7));
        assert_eq!(clock.now().as_seconds(), 7);
        assert_eq!(clock.monotonic() - before, Duration::from_secs(5));
    }

    #[test]
    fn timestamps_know_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_493_678_600, "2017-05-01T22:43:20.000Z"),
            (1_795_305_599, "2026-11-21T23:59:59.000Z"),
        ] {
            assert_eq!(Timestamp::new(Duration::from_secs(seconds)).to_string(), text);
        }
    }

    #[test]
    fn arithmetic_stops_at_the_ends_of_time() {
        let end = UnixTime::from_seconds(i64::MAX);
        assert_eq!(end.after(Duration::MAX), end);
        assert_eq!(UnixTime::from_seconds(1).since(end), Duration::ZERO);
    }
}
