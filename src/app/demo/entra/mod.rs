//! An emulated Microsoft Entra: metadata, keys, the On-Behalf-Of token endpoint, and tokens A for the asking.
//!
//! **In:** registrations and a listener. **Out:** what the real one would answer, or what a test told it to.
//! **Never:** takes a request the real one refuses; uses the proxy's own checks to check the proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::request::Parts;
use http_body_util::BodyExt;
use http_body_util::Limited;
use hyper::body::Incoming;
use serde_json::Map;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::app::demo::entra::answers::Trace;
use crate::app::demo::entra::client_assertion::Seen;
use crate::app::demo::entra::endpoints::Endpoint;
use crate::app::demo::entra::endpoints::json_answer;
use crate::app::demo::entra::endpoints::text_answer;
use crate::app::demo::entra::keys::KeyRing;
use crate::app::demo::entra::keys::OldKey;
use crate::app::demo::entra::script::KeysEndpoint;
use crate::app::demo::entra::script::Script;
use crate::app::demo::entra::settings::Realm;
use crate::app::demo::entra::settings::Segment;
use crate::app::demo::entra::settings::Settings;
use crate::app::demo::entra::users::User;
use crate::app::demo::entra::wish::TokenWish;
use crate::app::demo::reachable;
use crate::app::server::Server;
use crate::app::server::Transport;
use crate::app::server::whole;
use crate::domain::clock::Clock;
use crate::net::Body;

pub mod answers;
pub mod assertion;
pub mod client_assertion;
pub mod endpoints;
pub mod form;
pub mod keys;
pub mod random;
pub mod scopes;
pub mod script;
pub mod settings;
pub mod token;
pub mod token_endpoint;
pub mod users;
pub mod wish;

/// The longest token request that is read.
const LONGEST_REQUEST: usize = 1024 * 1024;

/// A running Entra. Dropping it stops it.
pub struct Entra {
    server: Server,
    state: Arc<State>,
}

struct State {
    realm: Realm,
    clock: Clock,
    keys: Mutex<KeyRing>,
    script: Mutex<Script>,
    token_requests: AtomicU64,
    key_requests: AtomicU64,
    last_token_request: Mutex<Option<(HeaderMap, Bytes)>>,
}

impl Entra {
    /// Serves `settings` on `listener` without TLS.
    ///
    /// # Errors
    /// If no key can be made or the listener has no address.
    pub async fn start(settings: Settings, listener: TcpListener, clock: Clock) -> anyhow::Result<Self> {
        Self::serve(settings, listener, Transport::Plain, clock).await
    }

    /// Serves `settings` on `listener` over TLS.
    ///
    /// # Errors
    /// If no key can be made or the listener has no address.
    pub async fn start_tls(
        settings: Settings,
        listener: TcpListener,
        tls: rustls::ServerConfig,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        Self::serve(settings, listener, Transport::Tls(Arc::new(tls)), clock).await
    }

    async fn serve(
        settings: Settings,
        listener: TcpListener,
        transport: Transport,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let scheme = match transport {
            Transport::Plain => "http",
            Transport::Tls(_) => "https",
        };
        let authority = format!("{scheme}://{}", reachable(listener.local_addr()?));
        let keys = tokio::task::spawn_blocking(KeyRing::generate).await??;
        let state = Arc::new(State {
            realm: Realm { settings, authority, seen: Seen::default() },
            clock,
            keys: Mutex::new(keys),
            script: Mutex::default(),
            token_requests: AtomicU64::new(0),
            key_requests: AtomicU64::new(0),
            last_token_request: Mutex::default(),
        });
        let serving = Arc::clone(&state);
        let server =
            Server::start(listener, transport, move |request| respond(Arc::clone(&serving), request))?;
        Ok(Self { server, state })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its `authority`: scheme, address and port. One that listens everywhere calls itself by loopback.
    pub fn authority(&self) -> &str {
        &self.state.realm.authority
    }

    /// What it has registered.
    pub fn settings(&self) -> &Settings {
        &self.state.realm.settings
    }

    /// A token A of the user of that name, as `/demo/token` answers it.
    ///
    /// # Errors
    /// If there is no such user, or the cryptography library fails.
    pub fn token(&self, user: &str, wish: &TokenWish) -> anyhow::Result<String> {
        let user = User::named(user).ok_or(wish::Error::UnknownUser)?;
        self.state.token(user, wish)
    }

    /// Any `claims`, signed by the current key. Members of `header` replace those of the JOSE header; null removes one.
    ///
    /// # Errors
    /// If the cryptography library fails.
    pub fn sign(&self, claims: &Map<String, Value>, header: &Map<String, Value>) -> anyhow::Result<String> {
        lock(&self.state.keys).current().sign(claims, header)
    }

    /// Signs with a new key from now on.
    ///
    /// # Errors
    /// If the cryptography library fails.
    pub fn rotate_keys(&self, old: OldKey) -> anyhow::Result<()> {
        lock(&self.state.keys).rotate(old)
    }

    /// Changes what is to happen out of the ordinary.
    pub fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut lock(&self.state.script))
    }

    /// How many token requests came.
    pub fn token_requests(&self) -> u64 {
        self.state.token_requests.load(Ordering::SeqCst)
    }

    /// How many times keys were asked for.
    pub fn key_requests(&self) -> u64 {
        self.state.key_requests.load(Ordering::SeqCst)
    }

    /// The parameters of the last token request, in order.
    pub fn last_form(&self) -> Option<Vec<(String, String)>> {
        let last = lock(&self.state.last_token_request);
        let (_, body) = last.as_ref()?;
        Some(url::form_urlencoded::parse(body).into_owned().collect())
    }

    /// The header of the last token request.
    pub fn last_headers(&self) -> Option<HeaderMap> {
        lock(&self.state.last_token_request).as_ref().map(|(headers, _)| headers.clone())
    }
}

