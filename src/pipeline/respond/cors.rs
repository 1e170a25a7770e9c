//! What scripts in browsers are told of a route: which may call it, and what they may read (the Fetch standard's CORS
//! protocol). Pure.
//!
//! It says what browsers may show to whom; it keeps nobody out. No credentials are allowed: tokens travel in a field that
//! the script writes itself, and cookies would be sent without its knowledge.

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Empty;

use crate::config::Cors;
use crate::net::Body;

/// What beyond the usual scripts may read: what to do about a refusal, and what to quote.
const EXPOSED: HeaderValue = HeaderValue::from_static("WWW-Authenticate, x-request-id");
/// The same of an answer that is a gRPC refusal, which says in its fields what it is.
const EXPOSED_TO_GRPC: HeaderValue =
    HeaderValue::from_static("WWW-Authenticate, x-request-id, grpc-status, grpc-message");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Seconds for which a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const PREFLIGHT_VARY: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// A question whether a script may send a request.
#[derive(Clone, Copy, Debug)]
pub struct Preflight<'a> {
    /// Whose script.
    pub origin: &'a HeaderValue,
    /// The request's method.
    pub method: &'a Method,
    /// The methods that its route takes; none = every method.
    pub methods: &'a [Method],
    /// Its fields; `None` = they cannot be named.
    pub fields: Option<&'a [HeaderName]>,
}

/// The answer to a preflight: 204, and what is allowed. An origin that may not call is told so by the absence of all
/// that, which browsers report as what it is; another status they would report as a failure of the preflight.
pub fn answer(cors: &Cors, preflight: Preflight<'_>) -> Response<Body> {
    let mut response = Response::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::VARY, PREFLIGHT_VARY);
    let Some(allowed) = allowed(cors, Some(preflight.origin)) else { return response };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    let asked = std::slice::from_ref(preflight.method);
    let methods = if preflight.methods.is_empty() { asked } else { preflight.methods };
    let methods = list(methods.iter().map(Method::as_str));
    let fields = preflight.fields.filter(|fields| !fields.is_empty());
    let fields = fields.and_then(|fields| list(fields.iter().map(HeaderName::as_str)));
    for (name, value) in
        [(header::ACCESS_CONTROL_ALLOW_METHODS, methods), (header::ACCESS_CONTROL_ALLOW_HEADERS, fields)]
    {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}

/// Says in an answer whose scripts may read it, in place of what the upstream says of that.
pub fn share(headers: &mut HeaderMap, cors: &Cors, origin: Option<&HeaderValue>) {
    let of_upstream: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in of_upstream {
        headers.remove(name);
    }
    if *cors != Cors::Any {
        vary_by_origin(headers);
    }
    if let Some(allowed) = allowed(cors, origin) {
        let exposed = if headers.contains_key(GRPC_STATUS) { EXPOSED_TO_GRPC } else { EXPOSED };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// Who may read, as far as this origin is told.
fn allowed(cors: &Cors, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
    match cors {
        Cors::Any => origin.map(|_| ANY),
        Cors::Origins(listed) => listed.iter().find(|own| Some(*own) == origin).cloned(),
    }
}

/// A cache must not answer one origin with what was meant for another (RFC 9110 section 12.5.5).
fn vary_by_origin(headers: &mut HeaderMap) {
    let mut listed =
        headers.get_all(header::VARY).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let is_said = listed.any(|item| {
        let item = item.trim_ascii();
        item == b"*" || item.eq_ignore_ascii_case(b"origin")
    });
    if !is_said {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

fn list<'t>(items: impl Iterator<Item = &'t str>) -> Option<HeaderValue> {
    HeaderValue::try_from(items.collect::<Vec<_>>().join(", ")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://app.example";

    fn listed() -> Cors {
        Cors::Origins(vec![HeaderValue::from_static("https://other.example"), HeaderValue::from_static(OURS)])
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort_unstable();
        lines
    }

    const NO: [&str; 1] = ["vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers"];

    #[test]
    fn a_preflight_is_told_what_is_allowed_or_nothing() {
        let names = [HeaderName::from_static("authorization"), HeaderName::from_static("x-a")];
        let told = |cors: &Cors, origin: &'static str, methods: &[Method], fields: Option<&[HeaderName]>| {
            let origin = HeaderValue::from_static(origin);
            let preflight = Preflight { origin: &origin, method: &Method::PATCH, methods, fields };
            let response = answer(cors, preflight);
            assert_eq!(response.status(), StatusCode::NO_CONTENT);
            lines(response.headers())
        };
        assert_eq!(
            told(&listed(), OURS, &[], Some(&names)),
            [
                "access-control-allow-headers: authorization, x-a",
                "access-control-allow-methods: PATCH",
                "access-control-allow-origin: https://app.example",
                "access-control-max-age: 600",
                NO[0],
            ]
        );
        assert_eq!(
            told(&Cors::Any, "null", &[Method::GET, Method::PATCH], None),
            [
                "access-control-allow-methods: GET, PATCH",
                "access-control-allow-origin: *",
                "access-control-max-age: 600",
                NO[0],
            ]
        );
        for stranger in [
            "null",
            "https://app.example.evil",
            "https://App.example",
            "http://app.example",
            "https://app.example:444",
            "https://app.example, https://other.example",
            "*",
            "",
        ] {
            assert_eq!(told(&listed(), stranger, &[], Some(&names)), NO, "{stranger}");
        }
    }

    #[test]
    fn an_answer_is_shared_with_those_who_are_listed_whatever_the_upstream_says() {
        let told = |cors: &Cors, origin: Option<&'static str>, fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            share(&mut headers, cors, origin.map(HeaderValue::from_static).as_ref());
            lines(&headers)
        };
        let exposed = "access-control-expose-headers: WWW-Authenticate, x-request-id";
        let ours = "access-control-allow-origin: https://app.example";
        let generous = [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "x-secret"),
            ("access-control-allow-private-network", "true"),
            ("x-a", "1"),
        ];
        assert_eq!(told(&listed(), Some(OURS), &generous), [ours, exposed, "vary: Origin", "x-a: 1"]);
        assert_eq!(told(&listed(), Some("https://evil.example"), &generous), ["vary: Origin", "x-a: 1"]);
        assert_eq!(told(&listed(), None, &generous), ["vary: Origin", "x-a: 1"]);
        let any = ["access-control-allow-origin: *", exposed, "x-a: 1"];
        assert_eq!(told(&Cors::Any, Some("https://evil.example"), &generous), any);
        assert_eq!(told(&Cors::Any, None, &generous), ["x-a: 1"]);
        assert_eq!(
            told(&listed(), Some(OURS), &[("grpc-status", "16")])[1],
            format!("{exposed}, grpc-status, grpc-message")
        );
    }

    #[test]
    fn what_an_answer_varies_by_already_stays() {
        for (said, expected) in [
            (&["accept-encoding"][..], &["accept-encoding", "Origin"][..]),
            (&["Accept, ORIGIN"], &["Accept, ORIGIN"]),
            (&["*"], &["*"]),
            (&["a", "b"], &["a", "b", "Origin"]),
        ] {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(header::VARY, HeaderValue::from_static(value));
            }
            share(&mut headers, &listed(), None);
            assert_eq!(headers.get_all(header::VARY).iter().collect::<Vec<_>>(), expected, "{said:?}");
        }
    }
}
