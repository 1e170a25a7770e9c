//! Fetching a key set: the metadata document, then the keys it points to.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::StatusCode;
use http::header::ACCEPT;
use http::header::CONTENT_ENCODING;
use http_body_util::Full;

use crate::config::AuthorizationServer;
use crate::config::EntraVersion;
use crate::config::ForwardProxy;
use crate::config::IdentityProvider;
use crate::domain::tenant::TenantId;
use crate::net::client;
use crate::net::client::Bounds;
use crate::net::client::Client;
use crate::net::metadata;
use crate::net::metadata::Endpoint;
use crate::net::metadata::Metadata;
use crate::pipeline::authenticate::discovery;
use crate::pipeline::authenticate::jwks;
use crate::pipeline::authenticate::jwks::KeySet;

/// Why no key set came.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing came, or too much.
    #[error(transparent)]
    NoAnswer(#[from] client::Error),
    /// The two documents together took too long.
    #[error("the keys did not arrive in time")]
    Timeout,
    /// The same, and there was a proxy on the way.
    #[error("the keys did not arrive in time through the proxy {0}")]
    ProxiedTimeout(ForwardProxy),
    /// Another status than 200. Redirects among them: keys come from where they are said to be.
    #[error("the answer's status is {0}")]
    Status(StatusCode),
    /// It is compressed, though we did not ask for that.
    #[error("the answer has a content encoding")]
    Encoded,
    /// It is not the expected provider's metadata.
    #[error(transparent)]
    Metadata(#[from] discovery::Error),
    /// Where the keys are is not known.
    #[error(transparent)]
    Unknown(#[from] metadata::Error),
    /// It is no key set to be used.
    #[error(transparent)]
    KeySet(#[from] jwks::Error),
    /// The URL is none that HTTP takes.
    #[error("the URL cannot be requested")]
    Url(#[from] http::Error),
}

impl Error {
    /// Whether trying again changes nothing: only the configuration could.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::Unknown(metadata::Error::NotDiscoverable))
    }
}

/// What was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The keys.
    pub keys: KeySet,
    /// The tenant the metadata speaks of.
    pub tenant: Option<TenantId>,
}

/// Where a set of keys is to be found.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Where Entra's metadata for tokens of that version says.
    Entra(EntraVersion),
    /// Where any other server says, or the configuration.
    Server(Metadata),
}

/// Fetches one set of keys of one provider.
#[derive(Debug)]
pub struct Fetcher {
    client: Client,
    provider: Arc<IdentityProvider>,
    origin: Origin,
}

impl Fetcher {
    /// A fetcher of `provider`'s keys from there.
    pub fn new(client: Client, provider: Arc<IdentityProvider>, origin: Origin) -> Self {
        Self { client, provider, origin }
    }

    /// Where the keys come from, for a log; the issuer until its metadata has named the place.
    pub fn source(&self) -> Option<String> {
        match &self.origin {
            Origin::Entra(version) => self.provider.entra().map(|entra| entra.metadata(*version)),
            Origin::Server(metadata) => {
                let issuer = || match &self.provider.server {
                    AuthorizationServer::Oidc(oidc) => oidc.discovery(),
                    AuthorizationServer::Entra(_) => None,
                };
                metadata.known(Endpoint::Keys).or_else(issuer).map(String::from)
            }
        }
    }

    /// Fetches the key set, within the provider's timeout for all of it.
    ///
    /// # Errors
    /// If anything about it is not as it must be.
    pub async fn fetch(&self) -> Result<Fetched, Error> {
        tokio::time::timeout(self.provider.timeout, self.both()).await.unwrap_or_else(|_| Err(self.late()))
    }

    fn late(&self) -> Error {
        let source = self.source().and_then(|url| url.parse().ok());
        match source.and_then(|url| self.client.proxy_to(&url).cloned()) {
            Some(proxy) => Error::ProxiedTimeout(proxy),
            None => Error::Timeout,
        }
    }

    async fn both(&self) -> Result<Fetched, Error> {
        let (jwks_uri, tenant) = match &self.origin {
            Origin::Entra(version) => {
                let entra = self.provider.entra().ok_or(metadata::Error::NotDiscoverable)?;
                let document = self.document(&entra.metadata(*version)).await?;
                let metadata = discovery::parse(&document, entra, *version)?;
                (metadata.jwks_uri, metadata.tenant)
            }
            Origin::Server(metadata) => (metadata.endpoint(Endpoint::Keys).await?, None),
        };
        let document = self.document(jwks_uri.as_str()).await?;
        let keys = KeySet::parse(&document, &self.provider.algorithms)?;
        Ok(Fetched { keys, tenant })
    }

    async fn document(&self, url: &str) -> Result<Bytes, Error> {
        let request = Request::get(url).header(ACCEPT, "application/json").body(Full::default())?;
        let bounds = Bounds { timeout: self.provider.timeout, body: jwks::MAX_BYTES };
        let answer = self.client.send(request, bounds).await?;
        if answer.status() != StatusCode::OK {
            return Err(Error::Status(answer.status()));
        }
        let mut encodings = answer.headers().get_all(CONTENT_ENCODING).iter();
        if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(Error::Encoded);
        }
        Ok(answer.into_body())
    }
}
