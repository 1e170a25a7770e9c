//! Whether a request head means one thing only (RFC 9112 sections 3.2 and 6.1).

use std::net::Ipv6Addr;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::Version;
use http::header::CONTENT_LENGTH;
use http::header::COOKIE;
use http::header::EXPECT;
use http::header::HOST;
use http::header::TRANSFER_ENCODING;
use http::request::Parts;
use http::uri::PathAndQuery;

use crate::config::UnderscoreHeaders;
use crate::domain::websocket::WebSocket;
use crate::pipeline::accept::fragment::Fragment;

/// Why a head is refused. But for a method, the connection cannot be trusted to go on afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// CONNECT or TRACE.
    #[error("the method is not served")]
    MethodNotAllowed,
    /// An `Expect` other than `100-continue`.
    #[error("the expectation is not known")]
    ExpectationFailed,
    /// A transfer coding other than `chunked`.
    #[error("the transfer coding is not known")]
    NotImplemented,
    /// The head is malformed or ambiguous.
    #[error("{0}")]
    BadRequest(&'static str),
}

/// Refuses a head that could be read in two ways, and drops header names with `_` if told so.
///
/// # Errors
/// If the head is one that back ends are known to disagree about, or asks for what a proxy of this kind does not do.
pub fn check(parts: &mut Parts, underscore: UnderscoreHeaders) -> Result<(), Error> {
    check_target(parts)?;
    if parts.version == Version::HTTP_2 {
        check_http2(parts)?;
    }
    check_transfer_encoding(parts)?;
    check_host(parts)?;
    if parts.extensions.get() == Some(&WebSocket::ExtendedConnect) {
        // in HTTP/1.1 it is one (RFC 6455 section 4.1)
        parts.method = Method::GET;
    }
    // in any spelling: there are servers to which `connect` is CONNECT
    if ["CONNECT", "TRACE"].iter().any(|method| parts.method.as_str().eq_ignore_ascii_case(method)) {
        return Err(Error::MethodNotAllowed);
    }
    check_expect(&parts.headers)?;
    check_query(parts.uri.query().unwrap_or_default())?;
    match underscore {
        UnderscoreHeaders::Drop => drop_underscored(&mut parts.headers),
        UnderscoreHeaders::Keep => {}
    }
    if parts.version == Version::HTTP_2 {
        speak_http1(parts);
    }
    Ok(())
}

/// Says in HTTP/1.1's words what HTTP/2 says otherwise, so that the stages know one language: the authority is the
/// Host (RFC 9113 section 8.3.1), and cookies are one field (section 8.2.3).
fn speak_http1(parts: &mut Parts) {
    if let Some(host) = parts.uri.authority().and_then(|own| HeaderValue::try_from(own.as_str()).ok()) {
        parts.headers.insert(HOST, host);
    }
    let mut crumbs = parts.headers.get_all(COOKIE).iter();
    if crumbs.next().is_some() && crumbs.next().is_some() {
        // an empty one would leave a blank at the end, which no value may have
        let crumbs = parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        let crumbs: Vec<&[u8]> = crumbs.filter(|crumb| !crumb.is_empty()).collect();
        // each crumb was a field value, and so is their sum
        if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
            parts.headers.insert(COOKIE, cookie);
        }
    }
}

/// What hyper made of the target is without the fragment.
fn check_target(parts: &Parts) -> Result<(), Error> {
    match parts.extensions.get() {
        Some(Fragment) => Err(Error::BadRequest("the target has a fragment")),
        None => Ok(()),
    }
}

/// What HTTP/2 forbids and hyper lets through: blanks around a value, which the next reader drops (RFC 9113 section
/// 8.2.1), a target that has no path (section 8.3.1), a length that is said twice.
fn check_http2(parts: &Parts) -> Result<(), Error> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let mut lengths = 0;
    for (name, value) in &parts.headers {
        if is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last()) {
            return Err(Error::BadRequest("a field's value begins or ends with a blank"));
        }
        lengths += usize::from(name == CONTENT_LENGTH);
    }
    if lengths > 1 {
        return Err(Error::BadRequest("there is more than one Content-Length"));
    }
    match parts.uri.path_and_query().map(PathAndQuery::as_str) {
        Some(target) if !target.starts_with('/') && target != "*" => {
            Err(Error::BadRequest("the target has no path"))
        }
        _ => Ok(()),
    }
}

fn check_transfer_encoding(parts: &Parts) -> Result<(), Error> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(_), _) if parts.version < Version::HTTP_11 => {
            Err(Error::BadRequest("HTTP/1.0 has no transfer codings"))
        }
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Error::NotImplemented),
    }
}

