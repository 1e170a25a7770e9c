//! The requests of the admin interface: who may, what is there, what is said.
//!
//! **In:** a request, whoever sent it. **Out:** an answer that no browser keeps, frames or hands to another origin. **Never:** waits
//! for a body for ever; reads more of one than a purge takes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http::request::Parts;
use http_body_util::BodyExt;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::json;

use crate::app::admin::Desk;
use crate::app::admin::guard;
use crate::app::admin::guard::Refused;
use crate::app::admin::lobby::Turns;
use crate::app::admin::page;
use crate::app::admin::steer;
use crate::app::admin::view::Sources;
use crate::app::server::From;
use crate::app::server::whole;
use crate::config::Admin;
use crate::config::SecretSource;
use crate::config::file;
use crate::domain::printable;
use crate::domain::secret::Secret;
use crate::net::Body;
use crate::telemetry::interventions;
use crate::telemetry::interventions::Intervention;

/// The longest body.
const LONGEST_BODY: usize = 4 * 1024;
/// How long one may take to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest token.
const LONGEST_TOKEN: u64 = 16 * 1024;

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Page,
    Status,
    Routes,
    IdentityProviders,
    Cache,
    Events,
    Config,
    Purge,
    LogLevel,
}

/// What a request is refused with.
struct Refusal {
    status: StatusCode,
    /// For the line of an intervention.
    word: &'static str,
    detail: String,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Page,
            "/api/v1/status" => Self::Status,
            "/api/v1/routes" => Self::Routes,
            "/api/v1/identity_providers" => Self::IdentityProviders,
            "/api/v1/cache" => Self::Cache,
            "/api/v1/events" => Self::Events,
            "/api/v1/config" => Self::Config,
            "/api/v1/cache/purge" => Self::Purge,
            "/api/v1/log_level" => Self::LogLevel,
            _ => return None,
        })
    }

    /// What it does, if it changes anything.
    fn action(self) -> Option<&'static str> {
        match self {
            Self::Purge => Some("cache_purge"),
            Self::LogLevel => Some("log_level"),
            _ => None,
        }
    }

    fn allowed(self) -> &'static str {
        if self.action().is_some() { "POST" } else { "GET, HEAD" }
    }
}

/// The answer to `request`, at an interface guarded as `admin` says.
pub async fn answer(desk: &Desk, admin: &Admin, turns: &Turns, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let place = Place::of(head.uri.path());
    let action = place.and_then(Place::action).filter(|_| head.method == Method::POST);
    let answered = match admitted(admin, &head, action).await {
        Ok(()) => match (place, action) {
            (None, _) => Err(not_found()),
            (Some(place), Some(_)) => steered(desk, place, &head, body).await,
            (Some(place), None) if is_read(&head.method) && place.action().is_none() => {
                let _turn = turns.next().await;
                Ok(shown(desk, admin, place, &head))
            }
            (Some(place), None) => return finished(not_allowed(place)),
        },
        Err(refusal) => {
            // of who wants to change something there is a line in any case
            if action.is_none() {
                told(refusal, &head);
            }
            Err(refusal.into())
        }
    };
    let response = answered.unwrap_or_else(|refusal| {
        if let Some(action) = action {
            intervention(&head, action, refusal.word).log();
        }
        refused(&refusal)
    });
    finished(response)
}

fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Tells the log of somebody who wanted to look and has the wrong token, or that nobody can have the right one. Who shows none may
/// be a browser that is about to ask for it.
fn told(refusal: Refused, head: &Parts) {
    if matches!(refusal, Refused::WrongToken | Refused::TokenUnreadable) {
        interventions::refused(refusal.word(), peer(head));
    }
}

/// Whether the request may go on: first of all for this host, then by whoever has the token, then as one that is meant.
async fn admitted(admin: &Admin, head: &Parts, action: Option<&str>) -> Result<(), Refused> {
    guard::check_host(admin, &head.uri, &head.headers)?;
    if let Some(source) = &admin.token {
        let token = token(source).await.ok_or(Refused::TokenUnreadable)?;
        guard::check_token(&token, &head.headers)?;
    }
    action.map_or(Ok(()), |_| guard::check_intent(&head.headers))
}

/// The token as it is now.
async fn token(source: &SecretSource) -> Option<Secret> {
    let path = match source {
        SecretSource::Here(secret) => return Some(secret.clone()),
        SecretSource::File(path) => path.clone(),
    };
    // a file system can hang
    let reading = tokio::task::spawn_blocking(move || read(&path));
    tokio::time::timeout(PATIENCE, reading).await.ok()?.ok()?
}

fn read(path: &Path) -> Option<Secret> {
    let text = file::read(path, LONGEST_TOKEN).ok()?;
    Secret::from_line(&text).ok()
}

