//! The client for identity providers: one small request, one small answer, one deadline.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Request;
use http::Response;
use http::Uri;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
use hyper_rustls::HttpsConnector;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioTimer;
use rustls::ClientConfig;

use crate::config::Egress;
use crate::config::ForwardProxy;
use crate::net::BoxError;
use crate::net::egress::Connector;
use crate::net::egress::proxy_to;
use crate::net::tls;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection could not be made, or broke.
    #[error("no answer from the server")]
    NoAnswer(#[source] BoxError),
    /// The answer broke off after its head.
    #[error("the server's answer broke off")]
    Cut(#[source] BoxError),
    /// The deadline passed.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
    /// The deadline passed, and there was a proxy on the way.
    #[error("the server did not answer within {0:?} through the proxy {1}")]
    ProxiedTimeout(Duration, ForwardProxy),
    /// The answer is longer than it may be.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// Bounds on one call.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// On the whole call, connect included.
    pub timeout: Duration,
    /// On the answer's body, in bytes.
    pub body: usize,
}

/// A client with pooled connections. Follows no redirect. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    /// Replaced when a server does not answer: connections that died without a word die together, and would be tried one
    /// after the other.
    pool: Arc<ArcSwap<Connections>>,
    connector: HttpsConnector<Connector>,
    egress: Arc<Egress>,
}

type Connections = Pool<HttpsConnector<Connector>, Full<Bytes>>;

impl Client {
    /// A client that trusts the system's roots.
    ///
    /// # Errors
    /// If the system has no roots.
    pub fn new() -> Result<Self, tls::Error> {
        Ok(Self::with_tls(tls::client_config(None, None)?))
    }

    /// A client for servers without TLS: it trusts nobody.
    ///
    /// # Errors
    /// If TLS cannot be set up at all.
    pub fn plain() -> Result<Self, tls::Error> {
        Ok(Self::with_tls(tls::client_config_without_roots()?))
    }

    /// A client with the given TLS settings.
    pub fn with_tls(tls: ClientConfig) -> Self {
        Self::through(tls, Egress::Direct)
    }

    /// A client with the given TLS settings that goes that way.
    pub fn through(tls: ClientConfig, egress: Egress) -> Self {
        let egress = Arc::new(egress);
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let connector = builder.wrap_connector(Connector::new(egress.clone()));
        let pool = Arc::new(ArcSwap::from_pointee(connections(connector.clone())));
        Self { pool, connector, egress }
    }

    /// The proxy on the way to `target`, if there is one.
    pub fn proxy_to(&self, target: &Uri) -> Option<&ForwardProxy> {
        proxy_to(&self.egress, target)
    }

    /// Sends `request` and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// If no complete answer came within `bounds`.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        bounds: Bounds,
    ) -> Result<Response<Bytes>, Error> {
        let proxy = self.proxy_to(request.uri()).cloned();
        let mut asked = Asked { pool: self.pool.load_full(), client: self, is_over: false };
        let exchanged =
            tokio::time::timeout(bounds.timeout, exchange(&asked.pool, request, bounds.body)).await;
        asked.is_over = exchanged.is_ok();
        exchanged.unwrap_or_else(|_| {
            Err(match proxy {
                Some(proxy) => Error::ProxiedTimeout(bounds.timeout, proxy),
                None => Error::Timeout(bounds.timeout),
            })
        })
    }
}

/// A request under way. Given up without an answer, by us or whoever waits, it takes the connections that rest along.
struct Asked<'a> {
    client: &'a Client,
    pool: Arc<Connections>,
    is_over: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let fresh = Arc::new(connections(self.client.connector.clone()));
            self.client.pool.compare_and_swap(&self.pool, fresh);
        }
    }
}

fn connections(connector: HttpsConnector<Connector>) -> Connections {
    Pool::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .http1_max_buf_size(64 * 1024)
        .build(connector)
}

async fn exchange(
    pool: &Connections,
    request: Request<Full<Bytes>>,
    longest: usize,
) -> Result<Response<Bytes>, Error> {
    let response = pool.request(request).await.map_err(|error| Error::NoAnswer(error.into()))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, longest).collect().await.map_err(|error| {
        match error.downcast_ref::<LengthLimitError>() {
            Some(_) => Error::TooLong(longest),
            None => Error::Cut(error),
        }
    })?;
    Ok(Response::from_parts(head, body.to_bytes()))
}
