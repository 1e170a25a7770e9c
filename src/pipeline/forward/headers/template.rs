//! What a route's own fields say of a caller. Pure.
//!
//! Whatever a claim holds, it stays within its field and its place in a list: visible ASCII characters stand for
//! themselves, as does a space between them; everything else is percent-encoded as UTF-8 (RFC 3986 section 2.1), and so are
//! `%` itself and `,`. A comma then parts the items of a list and nothing else, and decoding gives back what the token said.

use std::fmt::Write;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;

use crate::config::Piece;
use crate::config::Template;
use crate::domain::caller::Claims;

/// The value that `template` has for the caller with these claims; `None` if one that it wants is absent, or is no text,
/// number or truth value, and no list of such.
pub fn rendered(template: &Template, claims: Option<&Claims>) -> Option<HeaderValue> {
    let mut text = String::new();
    for piece in &template.0 {
        match piece {
            Piece::Text(plain) => text.push_str(plain),
            Piece::Claim(name) => write_claim(&mut text, claims?.find(name)?)?,
        }
    }
    let mut value = HeaderValue::from_maybe_shared(Bytes::from(text)).ok()?;
    // of a person, or a key: HTTP/2 must not keep it beyond its request (RFC 7541 section 7.1.3)
    value.set_sensitive(true);
    Some(value)
}

/// Whether a field could say what `claim` holds.
pub fn can_say(claim: &Value) -> bool {
    write_claim(&mut String::new(), claim).is_some()
}

fn write_claim(out: &mut String, claim: &Value) -> Option<()> {
    let Value::Array(items) = claim else { return write_scalar(out, claim) };
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_scalar(out, item)?;
    }
    // nothing at all would look like one empty item
    (!items.is_empty()).then_some(())
}

fn write_scalar(out: &mut String, scalar: &Value) -> Option<()> {
    match scalar {
        Value::String(text) => write_text(out, text),
        Value::Number(_) | Value::Bool(_) => out.push_str(&scalar.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    }
    Some(())
}

fn write_text(out: &mut String, text: &str) {
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'%' | b',' => write_encoded(out, byte),
            b'!'..=b'~' => out.push(char::from(byte)),
            // at either end it would be lost on the way
            b' ' if at != 0 && at != last => out.push(' '),
            _ => write_encoded(out, byte),
        }
    }
}

fn write_encoded(out: &mut String, byte: u8) {
    // writing to a String does not fail
    let _ = write!(out, "%{byte:02X}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// What decoding makes of it: a form encodes percent signs alike, and some further characters.
    fn decoded(written: &str) -> String {
        let form = format!("x={}", written.replace('+', "%2B").replace('&', "%26"));
        let (_, text) = url::form_urlencoded::parse(form.as_bytes()).next().unwrap();
        text.into_owned()
    }

    fn claim(value: Value) -> Option<String> {
        let mut text = String::new();
        write_claim(&mut text, &value).map(|()| text)
    }

    #[test]
    fn a_claim_is_written_as_its_kind_is() {
        for (value, expected) in [
            (json!("7f3a"), Some("7f3a")),
            (json!(""), Some("")),
            (json!("Jane Doe"), Some("Jane Doe")),
            (json!(" Jane "), Some("%20Jane%20")),
            (json!("   "), Some("%20 %20")),
            (json!("Doe, Jane"), Some("Doe%2C Jane")),
            (json!("100%"), Some("100%25")),
            (json!("%0D%0A"), Some("%250D%250A")),
            (json!("a\r\nx-admin: 1"), Some("a%0D%0Ax-admin: 1")),
            (json!("a\u{0}\t\u{7f}"), Some("a%00%09%7F")),
            (json!("Jörg €"), Some("J%C3%B6rg %E2%82%AC")),
            (json!("q\"x\";y=z\\"), Some("q\"x\";y=z\\")),
            (json!(7), Some("7")),
            (json!(-1.5), Some("-1.5")),
            (json!(18_446_744_073_709_551_615_u64), Some("18446744073709551615")),
            (json!(true), Some("true")),
            (json!(false), Some("false")),
            (json!(["a", "b c", 1, true]), Some("a,b c,1,true")),
            (json!(["a,b"]), Some("a%2Cb")),
            (json!(["", ""]), Some(",")),
            (json!([""]), Some("")),
            (json!([]), None),
            (json!(null), None),
            (json!({"a": 1}), None),
            (json!([{"a": 1}]), None),
            (json!(["a", null]), None),
            (json!([["a"]]), None),
        ] {
            assert_eq!(claim(value.clone()).as_deref(), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_text_stays_within_its_field_and_can_be_read_back(text in any::<String>()) {
            let written = claim(json!(text)).unwrap();
            prop_assert!(written.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b','));
            prop_assert_eq!(written.trim(), &written);
            prop_assert!(HeaderValue::from_str(&written).is_ok());
            prop_assert_eq!(decoded(&written), text);
        }

        #[test]
        fn any_list_can_be_read_back(items in proptest::collection::vec(any::<String>(), 1..5)) {
            let written = claim(json!(items)).unwrap();
            let read: Vec<String> = written.split(',').map(decoded).collect();
            prop_assert_eq!(read, items);
        }
    }
}
