//! Times, sizes and numbers as people read them.

use std::time::Duration;

/// How long before `now` that was, or how long after: "3 min ago", "in 12 d".
pub fn relative(now: Duration, then: Duration) -> String {
    match now.checked_sub(then) {
        Some(age) if age < Duration::from_secs(2) => "just now".into(),
        Some(age) => format!("{} ago", span(age)),
        None => format!("in {}", span(then.saturating_sub(now))),
    }
}

/// A span of time by its largest unit, or by two where the first says little.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds / 86_400, seconds / 3_600, seconds / 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours @ 1..=9, minutes) => format!("{hours} h {} min", minutes % 60),
        (0, hours, _) => format!("{hours} h"),
        (days @ 1..=2, hours, _) => format!("{days} d {} h", hours % 24),
        (days, ..) => format!("{days} d"),
    }
}

/// Bytes, to one decimal.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while let (true, Some(larger)) = (value >= 1024.0, units.as_slice().first()) {
        value /= 1024.0;
        unit = larger;
        units.next();
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// A count, with thin spaces between thousands.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// A number of which small ones matter too.
pub fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value > 0.0 => format!("{value:.2}"),
        _ => "0".into(),
    }
}

/// A part of a whole.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A word of ours as a label: `in_use` is "in use".
pub fn spaced(word: &str) -> String {
    word.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_now() {
        let now = Duration::from_secs(1_000_000);
        for (then, expected) in [
            (1_000_000, "just now"),
            (999_995, "5 s ago"),
            (999_820, "3 min ago"),
            (999_995 - 3_600, "1 h 0 min ago"),
            (1_000_000 - 40_000, "11 h ago"),
            (1_000_000 - 100_000, "1 d 3 h ago"),
            (1_000_000 - 900_000, "10 d ago"),
            (1_000_030, "in 30 s"),
            (1_000_000 + 12 * 86_400, "in 12 d"),
        ] {
            assert_eq!(relative(now, Duration::from_secs(then)), expected);
        }
    }

    #[test]
    fn sizes_and_counts_are_short() {
        let sizes = [0, 1_023, 1_024, 67_108_864, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "64.0 MiB", "16777216.0 TiB"]);
        let counts = [0, 999, 1_000, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1\u{2009}000", "1\u{2009}234\u{2009}567"]);
        let numbers = [0.0, 0.017, 9.99, 10.04, 123.4].map(number);
        assert_eq!(numbers, ["0", "0.02", "9.99", "10.0", "123"]);
        assert_eq!((percent(0.5), spaced("in_use")), ("50.0 %".into(), "in use".into()));
    }
}
