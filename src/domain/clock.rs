//! Time, passed in: the real clock in production, a movable one in tests.

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
    #[allow(clippy::disallowed_methods)] // this is the one place
    pub fn now(&self) -> UnixTime {
        match &self.0 {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                UnixTime(whole_seconds(since))
            }
            Source::Manual(manual) => UnixTime(manual.wall.load(Ordering::SeqCst)),
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
    fn arithmetic_stops_at_the_ends_of_time() {
        let end = UnixTime::from_seconds(i64::MAX);
        assert_eq!(end.after(Duration::MAX), end);
        assert_eq!(UnixTime::from_seconds(1).since(end), Duration::ZERO);
    }
}
