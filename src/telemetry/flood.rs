//! One line a second where a thousand would say the same: while an IdP is down, every request has its warning.

use std::collections::HashMap;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

/// The shortest gap between two lines of one kind.
const GAP: Duration = Duration::from_secs(1);

/// Most kinds that are told apart; the names in them come from the configuration, so there are not many. Lines of
/// further kinds are all written.
const MOST_KINDS: usize = 1024;

/// Holds back lines that come too fast.
#[derive(Debug, Default)]
pub struct Floodgate(Mutex<HashMap<u64, Written>>);

/// The last line of a kind.
#[derive(Clone, Copy, Debug)]
struct Written {
    at: Instant,
    /// How many were held back since.
    suppressed: u64,
}

/// What happens to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It is written, after so many of its kind were not.
    Open {
        /// How many.
        suppressed: u64,
    },
    /// It is held back.
    Shut,
}

impl Floodgate {
    /// What happens to a line of that `kind` which comes `now`.
    pub fn passage(&self, kind: impl Hash, now: Instant) -> Passage {
        let mut hasher = DefaultHasher::new();
        kind.hash(&mut hasher);
        // nothing that can fail happens under this lock
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = kinds.len() < MOST_KINDS;
        match kinds.get_mut(&hasher.finish()) {
            Some(written) if now.saturating_duration_since(written.at) < GAP => {
                written.suppressed = written.suppressed.saturating_add(1);
                Passage::Shut
            }
            Some(written) => {
                let suppressed = written.suppressed;
                *written = Written { at: now, suppressed: 0 };
                Passage::Open { suppressed }
            }
            None => {
                if has_room {
                    kinds.insert(hasher.finish(), Written { at: now, suppressed: 0 });
                }
                Passage::Open { suppressed: 0 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;
    use crate::domain::clock::UnixTime;

    #[test]
    fn of_each_kind_one_line_a_second_is_written_and_says_how_many_were_not() {
        let gate = Floodgate::default();
        let start = Clock::manual(UnixTime::from_seconds(0)).monotonic();
        let open = |suppressed| Passage::Open { suppressed };
        for (milliseconds, kind, expected) in [
            (0, "down", open(0)),
            (0, "throttled", open(0)),
            (1, "down", Passage::Shut),
            (999, "down", Passage::Shut),
            (1000, "down", open(2)),
            (1999, "down", Passage::Shut),
            (5000, "down", open(1)),
            (9000, "down", open(0)),
            (9000, "throttled", open(0)),
        ] {
            let now = start + Duration::from_millis(milliseconds);
            assert_eq!(gate.passage(kind, now), expected, "{milliseconds} {kind}");
        }
    }

    #[test]
    fn kinds_beyond_the_bound_are_written_and_not_kept() {
        let gate = Floodgate::default();
        let now = Clock::manual(UnixTime::from_seconds(0)).monotonic();
        for kind in 0..2 * MOST_KINDS {
            assert_eq!(gate.passage(kind, now), Passage::Open { suppressed: 0 });
        }
        assert_eq!(gate.0.lock().unwrap().len(), MOST_KINDS);
        assert_eq!(gate.passage(0_usize, now), Passage::Shut);
    }
}
