//! Request targets with a `#`. There is no such target (RFC 9112 section 3.2), but `http::Uri` drops the `#` and what follows
//! it, so that a request with one looks like any other. Pure: what it is told are the bytes that hyper reads.
//!
//! Where requests begin only hyper knows. So whatever begins a line and reads like a method, a space and a target up to a `#`
//! is kept; whether it was a request, the requests of the connection tell. Bodies are not looked at: what one caller sends
//! there decides nothing about the request of the next. Nearly every read has no `#` and ends with a line, and then that is
//! all that is looked for.

use http::Method;
use http::Uri;
use http::uri::PathAndQuery;

/// Most that is kept of one request, and of all: a longer target is none to hyper. Of more, the oldest are forgotten, and a
/// fragment may go unnoticed, which harms nobody: it is neither matched nor sent on.
const MOST: usize = 72 * 1024;
/// Longest method that is told from what comes before it.
const LONGEST_METHOD: usize = 128;

/// The mark of a request whose target has a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment;

/// The search for them in the bytes of one connection.
#[derive(Debug)]
pub enum Search {
    /// It goes on.
    On {
        /// What may be the beginning of a request, if the last read ended with one. Boxed: it rarely does.
        beginning: Option<Box<Beginning>>,
        /// Whether the next read begins a line.
        is_line: bool,
    },
    /// These are no requests.
    Off,
}

/// What may be a method, or a method and a target.
#[derive(Debug)]
pub struct Beginning {
    bytes: Vec<u8>,
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Method,
    Target,
}

/// Methods and targets up to a `#`, each on a line of its own, the oldest first.
#[derive(Debug, Default)]
pub struct Found(Vec<u8>);

impl Search {
    /// At the beginning of a connection.
    pub fn new() -> Self {
        Self::On { beginning: None, is_line: true }
    }

    /// What is read meanwhile is of no request: the next that is told may begin with one.
    pub fn begin_anew(&mut self) {
        if let Self::On { .. } = self {
            *self = Self::new();
        }
    }

    /// Goes on with what was read. If something was found, `found` gets it.
    pub fn read(&mut self, bytes: &[u8], found: impl FnOnce(Found)) {
        let Self::On { beginning, is_line } = self else { return };
        let is_marked = memchr::memchr(b'#', bytes).is_some();
        if !is_marked && beginning.is_none() && bytes.ends_with(b"\n") || bytes.is_empty() {
            *is_line |= !bytes.is_empty();
            return;
        }
        if let (false, Some(begun)) = (is_marked, beginning.as_mut())
            && begun.goes_on(bytes)
        {
            return;
        }
        let is_first = std::mem::replace(is_line, bytes.ends_with(b"\n")) || beginning.is_some();
        let joined = beginning.take().map(|begun| [&begun.bytes, bytes].concat());
        let bytes = joined.as_deref().unwrap_or(bytes);
        let begins_line = |(from, _): &(usize, Part)| match from.checked_sub(1) {
            None => is_first,
            Some(before) => bytes.get(before) == Some(&b'\n'),
        };
        let mut all = Found::default();
        let mut start = 0;
        for mark in memchr::memchr_iter(b'#', bytes) {
            if let Some((from, Part::Target)) = beginning_at(bytes, start, mark).filter(begins_line) {
                all.add(bytes.get(from..mark).unwrap_or_default());
            }
            start = mark + 1;
        }
        *beginning = beginning_at(bytes, start, bytes.len()).filter(begins_line).and_then(|(from, part)| {
            let bytes = bytes.get(from..).filter(|bytes| bytes.len() <= MOST)?;
            Some(Box::new(Beginning { bytes: bytes.to_vec(), part }))
        });
        if !all.0.is_empty() {
            found(all);
        }
    }
}

impl Default for Search {
    fn default() -> Self {
        Self::new()
    }
}

impl Beginning {
    /// Whether these bytes make the target longer, and nothing else.
    fn goes_on(&mut self, bytes: &[u8]) -> bool {
        let goes_on = self.part == Part::Target
            && self.bytes.len() + bytes.len() <= MOST
            && bytes.iter().all(|byte| is_of_target(*byte));
        if goes_on {
            self.bytes.extend_from_slice(bytes);
        }
        goes_on
    }
}

/// Where what may be the beginning of a request begins that ends at `end`, and what part of one ends there. A target begins
/// after `start`.
fn beginning_at(bytes: &[u8], start: usize, end: usize) -> Option<(usize, Part)> {
    let method = |end| {
        let before = bytes.get(..end).unwrap_or_default().iter().rev().take(LONGEST_METHOD);
        Some(before.take_while(|byte| is_token(**byte)).count()).filter(|count| *count > 0)
    };
    let space = memchr::memrchr(b' ', bytes.get(start..end)?).map(|at| start + at);
    let has_target =
        |space: &usize| bytes.get(space + 1..end).is_some_and(|it| it.iter().all(|byte| is_of_target(*byte)));
    let target = space.filter(has_target).and_then(|space| Some((space - method(space)?, Part::Target)));
    target.or_else(|| Some((end - method(end)?, Part::Method)))
}

