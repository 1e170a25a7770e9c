//! Addresses to bind.

use std::net::IpAddr;
use std::net::Ipv6Addr;

use crate::config::Address;
use crate::config::Listener;
use crate::config::Telemetry;
use crate::config::check::At;

/// `host:port`.
pub fn parse(text: &str, at: &At<'_>) -> Option<Address> {
    if text.starts_with("unix:") {
        at.error("`unix:` addresses are not supported yet");
        return None;
    }
    let address = split(text);
    if address.is_none() {
        let message = format!("`{}` is not an address", at.shown(text));
        at.error_with(message, "write host:port, as in 0.0.0.0:8080, [::1]:8080 or localhost:8080");
    }
    address
}

fn split(text: &str) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits)?;
    if let Some(inside) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inside.parse::<Ipv6Addr>().is_ok().then(|| Address { host: inside.into(), port });
    }
    let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    (!host.is_empty() && host.bytes().all(name)).then(|| Address { host: host.into(), port })
}

/// Complains about every two addresses of which only one can be bound.
pub fn no_clash(listeners: &[Listener], telemetry: Option<&Telemetry>, root: &At<'_>) {
    let mut bound: Vec<(String, &Address, At<'_>)> = listeners
        .iter()
        .map(|listener| {
            let at = root.key("listeners").key(listener.name.as_str()).key("address");
            (format!("listener `{}`", listener.name), &listener.address, at)
        })
        .collect();
    if let Some(telemetry) = telemetry {
        bound.push(("telemetry".into(), &telemetry.address, root.key("telemetry").key("address")));
    }
    for (at, (name, address, place)) in bound.iter().enumerate() {
        let earlier = bound.iter().take(at).find(|(_, other, _)| clash(address, other));
        if let Some((other, _, _)) = earlier {
            // what is not written cannot be pointed at
            let place = if place.is_written() { place } else { root };
            place.error(format!("{name} and {other} cannot both bind port {}", address.port));
        }
    }
}

fn clash(one: &Address, other: &Address) -> bool {
    if one.port != other.port || one.port == 0 {
        return false;
    }
    match (one.host.parse::<IpAddr>(), other.host.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => {
            one == other
                || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
        }
        _ => one.host.eq_ignore_ascii_case(&other.host),
    }
}
