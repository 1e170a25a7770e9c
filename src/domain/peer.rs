//! Whose socket it is.

use std::fmt;
use std::net::SocketAddr;

use http::HeaderValue;

use crate::domain::digest::Digest;

/// The other end of an inbound connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its socket address. At a Unix socket nobody has one.
    pub address: Option<SocketAddr>,
    /// Whether its forwarding headers are believed.
    pub trust: Trust,
    /// The certificate it showed in the TLS handshake. Seldom there, and large.
    pub certificate: Option<Box<ClientCertificate>>,
    /// Its IP address as text, made once for all of its requests.
    pub forwarded_for: Option<HeaderValue>,
}

impl Peer {
    /// Who connects from `address` and shows no certificate.
    pub fn new(address: Option<SocketAddr>, trust: Trust) -> Self {
        // the text of an address is made of digits, letters, dots and colons
        let text = |address: SocketAddr| HeaderValue::try_from(address.ip().to_canonical().to_string()).ok();
        Self { address, trust, certificate: None, forwarded_for: address.and_then(text) }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
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

/// What a certificate says of whoever showed it, and proved to hold its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The SHA-256 of its DER form.
    pub digest: Digest,
    /// Its subject in the text form of RFC 4514; empty if it has none.
    pub subject: String,
    /// Its subject alternative names.
    pub names: Vec<AlternativeName>,
}

/// A subject alternative name (RFC 5280 section 4.2.1.6). Others than these are never looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// A host name, lower-case.
    Dns(String),
    /// A URI, such as a SPIFFE id.
    Uri(String),
    /// A mailbox.
    Email(String),
}

/// The attribute types that a subject's text calls by name, with their object identifiers: those of RFC 4514 section 3, and
/// two more that certificates have and IANA has registered. All others are called by their object identifier.
pub const ATTRIBUTES: [(&str, &str); 11] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("serialNumber", "2.5.4.5"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
];
