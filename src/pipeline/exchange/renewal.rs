//! When a token B is renewed: not all at the same moment, and not again and again while it fails.

use std::sync::Mutex;
use std::sync::TryLockError;
use std::time::Duration;
use std::time::Instant;

use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::pipeline::exchange::lifetime::Lifetime;

/// Renewal begins up to this part of the margin earlier or later: users who came together do not renew together.
const SPREAD: u32 = 10;

/// The gap after the first attempt; it doubles from one to the next.
const SHORTEST_GAP: Duration = Duration::from_secs(10);

/// The longest gap: soon after the IdP is back, tokens are renewed.
const LONGEST_GAP: Duration = Duration::from_secs(60);

/// `life`, asked for at `asked_at`, renewed a little earlier or later: `key` decides, so that it is always the same
/// for one and different for many.
pub fn spread(life: Lifetime, asked_at: UnixTime, key: Digest) -> Lifetime {
    // never by much of the time until then, however early the IdP would like to be asked
    let most = (life.margin / SPREAD).min(life.renew_at.since(asked_at) / SPREAD).as_secs();
    let by = Duration::from_secs(number(key) % (2 * most + 1));
    Lifetime { renew_at: life.renew_at.before(Duration::from_secs(most)).after(by), ..life }
}

/// A number as random as the digest.
fn number(digest: Digest) -> u64 {
    // the last bytes: the first ones place it in hash maps
    digest.as_bytes().last_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

/// The attempts to renew one token B. That it is still there means that all of them failed.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<Made>);

#[derive(Clone, Copy, Debug, Default)]
struct Made {
    count: u32,
    last: Option<Instant>,
}

impl Attempts {
    /// Whether the one who asks may make an attempt `now`. A yes is used up by whoever gets it.
    pub fn begin(&self, now: Instant) -> bool {
        let mut made = match self.0.try_lock() {
            Ok(made) => made,
            // it is whole after each assignment
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // someone else is asking, and will do
            Err(TryLockError::WouldBlock) => return false,
        };
        let is_due = made.last.is_none_or(|last| now.saturating_duration_since(last) >= gap(made.count));
        if is_due {
            *made = Made { count: made.count.saturating_add(1), last: Some(now) };
        }
        is_due
    }
}

/// The gap after so many attempts.
fn gap(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    (SHORTEST_GAP * 2_u32.pow(doublings)).min(LONGEST_GAP)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::clock::Clock;

    const NOW: UnixTime = UnixTime::from_seconds(1_700_000_000);

    fn life(renew_in: u64, margin: u64) -> Lifetime {
        let margin = Duration::from_secs(margin);
        let renew_at = NOW.after(Duration::from_secs(renew_in));
        Lifetime { expires_on: renew_at.after(margin), renew_at, margin }
    }

    /// From when to when the tokens of many keys are renewed.
    fn range(life: Lifetime) -> (u64, u64) {
        let renewals: Vec<u64> = (0..4000_u32)
            .map(|key| spread(life, NOW, Digest::of(&key.to_be_bytes())).renew_at.since(NOW).as_secs())
            .collect();
        (*renewals.iter().min().unwrap(), *renewals.iter().max().unwrap())
    }

    #[test]
    fn many_keys_spread_over_a_tenth_of_the_margin_either_way() {
        for (renew_in, margin, expected) in [
            (3300, 300, (3270, 3330)),
            (75, 25, (73, 77)),
            (27, 9, (27, 27)),   // too short to be spread by whole seconds
            (40, 300, (36, 44)), // the IdP wants to be asked soon
            (0, 300, (0, 0)),
        ] {
            assert_eq!(range(life(renew_in, margin)), expected, "{renew_in} {margin}");
        }
    }

    #[test]
    fn no_second_of_the_spread_gets_far_more_than_its_share() {
        let mut seconds = [0_u32; 61];
        for key in 0..6100_u32 {
            let renewed = spread(life(3300, 300), NOW, Digest::of(&key.to_be_bytes())).renew_at;
            seconds[usize::try_from(renewed.since(NOW).as_secs() - 3270).unwrap()] += 1;
        }
        assert!(seconds.iter().all(|keys| (50..150).contains(keys)), "{seconds:?}");
    }

    proptest! {
        #[test]
        fn one_key_is_renewed_at_one_time_that_is_never_past_the_end(
            renew_in in 0_u64..100_000_000,
            margin in 0_u64..100_000_000,
            key in any::<[u8; 32]>(),
        ) {
            let (life, key) = (life(renew_in, margin), Digest::from(key));
            let one = spread(life, NOW, key);
            prop_assert_eq!(one, spread(life, NOW, key));
            prop_assert!(one.renew_at >= NOW && one.renew_at <= one.expires_on);
            prop_assert_eq!(one.expires_on, life.expires_on);
        }
    }

    #[test]
    fn attempts_are_made_ever_more_seldom_down_to_one_a_minute() {
        let start = Clock::manual(NOW).monotonic();
        let attempts = Attempts::default();
        let made: Vec<u64> =
            (0..300).filter(|second| attempts.begin(start + Duration::from_secs(*second))).collect();
        assert_eq!(made, [0, 10, 30, 70, 130, 190, 250]);
        assert_eq!(gap(u32::MAX), LONGEST_GAP);
    }
}
