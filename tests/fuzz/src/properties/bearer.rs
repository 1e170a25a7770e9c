//! `Authorization` fields, one a line.

use http::HeaderMap;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use obo_proxy::pipeline::authenticate::bearer;
use obo_proxy::pipeline::authenticate::bearer::MAX_TOKEN;
use obo_proxy::pipeline::authenticate::bearer::Presented;
use obo_proxy::pipeline::authenticate::error::Kind;

/// A token is found where RFC 6750 section 2.1 sees one, and nowhere else.
pub fn check(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(AUTHORIZATION, value);
        }
    }
    let fields: Vec<&[u8]> = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes).collect();
    let expected = match fields.as_slice() {
        [field] => credentials(field),
        _ => None,
    };
    let found = bearer::presented(&headers).and_then(Presented::token);
    match (&found, expected) {
        (Ok(token), Some(expected)) => assert_eq!(token.expose().as_bytes(), expected),
        (Err(Kind::Malformed(_)), Some(expected)) => assert!(expected.len() > MAX_TOKEN),
        (Err(Kind::Malformed(_)), None) => assert!(fields[0].len() > MAX_TOKEN),
        (Err(Kind::MissingToken), None) => assert!(fields.len() <= 1),
        (Err(Kind::InvalidRequest), None) => assert!(!fields.is_empty()),
        _ => panic!("{found:?} in {fields:?}"),
    }
}

/// The token of `Bearer` and one space before a token68.
fn credentials(field: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = (field.get(..7)?, &field[7..]);
    let body = token.iter().position(|byte| *byte == b'=').map_or(token, |at| &token[..at]);
    let is_body = |byte: &u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    let is_token68 =
        !body.is_empty() && body.iter().all(is_body) && token[body.len()..].iter().all(|byte| *byte == b'=');
    (scheme.eq_ignore_ascii_case(b"bearer ") && is_token68).then_some(token)
}
