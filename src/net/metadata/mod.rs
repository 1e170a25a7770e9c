//! Where an authorization server's endpoints are, as it says itself (OpenID Connect Discovery 1.0, RFC 8414).
//!
//! **In:** a provider found by discovery. **Out:** its endpoints, the configured ones first. **Never:** believes a
//! document of another issuer, asks twice at a time, asks again soon after a failure, loses a good document to a bad one.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http::StatusCode;
use http::header::ACCEPT;
use http::header::CONTENT_ENCODING;
use http_body_util::Full;
use tokio::sync::Mutex;
use url::Url;

use crate::config::AuthMethod;
use crate::config::AuthorizationServer;
use crate::config::IdentityProvider;
use crate::config::Oidc;
use crate::domain::clock::Clock;
use crate::net::client;
use crate::net::client::Bounds;
use crate::net::client::Client;
use crate::net::metadata::document::Document;
use crate::telemetry::logs;

pub mod document;

pub use document::Endpoint;
pub use document::Mismatch;
pub use document::addresses;

/// Longest document that is read, in bytes.
const LONGEST: usize = 256 * 1024;

/// Pauses after failures: the first, doubled each time up to the last. While there is no document that could serve, each is
/// the first: callers are refused until there is one.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Why an endpoint is not known. Cloned for everyone who asks before the next attempt.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The issuer is no URL a document could be found at (RFC 8414 section 2), and the endpoint is not configured.
    #[error("the issuer is no https URL: its endpoints must be configured")]
    NotDiscoverable,
    /// Nothing came, or too much.
    #[error("the metadata cannot be fetched")]
    NoAnswer(#[source] Arc<client::Error>),
    /// Another status than 200. Redirects among them: metadata comes from where the issuer is.
    #[error("the status of the metadata is {0}")]
    Status(StatusCode),
    /// It is compressed, though we did not ask for that.
    #[error("the metadata has a content encoding")]
    Encoded,
    /// The document is not to be used.
    #[error(transparent)]
    Document(#[from] document::Error),
    /// The document says nothing of this endpoint, and the configuration neither.
    #[error("the metadata does not name the {0}")]
    Unnamed(Endpoint),
}

/// The endpoints of one provider. Cheap to clone; clones share what was fetched.
#[derive(Clone, Debug)]
pub struct Metadata(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    provider: Arc<IdentityProvider>,
    client: Client,
    clock: Clock,
    held: RwLock<Held>,
    /// Whose turn it is to fetch.
    turn: Mutex<()>,
}

/// What came of the fetches so far.
#[derive(Clone, Debug, Default)]
struct Held {
    /// The last good document, and when it came.
    good: Option<(Arc<Document>, Instant)>,
    /// The failures since then.
    failed: Option<Failed>,
}

#[derive(Clone, Debug)]
struct Failed {
    error: Error,
    at: Instant,
    times: u32,
}

impl Metadata {
    /// The metadata of `provider`; `None` if its endpoints follow from its configuration alone (Entra). Nothing is
    /// fetched until an endpoint is asked for.
    pub fn of(provider: &Arc<IdentityProvider>, client: Client, clock: Clock) -> Option<Self> {
        match &provider.server {
            AuthorizationServer::Entra(_) => None,
            AuthorizationServer::Oidc(_) => Some(Self(Arc::new(Shared {
                provider: provider.clone(),
                client,
                clock,
                held: RwLock::default(),
                turn: Mutex::default(),
            }))),
        }
    }

    /// Takes over what was fetched for `older`, which was found in the same place under other settings.
    pub fn inherit(&self, older: &Self) {
        let held = older.held(Held::clone);
        *self.0.held.write().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// Where `endpoint` is: as configured, else as the newest document says, which is fetched if there is none or it is
    /// older than `jwks.refresh`. While that fails, the last good document serves. A client that authenticates by its
    /// TLS certificate gets the alias for such clients (RFC 8705 section 5), if there is one.
    ///
    /// # Errors
    /// If there is no document, or it does not name the endpoint.
    pub async fn endpoint(&self, endpoint: Endpoint) -> Result<Url, Error> {
        match self.configured(endpoint) {
            Some(url) => Ok(url.clone()),
            None => self.named(&*self.document().await?, endpoint).ok_or(Error::Unnamed(endpoint)),
        }
    }

    /// Where `endpoint` is as far as is known by now: nothing is fetched.
    pub fn known(&self, endpoint: Endpoint) -> Option<Url> {
        match self.configured(endpoint) {
            Some(url) => Some(url.clone()),
            None => self.held(|held| held.good.clone()).and_then(|(good, _)| self.named(&good, endpoint)),
        }
    }

    fn oidc(&self) -> Option<&Oidc> {
        match &self.0.provider.server {
            AuthorizationServer::Oidc(oidc) => Some(oidc),
            AuthorizationServer::Entra(_) => None,
        }
    }

    fn configured(&self, endpoint: Endpoint) -> Option<&Url> {
        let oidc = self.oidc()?;
        match endpoint {
            Endpoint::Authorization => oidc.authorization_endpoint.as_ref(),
            Endpoint::Introspection => oidc.introspection_endpoint.as_ref(),
            Endpoint::Keys => oidc.jwks_uri.as_ref(),
            Endpoint::Token => oidc.token_endpoint.as_ref(),
        }
    }

    fn named(&self, document: &Document, endpoint: Endpoint) -> Option<Url> {
        let alias = match self.0.provider.auth_method {
            AuthMethod::TlsClientAuth => document.mtls_alias(endpoint),
            _ => None,
        };
        alias.or_else(|| document.endpoint(endpoint)).cloned()
    }

    async fn document(&self) -> Result<Arc<Document>, Error> {
        if let Some(settled) = self.settled() {
            return settled;
        }
        // whoever has an old document need not wait for the new one
        let _turn = match (self.0.turn.try_lock(), self.held(|held| held.good.clone())) {
            (Ok(turn), _) => turn,
            (Err(_), Some((old, _))) => return Ok(old),
            (Err(_), None) => self.0.turn.lock().await,
        };
        // another may have had its turn in between
        if let Some(settled) = self.settled() {
            return settled;
        }
        let outcome = self.fetch().await;
        self.keep(outcome)
    }

    /// What is to be said without asking; `None` if it is time to ask.
    fn settled(&self) -> Option<Result<Arc<Document>, Error>> {
        let now = self.0.clock.monotonic();
        let since = |then: Instant| now.saturating_duration_since(then);
        self.held(|held| {
            if let Some((good, at)) = &held.good
                && since(*at) < self.0.provider.jwks.refresh
            {
                return Some(Ok(good.clone()));
            }
            let failed = held.failed.as_ref().filter(|failed| since(failed.at) < held.pause(failed.times))?;
            Some(held.good.as_ref().map(|(good, _)| good.clone()).ok_or_else(|| failed.error.clone()))
        })
    }

    /// Keeps what a fetch brought; whatever serves now is the answer.
    fn keep(&self, outcome: Result<Document, Error>) -> Result<Arc<Document>, Error> {
        let at = self.0.clock.monotonic();
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(document) => {
                let document = Arc::new(document);
                *held = Held { good: Some((document.clone(), at)), failed: None };
                Ok(document)
            }
            Err(error) => {
                let times = held.failed.as_ref().map_or(1, |failed| failed.times.saturating_add(1));
                held.failed = Some(Failed { error: error.clone(), at, times });
                let Some((good, _)) = &held.good else { return Err(error) };
                let identity_provider = &self.0.provider.name;
                tracing::warn!(%identity_provider, error = logs::report(&error), "metadata cannot be fetched anew");
                Ok(good.clone())
            }
        }
    }

    /// The document of OpenID Connect, or else that of OAuth alone.
    async fn fetch(&self) -> Result<Document, Error> {
        let found = self.oidc().and_then(|oidc| Some((&oidc.issuer, oidc.discovery()?)));
        let (issuer, beginning) = found.ok_or(Error::NotDiscoverable)?;
        let mut refused = None;
        for url in addresses(&beginning) {
            let bytes = self.get(&url).await;
            match bytes.and_then(|bytes| Ok(Document::parse(&bytes, issuer)?)) {
                Err(error) if !matches!(error, Error::NoAnswer(_)) => refused = refused.or(Some(error)),
                settled => return settled,
            }
        }
        Err(refused.unwrap_or(Error::NotDiscoverable))
    }

    async fn get(&self, url: &Url) -> Result<Bytes, Error> {
        let request = Request::get(url.as_str())
            .header(ACCEPT, "application/json")
            .body(Full::default())
            .map_err(|_| Error::NotDiscoverable)?;
        let bounds = Bounds { timeout: self.0.provider.timeout, body: LONGEST };
        let answer =
            self.0.client.send(request, bounds).await.map_err(|error| Error::NoAnswer(Arc::new(error)))?;
        if answer.status() != StatusCode::OK {
            return Err(Error::Status(answer.status()));
        }
        let mut encodings = answer.headers().get_all(CONTENT_ENCODING).iter();
        if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(Error::Encoded);
        }
        Ok(answer.into_body())
    }

    fn held<T>(&self, read: impl FnOnce(&Held) -> T) -> T {
        read(&self.0.held.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    /// How long nobody asks after so many failures in a row.
    fn pause(&self, failures: u32) -> Duration {
        let (first, last) = PAUSES;
        match self.good {
            Some(_) => first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(last),
            None => first,
        }
    }
}

#[cfg(test)]
mod tests;
