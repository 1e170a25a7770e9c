//! Who asked, for the log: the peer, or whom trusted proxies name. Pure.

use std::net::IpAddr;
use std::net::SocketAddr;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::header;

use crate::config::TrustedProxies;
use crate::domain::peer::Peer;
use crate::domain::peer::Trust;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of whoever asked: going back from the peer, the first that is none of `trusted`. Each proxy appends to
/// `X-Forwarded-For` the address of its own peer; where there is none, `Forwarded` (RFC 7239 section 4) says the same. What
/// is left of an address that is not trusted is the caller's own word, and what cannot be read ends the way.
pub fn address(headers: &HeaderMap, peer: &Peer, trusted: &TrustedProxies) -> Option<IpAddr> {
    let own = peer.address.map(|address| address.ip().to_canonical());
    if peer.trust == Trust::Untrusted {
        return own;
    }
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match headers.contains_key(X_FORWARDED_FOR) {
        true => (X_FORWARDED_FOR, node),
        false => (header::FORWARDED, element),
    };
    let mut last = own;
    for said in headers.get_all(name).iter().rev().flat_map(|value| text(value).rsplit(',')) {
        let Some(address) = read(said.trim()) else { break };
        last = Some(address);
        if trusted.trust(last) == Trust::Untrusted {
            break;
        }
    }
    last
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// The node that an element of `Forwarded` is for.
fn element(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    node(value.trim().trim_matches('"'))
}

/// An address, in brackets or not, with a port or not.
fn node(node: &str) -> Option<IpAddr> {
    let bare = || node.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || node.parse().ok().map(|address: SocketAddr| address.ip());
    let address: Option<IpAddr> = node.parse().ok().or_else(with_port).or_else(bare);
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: Option<&str>, fields: &[(&'static str, &str)]) -> Option<String> {
        let trusted = TrustedProxies {
            networks: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()],
            unix: Trust::Trusted,
        };
        let peer = peer.map(|address| SocketAddr::new(address.parse().unwrap(), 4711));
        let peer = Peer::new(peer, trusted.trust(peer.map(|peer| peer.ip())));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        address(&headers, &peer, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn going_back_from_the_peer_the_first_that_is_not_trusted_has_asked() {
        const XFF: &str = "x-forwarded-for";
        const FORWARDED: &str = "forwarded";
        for (peer, fields, expected) in [
            // whoever is not believed is who asked
            (Some("192.0.2.7"), &[][..], Some("192.0.2.7")),
            (Some("192.0.2.7"), &[(XFF, "198.51.100.1")], Some("192.0.2.7")),
            (Some("::ffff:192.0.2.7"), &[], Some("192.0.2.7")),
            // a proxy that names nobody is all that is known
            (Some("10.0.0.1"), &[], Some("10.0.0.1")),
            (Some("10.0.0.1"), &[(XFF, "unknown")], Some("10.0.0.1")),
            (Some("10.0.0.1"), &[(XFF, "")], Some("10.0.0.1")),
            (None, &[], None),
            (Some("10.0.0.1"), &[(XFF, "198.51.100.1")], Some("198.51.100.1")),
            (None, &[(XFF, "198.51.100.1")], Some("198.51.100.1")),
            // a chain, in one field or several; what the caller wrote in front of it is its own word
            (Some("10.0.0.1"), &[(XFF, "203.0.113.9, 198.51.100.1, 10.0.0.2")], Some("198.51.100.1")),
            (
                Some("10.0.0.1"),
                &[(XFF, "203.0.113.9, 198.51.100.1"), (XFF, "10.0.0.2")],
                Some("198.51.100.1"),
            ),
            (Some("10.0.0.1"), &[(XFF, "10.0.0.3, 10.0.0.2")], Some("10.0.0.3")),
            (Some("10.0.0.1"), &[(XFF, "198.51.100.1, x, 10.0.0.2")], Some("10.0.0.2")),
            // ports and brackets, as some write them
            (Some("10.0.0.1"), &[(XFF, "198.51.100.1:5000")], Some("198.51.100.1")),
            (Some("10.0.0.1"), &[(XFF, "[2001:db8:2::1]:5000")], Some("2001:db8:2::1")),
            (Some("2001:db8:1::1"), &[(XFF, "2001:db8:2::1,[2001:db8:1::2]")], Some("2001:db8:2::1")),
            // RFC 7239 section 4
            (
                Some("10.0.0.1"),
                &[(FORWARDED, "for=192.0.2.60;proto=http;by=203.0.113.43")],
                Some("192.0.2.60"),
            ),
            (
                Some("10.0.0.1"),
                &[(FORWARDED, r#"For="[2001:db8:cafe::17]:4711", for=10.0.0.2"#)],
                Some("2001:db8:cafe::17"),
            ),
            (Some("10.0.0.1"), &[(FORWARDED, "for=_hidden")], Some("10.0.0.1")),
            (Some("10.0.0.1"), &[(FORWARDED, "for=192.0.2.1"), (XFF, "192.0.2.2")], Some("192.0.2.2")),
        ] {
            assert_eq!(found(peer, fields).as_deref(), expected, "{peer:?} {fields:?}");
        }
    }
}
