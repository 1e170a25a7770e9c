//! Whose socket it is.

use std::net::SocketAddr;

use http::HeaderValue;

use crate::domain::digest::Digest;

/// The other end of an inbound connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its socket address.
    pub address: SocketAddr,
    /// Whether its forwarding headers are believed.
    pub trust: Trust,
    /// The SHA-256 of the certificate it showed in the TLS handshake.
    pub certificate: Option<Digest>,
    /// Its IP address as text, made once for all of its requests.
    pub forwarded_for: HeaderValue,
}

impl Peer {
    /// Who connects from `address` and shows no certificate.
    pub fn new(address: SocketAddr, trust: Trust) -> Self {
        let text = address.ip().to_canonical().to_string();
        // the text of an address is made of digits, letters, dots and colons
        let forwarded_for = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"));
        Self { address, trust, certificate: None, forwarded_for }
    }
}

/// Whether a peer's `X-Forwarded-*` and `Forwarded` headers are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is one of `trusted_proxies`.
    Trusted,
    /// It may say what it likes.
    Untrusted,
}
