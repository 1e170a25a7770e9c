//! A duration, as a command or a setting takes it.

use std::time::Duration;

use obo_proxy::config::duration;

/// Digits and a unit, and not for longer than a year.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let digits = text.trim_end_matches(['m', 's', 'h']);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let number = digits.parse::<u128>().ok().filter(|_| is_number);
    let milliseconds = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    let year = Duration::from_secs(366 * 24 * 3600);
    let expected = milliseconds.filter(|length| *length <= year.as_millis());
    assert_eq!(duration(text).map(|length| length.as_millis()), expected);
}
