//! Whose socket it is.

use std::net::SocketAddr;

use crate::domain::digest::Digest;

/// The other end of an inbound connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its socket address.
    pub address: SocketAddr,
    /// Whether its forwarding headers are believed.
    pub trust: Trust,
    /// The SHA-256 of the certificate it showed in the TLS handshake.
    pub certificate: Option<Digest>,
}

impl Peer {
    /// A peer that showed no certificate.
    pub fn new(address: SocketAddr, trust: Trust) -> Self {
        Self { address, trust, certificate: None }
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
