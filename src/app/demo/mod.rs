//! The world around the proxy, in one process: an identity provider and an API to forward to.
//!
//! **In:** listeners. **Out:** servers that run until their handle is dropped. **Never:** holds a real
//! secret, or believes what it receives: the emulated Entra checks every request as strictly as the real one documents.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

#[cfg(test)]
mod caller;
pub mod echo;
pub mod entra;
pub mod frames;

/// Where this machine reaches what listens at `address`: what listens everywhere is on loopback too.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
