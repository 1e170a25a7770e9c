//! One pool of connections per upstream.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::ResponseFuture;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioTimer;
use rustls::pki_types::ServerName;

use crate::config::HostRewrite;
use crate::config::Http2;
use crate::config::Route;
use crate::config::Scheme;
use crate::config::Upstream;
use crate::domain::name::Name;
use crate::net;
use crate::net::tls;

/// How long a connection may rest.
const REST: Duration = Duration::from_secs(60);
/// How often a busy HTTP/2 connection is asked whether its peer is still there, and how long it may think about it.
const PING: Duration = Duration::from_secs(20);
/// Longest response head.
const MAX_HEAD: usize = 64 * 1024;

/// Pooled connections to one upstream.
#[derive(Clone, Debug)]
pub struct Pool(Client<HttpsConnector<HttpConnector>, net::Body>);

impl Pool {
    /// Sends `request` over a connection that rests, or a new one.
    pub fn request(&self, request: Request<net::Body>) -> ResponseFuture {
        self.0.request(request)
    }
}

/// The pool of each route. Routes share a pool when they share an upstream.
#[derive(Debug)]
pub struct Pools(HashMap<Name, Pool>);

impl Pools {
    /// A pool for each upstream of `routes`.
    ///
    /// # Errors
    /// If an upstream's roots or our certificate for it cannot be used.
    pub fn new(routes: &[Arc<Route>]) -> Result<Self, tls::Error> {
        let mut made: Vec<(&Arc<Upstream>, Http2, Pool)> = Vec::new();
        let mut pools = HashMap::with_capacity(routes.len());
        for route in routes {
            let version = version(route);
            let known = made
                .iter()
                .find(|(upstream, of, _)| Arc::ptr_eq(upstream, &route.upstream) && *of == version);
            let pool = match known {
                Some((_, _, pool)) => pool.clone(),
                None => {
                    let pool = pool(&route.upstream, version)?;
                    made.push((&route.upstream, version, pool.clone()));
                    pool
                }
            };
            pools.insert(route.name.clone(), pool);
        }
        Ok(Self(pools))
    }

    /// The pool of `route`.
    pub fn of(&self, route: &Route) -> Option<&Pool> {
        self.0.get(&route.name)
    }
}

/// In HTTP/2 the `:authority` is the one we connect to, and a `Host` beside it must not differ (RFC 9113 section
/// 8.3.1): where the caller's is to be preserved, HTTP/1.1 is chosen if there is a choice.
fn version(route: &Route) -> Http2 {
    match (route.upstream.http2, route.rewrite.host) {
        (Http2::Auto, HostRewrite::Preserve) => Http2::Never,
        (version, _) => version,
    }
}

fn pool(upstream: &Upstream, version: Http2) -> Result<Pool, tls::Error> {
    let settings = &upstream.tls;
    let tls = match upstream.scheme {
        Scheme::Http => tls::client_config_without_roots()?,
        Scheme::Https => {
            let certificate = settings.client_certificate.as_ref();
            let certificate = certificate.map(|(chain, key)| (chain.as_path(), key.as_path()));
            tls::client_config(settings.ca.as_deref(), certificate)?
        }
    };
    let server_name = settings.server_name.clone().map(ServerName::try_from).transpose();
    let server_name =
        server_name.map_err(|error| tls::Error::Setup(rustls::Error::General(error.to_string())))?;
    let connector = net::connector(tls, version, upstream.connect_timeout, server_name);
    let client = Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(REST)
        .retry_canceled_requests(true)
        .http1_max_buf_size(MAX_HEAD)
        .http2_only(version == Http2::Always)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING)
        .build(connector);
    Ok(Pool(client))
}
