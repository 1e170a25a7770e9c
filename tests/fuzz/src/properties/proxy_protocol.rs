//! The first bytes of a connection behind a load balancer.

use std::net::SocketAddr;

use obo_proxy::pipeline::accept::proxy_protocol::LONGEST;
use obo_proxy::pipeline::accept::proxy_protocol::Parsed;
use obo_proxy::pipeline::accept::proxy_protocol::Source;
use obo_proxy::pipeline::accept::proxy_protocol::parse;

/// However the bytes come, the verdict is the same, and it is given with the last byte of the header. What is read can be
/// written, and is read the same again, in both versions.
pub fn check(bytes: &[u8]) {
    let whole = parse(bytes);
    let mut verdict = None;
    for end in 0..=bytes.len().min(LONGEST + 1) {
        let parsed = parse(&bytes[..end]);
        match &verdict {
            Some(verdict) => assert_eq!(&parsed, verdict),
            None if parsed == Ok(Parsed::Partial) => assert!(end < LONGEST),
            None => {
                if let Ok(Parsed::Whole { length, .. }) = parsed {
                    assert_eq!(length, end);
                }
                verdict = Some(parsed);
            }
        }
    }
    assert_eq!(verdict.unwrap_or(Ok(Parsed::Partial)), whole);
    if let Ok(Parsed::Whole { source: Source::Address(address), .. }) = whole {
        for written in [text(address), binary(address)] {
            let source = Source::Address(address);
            assert_eq!(parse(&written), Ok(Parsed::Whole { source, length: written.len() }));
        }
    }
}

fn text(address: SocketAddr) -> Vec<u8> {
    let (ip, port) = (address.ip(), address.port());
    format!("PROXY TCP{} {ip} {ip} {port} 443\r\n", if ip.is_ipv4() { 4 } else { 6 }).into_bytes()
}

fn binary(address: SocketAddr) -> Vec<u8> {
    let (family, ip) = match address {
        SocketAddr::V4(address) => (0x11, address.ip().octets().to_vec()),
        SocketAddr::V6(address) => (0x21, address.ip().octets().to_vec()),
    };
    let block = [&ip[..], &ip, &address.port().to_be_bytes(), &[1, 187]].concat();
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21".as_slice(), &[family], &length, &block].concat()
}
