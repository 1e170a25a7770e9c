//! Whose socket it is.

use std::net::SocketAddr;

/// The other end of an inbound connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its socket address.
    pub address: SocketAddr,
    /// Whether its forwarding headers are believed.
    pub trust: Trust,
}

/// Whether a peer's `X-Forwarded-*` and `Forwarded` headers are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is one of `trusted_proxies`.
    Trusted,
    /// It may say what it likes.
    Untrusted,
}