fn is_of_target(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && byte != b'#'
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Found {
    /// A method and a target. One that is neither a path nor a URL is refused anyway.
    fn add(&mut self, beginning: &[u8]) {
        let target =
            memchr::memchr(b' ', beginning).and_then(|at| beginning.get(at + 1..)).unwrap_or_default();
        if target.starts_with(b"/") || target.windows(3).any(|it| it == b"://") {
            self.0.extend_from_slice(beginning);
            self.0.push(b'\n');
        }
    }

    /// These too.
    pub fn extend(&mut self, later: &Self) {
        if self.0.len() + later.0.len() > MOST {
            self.0.clear();
        }
        self.0.extend_from_slice(later.0.get(later.0.len().saturating_sub(MOST)..).unwrap_or_default());
    }

    /// Whether one of them is the beginning of a request of this method, whose target is otherwise `target`.
    pub fn has(&self, method: &Method, target: &Uri) -> bool {
        let is_url = target.scheme().is_some();
        let path = target.path_and_query().map(PathAndQuery::as_str).unwrap_or_default().as_bytes();
        self.0.split(|byte| *byte == b'\n').any(|line| {
            let (own, rest) = line.split_at(memchr::memchr(b' ', line).unwrap_or(line.len()));
            let rest = rest.get(1..).unwrap_or_default();
            own == method.as_str().as_bytes()
                && match is_url {
                    true => Uri::try_from(rest).is_ok_and(|own| own == *target),
                    false => rest == path,
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is found in `bytes`, read in such pieces.
    fn found(pieces: &[&[u8]]) -> Vec<String> {
        let (mut search, mut all) = (Search::new(), Found::default());
        for piece in pieces {
            search.read(piece, |found| all.extend(&found));
        }
        let text = String::from_utf8_lossy(&all.0).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_may_be_a_request_is_kept_up_to_its_mark() {
        for (bytes, expected) in [
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", &["GET /a"][..]),
            ("\r\n\r\nGET /# HTTP/1.1\r\n", &["GET /"]),
            ("GET /a?b#c#d HTTP/1.1\r\n", &["GET /a?b"]),
            ("GET http://h#x HTTP/1.1\r\n", &["GET http://h"]),
            ("G#T /a#b HTTP/1.1\r\n", &["G#T /a"]),
            ("GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b#c HTTP/1.1\nHost: a\n\n", &["POST /b"]),
            ("GET /a#b HTTP/1.1\r\n\r\nGET /c#d HTTP/1.1\r\n\r\n", &["GET /a", "GET /c"]),
            ("GET #a HTTP/1.1\r\n", &[]),
            ("notes on C#, F# and the like", &[]),
            ("{\"a\": 1}GET /a#b HTTP/1.1\r\n", &[]),
            ("GET /a HTTP/1.1\r\nHost: a\r\nX: see GET /b#c\r\n\r\n", &[]),
            ("helloGET /a#b HTTP/1.1\r\n", &["helloGET /a"]),
            ("GET /a HTTP/1.1\r\nHost: a\r\nCookie: a=#b\r\n\r\n", &[]),
            ("PUT /a HTTP/1.1\r\nHost: a\r\n\r\n{\"a\": \"#b\"}\n# Title\n", &[]),
            ("{\"a\": GET /a#b", &[]),
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
        let bytes = b"GET /a?b#c HTTP/1.1\r\n\r\nGET http://H#c HTTP/1.1\r\n";
        Search::new().read(bytes, |found| all.extend(&found));
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
        for beginning in ["", "GET /"] {
            let mut search = Search::new();
            search.read(beginning.as_bytes(), |_| panic!("there is no mark"));
            for _ in 0..2 * MOST / 1000 {
                search.read(&[b'a'; 1000], |_| panic!("there is no mark"));
            }
            assert!(
                matches!(&search, Search::On { beginning: kept, .. } if kept.as_ref().is_none_or(|kept| kept.bytes.len() <= MOST))
            );
        }
        let (mut search, mut all) = (Search::new(), Found::default());
        for _ in 0..MOST {
            search.read(b"GET /#\n", |found| all.extend(&found));
        }
        assert!((1..=MOST).contains(&all.0.len()));
        search.read(&b"GET /#\n".repeat(MOST), |found| all.extend(&found));
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
