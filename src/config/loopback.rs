//! Which hosts are this machine.

use std::net::IpAddr;

use url::Host;
use url::Url;

/// Whether the host is this machine: 127.0.0.0/8, ::1 or localhost. What is sent there, nobody on the way can read.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// The same of a host that is no part of a URL: a name or an address without brackets.
pub fn is_loopback_host(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}
