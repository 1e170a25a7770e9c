//! The one canonical form of a path (RFC 3986 section 6.2.2), and the other ways a server might read it.

use std::fmt;

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It does not begin with `/`.
    NotAbsolute,
    /// A `%` without two hexadecimal digits.
    BadEscape,
    /// Its bytes, decoded, are no UTF-8.
    NotUtf8,
    /// It holds a control character.
    Control,
    /// It holds a backslash, which some servers take for a slash.
    Backslash,
    /// It holds an empty segment.
    DoubleSlash,
    /// It holds a segment `.` or `..` in some spelling.
    DotSegment,
    /// Decoding it twice gives something else than decoding it once.
    DoubleEncoding,
    /// It holds `%2F`.
    EncodedSlash,
    /// Another reading of it leads to another route.
    Ambiguous,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "does not begin with a slash",
            Self::BadEscape => "holds a malformed percent escape",
            Self::NotUtf8 => "is not UTF-8",
            Self::Control => "holds a control character",
            Self::Backslash => "holds a backslash",
            Self::DoubleSlash => "holds an empty segment",
            Self::DotSegment => "holds a dot segment",
            Self::DoubleEncoding => "is encoded twice",
            Self::EncodedSlash => "holds an encoded slash",
            Self::Ambiguous => "can be read as that of another route",
        })
    }
}

/// A path in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// Unreserved characters bare, everything else that came escaped still escaped, in upper-case hex.
    pub path: String,
    /// Whether a `%2F` is in it.
    pub has_encoded_slash: bool,
}

/// `raw` in canonical form. An encoded slash is left to the route.
///
/// # Errors
/// If servers are known to disagree about what `raw` means.
pub fn canonical(raw: &str) -> Result<Canonical, Why> {
    if !raw.starts_with('/') {
        return Err(Why::NotAbsolute);
    }
    if is_canonical(raw.as_bytes()) {
        return Ok(Canonical { path: raw.into(), has_encoded_slash: false });
    }
    let mut path = String::with_capacity(raw.len());
    let mut decoded = Vec::with_capacity(raw.len());
    let mut has_encoded_slash = false;
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        let escaped = byte == b'%';
        let byte = if escaped { unescaped(rest.next(), rest.next()).ok_or(Why::BadEscape)? } else { byte };
        match byte {
            0x00..=0x1f | 0x7f => return Err(Why::Control),
            b'\\' => return Err(Why::Backslash),
            // bytes past ASCII may come bare; escaped, they have one spelling
            _ if (escaped && !is_unreserved(byte)) || !byte.is_ascii() => push_escaped(&mut path, byte),
            _ => path.push(char::from(byte)),
        }
        has_encoded_slash |= escaped && byte == b'/';
        decoded.push(byte);
    }
    if std::str::from_utf8(&decoded).is_err() {
        return Err(Why::NotUtf8);
    }
    if is_encoded_twice(&path) {
        return Err(Why::DoubleEncoding);
    }
    check_segments(&path)?;
    Ok(Canonical { path, has_encoded_slash })
}

/// Whether there is nothing to make canonical or to refuse, as in nearly every path: only unreserved characters, and no
/// segment that is empty or begins with a dot.
fn is_canonical(raw: &[u8]) -> bool {
    let is_plain = |(at, byte): (usize, &u8)| match byte {
        b'/' => !matches!(raw.get(at + 1), Some(b'/' | b'.')),
        byte => is_unreserved(*byte),
    };
    raw.iter().enumerate().all(is_plain)
}

/// The decoded paths that servers behind us may see in `canonical`: `%2F` as a slash, `;parameters` removed as
/// servlet containers do. If they lead elsewhere than the canonical path, the path is ambiguous.
///
/// # Errors
/// If a reading of an encoded slash holds what no path may.
pub fn readings(canonical: &Canonical) -> Result<Vec<String>, Why> {
    if !canonical.path.contains(['%', ';']) {
        return Ok(Vec::new());
    }
    let decoded = decoded(&canonical.path);
    let mut readings = Vec::with_capacity(3);
    if decoded.contains(';') {
        // with the parameters go empty segments, which some merge and others take for an authority
        let plain = without_parameters(&decoded);
        check_segments(&plain)?;
        readings.push(plain);
    }
    if canonical.has_encoded_slash {
        check_segments(&decoded)?;
        readings.push(canonical.path.split("%2F").map(self::decoded).collect::<Vec<_>>().join("%2F"));
    }
    readings.push(decoded);
    Ok(readings)
}

/// `path` with every escape decoded; a path in canonical form decodes to UTF-8.
pub fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut ahead = rest.clone();
        match unescaped(ahead.next(), ahead.next()) {
            Some(byte) => {
                bytes.push(byte);
                rest = ahead;
            }
            None => bytes.push(b'%'),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn check_segments(path: &str) -> Result<(), Why> {
    if path.contains("//") {
        return Err(Why::DoubleSlash);
    }
    let is_dots = |segment: &str| {
        let name = segment.split(';').next().and_then(|name| name.split("%3B").next());
        matches!(name, Some("." | ".."))
    };
    match path.split('/').flat_map(|segment| segment.split("%2F")).any(is_dots) {
        true => Err(Why::DotSegment),
        false => Ok(()),
    }
}

/// Whether an escaped `%` is followed by what makes it an escape again, of a character that means something in a path.
fn is_encoded_twice(path: &str) -> bool {
    path.split("%25").skip(1).any(|after| {
        let mut after = after.bytes();
        unescaped(after.next(), after.next()).is_some_and(|byte| {
            is_unreserved(byte) || byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b';' | b'%')
        })
    })
}