fn check_host(parts: &Parts) -> Result<(), Error> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Error::BadRequest("there is more than one Host"));
    }
    let is_named = match parts.version {
        Version::HTTP_11 => host.is_some(),
        Version::HTTP_2 => host.is_some() || parts.uri.authority().is_some(),
        _ => true,
    };
    if !is_named {
        return Err(Error::BadRequest("there is no Host"));
    }
    if host.is_some_and(|host| !host.to_str().is_ok_and(is_host)) {
        return Err(Error::BadRequest("the Host is not valid"));
    }
    if parts.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(Error::BadRequest("the scheme is neither http nor https"));
    }
    let Some(authority) = parts.uri.authority() else { return Ok(()) };
    if !is_host(authority.as_str()) {
        return Err(Error::BadRequest("the authority is not valid"));
    }
    match host {
        Some(host) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            Err(Error::BadRequest("the authority is not the Host"))
        }
        _ => Ok(()),
    }
}

/// Whether `text` is a host name or address and perhaps a port: no userinfo, no list, no escapes.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_name = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let has_empty_label = name.starts_with('.') || name.as_bytes().windows(2).any(|pair| pair == b"..");
        !name.is_empty() && !has_empty_label && name.bytes().all(fits)
    };
    let is_address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .map(|ip| ip.parse::<Ipv6Addr>().is_ok());
    is_address.unwrap_or_else(|| is_name(host)) && port.is_none_or(is_port)
}

fn check_expect(headers: &HeaderMap) -> Result<(), Error> {
    let is_known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    match headers.get_all(EXPECT).iter().all(is_known) {
        true => Ok(()),
        false => Err(Error::ExpectationFailed),
    }
}

/// A token in the query ends up in logs, and RFC 9700 section 4.3.2 forbids it.
fn check_query(query: &str) -> Result<(), Error> {
    if query.is_empty() {
        return Ok(());
    }
    match url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token") {
        true => Err(Error::BadRequest("there is a token in the query")),
        false => Ok(()),
    }
}

