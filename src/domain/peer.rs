//! Whose socket it is.

use std::net::SocketAddr;

use http::HeaderValue;

/// The other end of an inbound connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its socket address.
    pub address: SocketAddr,
    /// Whether its forwarding headers are believed.
    pub trust: Trust,
    /// Its IP address as text, made once for all of its requests.
    pub forwarded_for: HeaderValue,
}

impl Peer {
    /// Who connects from `address`.
    pub fn new(address: SocketAddr, trust: Trust) -> Self {
        let text = address.ip().to_canonical().to_string();
        // the text of an address is made of digits, letters, dots and colons
        let forwarded_for = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"));
        Self { address, trust, forwarded_for }
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
