//! Floor 3: outbound HTTP and TLS. Knows nothing of tokens.
//!
//! **In:** addresses, roots, time limits. **Out:** a [`client::Client`] for whole small messages, [`metadata::Metadata`]: what a
//! server says of its endpoints, and a
//! [`dialer::Dialer`] for streamed ones. **Never:** follows a redirect, reads an answer without a bound, takes a proxy
//! but the one that an identity provider is configured with, goes where a name leads that [`off_limits`] knows.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_rustls::HttpsConnector;
use hyper_rustls::HttpsConnectorBuilder;
use rustix::io::Errno;
use rustls::ClientConfig;

use crate::config::Http2;
use crate::net::budget::Share;
use crate::net::names::Names;
use crate::net::tcp::Connector;

pub mod binding;
pub mod budget;
pub mod client;
pub mod client_authentication;
pub mod clients;
pub mod dialer;
pub mod egress;
pub mod gather;
pub mod metadata;
pub mod names;
pub mod off_limits;
pub mod sockets;
pub mod tcp;
pub mod tls;
pub mod tunnel;

/// Any error, boxed: what a streamed body may end with.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A body as it travels through the pipeline: streamed or whole.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// `error`, what caused it, what caused that, and so on.
pub fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let source = |cause: &&'a (dyn StdError + 'static)| match (*cause).downcast_ref::<io::Error>() {
        // an I/O error hides the error it wraps from its own chain
        Some(io) => io.get_ref().map(|wrapped| wrapped as &'a (dyn StdError + 'static)),
        None => (*cause).source(),
    };
    std::iter::successors(Some(error), source)
}

/// Whether there was no file descriptor left for it: our trouble, and not that of whoever was to be reached.
pub fn lacks_descriptors(error: &(dyn StdError + 'static)) -> bool {
    let system = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
    system.filter_map(Errno::from_io_error).any(|code| matches!(code, Errno::MFILE | Errno::NFILE))
}

/// A connector for plain and TLS connections to what `names` know. `server_name` replaces the URL's host in the TLS
/// handshake. A connection that is tried beside another one takes leave of `share`.
pub fn connector(
    tls: ClientConfig,
    http2: Http2,
    connect_timeout: Duration,
    server_name: Option<rustls::pki_types::ServerName<'static>>,
    names: Names,
    share: Share,
) -> HttpsConnector<Connector> {
    let tcp = Connector::new(names, connect_timeout, share);
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = server_name {
        builder = builder.with_server_name_resolver(hyper_rustls::FixedServerNameResolver::new(name));
    }
    match http2 {
        Http2::Never => builder.enable_http1().wrap_connector(tcp),
        Http2::Auto => builder.enable_all_versions().wrap_connector(tcp),
        Http2::Always => builder.enable_http2().wrap_connector(tcp),
    }
}