/// What somebody looks at.
fn shown(desk: &Desk, admin: &Admin, place: Place, head: &Parts) -> Response<Body> {
    let config = desk.config();
    let sources = Sources::new(desk, &config);
    let all = sources.whole();
    match place {
        Place::Page => {
            let frame = page::Frame {
                refresh: refresh(head.uri.query().unwrap_or_default()),
                base: base(admin, &head.headers),
                has_token: admin.token.is_some(),
                config: &config.written.values(),
                now: sources.now,
            };
            html(page::page(&all, &frame))
        }
        Place::Status => json_of(&all.status),
        Place::Routes => json_of(&all.routes),
        Place::IdentityProviders => json_of(&all.identity_providers),
        Place::Cache => json_of(&all.cache),
        Place::Events => json_of(&all.events),
        Place::Config | Place::Purge | Place::LogLevel => {
            json_of(&json!({ "configuration": config.written.values() }))
        }
    }
}

/// What somebody does.
async fn steered(desk: &Desk, place: Place, head: &Parts, body: Incoming) -> Result<Response<Body>, Refusal> {
    let body = collected(body).await?;
    match place {
        Place::Purge => {
            let purged = steer::purge(desk, &body)?;
            let (user, tokens) = (Some(purged.user.as_str()), Some(purged.tokens));
            Intervention { user, tokens, ..intervention(head, "cache_purge", "ok") }.log();
            Ok(json_of(&purged))
        }
        Place::LogLevel => {
            let level = steer::log_level(desk, &body)?;
            Intervention { level: Some(&level.level), ..intervention(head, "log_level", "ok") }.log();
            Ok(json_of(&level))
        }
        _ => Err(not_found()),
    }
}

fn intervention<'a>(head: &Parts, action: &'a str, outcome: &'a str) -> Intervention<'a> {
    Intervention { action, peer: peer(head), outcome, user: None, tokens: None, level: None }
}

fn peer(head: &Parts) -> Option<SocketAddr> {
    head.extensions.get::<From>().map(|From(peer)| *peer)
}

async fn collected(body: Incoming) -> Result<Bytes, Refusal> {
    let refusal = |status, word, detail: &str| Refusal { status, word, detail: detail.into() };
    let collecting = Limited::new(body, LONGEST_BODY).collect();
    match tokio::time::timeout(PATIENCE, collecting).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too long"))
        }
        Ok(Err(_)) => Err(refusal(StatusCode::BAD_REQUEST, "cut", "the body broke off")),
        Err(_) => Err(refusal(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not come in time")),
    }
}

impl std::convert::From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self { status: refused.status(), word: refused.word(), detail: refused.to_string() }
    }
}

impl std::convert::From<steer::Error> for Refusal {
    fn from(error: steer::Error) -> Self {
        let word = match error {
            steer::Error::Body(_) => "invalid",
            steer::Error::NoLog => "unavailable",
        };
        Self { status: error.status(), word, detail: error.to_string() }
    }
}

fn not_found() -> Refusal {
    let detail = "there is / and /api/v1/{status,routes,identity_providers,cache,events,config}".into();
    Refusal { status: StatusCode::NOT_FOUND, word: "not_found", detail }
}

fn not_allowed(place: Place) -> Response<Body> {
    let (status, detail) = (StatusCode::METHOD_NOT_ALLOWED, format!("send {}", place.allowed()));
    let mut response = refused(&Refusal { status, word: "method_not_allowed", detail });
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(place.allowed()));
    response
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let Refusal { status, detail, .. } = refusal;
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    let mut response = json_of(&body);
    *response.status_mut() = *status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if *status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"obo-proxy admin\", charset=\"UTF-8\"");
        headers.insert(header::WWW_AUTHENTICATE, challenge);
        headers
            .append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"obo-proxy admin\""));
    }
    response
}

fn json_of(value: &impl Serialize) -> Response<Body> {
    let body = printable::json(serde_json::to_string_pretty(value).unwrap_or_default()) + "\n";
    let mut response = Response::new(whole(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn html(page: String) -> Response<Body> {
    let mut response = Response::new(whole(page));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// With what holds for every answer.
fn finished(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (http::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(page::content_security_policy()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// How often the page is to be loaded anew, in seconds, if somebody asks for that.
fn refresh(query: &str) -> Option<u32> {
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("refresh="))?;
    asked.parse().ok().filter(|seconds| (2..=3600).contains(seconds))
}

/// Where the caller reaches us: as it said, if that is fit to be pasted into a shell.
fn base(admin: &Admin, headers: &HeaderMap) -> String {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match named.filter(|host| host.bytes().all(is_plain)) {
        Some(host) => format!("http://{host}"),
        None => format!("http://{}", admin.address),
    }
}
