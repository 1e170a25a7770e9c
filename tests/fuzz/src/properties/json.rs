//! A text that should be one unambiguous JSON object.

use obo_proxy::pipeline::authenticate::json;
use serde_json::Value;

/// What is accepted is what serde_json reads, says nothing twice, is as deep as it may be, and, fractions apart, can be written
/// and read back.
pub fn check(bytes: &[u8]) {
    let mut before = None;
    for depth in [0, 1, 2, 4, 8, 16, 64] {
        let own = json::object(bytes, depth).map(Value::Object);
        if let Some(before) = &before {
            assert_eq!(own.as_ref(), Some(before), "at depth {depth}");
        }
        let Some(value) = own else { continue };
        assert!(height(&value) <= depth);
        assert_eq!(serde_json::from_slice::<Value>(bytes).ok().as_ref(), Some(&value));
        // each member has one colon outside of texts: a member that was dropped for another would leave one over
        assert_eq!(colons(bytes), members(&value));
        if !has_fraction(&value) {
            let written = serde_json::to_vec(&value).unwrap();
            assert_eq!(json::object(&written, depth).map(Value::Object).as_ref(), Some(&value));
        }
        before = Some(value);
    }
}

fn height(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(height).max().unwrap_or(0),
        _ => 0,
    }
}

fn members(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(members).sum(),
        Value::Object(own) => own.len() + own.values().map(members).sum::<usize>(),
        _ => 0,
    }
}

/// serde_json reads fractions to within their last bit.
fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        Value::Number(number) => number.is_f64(),
        _ => false,
    }
}

fn colons(bytes: &[u8]) -> usize {
    let (mut count, mut is_text, mut is_escaped) = (0, false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b':' if !is_text => count += 1,
            _ => {}
        }
    }
    count
}
