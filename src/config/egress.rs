//! The way out to an identity provider: directly, or through a forward proxy.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::loopback::is_loopback_host;
use crate::domain::secret::Secret;

/// The way to an identity provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// Directly.
    #[default]
    Direct,
    /// Through a proxy, but for some.
    Proxied {
        /// It.
        proxy: ForwardProxy,
        /// To whom the way is a direct one all the same.
        except: Vec<Exception>,
    },
}

/// A forward proxy, which is spoken to without TLS: what goes through it is TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardProxy {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `user:password`, as which it is asked (RFC 7617).
    pub login: Option<Secret>,
}

/// Where it is, never as whom it is asked.
impl fmt::Display for ForwardProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "http://[{}]:{}", self.host, self.port),
            false => write!(f, "http://{}:{}", self.host, self.port),
        }
    }
}

/// Servers to which no proxy leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exception {
    /// All.
    Everyone,
    /// This machine.
    Loopback,
    /// That name and all below it, at that port or at all.
    Domain(String, Option<u16>),
    /// Those addresses, at that port or at all. Names are not looked up.
    Network(IpNet, Option<u16>),
}

impl Egress {
    /// The proxy on the way to `host`, a name or an address, with brackets or without.
    pub fn proxy_to(&self, host: &str, port: u16) -> Option<&ForwardProxy> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match self {
            Self::Proxied { proxy, except } if !except.iter().any(|one| one.covers(host, port)) => {
                Some(proxy)
            }
            _ => None,
        }
    }
}

impl Exception {
    /// One item of a list as NO_PROXY holds it: `*`, a name, `.name`, `*.name`, an address or a network, each but the
    /// first maybe with a port. `None` = it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everyone);
        }
        if let Some(network) = network(text) {
            return Some(Self::Network(network, None));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (text, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Some(network) = network(bare) {
            return Some(Self::Network(network, port));
        }
        let name = host.strip_prefix('*').unwrap_or(host);
        let name = plain(name.strip_prefix('.').unwrap_or(name));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        (!name.is_empty() && name.bytes().all(is_name)).then_some(Self::Domain(name, port))
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        let is_port = |only: &Option<u16>| only.is_none_or(|only| only == port);
        match self {
            Self::Everyone => true,
            Self::Loopback => is_loopback_host(&plain(host)),
            Self::Domain(name, only) => {
                let host = plain(host);
                let above = host.strip_suffix(name.as_str());
                is_port(only) && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            Self::Network(network, only) => {
                let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
                is_port(only) && address.is_some_and(|address| network.contains(&address))
            }
        }
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// A name as it is compared: without case and the dot of the root.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(except: &[&str], host: &str, port: u16) -> bool {
        let proxy = ForwardProxy { host: "proxy".into(), port: 3128, login: None };
        let except = except.iter().map(|text| Exception::parse(text).unwrap()).collect();
        Egress::Proxied { proxy, except }.proxy_to(host, port).is_some()
    }

    #[test]
    fn an_exception_covers_what_it_names_and_nothing_else() {
        for (exception, host, port, goes_through) in [
            ("id.example", "id.example", 443, false),
            ("ID.example.", "id.EXAMPLE", 443, false),
            ("id.example", "id.example.", 443, false),
            ("id.example", "a.id.example", 443, false),
            ("id.example", "notid.example", 443, true),
            ("id.example", "example", 443, true),
            (".example", "id.example", 443, false),
            ("*.example", "id.example", 443, false),
            ("*.example", "example.org", 443, true),
            ("id.example:443", "id.example", 443, false),
            ("id.example:8443", "id.example", 443, true),
            ("10.1.2.3", "10.1.2.3", 443, false),
            ("10.1.2.3", "10.1.2.4", 443, true),
            ("10.1.2.3:443", "10.1.2.3", 443, false),
            ("10.1.2.3:80", "10.1.2.3", 443, true),
            ("10.0.0.0/8", "10.1.2.3", 443, false),
            ("10.0.0.0/8", "[::ffff:10.1.2.3]", 443, false),
            ("10.0.0.0/8", "11.1.2.3", 443, true),
            // a name is not looked up
            ("10.0.0.0/8", "ten.example", 443, true),
            ("fd00::/8", "[fd00::1]", 443, false),
            ("fd00::1", "fd00::1", 443, false),
            ("[fd00::1]", "[fd00::1]", 443, false),
            ("[fd00::1]:443", "[fd00::1]", 443, false),
            ("[fd00::1]:80", "[fd00::1]", 443, true),
            ("*", "anything.example", 1, false),
        ] {
            assert_eq!(through(&[exception], host, port), goes_through, "{exception} {host}:{port}");
        }
        assert!(through(&[], "127.0.0.1", 443), "a proxy that was named is used always");
        let proxy = ForwardProxy { host: "proxy".into(), port: 3128, login: None };
        let around = Egress::Proxied { proxy, except: vec![Exception::Loopback] };
        for here in ["localhost", "LOCALHOST.", "127.9.9.9", "[::1]"] {
            assert_eq!(around.proxy_to(here, 443), None, "{here}");
        }
        assert!(around.proxy_to("login.example", 443).is_some());
        assert_eq!(Egress::Direct.proxy_to("login.example", 443), None);
    }

    #[test]
    fn what_is_no_exception_is_none() {
        for text in
            ["", ".", "*.", "a b", "http://id.example", "id.example:http", "10.0.0.0/99", "a*b", "user@host"]
        {
            assert_eq!(Exception::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_proxy_is_named_without_its_password() {
        let login = Some(Secret::new("us:hunter2".into()));
        let mut proxy = ForwardProxy { host: "fd00::1".into(), port: 3128, login };
        assert_eq!(proxy.to_string(), "http://[fd00::1]:3128");
        assert!(!format!("{proxy:?}").contains("hunter2"));
        proxy.host = "proxy.corp".into();
        assert_eq!(proxy.to_string(), "http://proxy.corp:3128");
    }
}
