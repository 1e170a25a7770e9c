//! `routes.*.match`.

use std::collections::BTreeMap;

use http::HeaderName;
use http::HeaderValue;
use http::Method;

use crate::config::HostPattern;
use crate::config::Match;
use crate::config::PathKind;
use crate::config::check::At;
use crate::config::check::items;
use crate::config::wire::route::MatchParts;

/// What a canonical path is.
pub const CANONICAL: &str = "write the path as it is compared: it begins with /, has no //, . or .. in it, and escapes only \
                             what must be, as in /caf%C3%A9";

/// Headers that cannot select a route: tokens are none of its business, the others are gone or mean something else.
const NOT_FOR_MATCHING: [&str; 12] = [
    "authorization",
    "proxy-authorization",
    "proxy-authenticate",
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// What a match says. `at` is the place of the match, `path_at` that of its path.
pub fn check(wire: &MatchParts, at: &At<'_>, path_at: &At<'_>) -> Option<Match> {
    let path_kind = if wire.exact == Some(true) { PathKind::Exact } else { PathKind::Prefix };
    let path = path(wire.path.as_deref().unwrap_or("/"), path_kind, path_at);
    let hosts = items(wire.host.as_ref(), &at.key("host")).unwrap_or_default();
    let hosts: Option<Vec<HostPattern>> = hosts.into_iter().map(|(text, at)| host(text, &at)).collect();
    let methods = items(wire.methods.as_ref(), &at.key("methods")).unwrap_or_default();
    let methods: Option<Vec<Method>> = methods.into_iter().map(|(text, at)| method(text, &at)).collect();
    let headers = headers(wire.headers.as_ref(), &at.key("headers"));
    Some(Match { hosts: hosts?, path: path?, path_kind, methods: methods?, headers: headers? })
}

fn path(text: &str, kind: PathKind, at: &At<'_>) -> Option<String> {
    if let Some(complaint) = not_canonical(text) {
        at.error_with(format!("`{}` is not a canonical path: {complaint}", at.shown(text)), CANONICAL);
        return None;
    }
    if kind == PathKind::Prefix && text.len() > 1 && text.ends_with('/') {
        let help =
            "leave the last / out: a prefix ends where a segment ends. For this very path add exact: true";
        at.error_with(format!("the prefix `{}` ends with /", at.shown(text)), help);
        return None;
    }
    Some(text.into())
}

/// What keeps a path from being canonical: a request's path is compared in that form, so no other can ever match.
pub fn not_canonical(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        return Some("it does not begin with /");
    }
    if path.contains("//") {
        return Some("it has // in it");
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Some("it has a . or .. segment");
    }
    let bytes = path.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'?' => return Some("a query cannot be matched"),
            b'#' => return Some("a fragment is never sent"),
            b'%' => {
                let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
                let (Some(high), Some(low)) = (hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) else {
                    return Some("% must be followed by two hexadecimal digits");
                };
                if path
                    .get(at + 1..at + 3)
                    .is_some_and(|digits| digits.bytes().any(|b| b.is_ascii_lowercase()))
                {
                    return Some("the digits of an escape are upper-case");
                }
                let escaped = u8::try_from(high * 16 + low).unwrap_or_default();
                match escaped {
                    b'/' | b'\\' => return Some("an escaped slash cannot be matched"),
                    b'%' => return Some("an escaped % cannot be matched"),
                    0..=0x1f | 0x7f => return Some("an escaped control character is never let through"),
                    _ if is_unreserved(escaped) => return Some("it escapes what needs no escape"),
                    _ => {}
                }
                at += 2;
            }
            byte if is_unreserved(*byte) || b"/!$&'()*+,;=:@".contains(byte) => {}
            _ => return Some("it has a character that must be escaped"),
        }
        at += 1;
    }
    None
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A host, or every host below one.
pub fn host(text: &str, at: &At<'_>) -> Option<HostPattern> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_prefix("*.").unwrap_or(&lower);
    let ipv6 = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let valid = match ipv6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok() && bare == lower,
        None => {
            bare.len() <= 253
                && bare.split('.').all(|label| {
                    (1..=63).contains(&label.len())
                        && label
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
                })
        }
    };
    if !valid {
        let help = "write a host name without a port, or *. and one for every host below it";
        at.error_with(format!("`{}` is not a host", at.shown(text)), help);
        return None;
    }
    Some(match lower.strip_prefix('*') {
        Some(suffix) => HostPattern::Wildcard(suffix.into()),
        None => HostPattern::Exact(lower),
    })
}

/// A method that is served.
pub fn method(text: &str, at: &At<'_>) -> Option<Method> {
    let shown = at.shown(text);
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        at.error_with(format!("`{shown}` is not a method"), "methods are upper-case, as in GET");
        return None;
    }
    if matches!(text, "CONNECT" | "TRACE") {
        at.error(format!("`{shown}` is never served"));
        return None;
    }
    let method = Method::from_bytes(text.as_bytes()).ok();
    if method.is_none() {
        at.error_with(format!("`{shown}` is not a method"), "write a method as it is sent, as in GET");
    }
    method
}

fn headers(
    written: Option<&BTreeMap<String, String>>,
    at: &At<'_>,
) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let mut complete = true;
    for (name, value) in written.into_iter().flatten() {
        let at = at.key(name);
        match header(name, value, &at) {
            Some((name, _)) if headers.iter().any(|(other, _)| *other == name) => {
                at.key_error(format!("the header `{name}` is there twice"), "case makes no difference");
                complete = false;
            }
            Some(header) => headers.push(header),
            None => complete = false,
        }
    }
    complete.then_some(headers)
}

fn header(name: &str, value: &str, at: &At<'_>) -> Option<(HeaderName, HeaderValue)> {
    let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
        at.key_error(
            format!("`{}` is not a header name", at.shown_name(name)),
            "write it as it is sent, as in x-channel",
        );
        return None;
    };
    if NOT_FOR_MATCHING.contains(&header.as_str()) {
        let help = "match another header; hosts have a key of their own";
        at.key_error(format!("the header `{header}` cannot select a route"), help);
        return None;
    }
    if value.is_empty()
        || !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        || value.trim() != value
    {
        at.error(format!("`{}` is not a value that a header can be compared with", at.shown(value)));
        return None;
    }
    HeaderValue::from_str(value).ok().map(|value| (header, value))
}