fn drop_underscored(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str, headers: &[(&'static str, &'static str)]) -> Parts {
        let mut parts = http::Request::get(target).body(()).unwrap().into_parts().0;
        for (name, value) in headers {
            parts.headers.append(*name, HeaderValue::from_static(value));
        }
        parts
    }

    fn verdict(mut parts: Parts) -> Result<(), Error> {
        check(&mut parts, UnderscoreHeaders::Drop)
    }

    fn is_bad(result: Result<(), Error>) -> bool {
        matches!(result, Err(Error::BadRequest(_)))
    }

    #[test]
    fn there_is_one_valid_host() {
        for good in [
            "orders.example",
            "Orders.Example.:8443",
            "localhost",
            "my_service.ns",
            "127.0.0.1:0",
            "[::1]",
            "[2001:db8::1]:65535",
        ] {
            assert_eq!(verdict(parts("/", &[("host", good)])), Ok(()), "{good}");
        }
        for bad in [
            "",
            " ",
            "a b",
            "a,b",
            "user@a",
            "a:b",
            "a:",
            "a:1:2",
            "a:+1",
            "a:65536",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[fe80::1%25eth0]",
            "[zz]",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "%61",
            ".",
            ".example",
            "a..b",
            "http://a",
        ] {
            assert!(is_bad(verdict(parts("/", &[("host", bad)]))), "{bad}");
        }
        assert!(is_bad(verdict(parts("/", &[]))));
        assert!(is_bad(verdict(parts("/", &[("host", "a"), ("host", "a")]))));
        assert!(is_bad(verdict(parts("/", &[("host", "a"), ("host", "b")]))));
    }

    #[test]
    fn http_1_0_may_lack_a_host_but_not_have_two() {
        let old = |headers: &[(&'static str, &'static str)]| {
            let mut parts = parts("/", headers);
            parts.version = Version::HTTP_10;
            verdict(parts)
        };
        assert_eq!(old(&[]), Ok(()));
        assert!(is_bad(old(&[("host", "a"), ("host", "a")])));
        assert!(is_bad(old(&[("transfer-encoding", "chunked")])));
    }

    #[test]
    fn http_2_is_told_in_the_words_of_http_1() {
        let two = |target: &str, headers: &[(&'static str, &'static str)]| {
            let mut parts = parts(target, headers);
            parts.version = Version::HTTP_2;
            check(&mut parts, UnderscoreHeaders::Drop).map(|()| parts.headers)
        };
        let headers = two("http://a.example:80/x", &[("cookie", "a=b"), ("cookie", "c=d")]).unwrap();
        assert_eq!(headers[HOST], "a.example:80");
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=b; c=d"]);
        for (crumbs, joined) in [(["a=b", ""], "a=b"), (["", "a=b"], "a=b"), (["", ""], "")] {
            let headers = two("http://a/x", &crumbs.map(|crumb| ("cookie", crumb))).unwrap();
            assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), [joined]);
        }
        assert_eq!(two("http://a/x", &[("host", "a")]).unwrap()[HOST], "a");
        assert_eq!(two("/x", &[("host", "a")]).unwrap()[HOST], "a");
        for (target, host) in [("http://a/x", "b"), ("http://u@a/x", "a")] {
            assert!(matches!(two(target, &[("host", host)]), Err(Error::BadRequest(_))), "{target} {host}");
        }
        assert!(matches!(two("/x", &[]), Err(Error::BadRequest(_))));
    }

    #[test]
    fn what_http_2_forbids_is_refused_there_and_left_to_the_library_in_http_1() {
        for (target, headers) in [
            ("http://a/", &[("x", " y")][..]),
            ("http://a/", &[("x", "y\t")]),
            ("http://a/", &[("x", " ")]),
            ("http://a/", &[("content-length", "1"), ("content-length", "1")]),
            ("http://a?x=y", &[]),
        ] {
            let mut parts = parts(target, &[&[("host", "a")], headers].concat());
            assert_eq!(check(&mut parts.clone(), UnderscoreHeaders::Drop), Ok(()), "{target} {headers:?}");
            parts.version = Version::HTTP_2;
            assert!(is_bad(check(&mut parts, UnderscoreHeaders::Drop)), "{target} {headers:?}");
        }
    }

    #[test]
    fn an_authority_in_the_target_is_the_host() {
        for (target, host, good) in [
            ("http://a.example/x", "a.example", true),
            ("http://A.example:80/x", "a.example:80", true),
            ("http://a.example/x", "b.example", false),
            ("http://a.example:80/x", "a.example", false),
            ("http://user@a.example/x", "a.example", false),
            ("http://user@a.example/x", "user@a.example", false),
            ("ftp://a.example/x", "a.example", false),
        ] {
            assert_eq!(verdict(parts(target, &[("host", host)])).is_ok(), good, "{target} {host}");
        }
    }

    #[test]
    fn a_fragment_is_part_of_no_target() {
        let mut parts = parts("/", &[("host", "a")]);
        parts.extensions.insert(Fragment);
        assert!(is_bad(verdict(parts)));
    }

    #[test]
    fn chunked_is_the_only_transfer_coding() {
        let with = |codings: &[&'static str]| {
            let mut headers = vec![("host", "a")];
            headers.extend(codings.iter().map(|coding| ("transfer-encoding", *coding)));
            verdict(parts("/", &headers))
        };
        assert_eq!(with(&["chunked"]), Ok(()));
        assert_eq!(with(&["Chunked"]), Ok(()));
        for bad in [
            &["gzip, chunked"][..],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["gzip", "chunked"],
            &["identity"],
            &["xchunked"],
            &["chunked;a=b"],
            &[""],
        ] {
            assert_eq!(with(bad), Err(Error::NotImplemented), "{bad:?}");
        }
    }

    #[test]
    fn connect_and_trace_are_not_served() {
        for method in ["CONNECT", "TRACE", "connect", "Trace"] {
            let mut parts = parts("/", &[("host", "a")]);
            parts.method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(verdict(parts), Err(Error::MethodNotAllowed));
        }
    }

    #[test]
    fn only_100_continue_can_be_expected() {
        assert_eq!(verdict(parts("/", &[("host", "a"), ("expect", "100-Continue")])), Ok(()));
        for bad in ["", "100-continue, x", "x", "100-continue;a"] {
            assert_eq!(
                verdict(parts("/", &[("host", "a"), ("expect", bad)])),
                Err(Error::ExpectationFailed),
                "{bad}"
            );
        }
        let twice = parts("/", &[("host", "a"), ("expect", "100-continue"), ("expect", "x")]);
        assert_eq!(verdict(twice), Err(Error::ExpectationFailed));
    }

    #[test]
    fn a_token_in_the_query_is_refused_in_every_spelling() {
        for bad in ["/?access_token=x", "/?a=b&access_token", "/?%61ccess%5Ftoken=x"] {
            assert!(is_bad(verdict(parts(bad, &[("host", "a")]))), "{bad}");
        }
        for good in ["/access_token", "/?a=access_token", "/?my_access_token=x", "/?"] {
            assert_eq!(verdict(parts(good, &[("host", "a")])), Ok(()), "{good}");
        }
    }

    #[test]
    fn names_with_an_underscore_are_dropped_unless_kept() {
        let headers =
            [("host", "a"), ("x_forwarded_user", "eve"), ("x-channel", "web"), ("authorization_", "x")];
        let mut dropped = parts("/", &headers);
        check(&mut dropped, UnderscoreHeaders::Drop).unwrap();
        assert_eq!(dropped.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["host", "x-channel"]);
        let mut kept = parts("/", &headers);
        check(&mut kept, UnderscoreHeaders::Keep).unwrap();
        assert_eq!(kept.headers.len(), 4);
    }
}
