//! Which addresses no name may lead to: those at which a machine or a cloud answers whoever asks from the right place, without
//! looking who it is. Whoever can change what a name resolves to would else have us ask for them.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// Where clouds have their own services outside the link-local networks: Azure's WireServer, Alibaba's metadata and those of
/// Oracle's older cloud.
const PLATFORMS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];

/// Metadata by IPv6: of Google, Oracle, Scaleway, Alibaba and Akamai.
const METADATA: [Ipv6Addr; 5] = [
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200),
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1),
];

/// Whether `address` is link-local or a cloud's own (metadata, credentials), in whatever way IPv6 writes it.
pub fn is_off_limits(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local() || PLATFORMS.contains(&address),
        IpAddr::V6(address) => {
            // AWS has its services in fd00:ec2::/32
            let is_amazon = matches!(address.segments(), [0xfd00, 0x0ec2, ..]);
            address.is_unicast_link_local()
                || is_amazon
                || METADATA.contains(&address)
                || embedded(address).any(|address| is_off_limits(address.into()))
        }
    }
}

/// The IPv4 addresses that `address` may stand for.
fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let [_, _, c, d, e, f, g, h, _, j, k, l, m, n, o, p] = address.octets();
    let last = Some([m, n, o, p]);
    let read = match address.segments() {
        // IPv4-mapped and the older IPv4-compatible (RFC 4291 section 2.5.5), IPv4-translated (RFC 2765 section 2.1), and by
        // NAT64 with the well-known prefix (RFC 6052 section 2.1)
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            [last, None, None, None]
        }
        // by NAT64 with a prefix for local use (RFC 8215): it may have 96, 48, 56 or 64 bits, and with the last three the
        // ninth octet is no part of the address (RFC 6052 section 2.2)
        [0x64, 0xff9b, 1, ..] => [last, Some([g, h, j, k]), Some([h, j, k, l]), Some([j, k, l, m])],
        // by 6to4 (RFC 3056 section 2)
        [0x2002, ..] => [Some([c, d, e, f]), None, None, None],
        _ => [None; 4],
    };
    read.into_iter().flatten().map(Ipv4Addr::from)
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
            "192.0.0.192",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "fd00:100::100:200",
            "fd00:a9fe:a9fe::1",
            "::ffff:192.0.0.192",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:2:3:4:a9fe:a9fe",
            // behind prefixes of 48, 56 and 64 bits
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:77a9:fe:a9fe::",
            "64:ff9b:1:7777:a9:fea9:fe00:0",
            "64:ff9b:1:6464:64:c800::",
            "::ffff:0:169.254.169.254",
            "::ffff:0:100.100.100.200",
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
            "192.0.0.191",
            "192.0.0.193",
            "fd00:c1::a9fe:a9fd",
            "fd00:42::43",
            "fd00:100::100:201",
            "fd00:a9fe:a9fe::2",
            "::ffff:0:10.0.0.1",
            "::fffe:0:169.254.169.254",
            "64:ff9b:1:a00:0:100::",
            "64:ff9b:1:77:a:0:100:0",
            "64:ff9b::a9fe:a9:fe00:0",
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

    /// Any address; every other one is off limits.
    fn addresses() -> impl Strategy<Value = Ipv4Addr> {
        prop_oneof![
            2 => any::<Ipv4Addr>(),
            1 => any::<[u8; 2]>().prop_map(|[c, d]| Ipv4Addr::new(169, 254, c, d)),
            1 => proptest::sample::select(&PLATFORMS[..]),
        ]
    }

    proptest! {
        #[test]
        fn an_address_is_judged_as_the_one_that_it_stands_for(address in addresses()) {
            let [a, b, c, d] = address.octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for written in [
                address.to_ipv6_mapped(),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            ] {
                prop_assert_eq!(is_off_limits(written.into()), is_off_limits(address.into()));
            }
        }

        // how long such a prefix is, nobody can see: what may be off limits is
        #[test]
        fn none_is_reached_behind_a_prefix_for_local_use(
            address in addresses().prop_filter("it is off limits", |address| is_off_limits((*address).into())),
            prefix: [u8; 6],
            filled: u8,
            length in proptest::sample::select(&[48, 56, 64, 96][..]),
        ) {
            let mut octets = [filled; 16];
            octets[..6].copy_from_slice(&[0, 0x64, 0xff, 0x9b, 0, 1]);
            octets[6..12].copy_from_slice(&prefix);
            let places = match length {
                48 => [6, 7, 9, 10],
                56 => [7, 9, 10, 11],
                64 => [9, 10, 11, 12],
                _ => [12, 13, 14, 15],
            };
            for (place, octet) in places.into_iter().zip(address.octets()) {
                octets[place] = octet;
            }
            prop_assert!(is_off_limits(Ipv6Addr::from(octets).into()));
        }
    }
}
