//! Which addresses no name may lead to: those at which a machine or a cloud answers whoever asks from the right place, without
//! looking who it is. Whoever can change what a name resolves to would else have us ask for them.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// Where clouds have their own services outside the link-local networks: Azure's WireServer and Alibaba's metadata.
const PLATFORMS: [Ipv4Addr; 2] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200)];

/// Google's metadata server by IPv6.
const GOOGLE: Ipv6Addr = Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254);

/// Whether `address` is link-local or a cloud's own (metadata, credentials), in whatever way IPv6 writes it.
pub fn is_off_limits(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || PLATFORMS.contains(&address),
        IpAddr::V6(address) => {
            // AWS has its services in fd00:ec2::/32
            let is_amazon = matches!(address.segments(), [0xfd00, 0x0ec2, ..]);
            address.is_unicast_link_local()
                || is_amazon
                || address == GOOGLE
                || embedded(address).is_some_and(|address| is_off_limits(address.into()))
        }
    }
}

/// The IPv4 address that `address` stands for.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // IPv4-mapped and the older IPv4-compatible (RFC 4291 section 2.5.5)
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(of(high, low)),
        // by NAT64: the well-known prefix (RFC 6052 section 2.1), and the one for local use (RFC 8215)
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 1, _, _, _, high, low] => Some(of(high, low)),
        // by 6to4 (RFC 3056 section 2)
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(address: &str) -> bool {
        is_off_limits(address.parse().unwrap())
    }

    #[test]
    fn link_local_and_metadata_addresses_are_off_limits_in_every_spelling() {
        for address in [
            "169.254.169.254",
            "169.254.0.0",
            "169.254.255.255",
            "169.254.170.2",
            "168.63.129.16",
            "100.100.100.200",
            "fe80::1",
            "febf:ffff::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:2:3:4:a9fe:a9fe",
            "64:ff9b::168.63.129.16",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(is(address), "{address}");
        }
    }

    #[test]
    fn what_is_beside_them_is_not() {
        for address in [
            "127.0.0.1",
            "::1",
            "::",
            "0.0.0.0",
            "10.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "168.63.129.15",
            "100.100.100.201",
            "fec0::1",
            "fd00:ec3::254",
            "fd20:ce::253",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:2::169.254.169.254",
            "2001:db8::a9fe:a9fe",
            "2002:a00:1::a9fe:a9fe",
        ] {
            assert!(!is(address), "{address}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_judged_as_the_one_that_it_stands_for(bytes: [u8; 4]) {
            let address = Ipv4Addr::from(bytes);
            let [a, b, c, d] = bytes.map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for written in [
                address.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            ] {
                prop_assert_eq!(is_off_limits(written.into()), is_off_limits(address.into()));
            }
        }
    }
}
