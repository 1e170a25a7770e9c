//! Which hosts are this machine.

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
