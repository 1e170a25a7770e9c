//! How commands put times and lists into words.

use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::clock::UnixTime;

/// `time` in the calendar, and how far it is from `now`: `2026-01-01T00:00:00Z, in 5 min`.
pub fn moment(time: UnixTime, now: UnixTime) -> String {
    let Ok(seconds) = u64::try_from(time.as_seconds()) else { return time.as_seconds().to_string() };
    // beyond the year 9999 there is no telling (RFC 3339 section 1)
    if seconds > 253_402_300_799 {
        return format!("{seconds}, out of the calendar");
    }
    let whole = Timestamp::new(Duration::from_secs(seconds)).to_string();
    let date = whole.split('.').next().unwrap_or_default();
    let far = match time.cmp(&now) {
        std::cmp::Ordering::Less => format!("{} ago", span(now.since(time))),
        std::cmp::Ordering::Equal => "now".to_owned(),
        std::cmp::Ordering::Greater => format!("in {}", span(time.since(now))),
    };
    format!("{date}Z, {far}")
}

/// How long that is, in the largest unit that says it without a fraction too many.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        0 if duration.subsec_millis() > 0 => (u64::from(duration.subsec_millis()), "ms"),
        0..120 => (seconds, "s"),
        120..7_200 => (seconds / 60, "min"),
        7_200..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{number} {unit}")
}

/// `a, b or c`.
pub fn any_of<T: AsRef<str>>(words: &[T]) -> String {
    joined(words, "or")
}

/// `a, b and c`.
pub fn all_of<T: AsRef<str>>(words: &[T]) -> String {
    joined(words, "and")
}

fn joined<T: AsRef<str>>(words: &[T], conjunction: &str) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        None => "none".into(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, before)) => format!("{} {conjunction} {last}", before.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_tell_them() {
        let now = UnixTime::from_seconds(1_795_000_000);
        for (offset, text) in [
            (0, "2026-11-18T11:06:40Z, now"),
            (-1, "2026-11-18T11:06:39Z, 1 s ago"),
            (119, "2026-11-18T11:08:39Z, in 119 s"),
            (-300, "2026-11-18T11:01:40Z, 5 min ago"),
            (7_200, "2026-11-18T13:06:40Z, in 2 h"),
            (-864_000, "2026-11-08T11:06:40Z, 10 days ago"),
        ] {
            assert_eq!(moment(UnixTime::from_seconds(1_795_000_000 + offset), now), text);
        }
        assert_eq!(moment(UnixTime::from_seconds(-5), now), "-5");
        assert!(moment(UnixTime::from_seconds(i64::MAX), now).ends_with("out of the calendar"));
    }

    #[test]
    fn lists_end_with_their_conjunction() {
        assert_eq!(any_of::<&str>(&[]), "none");
        assert_eq!(any_of(&["a"]), "a");
        assert_eq!(all_of(&["a", "b", "c"]), "a, b and c");
    }
}
