//! Refusals as gRPC callers read them: Trailers-Only, which is a header block without a body
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>). Pure.

use std::fmt::Write;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;
use http::header::CONTENT_TYPE;

const GRPC: &str = "application/grpc";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// How a caller reads a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// By its status, with a body of problem details.
    Http,
    /// By `grpc-status`.
    Grpc,
}

impl Dialect {
    /// What the caller speaks who sent a request with these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
        match content_type.get(..GRPC.len()) {
            Some(start) if start.eq_ignore_ascii_case(GRPC.as_bytes()) => Self::Grpc,
            _ => Self::Http,
        }
    }
}

/// The fields that say a refusal of that status. They go with HTTP status 200 and no body.
pub fn trailers_only(status: StatusCode, sentence: &str) -> [(HeaderName, HeaderValue); 3] {
    [
        (CONTENT_TYPE, HeaderValue::from_static(GRPC)),
        (STATUS, HeaderValue::from(code(status))),
        (MESSAGE, message(sentence)),
    ]
}

/// The gRPC code of what is `status` in HTTP
/// (<https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>).
fn code(status: StatusCode) -> u16 {
    const UNKNOWN: u16 = 2;
    const INVALID_ARGUMENT: u16 = 3;
    const DEADLINE_EXCEEDED: u16 = 4;
    const PERMISSION_DENIED: u16 = 7;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    const UNAUTHENTICATED: u16 = 16;
    match status.as_u16() {
        400 => INVALID_ARGUMENT,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 | 405 | 417 | 501 => UNIMPLEMENTED,
        413 | 431 => RESOURCE_EXHAUSTED,
        500 => INTERNAL,
        502 | 503 => UNAVAILABLE,
        408 | 504 => DEADLINE_EXCEEDED,
        _ => UNKNOWN,
    }
}

/// `sentence` with everything but visible ASCII and the blank percent-encoded, and the percent sign too.
fn message(sentence: &str) -> HeaderValue {
    let mut encoded = String::with_capacity(sentence.len());
    for byte in sentence.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            // writing to a String does not fail
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    HeaderValue::try_from(encoded).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::respond::reason::Reason;

    #[test]
    fn every_reason_has_its_grpc_status() {
        for (reason, code) in [
            ("access_denied", 7),
            ("alg_not_allowed", 16),
            ("app_token_not_allowed", 7),
            ("assertion_rejected", 16),
            ("bad_request", 3),
            ("bad_signature", 16),
            ("body_too_large", 8),
            ("client_not_allowed", 7),
            ("consent_required", 16),
            ("expectation_failed", 12),
            ("headers_too_large", 8),
            ("idp_bad_response", 14),
            ("idp_throttled", 14),
            ("idp_unavailable", 14),
            ("insufficient_scope", 7),
            ("interaction_loop", 16),
            ("interaction_required", 16),
            ("internal_error", 13),
            ("invalid_path", 3),
            ("invalid_request", 3),
            ("keys_unavailable", 14),
            ("malformed_token", 16),
            ("method_not_allowed", 12),
            ("missing_token", 16),
            ("no_route", 12),
            ("not_an_access_token", 16),
            ("not_implemented", 12),
            ("overloaded", 14),
            ("proxy_misconfigured", 14),
            ("request_timeout", 4),
            ("tenant_not_allowed", 16),
            ("token_expired", 16),
            ("token_not_yet_valid", 16),
            ("unknown_key", 16),
            ("unsupported_cnf", 16),
            ("upstream_timeout", 4),
            ("upstream_unreachable", 14),
            ("wrong_audience", 16),
            ("wrong_issuer", 16),
        ]
        .into_iter()
        .zip(Reason::ALL)
        .map(|((word, code), reason)| {
            assert_eq!(word, reason.as_str());
            (reason, code)
        }) {
            let row = reason.row();
            let [content_type, status, message] = trailers_only(row.status, row.detail);
            assert_eq!(content_type, (CONTENT_TYPE, HeaderValue::from_static("application/grpc")));
            assert_eq!(status, (STATUS, HeaderValue::from(code)), "{}", row.word);
            // the sentences are plain, so that they can be read where nothing decodes them
            assert_eq!(message, (MESSAGE, HeaderValue::from_static(row.detail)), "{}", row.word);
        }
    }

    #[test]
    fn the_content_type_tells_a_grpc_call() {
        for (content_type, dialect) in [
            ("application/grpc", Dialect::Grpc),
            ("application/grpc+proto", Dialect::Grpc),
            ("Application/GRPC; charset=utf-8", Dialect::Grpc),
            ("application/grpc-web-text", Dialect::Grpc),
            ("application/grp", Dialect::Http),
            ("text/plain; application/grpc", Dialect::Http),
            ("", Dialect::Http),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            assert_eq!(Dialect::of(&headers), dialect, "{content_type}");
        }
        assert_eq!(Dialect::of(&HeaderMap::new()), Dialect::Http);
    }

    #[test]
    fn a_message_is_percent_encoded() {
        assert_eq!(message("100 % — \r\nx"), "100 %25 %E2%80%94 %0D%0Ax");
    }

    proptest! {
        #[test]
        fn any_sentence_is_a_message_and_can_be_read_back(sentence in ".*") {
            let message = message(&sentence);
            // a form encodes percent signs alike, and some further characters
            let form = format!("x={}", message.to_str().unwrap().replace('+', "%2B").replace('&', "%26"));
            let (_, read) = url::form_urlencoded::parse(form.as_bytes()).next().unwrap();
            prop_assert_eq!(read, sentence);
        }
    }
}
