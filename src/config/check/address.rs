//! Addresses to bind.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use crate::config::Address;
use crate::config::Admin;
use crate::config::Listener;
use crate::config::ListenerAddress;
use crate::config::Telemetry;
use crate::config::check::At;

/// The longest path that the system takes for a socket (`sun_path`).
const LONGEST_PATH: usize = 107;

/// `host:port`, or `unix:` and a path.
pub fn of_listener(text: &str, at: &At<'_>) -> Option<ListenerAddress> {
    match text.strip_prefix("unix:") {
        Some(path) => unix(path, at).map(ListenerAddress::Unix),
        None => parse(text, at).map(ListenerAddress::Tcp),
    }
}

/// `host:port`.
pub fn parse(text: &str, at: &At<'_>) -> Option<Address> {
    let address = split(text);
    if address.is_none() {
        let message = format!("`{}` is not an address", at.shown(text));
        at.error_with(message, "write host:port, as in 0.0.0.0:8080, [::1]:8080 or localhost:8080");
    }
    address
}

fn unix(path: &str, at: &At<'_>) -> Option<PathBuf> {
    let parsed = PathBuf::from(path);
    let is_file = !path.ends_with('/') && parsed.file_name().is_some_and(|name| name != OsStr::new(".."));
    if !path.starts_with('/') || !is_file || path.contains('\0') {
        let message = format!("`unix:{}` is not the path of a socket", at.shown(path));
        at.error_with(message, "write unix: and an absolute path, as in unix:/run/obo-proxy/http.sock");
        return None;
    }
    if path.len() > LONGEST_PATH {
        at.error(format!("the path of a socket has {LONGEST_PATH} bytes at most"));
        return None;
    }
    Some(parsed)
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
pub fn no_clash(listeners: &[Listener], telemetry: Option<&Telemetry>, admin: Option<&Admin>, root: &At<'_>) {
    let mut bound: Vec<(String, ListenerAddress, At<'_>)> = listeners
        .iter()
        .map(|listener| {
            let at = root.key("listeners").key(listener.name.as_str()).key("address");
            (format!("listener `{}`", listener.name), listener.address.clone(), at)
        })
        .collect();
    if let Some(telemetry) = telemetry {
        let address = ListenerAddress::Tcp(telemetry.address.clone());
        bound.push(("telemetry".into(), address, root.key("telemetry").key("address")));
    }
    if let Some(admin) = admin {
        let address = ListenerAddress::Tcp(admin.address.clone());
        bound.push(("admin".into(), address, root.key("admin").key("address")));
    }
    for (at, (name, address, place)) in bound.iter().enumerate() {
        let earlier = bound.iter().take(at).find(|(_, other, _)| clash(address, other));
        if let Some((other, _, _)) = earlier {
            // what is not written cannot be pointed at
            let place = if place.is_written() { place } else { root };
            let what = match address {
                ListenerAddress::Tcp(address) => format!("port {}", address.port),
                ListenerAddress::Unix(_) => "this socket".into(),
            };
            place.error(format!("{name} and {other} cannot both bind {what}"));
        }
    }
}

fn clash(one: &ListenerAddress, other: &ListenerAddress) -> bool {
    match (one, other) {
        (ListenerAddress::Tcp(one), ListenerAddress::Tcp(other)) => share_port(one, other),
        (ListenerAddress::Unix(one), ListenerAddress::Unix(other)) => one == other,
        _ => false,
    }
}

fn share_port(one: &Address, other: &Address) -> bool {
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
