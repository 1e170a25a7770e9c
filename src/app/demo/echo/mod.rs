//! The echo API: answers what it received, so that one sees what the proxy sends on.
//!
//! **In:** any request. **Out:** a JSON description of it; under `/demo/`, answers of every awkward kind.
//! **Never:** verifies the token it shows: it is no example of an API.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Buf;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::app::demo::frames::Frames;
use crate::app::server::Server;
use crate::app::server::Transport;
use crate::app::server::whole;
use crate::net::Body;
use crate::net::BoxError;

/// A running echo API. Dropping it stops it.
#[derive(Debug)]
pub struct Echo {
    server: Server,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: AtomicU64,
    headers: Mutex<Option<HeaderMap>>,
}

/// What the echo API answers.
#[derive(Serialize)]
struct Description<'a> {
    method: &'a str,
    path: &'a str,
    headers: BTreeMap<&'a str, String>,
    token: Option<Map<String, Value>>,
    body_bytes: u64,
}

impl Echo {
    /// Serves what `listener` accepts.
    ///
    /// # Errors
    /// If the listener has no address.
    pub fn start(listener: TcpListener, transport: Transport) -> io::Result<Self> {
        let seen = Arc::new(Seen::default());
        let noted = Arc::clone(&seen);
        let server = Server::start(listener, transport, move |request: Request<Incoming>| {
            noted.requests.fetch_add(1, Ordering::SeqCst);
            *noted.headers.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.headers().clone());
            answer(request)
        })?;
        Ok(Self { server, seen })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many requests came.
    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// The header of the last request, as it came.
    pub fn last_headers(&self) -> Option<HeaderMap> {
        self.seen.headers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the echo API answers, for servers that look at requests themselves.
pub async fn answer(request: Request<Incoming>) -> Response<Body> {
    match request.uri().path().strip_prefix("/demo/") {
        Some(kind) => {
            let kind = kind.to_owned();
            special(&kind, request).await
        }
        None => describe(request).await,
    }
}

async fn describe(request: Request<Incoming>) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    let mut body_bytes = 0_u64;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return plain(StatusCode::BAD_REQUEST, "the request body broke off\n");
        };
        let length = frame.data_ref().map_or(0, Buf::remaining);
        body_bytes = body_bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    let description = Description {
        method: head.method.as_str(),
        path: head.uri.path_and_query().map_or("/", |path| path.as_str()),
        headers: joined(&head.headers),
        token: head.headers.get(header::AUTHORIZATION).and_then(claims),
        body_bytes,
    };
    match serde_json::to_vec(&description) {
        Ok(json) => {
            let mut response = Response::new(whole(json));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the request cannot be described\n"),
    }
}

/// Several fields of one name are one, joined by commas (RFC 9110 section 5.3).
fn joined(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let values = |name| {
        let values = headers.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>().join(", ")
    };
    headers.keys().map(|name| (name.as_str(), values(name))).collect()
}

/// The payload of the bearer token, if there is one and it is a JWT. Nothing is verified.
fn claims(authorization: &HeaderValue) -> Option<Map<String, Value>> {
    let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(())?;
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// The answers under `/demo/`: what an API may do to a proxy.
async fn special(kind: &str, request: Request<Incoming>) -> Response<Body> {
    let frame = |text: String| Ok(Frame::data(Bytes::from(text)));
    match kind.split_once('/').unwrap_or((kind, "")) {
        ("status", code) => match code.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok()) {
            // 1xx is no final status: hyper would refuse to send it
            Some(status) if !status.is_informational() => plain(status, ""),
            _ => plain(StatusCode::BAD_REQUEST, "no status code\n"),
        },
        ("drip", "") => {
            let chunks = number(&request, "chunks").unwrap_or(3).min(100_000);
            let pause = Duration::from_millis(number(&request, "pause_ms").unwrap_or(0));
            let chunks = (1..=chunks).map(|chunk| frame(format!("chunk {chunk}\n")));
            Response::new(Body::new(Frames::new(chunks, pause)))
        }
        ("echo-body", "") => {
            let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
            let body = request.into_body().map_err(BoxError::from).boxed_unsync();
            let mut response = Response::new(body);
            if let Some(content_type) = content_type {
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            }
            response
        }
        ("trailers", "") => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-checksum", HeaderValue::from_static("42"));
            let frames = [frame("body\n".to_owned()), Ok(Frame::trailers(trailers))];
            let mut response = Response::new(Body::new(Frames::new(frames, Duration::ZERO)));
            // hyper sends only the trailers that were announced, to callers that said `TE: trailers`
            response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-checksum"));
            response
        }
        ("challenge", acrs) => {
            let claims = format!(r#"{{"access_token":{{"acrs":{{"essential":true,"value":"{acrs}"}}}}}}"#);
            let challenge = format!(
                r#"Bearer realm="", authorization_uri="https://login.example/common/oauth2/authorize", client_id="another", error="insufficient_claims", claims="{}""#,
                STANDARD.encode(claims)
            );
            let is_satisfied = |token: &Map<String, Value>| {
                let held = token.get("acrs").and_then(Value::as_array);
                held.is_some_and(|held| held.iter().any(|held| held == acrs))
            };
            let is_endless = number(&request, "endless").is_some();
            challenged(request, &challenge, |token| is_satisfied(token) && !is_endless).await
        }
        ("step-up", "") => {
            let challenge =
                r#"Bearer error="insufficient_user_authentication", acr_values="gold", max_age="300""#;
            challenged(request, challenge, |_| false).await
        }
        ("issued-since", since) => {
            let since: i64 = since.parse().unwrap_or(i64::MAX);
            let is_young = |token: &Map<String, Value>| {
                token.get("iat").and_then(Value::as_i64).is_some_and(|issued| issued >= since)
            };
            challenged(request, r#"Bearer realm="another", error="invalid_token""#, is_young).await
        }
        ("hang", "") => std::future::pending().await,
        ("reset", "") => {
            let broken = Err(BoxError::from("broken off on request"));
            Response::new(Body::new(Frames::new([frame("half\n".to_owned()), broken], Duration::ZERO)))
        }
        _ => plain(
            StatusCode::NOT_FOUND,
            "one of /demo/status/CODE, /demo/drip?chunks=N&pause_ms=N, /demo/echo-body, /demo/trailers, \
             /demo/challenge/ACRS[?endless=1], /demo/step-up, /demo/issued-since/SECONDS, /demo/hang, /demo/reset\n",
        ),
    }
}

/// The request described if its token `will_do`; else `401` with that challenge, when all of the request is there.
async fn challenged(
    request: Request<Incoming>,
    challenge: &str,
    will_do: impl FnOnce(&Map<String, Value>) -> bool,
) -> Response<Body> {
    let token = request.headers().get(header::AUTHORIZATION).and_then(claims);
    let description = describe(request).await;
    if token.is_some_and(|token| will_do(&token)) {
        return description;
    }
    let mut response = plain(StatusCode::UNAUTHORIZED, "another token is needed\n");
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn number(request: &Request<Incoming>, name: &str) -> Option<u64> {
    let query = request.uri().query().unwrap_or_default();
    let (_, value) = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name)?;
    value.parse().ok()
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(whole(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests;