/// A panic elsewhere does not make what is locked wrong: each change is complete in itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn respond(state: Arc<State>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let response = match Limited::new(body, LONGEST_REQUEST).collect().await {
        Ok(body) => state.answer(&head, body.to_bytes()).await,
        Err(_) => {
            Ok(text_answer(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too long or broke off\n"))
        }
    };
    let response = response.unwrap_or_else(|error| {
        tracing::error!(%error, "the emulated Entra failed");
        text_answer(StatusCode::INTERNAL_SERVER_ERROR, "the emulated Entra failed\n")
    });
    response.map(whole)
}

impl State {
    async fn answer(&self, head: &Parts, body: Bytes) -> anyhow::Result<Response<String>> {
        let Some(endpoint) = Endpoint::at(head.uri.path()) else {
            return Ok(text_answer(StatusCode::NOT_FOUND, "not found; GET / tells what there is\n"));
        };
        match endpoint {
            Endpoint::Token(tenant) => self.exchange(tenant, head, body).await,
            _ if head.method != Method::GET => Ok(text_answer(StatusCode::METHOD_NOT_ALLOWED, "only GET\n")),
            Endpoint::Ready => Ok(text_answer(StatusCode::OK, "ok\n")),
            Endpoint::Index => Ok(text_answer(StatusCode::OK, endpoints::index(&self.realm))),
            Endpoint::DemoToken => self.demo_token(head.uri.query().unwrap_or_default()),
            Endpoint::Metadata(version, tenant) => {
                self.publish(head, tenant, |segment| endpoints::metadata(&self.realm, version, segment))
            }
            Endpoint::Keys(version, tenant) => {
                self.key_requests.fetch_add(1, Ordering::SeqCst);
                self.publish(head, tenant, |segment| {
                    endpoints::keys(&self.realm, &lock(&self.keys), version, segment)
                })
            }
        }
    }

    fn publish(
        &self,
        head: &Parts,
        tenant: &str,
        document: impl FnOnce(Segment<'_>) -> Value,
    ) -> anyhow::Result<Response<String>> {
        if lock(&self.script).keys_endpoint() == KeysEndpoint::Failing {
            return Ok(text_answer(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"));
        }
        match self.realm.segment(tenant) {
            Some(segment) => Ok(json_answer(&document(segment))),
            None => self.unknown_tenant(head, tenant),
        }
    }

    fn unknown_tenant(&self, head: &Parts, tenant: &str) -> anyhow::Result<Response<String>> {
        let trace = Trace::new(&head.headers, self.clock.now())?;
        trace.refused(&self.realm.authority, &endpoints::unknown_tenant(tenant))
    }

    fn demo_token(&self, query: &str) -> anyhow::Result<Response<String>> {
        let wished = TokenWish::parse(query).and_then(|(name, wish)| {
            User::named(&name).map(|user| (user, wish)).ok_or(wish::Error::UnknownUser)
        });
        Ok(match wished {
            Ok((user, wish)) => text_answer(StatusCode::OK, self.token(user, &wish)?),
            Err(error) => text_answer(StatusCode::BAD_REQUEST, format!("{error}\n")),
        })
    }

    fn token(&self, user: &User, wish: &TokenWish) -> anyhow::Result<String> {
        token::for_proxy(&self.realm, lock(&self.keys).current(), user, wish, self.clock.now())
    }

    async fn exchange(&self, tenant: &str, head: &Parts, body: Bytes) -> anyhow::Result<Response<String>> {
        self.token_requests.fetch_add(1, Ordering::SeqCst);
        *lock(&self.last_token_request) = Some((head.headers.clone(), body.clone()));
        let (delay, held) = lock(&self.script).before_token();
        if let Some(mut held) = held {
            // nothing is ever sent: this ends when the other side is dropped
            let _ = held.changed().await;
        }
        tokio::time::sleep(delay).await;
        if let Some(answer) = lock(&self.script).next_answer() {
            return Ok(answer);
        }
        let Some(segment) = self.realm.segment(tenant) else {
            return self.unknown_tenant(head, tenant);
        };
        let request =
            token_endpoint::Request { segment, method: &head.method, headers: &head.headers, body: &body };
        let answer = token_endpoint::answer(request, &self.realm, &lock(&self.keys), self.clock.now())?;
        tokio::time::sleep(answer.pause).await;
        Ok(answer.response)
    }
}

#[cfg(test)]
mod tests;
