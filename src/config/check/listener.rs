//! `listeners`: where callers connect, and what they must show.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::Address;
use crate::config::HostPattern;
use crate::config::Listener;
use crate::config::ListenerAddress;
use crate::config::ListenerTls;
use crate::config::ProxyProtocol;
use crate::config::ServerCertificate;
use crate::config::TlsVersion;
use crate::config::TrustedProxies;
use crate::config::UnderscoreHeaders;
use crate::config::check::At;
use crate::config::check::address;
use crate::config::check::items;
use crate::config::check::matches;
use crate::config::check::name;
use crate::config::check::tls;
use crate::config::check::upstream;
use crate::config::wire;
use crate::config::wire::scalar::OneOrMany;
use crate::domain::name::Name;
use crate::domain::peer::Trust;

/// What stands among networks for Unix sockets.
const UNIX: &str = "unix:";

/// The listeners, or the one that is there if none is written.
pub fn all(written: Option<&BTreeMap<String, wire::listener::Listener>>, at: &At<'_>) -> Vec<Listener> {
    match written {
        Some(listeners) if !listeners.is_empty() => {
            let one = |(text, wire): (&String, &wire::listener::Listener)| {
                let at = at.key(text);
                listener(name(text, &at), wire, &at)
            };
            listeners.iter().filter_map(one).collect()
        }
        _ => Name::parse("default").into_iter().map(default).collect(),
    }
}

fn default(name: Name) -> Listener {
    Listener {
        name,
        address: ListenerAddress::Tcp(Address { host: "0.0.0.0".into(), port: 8080 }),
        tls: None,
        underscore_headers: UnderscoreHeaders::Drop,
        trusted_proxies: TrustedProxies { networks: Vec::new(), unix: Trust::Untrusted },
        proxy_protocol: ProxyProtocol::Off,
    }
}

fn listener(name: Option<Name>, wire: &wire::listener::Listener, at: &At<'_>) -> Option<Listener> {
    let address = match &wire.address {
        Some(text) => address::of_listener(text, &at.key("address")),
        None => {
            at.missing("address", "write what to bind, as in address: 0.0.0.0:8080");
            None
        }
    };
    let tls = wire.tls.as_ref().map(|wire| speaking_tls(wire, &at.key("tls")));
    let proxy_protocol = match wire.proxy_protocol {
        None | Some(false) => ProxyProtocol::Off,
        Some(true) => ProxyProtocol::Required,
    };
    let trusted_proxies = trusted_proxies(wire.trusted_proxies.as_ref(), &at.key("trusted_proxies"))?;
    let address = address?;
    fits(&trusted_proxies, proxy_protocol, &address, at);
    let underscore_headers = match wire.underscore_headers {
        None | Some(wire::listener::UnderscoreHeaders::Drop) => UnderscoreHeaders::Drop,
        Some(wire::listener::UnderscoreHeaders::Keep) => UnderscoreHeaders::Keep,
    };
    let tls = match tls {
        Some(tls) => Some(tls?),
        None => None,
    };
    Some(Listener { name: name?, address, tls, underscore_headers, trusted_proxies, proxy_protocol })
}

fn trusted_proxies(written: Option<&OneOrMany>, at: &At<'_>) -> Option<TrustedProxies> {
    let mut trusted = TrustedProxies { networks: Vec::new(), unix: Trust::Untrusted };
    let mut complete = true;
    for (text, at) in items(written, at).unwrap_or_default() {
        if text == UNIX {
            trusted.unix = Trust::Trusted;
        } else if let Some(network) = network(text, &at) {
            trusted.networks.push(network);
        } else {
            complete = false;
        }
    }
    complete.then_some(trusted)
}

fn network(text: &str, at: &At<'_>) -> Option<IpNet> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(network) => {
            if network.prefix_len() == 0 {
                let message = "every caller is believed about where the request comes from";
                at.warning(message, "name the network of the proxies in front");
            }
            Some(network.trunc())
        }
        Err(_) => {
            let message = format!("`{}` is not a network", at.shown(text));
            at.error_with(
                message,
                "write it in CIDR notation, as in 10.0.0.0/8 or fd00::/8, or unix: for Unix sockets",
            );
            None
        }
    }
}