fn without_parameters(path: &str) -> String {
    let names: Vec<&str> =
        path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
    names.join("/")
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn unescaped(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high?)? * 16 + digit(low?)?).ok()
}

fn push_escaped(path: &mut String, byte: u8) {
    path.push('%');
    for digit in [byte >> 4, byte & 0xf] {
        path.extend(char::from_digit(digit.into(), 16).map(|digit| digit.to_ascii_uppercase()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(raw: &str) -> Result<String, Why> {
        canonical(raw).map(|canonical| canonical.path)
    }

    #[test]
    fn one_spelling_is_left_of_every_path() {
        for (raw, expected) in [
            ("/", "/"),
            ("/orders/42/", "/orders/42/"),
            ("/%6Frders/%7e%2d%2D%5f", "/orders/~--_"),
            ("/a%20b%c3%a9", "/a%20b%C3%A9"),
            ("/a%C3%A9/é", "/a%C3%A9/%C3%A9"),
            ("/$batch/%24batch", "/$batch/%24batch"),
            ("/a%2fb", "/a%2Fb"),
            ("/100%25", "/100%25"),
            ("/100%25zz", "/100%25zz"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b/c.", "/a..b/c."),
        ] {
            assert_eq!(path(raw), Ok(expected.into()), "{raw}");
        }
    }

    #[test]
    fn what_servers_disagree_about_is_refused() {
        for (raw, why) in [
            ("", Why::NotAbsolute),
            ("*", Why::NotAbsolute),
            ("orders", Why::NotAbsolute),
            ("/%", Why::BadEscape),
            ("/%4", Why::BadEscape),
            ("/%zz", Why::BadEscape),
            ("/%u002e", Why::BadEscape),
            ("/%+1", Why::BadEscape),
            ("/%ff", Why::NotUtf8),
            ("/%c0%ae%c0%ae/admin", Why::NotUtf8),
            ("/%e0%80%af", Why::NotUtf8),
            ("/%00", Why::Control),
            ("/a%0d%0ab", Why::Control),
            ("/%7f", Why::Control),
            ("/a\\b", Why::Backslash),
            ("/..\\admin", Why::Backslash),
            ("/%5cadmin", Why::Backslash),
            ("//", Why::DoubleSlash),
            ("//evil.example/admin", Why::DoubleSlash),
            ("/a//b", Why::DoubleSlash),
            ("/a//", Why::DoubleSlash),
            ("/.", Why::DotSegment),
            ("/./a", Why::DotSegment),
            ("/..", Why::DotSegment),
            ("/public/../admin", Why::DotSegment),
            ("/public/%2e%2e/admin", Why::DotSegment),
            ("/public/.%2E/admin", Why::DotSegment),
            ("/public/..;/admin", Why::DotSegment),
            ("/public/..;x=1/admin", Why::DotSegment),
            ("/public/%2e%2e%3b/admin", Why::DotSegment),
            ("/public/..%3Bx/admin", Why::DotSegment),
            ("/public/..%2Fadmin", Why::DotSegment),
            ("/public%2f..%2fadmin", Why::DotSegment),
            ("/%252e%252e/admin", Why::DoubleEncoding),
            ("/%252fadmin", Why::DoubleEncoding),
            ("/%255cadmin", Why::DoubleEncoding),
            ("/%253badmin", Why::DoubleEncoding),
            ("/%2561dmin", Why::DoubleEncoding),
            ("/%25252e", Why::DoubleEncoding),
            ("/%2500", Why::DoubleEncoding),
            ("/%25%32%65", Why::DoubleEncoding),
            ("/%25%32e%25%32e/", Why::DoubleEncoding),
        ] {
            assert_eq!(path(raw), Err(why), "{raw}");
        }
    }

    #[test]
    fn a_kept_slash_may_not_hide_what_a_bare_one_may_not() {
        for (raw, why) in
            [("/a%2F%2Fb", Why::DoubleSlash), ("/a/%2Fb", Why::DoubleSlash), ("/a%2F/b", Why::DoubleSlash)]
        {
            assert_eq!(readings(&canonical(raw).unwrap()), Err(why), "{raw}");
        }
        let fine = canonical("/projects/group%2Fname").unwrap();
        assert_eq!(
            readings(&fine).unwrap(),
            ["/projects/group%2Fname", "/projects/group/name"].map(String::from)
        );
    }

    #[test]
    fn parameters_may_not_hide_an_empty_segment() {
        for raw in ["/;x/admin", "/a/;/b", "/a/%3Bx/b"] {
            assert_eq!(readings(&canonical(raw).unwrap()), Err(Why::DoubleSlash), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own(raw in "/[a-c./;%\\\\2-5EFef~é]{0,12}") {
            if let Ok(once) = canonical(&raw) {
                prop_assert_eq!(canonical(&once.path), Ok(once));
            }
        }

        #[test]
        fn any_text_is_refused_or_made_plain(raw in any::<String>()) {
            if let Ok(Canonical { path, .. }) = canonical(&raw) {
                let plain = decoded(&path);
                prop_assert!(path.is_ascii() && path.starts_with('/'));
                prop_assert!(!plain.chars().any(|c| c.is_ascii_control() || c == '\\'));
                prop_assert!(!path.split('/').any(|segment| segment == "." || segment == ".."));
            }
        }

        #[test]
        fn decoding_twice_finds_no_dot_segment_or_slash(raw in "/[a./;%25efcEFC]{0,16}") {
            if let Ok(canonical) = canonical(&raw) {
                let once = decoded(&canonical.path);
                let twice = decoded(&once);
                prop_assert_eq!(once.matches('/').count(), twice.matches('/').count());
                prop_assert!(!twice.split('/').any(|segment| segment == "." || segment == ".."), "{}", twice);
            }
        }
    }
}
