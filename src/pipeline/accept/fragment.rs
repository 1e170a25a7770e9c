//! Request targets with a `#`. There is no such target (RFC 9112 section 3.2), but `http::Uri` drops the `#` and what follows
//! it, so that a request with one looks like any other. Pure: what it is told are the bytes that hyper reads.
//!
//! Nearly every read has no `#` and ends with a line, and then that is all that is looked for. Otherwise only lines that
//! begin like a request's are kept, up to their `#`; which of them was one, its request tells. A line of a body is mistaken
//! for one only if a request comes soon after it on the same connection that reads the same, but for the `#`.

use http::Method;
use http::Uri;

/// Most that is kept of one line, and of all. hyper holds less than this of what it has not understood yet.
const MOST: usize = 256 * 1024;

/// The mark of a request whose target has a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment;

/// The line in which the bytes read so far end. Boxed: nearly always there is nothing to keep.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Line {
    /// Nothing of it has come.
    #[default]
    Ahead,
    /// So far it may be a method.
    Method(Box<Vec<u8>>),
    /// So far it may be a method and a target.
    Target(Box<Vec<u8>>),
    /// It is no request's, or its `#` was found.
    Passed,
    /// These are no requests.
    Ignored,
}

/// Methods and targets, each up to a `#` and ended like a line, the oldest first.
#[derive(Debug, Default)]
pub struct Found(Vec<u8>);

impl Line {
    /// After these bytes too. If something was found, `found` gets it.
    pub fn read(&mut self, bytes: &[u8], found: impl FnOnce(Found)) {
        if *self == Self::Ignored {
            return;
        }
        let mut marked = Found::default();
        if memchr::memchr(b'#', bytes).is_some() {
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                self.go_on(line, &mut marked);
            }
        } else if *self != Self::Ahead || !bytes.ends_with(b"\n") {
            let last = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
            if last > 0 {
                *self = Self::Ahead;
            }
            self.go_on(bytes.get(last..).unwrap_or_default(), &mut marked);
        }
        if !marked.0.is_empty() {
            found(marked);
        }
    }

    /// After one line more, or a part of one.
    fn go_on(&mut self, line: &[u8], found: &mut Found) {
        let is_over = line.ends_with(b"\n");
        let is_plain = *self == Self::Ahead && is_over && memchr::memchr(b'#', line).is_none();
        if is_plain || line.is_empty() {
            return;
        }
        let mut rest = line;
        if let Self::Ahead = self {
            *self = Self::Method(Box::default());
        }
        if let Self::Method(begun) = self {
            rest = keep(begun, rest, is_token);
            *self = match rest {
                [] if begun.len() < MOST => return,
                [b' ', target @ ..] if !begun.is_empty() => {
                    rest = target;
                    begun.push(b' ');
                    Self::Target(std::mem::take(begun))
                }
                _ => Self::Passed,
            };
        }
        if let Self::Target(begun) = self {
            rest = keep(begun, rest, |byte| byte > b' ' && byte != b'#' && byte != 0x7f);
            match rest {
                [] if begun.len() < MOST => return,
                [b'#', ..] => found.add(begun),
                _ => {}
            }
        }
        *self = if is_over { Self::Ahead } else { Self::Passed };
    }
}

