//! Where callers connect, and what they must show.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::Address;
use crate::config::HostPattern;
use crate::config::Scheme;
use crate::domain::name::Name;
use crate::domain::peer::AlternativeName;
use crate::domain::peer::Trust;

/// One address callers connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, a metric label.
    pub name: Name,
    /// What it binds.
    pub address: ListenerAddress,
    /// How TLS is spoken; `None` = not at all.
    pub tls: Option<ListenerTls>,
    /// What happens to header names with `_`.
    pub underscore_headers: UnderscoreHeaders,
    /// Whose `X-Forwarded-*` and `Forwarded` are believed.
    pub trusted_proxies: TrustedProxies,
    /// Whether proxies say whom they connect for.
    pub proxy_protocol: ProxyProtocol,
}

impl Listener {
    /// Plain or TLS.
    pub fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::Https } else { Scheme::Http }
    }
}

/// What a listener binds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenerAddress {
    /// `host:port`.
    Tcp(Address),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whose word on where a request comes from is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Those in these networks.
    pub networks: Vec<IpNet>,
    /// Whoever connects through a Unix socket.
    pub unix: Trust,
}

impl TrustedProxies {
    /// Whether a peer at `address` is one of them; `None` = at a Unix socket.
    pub fn trust(&self, address: Option<IpAddr>) -> Trust {
        let Some(address) = address.map(|address| address.to_canonical()) else { return self.unix };
        match self.networks.iter().any(|net| net.contains(&address)) {
            true => Trust::Trusted,
            false => Trust::Untrusted,
        }
    }
}

/// Whether each connection begins with a PROXY protocol header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// It does not.
    Off,
    /// It must, and only a trusted proxy may send it.
    Required,
}

/// Header names with `_` alias those with `-` in many back ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderscoreHeaders {
    /// Remove them from the request.
    Drop,
    /// Let them through.
    Keep,
}

/// How a listener speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// Our certificates. Never empty; the first is for callers who name no host, or one of nobody's.
    pub certificates: Vec<ServerCertificate>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// A PEM file of authorities; if there is one, every caller must show a certificate of theirs.
    pub client_ca: Option<PathBuf>,
}

/// A certificate of ours, its key, and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCertificate {
    /// A PEM file with the certificate, then its issuers.
    pub certificate: PathBuf,
    /// A PEM file with the private key.
    pub key: PathBuf,
    /// The hosts it is for; empty = those that it names itself.
    pub server_names: Vec<HostPattern>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// Which client certificates a route admits: where both lists are given, both must agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredCertificate {
    /// Any of these subjects, in the text form of RFC 4514; empty = every subject.
    pub subjects: Vec<String>,
    /// Any of these subject alternative names; empty = whatever names.
    pub names: Vec<AlternativeName>,
}
