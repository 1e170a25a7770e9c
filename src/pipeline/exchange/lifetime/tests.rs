use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: UnixTime = UnixTime::from_seconds(1_493_423_469);
const MARGIN: Duration = Duration::from_secs(300);

fn secs(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn at(seconds: i64) -> Option<UnixTime> {
    Some(UnixTime::from_seconds(seconds))
}

#[test]
fn numbers_and_digits_are_seconds_and_nothing_else_is() {
    for (value, expected) in [
        (json!(3269), secs(3269)),
        (json!("43482"), secs(43482)),
        (json!(3599.0), secs(3599)),
        (json!("  43482 "), None),
        (json!("+5"), None),
        (json!("1e3"), None),
        (json!(""), None),
        (json!("99999999999999999999999"), None),
        (json!(1e300), None),
        (json!(-1), None),
        (json!(-0.5), None),
        (json!(0), None),
        (json!(null), None),
        (json!(true), None),
        (json!({}), None),
    ] {
        assert_eq!(duration(&value), expected, "{value}");
    }
    assert_eq!(moment(&json!("1493466951")), at(1_493_466_951));
    assert_eq!(moment(&json!(1_529_627_844)), at(1_529_627_844));
    assert_eq!(moment(&json!(4_102_444_800_u64)), at(4_102_444_800));
    assert_eq!(moment(&json!(4_102_444_801_u64)), None);
    assert_eq!(moment(&json!(1_493_466_951_000_u64)), None);
}

#[test]
fn the_life_ends_at_the_earlier_of_what_was_said() {
    let end = |expires_in, expires_on| {
        let stated = Stated { expires_in, expires_on, refresh_in: None };
        lifetime(stated, NOW, MARGIN).map(|life| life.expires_on.as_seconds() - NOW.as_seconds())
    };
    let on = |seconds: i64| at(NOW.as_seconds() + seconds);
    assert_eq!(end(secs(3600), None), Some(3600));
    assert_eq!(end(None, on(3600)), Some(3600));
    assert_eq!(end(secs(43482), at(1_493_466_951)), Some(43482)); // the v1 example of Microsoft's page
    assert_eq!(end(secs(3600), on(3500)), Some(3500));
    assert_eq!(end(secs(3600), on(7200)), Some(3660));
    assert_eq!(end(None, None), None);
    assert_eq!(end(None, on(0)), None);
    assert_eq!(end(secs(3600), on(-10)), None);
    assert_eq!(end(secs(366 * 24 * 3600), None), Some(366 * 24 * 3600));
    assert_eq!(end(secs(366 * 24 * 3600 + 1), None), None);
    assert_eq!(end(secs(u64::MAX), None), None);
    assert_eq!(end(secs(u64::MAX), on(60)), Some(60));
}

#[test]
fn renewal_begins_a_margin_or_a_quarter_before_the_end_or_when_the_idp_says() {
    let renewal = |expires_in, refresh_in| {
        let stated = Stated { expires_in: secs(expires_in), expires_on: None, refresh_in };
        lifetime(stated, NOW, MARGIN).unwrap().renew_at.as_seconds() - NOW.as_seconds()
    };
    assert_eq!(renewal(3600, None), 3300);
    assert_eq!(renewal(302, None), 227);
    assert_eq!(renewal(1, None), 1);
    assert_eq!(renewal(86400, secs(43200)), 43200);
    assert_eq!(renewal(3600, secs(7200)), 3300);
}

proptest! {
    #[test]
    fn a_cached_life_is_always_ahead_and_never_longer_than_said(
        expires_in in proptest::option::of(0_u64..),
        expires_on in proptest::option::of(any::<i64>()),
        refresh_in in proptest::option::of(0_u64..),
        now in any::<i64>(),
        margin in 0_u64..,
    ) {
        let stated = Stated {
            expires_in: expires_in.map(Duration::from_secs),
            expires_on: expires_on.map(UnixTime::from_seconds),
            refresh_in: refresh_in.map(Duration::from_secs),
        };
        let now = UnixTime::from_seconds(now);
        if let Some(life) = lifetime(stated, now, Duration::from_secs(margin)) {
            prop_assert!(life.expires_on > now && life.renew_at <= life.expires_on);
            prop_assert!(life.renew_at >= now);
            prop_assert!(stated.expires_on.is_none_or(|moment| life.expires_on <= moment));
            prop_assert!(stated.expires_in.is_none_or(|span| life.expires_on <= now.after(span).after(TOLERANCE)));
        }
    }
}
