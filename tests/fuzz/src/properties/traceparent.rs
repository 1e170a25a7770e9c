//! A `traceparent` field.

use http::HeaderValue;
use obo_proxy::telemetry::trace::trace_id;

/// What counts is what W3C Trace Context section 3.2 writes down for version 00.
pub fn check(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    assert_eq!(trace_id(&value), expected(bytes));
}

fn expected(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |text: &str| is_hex(text) && text.bytes().any(|byte| byte != b'0');
    let sound = text.is_ascii()
        && text.len() == 55
        && text.starts_with("00-")
        && (&text[35..36], &text[52..53]) == ("-", "-")
        && is_id(&text[3..35])
        && is_id(&text[36..52])
        && is_hex(&text[53..]);
    sound.then(|| &text[3..35])
}
