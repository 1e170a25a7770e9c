//! Which fields go on, in both directions (RFC 9110 section 7.6, RFC 7239). The only place that writes
//! `Authorization`.

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::header;

use crate::config::FieldRules;
use crate::config::HOP_BY_HOP;
use crate::config::HostRewrite;
use crate::config::Scheme;
use crate::domain::peer::Trust;
use crate::pipeline::forward::Authorization;
use crate::pipeline::forward::Onward;
use crate::telemetry::trace;

mod template;

pub use template::can_say;

/// Fields by which callers who are no proxy would lie about where a request came from or went to.
const FORWARDING: [&str; 10] = [
    "forwarded",
    "x-real-ip",
    "x-rewrite-url",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-remote-ip",
    "x-remote-addr",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];

/// The same, by their beginning.
const FORWARDING_PREFIXES: [&str; 4] = ["x-forwarded", "x-original-", "x-envoy-", "x-proxyuser-"];

/// Fields that mean something before the content is read, so that they may not follow it (RFC 9110 section 6.5.1).
const NO_TRAILERS: [&str; 28] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "dpop",
    "expires",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "trailer",
    "vary",
    "www-authenticate",
    "x-request-id",
];

const FORWARDED: HeaderName = header::FORWARDED;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Makes the caller's fields those of the request that goes on. First everything goes that the caller's `Connection`
/// names, then ours are added: a caller cannot name ours away.
pub fn rewrite_request(headers: &mut HeaderMap, onward: &Onward<'_>) {
    let host = headers.get(header::HOST).cloned();
    let takes_trailers = lists(headers, &header::TE, "trailers");
    remove_named_by_connection(headers);
    let is_stranger = onward.peer.trust == Trust::Untrusted;
    // a proof for our own URI is none for the upstream's (RFC 9449 section 4.3)
    let is_unwanted =
        |name: &str| is_hop_by_hop(name) || name == "dpop" || (is_stranger && is_forwarding(name));
    remove_all(headers, is_unwanted);
    let rules = onward.route.treatment.headers.as_deref();
    if let Some(rules) = rules {
        remove_all(headers, |name| rules.owns(name));
    }
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    write_forwarding(headers, onward, host.as_ref());
    headers.remove(header::HOST);
    // without one, the upstream's own is added
    if let (HostRewrite::Preserve, Some(host)) = (onward.route.rewrite.host, host) {
        headers.insert(header::HOST, host);
    }
    write_authorization(headers, onward.authorization);
    headers.insert(X_REQUEST_ID, onward.request_id.clone());
    if headers.get_all(trace::TRACEPARENT).iter().nth(1).is_some() {
        // nobody can tell which trace it is in: whoever comes next begins one (W3C Trace Context section 3.2)
        headers.remove(trace::TRACEPARENT);
        headers.remove(trace::TRACESTATE);
    }
    if let Some(trace) = onward.trace {
        if trace.is_root {
            // it told of a trace that is not this one (W3C Trace Context section 3.3.1.1)
            headers.remove(trace::TRACESTATE);
        }
        headers.insert(trace::TRACEPARENT, trace.traceparent.clone());
    }
    for (name, template) in rules.into_iter().flat_map(|rules| &rules.set) {
        if let Some(value) = template::rendered(template, onward.caller) {
            headers.insert(name.clone(), value);
        }
    }
}

/// Makes the upstream's fields those of the answer.
pub fn rewrite_response(headers: &mut HeaderMap) {
    say_length_once(headers);
    remove_named_by_connection(headers);
    remove_all(headers, is_hop_by_hop);
}

/// Removes from a request's trailers what may not be in trailers, and what is for its route's `rules` to say.
pub fn rewrite_request_trailers(trailers: &mut HeaderMap, rules: Option<&FieldRules>) {
    rewrite_trailers(trailers);
    if let Some(rules) = rules {
        remove_all(trailers, |name| rules.owns(name));
    }
}

/// Removes from trailers what may not be in trailers.
pub fn rewrite_trailers(trailers: &mut HeaderMap) {
    remove_all(trailers, |name| NO_TRAILERS.contains(&name) || is_hop_by_hop(name) || is_forwarding(name));
}

/// Whether a message's content is framed in a way that survives the loss of its `Transfer-Encoding`.
pub fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    codings.next().is_none_or(is_chunked) && codings.next().is_none()
}

/// The client would take a GET of unknown length for one without a body: this says otherwise.
pub fn frame_chunked(headers: &mut HeaderMap) {
    headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
}