/// Complains where those who are trusted cannot be those who connect.
fn fits(trusted: &TrustedProxies, protocol: ProxyProtocol, address: &ListenerAddress, at: &At<'_>) {
    let place = at.key("trusted_proxies");
    if place.is_poisoned() {
        return;
    }
    let is_unix = matches!(address, ListenerAddress::Unix(_));
    let may_connect = match is_unix {
        true => trusted.unix == Trust::Trusted,
        false => !trusted.networks.is_empty(),
    };
    if protocol == ProxyProtocol::Required && !may_connect {
        let help = match is_unix {
            true => "add trusted_proxies: [\"unix:\"]: without it, whoever connects is turned away",
            false => {
                "add trusted_proxies with the network of the load balancer: without it, whoever connects is turned away"
            }
        };
        at.key("proxy_protocol").error_with("`proxy_protocol` needs `trusted_proxies`", help);
    } else if trusted.unix == Trust::Trusted && !is_unix {
        place.warning("`unix:` has no effect here", "this listener is no Unix socket: leave it out");
    } else if !trusted.networks.is_empty() && is_unix && protocol == ProxyProtocol::Off {
        let help = "who connects through a Unix socket has no address: write unix: to trust them";
        place.warning("networks have no effect here", help);
    }
}

fn speaking_tls(wire: &wire::listener::Tls, at: &At<'_>) -> Option<ListenerTls> {
    let client_ca = wire.client_ca.as_ref().map(|ca| {
        let at = at.key("client_ca");
        let path = upstream::path(ca, &at);
        path.inspect(|path| tls::look_at_authorities(path, tls::Use::Needed, &at))
    });
    let certificates = certificates(wire, at);
    let client_ca = match client_ca {
        Some(path) => Some(path?),
        None => None,
    };
    Some(ListenerTls {
        certificates: certificates?,
        min_version: match wire.min_version {
            None | Some(wire::listener::TlsVersion::Tls12) => TlsVersion::Tls12,
            Some(wire::listener::TlsVersion::Tls13) => TlsVersion::Tls13,
        },
        client_ca,
    })
}

fn certificates(wire: &wire::listener::Tls, at: &At<'_>) -> Option<Vec<ServerCertificate>> {
    let list_at = at.key("certificates");
    let Some(list) = &wire.certificates else {
        let only = pair(wire.certificate.as_deref(), wire.key.as_deref(), Vec::new(), at)?;
        return Some(vec![only]);
    };
    let mut complete = true;
    for (key, written) in [("certificate", &wire.certificate), ("key", &wire.key)] {
        if written.is_some() {
            let help = "one certificate stands here, several in `certificates`: leave one of the two out";
            at.key(key).key_error(format!("`{key}` and `certificates` exclude each other"), help);
            complete = false;
        }
    }
    if list.0.is_empty() {
        if !list_at.is_poisoned() {
            list_at.error_with("this list is empty", "write [{ certificate: PATH, key: PATH }]");
        }
        return None;
    }
    let mut checked: Vec<Option<ServerCertificate>> = Vec::new();
    let mut claimed: Vec<(HostPattern, At<'_>)> = Vec::new();
    for (item, one) in list.0.iter().enumerate() {
        let at = list_at.item(item);
        let names = server_names(one.server_names.as_ref(), &mut claimed, &at.key("server_names"));
        checked.push(pair(one.certificate.as_deref(), one.key.as_deref(), names.unwrap_or_default(), &at));
    }
    checked.into_iter().collect::<Option<_>>().filter(|_| complete)
}

/// The hosts that a certificate is for; none of them may be in `claimed` by another.
fn server_names<'a>(
    written: Option<&OneOrMany>,
    claimed: &mut Vec<(HostPattern, At<'a>)>,
    at: &At<'a>,
) -> Option<Vec<HostPattern>> {
    let mut names = Vec::new();
    for (text, at) in items(written, at)? {
        let Some(host) = matches::host(text, &at) else { continue };
        if text.starts_with('[') || text.parse::<IpAddr>().is_ok() {
            at.error_with(
                format!("`{}` is no host name", at.shown(text)),
                "callers name no addresses: the first certificate is for those",
            );
            continue;
        }
        match claimed.iter().find(|(other, _)| *other == host) {
            Some((_, other)) => {
                let message =
                    format!("`{}` is claimed by the certificate of {} too", at.shown(text), other.line());
                at.error_with(message, "each host sees one certificate");
            }
            None => claimed.push((host.clone(), at)),
        }
        names.push(host);
    }
    Some(names)
}

fn pair(
    certificate: Option<&str>,
    key: Option<&str>,
    server_names: Vec<HostPattern>,
    at: &At<'_>,
) -> Option<ServerCertificate> {
    if certificate.is_none() {
        at.missing("certificate", "write the path of a PEM file with the certificate");
    }
    if key.is_none() {
        at.missing("key", "write the path of a PEM file with the private key");
    }
    let (certificate_at, key_at) = (at.key("certificate"), at.key("key"));
    let (certificate, key) = (upstream::path(certificate?, &certificate_at), upstream::path(key?, &key_at));
    let (certificate, key) = (certificate?, key?);
    tls::look_at_pair((&certificate, &certificate_at), (&key, &key_at), tls::Use::Needed);
    Some(ServerCertificate { certificate, key, server_names })
}
