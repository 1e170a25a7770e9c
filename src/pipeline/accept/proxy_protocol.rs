//! The header of the PROXY protocol, version 1 and 2, by which a load balancer says whom it connects for
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>). Pure.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

/// What a header of version 1 begins with.
const TEXT: &[u8] = b"PROXY ";
/// The longest header of version 1, its line end included.
const LONGEST_TEXT: usize = 107;
/// What a header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What of version 2 comes before the part whose length it states.
const FIXED: usize = 16;
/// The most that may follow: addresses take 36 bytes, and what else a load balancer says there is not read.
const LONGEST_REST: usize = 4096;

/// The longest header that is read.
pub const LONGEST: usize = FIXED + LONGEST_REST;

/// Whom a load balancer connects for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// For itself, as health checks do.
    Itself,
    /// For somebody it does not name, or not by an IP address.
    Somebody,
    /// For this one.
    Address(SocketAddr),
}

/// What a connection's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header: all of these bytes belong to it, and more must come.
    Partial,
    /// A header of `length` bytes.
    Whole {
        /// What it says.
        source: Source,
        /// Where it ends.
        length: usize,
    },
}

/// These bytes begin no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What comes first is something else.
    #[error("there is no PROXY protocol header")]
    Missing,
    /// It is not what its version says it is.
    #[error("the PROXY protocol header is malformed: {0}")]
    Malformed(&'static str),
}

/// Reads the header that `start` begins with.
///
/// # Errors
/// As soon as it is clear that no header comes.
pub fn parse(start: &[u8]) -> Result<Parsed, Error> {
    if let Some(rest) = start.strip_prefix(SIGNATURE) {
        return binary(rest);
    }
    if let Some(rest) = start.strip_prefix(TEXT) {
        return text(rest);
    }
    match SIGNATURE.starts_with(start) || TEXT.starts_with(start) {
        true => Ok(Parsed::Partial),
        false => Err(Error::Missing),
    }
}

/// What follows `PROXY `: one line.
fn text(rest: &[u8]) -> Result<Parsed, Error> {
    let most = LONGEST_TEXT - TEXT.len();
    let Some(end) = rest.iter().take(most).position(|byte| *byte == b'\n') else {
        return match rest.len() < most {
            true => Ok(Parsed::Partial),
            false => Err(Error::Malformed("its line is too long")),
        };
    };
    let line = rest.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.ok_or(Error::Malformed("its line does not end in CR LF"))?;
    Ok(Parsed::Whole { source: source(line)?, length: TEXT.len() + end + 1 })
}

fn source(line: &[u8]) -> Result<Source, Error> {
    let line = std::str::from_utf8(line).map_err(|_| Error::Malformed("it is no text"))?;
    let fields: Vec<&str> = line.split(' ').collect();
    match fields.as_slice() {
        // whatever follows is to be ignored
        ["UNKNOWN", ..] => Ok(Source::Somebody),
        ["TCP4", from, to, port, to_port] => endpoint::<Ipv4Addr>(from, to, port, to_port),
        ["TCP6", from, to, port, to_port] => endpoint::<Ipv6Addr>(from, to, port, to_port),
        _ => Err(Error::Malformed("its fields are not those of version 1")),
    }
}

fn endpoint<A>(from: &str, to: &str, from_port: &str, to_port: &str) -> Result<Source, Error>
where
    A: std::str::FromStr + Into<IpAddr>,
{
    let address = |text: &str| text.parse::<A>().ok().map(Into::into);
    match (address(from), address(to), port(from_port), port(to_port)) {
        (Some(from), Some(_), Some(port), Some(_)) => Ok(Source::Address(SocketAddr::new(from, port))),
        _ => Err(Error::Malformed("it has an address or port that is none")),
    }
}