/// Moves those bytes from the beginning of `bytes` that fit. What is left.
fn keep<'b>(kept: &mut Vec<u8>, bytes: &'b [u8], fits: impl Fn(u8) -> bool) -> &'b [u8] {
    let count = bytes.iter().take_while(|byte| fits(**byte)).count();
    let (fitting, rest) = bytes.split_at(count);
    kept.extend_from_slice(fitting);
    rest
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Found {
    fn add(&mut self, beginning: &[u8]) {
        self.0.extend_from_slice(beginning);
        self.0.push(b'\n');
    }

    /// These too.
    pub fn extend(&mut self, later: &Self) {
        if self.0.len() + later.0.len() > MOST {
            // hyper has read long ago what is that old
            self.0.clear();
        }
        self.0.extend_from_slice(&later.0);
    }

    /// Whether one of them is the beginning of a request of this method, whose target is otherwise `target`.
    pub fn has(&self, method: &Method, target: &Uri) -> bool {
        self.0.split(|byte| *byte == b'\n').any(|line| {
            let own = line.strip_prefix(method.as_str().as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
            // read as hyper reads it
            own.is_some_and(|own| Uri::try_from(own).is_ok_and(|own| own == *target))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is found in `bytes`, read in such pieces.
    fn found(pieces: &[&[u8]]) -> Vec<String> {
        let (mut line, mut all) = (Line::default(), Found::default());
        for piece in pieces {
            line.read(piece, |found| all.extend(&found));
        }
        let text = String::from_utf8_lossy(&all.0).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_request_line_is_kept_up_to_its_mark() {
        for (bytes, expected) in [
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /a"][..]),
            ("\r\n\r\nGET /# HTTP/1.1\r\n", &["GET /"]),
            ("GET /a?b#c#d HTTP/1.1\r\n", &["GET /a?b"]),
            ("GET http://h#x HTTP/1.1\r\n", &["GET http://h"]),
            ("G#T /a#b HTTP/1.1\r\n", &["G#T /a"]),
            ("GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b#c HTTP/1.1\nHost: a\n\n", &["POST /b"]),
            ("GET /a#b HTTP/1.1\r\n\r\nGET /c#d HTTP/1.1\r\n\r\n", &["GET /a", "GET /c"]),
            ("GET #a HTTP/1.1\r\n", &["GET "]),
            ("GET /a HTTP/1.1\r\nHost: a\r\nCookie: a=#b\r\n\r\n", &[]),
            ("GET /a HTTP/1.1#\r\n#: x\r\n # y\r\n", &[]),
            ("PUT /a HTTP/1.1\r\nHost: a\r\n\r\n{\"a\": \"#b\"}\n# Title\n", &[]),
            ("#######################", &[]),
        ] {
            let whole = found(&[bytes.as_bytes()]);
            assert_eq!(whole, expected, "{bytes:?}");
            let pieces: Vec<&[u8]> = bytes.as_bytes().chunks(1).collect();
            assert_eq!(found(&pieces), expected, "byte by byte: {bytes:?}");
        }
    }

    #[test]
    fn it_is_the_request_that_reads_the_same_otherwise() {
        let mut all = Found::default();
        Line::default()
            .read(b"GET /a?b#c HTTP/1.1\r\n\r\nGET http://H#c HTTP/1.1\r\n", |found| all.extend(&found));
        for (method, target, expected) in [
            (Method::GET, "/a?b", true),
            (Method::GET, "http://h/", true),
            (Method::GET, "/a", false),
            (Method::GET, "/a?b=", false),
            (Method::POST, "/a?b", false),
        ] {
            assert_eq!(all.has(&method, &target.parse().unwrap()), expected, "{method} {target}");
        }
    }

    #[test]
    fn of_what_is_kept_there_is_a_bound() {
        let mut all = Found::default();
        for beginning in ["", "GET /"] {
            let mut line = Line::default();
            line.read(beginning.as_bytes(), |found| all.extend(&found));
            for _ in 0..2 * MOST / 1000 {
                line.read(&[b'a'; 1000], |found| all.extend(&found));
            }
            assert_eq!(line, Line::Passed);
        }
        let mut line = Line::default();
        for _ in 0..MOST {
            line.read(b"GET /#\n", |found| all.extend(&found));
        }
        assert!((1..=MOST).contains(&all.0.len()));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_bytes_are_cut(
            text in "(GET |/|#|a|:|\r\n|\n| |HTTP/1.1|\\{){0,60}",
            cuts in proptest::collection::vec(1_usize..7, 1..40),
        ) {
            let mut pieces = Vec::new();
            let (mut rest, mut cuts) = (text.as_bytes(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, others) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                pieces.push(piece);
                rest = others;
            }
            prop_assert_eq!(found(&pieces), found(&[text.as_bytes()]));
        }
    }
}
