//! Whose tokens were purged of late, and when: what was asked for before is not taken in again.

use std::collections::VecDeque;
use std::fmt;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;
use std::time::Instant;

use crate::domain::digest::Digest;

/// How many purges are told from one another. Those before count for everybody: it costs an exchange, and nobody keeps
/// a token that was purged.
const MOST: usize = 256;

/// The purges of late. What each was meant for is remembered, not whom it met: a user's first token may be under way.
#[derive(Default)]
pub struct Purges(RwLock<Log>);

#[derive(Default)]
struct Log {
    recent: VecDeque<Purge>,
    /// When everybody's were, as far as that is still known.
    of_all: Option<Instant>,
}

struct Purge {
    at: Instant,
    is_meant: Box<dyn Fn(Digest) -> bool + Send + Sync>,
}

impl Purges {
    /// The tokens of all users who are meant are purged `now`; what was purged longer than `span` ago is forgotten.
    pub fn note(
        &self,
        now: Instant,
        span: Duration,
        is_meant: impl Fn(Digest) -> bool + Send + Sync + 'static,
    ) {
        let purge = Purge { at: now, is_meant: Box::new(is_meant) };
        let mut log = self.0.write().unwrap_or_else(PoisonError::into_inner);
        log.recent.retain(|purge| is_within(span, purge.at, now));
        if log.recent.len() >= MOST
            && let Some(oldest) = log.recent.pop_front()
        {
            log.of_all = Some(oldest.at);
        }
        log.recent.push_back(purge);
    }

    /// Whether tokens of `holder` were purged after `asked_at`, as far as is known of the last `span`.
    pub fn cover(&self, holder: Option<Digest>, asked_at: Instant, now: Instant, span: Duration) -> bool {
        let Some(holder) = holder else { return false };
        let log = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is_later = |at: Instant| asked_at < at && is_within(span, at, now);
        log.of_all.is_some_and(is_later)
            || log.recent.iter().any(|purge| is_later(purge.at) && (purge.is_meant)(holder))
    }
}

fn is_within(span: Duration, then: Instant, now: Instant) -> bool {
    now.saturating_duration_since(then) < span
}

impl fmt::Debug for Purges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Purges(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;
    use crate::domain::clock::UnixTime;

    const HOUR: Duration = Duration::from_secs(3600);

    fn seconds(seconds: u64) -> Instant {
        static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let origin = ORIGIN.get_or_init(|| Clock::manual(UnixTime::from_seconds(0)).monotonic());
        *origin + Duration::from_secs(seconds)
    }

    #[test]
    fn a_purge_is_about_what_was_asked_for_before_it_by_whom_it_meant() {
        let [alice, bob] = [b"alice".as_slice(), b"bob"].map(Digest::of);
        let purges = Purges::default();
        purges.note(seconds(100), HOUR, move |user| user == alice);
        let covers = |holder, asked_at, now| purges.cover(holder, seconds(asked_at), seconds(now), HOUR);
        for (holder, asked_at, now, expected) in [
            (Some(alice), 99, 100, true),
            (Some(alice), 100, 100, false),
            (Some(alice), 101, 102, false),
            (Some(bob), 99, 100, false),
            (None, 99, 100, false),
            (Some(alice), 99, 100 + 3599, true),
            (Some(alice), 99, 100 + 3600, false),
        ] {
            assert_eq!(covers(holder, asked_at, now), expected, "{asked_at} {now}");
        }
    }

    #[test]
    fn what_is_too_much_to_remember_counts_for_everybody() {
        let [alice, bob] = [b"alice".as_slice(), b"bob"].map(Digest::of);
        let purges = Purges::default();
        for at in 0..=MOST as u64 {
            purges.note(seconds(10 + at), HOUR, move |user| user == alice);
        }
        assert!(purges.cover(Some(bob), seconds(9), seconds(300), HOUR));
        assert!(!purges.cover(Some(bob), seconds(10), seconds(300), HOUR));
        assert!(!purges.cover(None, seconds(9), seconds(300), HOUR));
        assert!(!purges.cover(Some(bob), seconds(9), seconds(10 + 3600), HOUR));
        // an hour later there is room again
        for at in 0..10 {
            purges.note(seconds(5000 + at), HOUR, move |user| user == alice);
        }
        assert!(!purges.cover(Some(bob), seconds(4000), seconds(5010), HOUR));
        assert!(purges.cover(Some(alice), seconds(4000), seconds(5010), HOUR));
    }
}