/// A port in digits, without leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// What follows the signature of version 2.
fn binary(rest: &[u8]) -> Result<Parsed, Error> {
    let version_and_command = rest.first().copied();
    let is_local = match version_and_command {
        None | Some(0x21) => false,
        Some(0x20) => true,
        Some(_) => return Err(Error::Malformed("its version or command is not known")),
    };
    let (Some(family), Some([high, low])) = (rest.get(1).copied(), rest.get(2..4)) else {
        return Ok(Parsed::Partial);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > LONGEST_REST {
        return Err(Error::Malformed("it is too long"));
    }
    let rest = rest.get(4..).unwrap_or_default();
    let Some(block) = rest.get(..length) else { return Ok(Parsed::Partial) };
    let source = if is_local { Source::Itself } else { named(family, block)? };
    Ok(Parsed::Whole { source, length: FIXED + length })
}

/// The source that an address block names: addresses first, then ports, of source and destination each.
fn named(family: u8, block: &[u8]) -> Result<Source, Error> {
    let short = Error::Malformed("it is too short for its addresses");
    match family {
        0x11 => {
            let (address, _) = block.first_chunk::<12>().ok_or(short)?.split_at(4);
            let address = <[u8; 4]>::try_from(address).map_err(|_| short)?;
            Ok(Source::Address(SocketAddr::new(Ipv4Addr::from(address).into(), port_at(block, 8)?)))
        }
        0x21 => {
            let (address, _) = block.first_chunk::<36>().ok_or(short)?.split_at(16);
            let address = <[u8; 16]>::try_from(address).map_err(|_| short)?;
            Ok(Source::Address(SocketAddr::new(Ipv6Addr::from(address).into(), port_at(block, 32)?)))
        }
        // no family, datagrams, Unix sockets
        _ if family >> 4 <= 3 && family & 0xf <= 2 => Ok(Source::Somebody),
        _ => Err(Error::Malformed("its address family is not known")),
    }
}

fn port_at(block: &[u8], at: usize) -> Result<u16, Error> {
    match block.get(at..at + 2) {
        Some([high, low]) => Ok(u16::from_be_bytes([*high, *low])),
        _ => Err(Error::Malformed("it is too short for its addresses")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[version_and_command, family], &length, block].concat()
    }

    fn address(text: &str) -> Source {
        Source::Address(text.parse().unwrap())
    }

    /// Headers that are whole, and what they say.
    fn good() -> Vec<(Vec<u8>, Source)> {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0xd4, 0x31, 0x01, 0xbb];
        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        six[15] = 1;
        six[32..].copy_from_slice(&[0xd4, 0x31, 0x01, 0xbb]);
        // an unread rest: PP2_TYPE_NOOP with three bytes
        let with_more = [&four[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 54321 443\r\n".to_vec(), address("192.0.2.7:54321")),
            (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(), address("255.255.255.255:65535")),
            (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n".to_vec(), address("0.0.0.0:0")),
            (b"PROXY TCP6 2001:db8::1 ::1 54321 443\r\n".to_vec(), address("[2001:db8::1]:54321")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Source::Somebody),
            (b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n".to_vec(), Source::Somebody),
            (v2(0x21, 0x11, &four), address("192.0.2.7:54321")),
            (v2(0x21, 0x11, &with_more), address("192.0.2.7:54321")),
            (v2(0x21, 0x21, &six), address("[2001:db8::1]:54321")),
            (v2(0x21, 0x31, &[0; 216]), Source::Somebody),
            (v2(0x21, 0x12, &four), Source::Somebody),
            (v2(0x21, 0x00, &[]), Source::Somebody),
            (v2(0x20, 0x00, &[]), Source::Itself),
            (v2(0x20, 0x11, &four), Source::Itself),
            (v2(0x20, 0xff, b"whatever"), Source::Itself),
            (v2(0x20, 0x00, &[0; LONGEST_REST]), Source::Itself),
        ]
    }

    #[test]
    fn a_header_is_read_however_it_is_split_and_never_further_than_its_end() {
        for (header, source) in good() {
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Ok(Parsed::Partial), "{end} bytes of {header:?}");
            }
            for more in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"\r\n", b"PROXY UNKNOWN\r\n", b"\xff"] {
                let whole = Parsed::Whole { source, length: header.len() };
                assert_eq!(parse(&[&header, more].concat()), Ok(whole), "{header:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\u{16}\u{3}\u{1}",
            "proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXYTCP4",
            "\r\n\r\nGET /",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Error::Missing), "{text:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_TEXT));
        for line in [
            "PROXY \r\n",
            "PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7  10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 \r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n",
            "PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
            "PROXY TCP4 192.0.2 10.0.0.1 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY TCP4 192.0.2.7\r 10.0.0.1 1 2\r\n",
            &long,
        ] {
            assert!(matches!(parse(line.as_bytes()), Err(Error::Malformed(_))), "{line:?}");
        }
        for header in [
            v2(0x11, 0x11, &[0; 12]),
            v2(0x31, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x2f, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x11, &[]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x41, &[0; 36]),
            v2(0x21, 0x13, &[0; 36]),
            [SIGNATURE, &[0x20, 0, 0x10, 0x01]].concat(),
            [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
        ] {
            assert!(matches!(parse(&header), Err(Error::Malformed(_))), "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_header_or_none_and_more_of_them_change_no_verdict(
            kind in 0..4usize,
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = match kind {
                0 => bytes,
                1 => [TEXT, &bytes].concat(),
                2 => [SIGNATURE, &bytes].concat(),
                _ => [SIGNATURE, &[0x21, 0x11, 0], &bytes].concat(),
            };
            let mut verdict = None;
            for end in 0..=bytes.len() {
                let parsed = parse(&bytes[..end]);
                if let Some(verdict) = &verdict {
                    prop_assert_eq!(&parsed, verdict);
                } else if parsed != Ok(Parsed::Partial) {
                    if let Ok(Parsed::Whole { length, .. }) = parsed {
                        // no byte was waited for that is not the header's
                        prop_assert_eq!(length, end);
                    }
                    verdict = Some(parsed);
                }
            }
        }

        #[test]
        fn no_more_is_ever_waited_for_than_the_longest_header(
            bytes in prop::collection::vec(any::<u8>(), LONGEST..LONGEST + 10),
            kind in 0..2usize,
        ) {
            let bytes = [[TEXT, SIGNATURE][kind], &bytes].concat();
            prop_assert_ne!(parse(&bytes), Ok(Parsed::Partial));
        }
    }
}