fn write_authorization(headers: &mut HeaderMap, authorization: Authorization<'_>) {
    let ours = match authorization {
        Authorization::Replace(value) => Some(value),
        // what the caller named in `Connection` was not meant for the upstream
        Authorization::Keep(value) => headers.contains_key(header::AUTHORIZATION).then_some(value),
        Authorization::Remove => None,
    };
    headers.remove(header::AUTHORIZATION);
    if let Some(mut value) = ours.cloned() {
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
}

/// Says where the request came from. What a trusted peer said is kept, and its own address added.
fn write_forwarding(headers: &mut HeaderMap, onward: &Onward<'_>, host: Option<&HeaderValue>) {
    let address = &onward.peer.forwarded_for;
    let (proto, default_port) = match onward.scheme {
        Scheme::Http => ("http", "80"),
        Scheme::Https => ("https", "443"),
    };
    let text = host.and_then(|host| host.to_str().ok());
    if let Some(address) = address {
        append(headers, X_FORWARDED_FOR, address.clone());
    }
    let address = address.as_ref().and_then(|address| address.to_str().ok());
    append(headers, FORWARDED, forwarded(address, text, proto));
    let port = match text.and_then(port) {
        Some(port) => HeaderValue::from_str(port).ok(),
        None => Some(HeaderValue::from_static(default_port)),
    };
    // ours would contradict a scheme or host that a trusted peer gave without a port
    let is_known = !headers.contains_key(X_FORWARDED_PROTO) && !headers.contains_key(X_FORWARDED_HOST);
    let ours = [
        (X_FORWARDED_PROTO, Some(HeaderValue::from_static(proto))),
        (X_FORWARDED_HOST, host.cloned()),
        (X_FORWARDED_PORT, port.filter(|_| is_known)),
    ];
    for (name, value) in ours {
        if let (header::Entry::Vacant(entry), Some(value)) = (headers.entry(name), value) {
            entry.insert(value);
        }
    }
}

/// Adds `element` to the end of the list `name`, in one field.
fn append(headers: &mut HeaderMap, name: HeaderName, element: HeaderValue) {
    match headers.entry(name) {
        header::Entry::Vacant(entry) => {
            entry.insert(element);
        }
        header::Entry::Occupied(mut entry) => {
            let said: Vec<&[u8]> = entry.iter().map(HeaderValue::as_bytes).collect();
            let list = [&said.join(&b", "[..]), element.as_bytes()].join(&b", "[..]);
            if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(list)) {
                entry.insert(value);
            }
        }
    }
}

/// An element of `Forwarded` (RFC 7239 section 4); an IPv6 address and a port want quotes.
fn forwarded(address: Option<&str>, host: Option<&str>, proto: &str) -> HeaderValue {
    let mut element = String::with_capacity(96);
    element.push_str("for=");
    match address {
        Some(address) if address.contains(':') => element.extend(["\"[", address, "]\""]),
        Some(address) => element.push_str(address),
        // at a Unix socket (section 6.2)
        None => element.push_str("unknown"),
    }
    if let Some(host) = host {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        element.push_str(";host=");
        match !host.is_empty() && host.bytes().all(is_token) {
            true => element.push_str(host),
            false => element.push_str(&format!("\"{}\"", host.replace('\\', "\\\\").replace('"', "\\\""))),
        }
    }
    element.push_str(";proto=");
    element.push_str(proto);
    // made of header values and the texts above
    HeaderValue::from_maybe_shared(Bytes::from(element)).unwrap_or(HeaderValue::from_static("for=unknown"))
}

fn port(host: &str) -> Option<&str> {
    let (_, port) = host.rsplit_once(':')?;
    (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(port)
}

/// Where content is chunked, a `Content-Length` beside it lies and must go (RFC 9112 section 6.3). Where the same length
/// is said several times, one is enough (RFC 9110 section 8.6); the client accepts no two that differ.
fn say_length_once(headers: &mut HeaderMap) {
    let Some(length) = headers.remove(header::CONTENT_LENGTH) else { return };
    let first = length.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    if let (false, Ok(first)) =
        (headers.contains_key(header::TRANSFER_ENCODING), HeaderValue::from_bytes(first))
    {
        headers.insert(header::CONTENT_LENGTH, first);
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

fn remove_named_by_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
}

fn remove_all(headers: &mut HeaderMap, is_unwanted: impl Fn(&str) -> bool) {
    let unwanted: Vec<HeaderName> =
        headers.keys().filter(|name| is_unwanted(name.as_str())).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
}

fn is_forwarding(name: &str) -> bool {
    let dashed = name.contains('_').then(|| name.replace('_', "-"));
    let name = dashed.as_deref().unwrap_or(name);
    FORWARDING.contains(&name) || FORWARDING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether `word` is in the list `name`, with whatever parameters.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(|item| {
        let item = item.split(|byte| *byte == b';').next().unwrap_or_default();
        item.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
    })
}

#[cfg(test)]
mod tests;
