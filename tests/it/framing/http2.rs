//! Requests in HTTP/2 that would mean something else in HTTP/1.1, which the back end speaks (RFC 9113 section 8).

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::PATIENCE;
use super::Stage;
use super::lines;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as they are, without any compression (RFC 7541 section 6.2.2).
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// An answer of status 200.
    Passed,
    /// Another answer, or none.
    Stopped,
}

/// What comes of the first request that these frames are of.
async fn outcome(proxy: SocketAddr, frames: &[u8]) -> Outcome {
    // by the static table of RFC 7541
    const INDEXED_200: u8 = 0x88;
    let mut socket = TcpStream::connect(proxy).await.unwrap();
    let ping = frame(PING, 0, 0, b"the end!");
    let all = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, &[])[..], frames, &ping].concat();
    let _ = socket.write_all(&all).await;
    let reading = async {
        loop {
            let mut head = [0; 9];
            if socket.read_exact(&mut head).await.is_err() {
                return Outcome::Stopped;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            if socket.read_exact(&mut payload).await.is_err() {
                return Outcome::Stopped;
            }
            match head[3] {
                HEADERS if payload.contains(&INDEXED_200) && payload[0] & 0xe0 != 0x20 => {
                    return if payload[0] == INDEXED_200 { Outcome::Passed } else { Outcome::Stopped };
                }
                HEADERS | RST_STREAM | GOAWAY => return Outcome::Stopped,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an answer, or an end")
}

type Fields<'f> = &'f [(&'f str, &'f str)];

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/x")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/x")];

#[tokio::test]
async fn what_cannot_be_said_in_http_1_is_not_sent_on() {
    let stage = Stage::new().await;
    let cases: Vec<(&str, Vec<(&str, &str)>)> = {
        let get = |name, more: Fields<'static>| (name, [&GET[..], more].concat());
        let but = |name, pseudo: &'static str, value: &'static str| {
            let swap =
                |(own, old): (&'static str, &'static str)| (own, if own == pseudo { value } else { old });
            (name, GET.into_iter().map(swap).collect())
        };
        let less =
            |name, pseudo: &'static str| (name, GET.into_iter().filter(|(own, _)| *own != pseudo).collect());
        vec![
            get("transfer-encoding", &[("transfer-encoding", "chunked")]),
            get("connection", &[("connection", "close")]),
            get("keep-alive", &[("keep-alive", "5")]),
            get("proxy-connection", &[("proxy-connection", "close")]),
            get("upgrade", &[("upgrade", "h2c")]),
            get("te other than trailers", &[("te", "gzip")]),
            get("a capital in a name", &[("X-A", "b")]),
            get("a line end in a value", &[("x", "y\r\nz: w")]),
            get("a line feed in a value", &[("x", "y\nz: w")]),
            get("a carriage return in a value", &[("x", "y\rz")]),
            get("a NUL in a value", &[("x", "y\0z")]),
            get("a line end in a name", &[("x\r\ny", "z")]),
            get("a colon in a name", &[("x: y", "z")]),
            get("a space in a name", &[("x y", "z")]),
            get("a NUL in a name", &[("x\0", "z")]),
            get("no name", &[("", "z")]),
            get("a Host that is not the authority", &[("host", "b")]),
            get("two Hosts", &[("host", "a"), ("host", "a")]),
            get("two authorities", &[(":authority", "b")]),
            get("two methods", &[(":method", "POST")]),
            get("two paths", &[(":path", "/y")]),
            get("a pseudo-field after a field", &[("x", "y"), (":path", "/y")]),
            get("a pseudo-field nobody knows", &[(":x", "y")]),
            get("a status", &[(":status", "200")]),
            get("a length without a body", &[("content-length", "5")]),
            get("a length that is none", &[("content-length", "+0")]),
            get("two lengths", &[("content-length", "0"), ("content-length", "1")]),
            get("an expectation", &[("expect", "x")]),
            less("no method", ":method"),
            less("no path", ":path"),
            less("no scheme", ":scheme"),
            less("no authority", ":authority"),
            but("an empty path", ":path", ""),
            but("a path without a slash", ":path", "x"),
            but("a star", ":path", "*"),
            but("a URL for a path", ":path", "http://a/x"),
            but("a space in the path", ":path", "/x HTTP/1.1"),
            but("a line end in the path", ":path", "/x HTTP/1.1\r\nX: y"),
            but("a tab in the path", ":path", "/x\ty"),
            but("dots in the path", ":path", "/x/../admin"),
            but("two slashes", ":path", "//admin"),
            but("an escaped slash", ":path", "/x%2fadmin"),
            but("an empty authority", ":authority", ""),
            but("a user in the authority", ":authority", "u@a"),
            but("a path in the authority", ":authority", "a/x"),
            but("a line end in the authority", ":authority", "a\r\nX: y"),
            but("a space in the authority", ":authority", "a b"),
            but("another scheme", ":scheme", "ftp"),
            but("a scheme with a line end", ":scheme", "http\r\nX: y"),
            but("an empty method", ":method", ""),
            but("a method with a space", ":method", "GET /admin"),
            but("a method with a line end", ":method", "GET /admin HTTP/1.1\r\nHost: a\r\n\r\nGET"),
            but("TRACE", ":method", "TRACE"),
            ("CONNECT", vec![(":method", "CONNECT"), (":authority", "b:443")]),
        ]
    };
    for (name, headers) in &cases {
        let sent = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(headers));
        assert_eq!(outcome(stage.world.proxy, &sent).await, Outcome::Stopped, "{name}");
        assert_eq!(stage.backend.take().map(|seen| lines(&seen)), Ok(vec![]), "{name}");
    }
}

#[tokio::test]
async fn a_length_is_what_comes() {
    let stage = Stage::new().await;
    let cases: [(&str, &str, &[&str]); 5] = [
        ("less", "9", &["hello"]),
        ("more", "3", &["hello"]),
        ("more in two pieces", "5", &["hello", "x"]),
        ("nothing", "5", &[""]),
        ("something where there is nothing", "0", &["GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"]),
    ];
    for (name, length, pieces) in cases {
        let mut sent =
            frame(HEADERS, END_HEADERS, 1, &fields(&[&POST[..], &[("content-length", length)]].concat()));
        for (at, piece) in pieces.iter().enumerate() {
            let flags = if at + 1 == pieces.len() { END_STREAM } else { 0 };
            sent.extend(frame(DATA, flags, 1, piece.as_bytes()));
        }
        assert_eq!(outcome(stage.world.proxy, &sent).await, Outcome::Stopped, "{name}");
        assert_eq!(stage.backend.take().map(|seen| lines(&seen)), Ok(vec![]), "{name}");
    }
}

#[tokio::test]
async fn what_can_be_said_in_both_is() {
    let stage = Stage::new().await;
    let get = |more: Fields<'static>| [&GET[..], more].concat();
    let cases: [(&str, Vec<_>, &str, Fields<'_>); 6] = [
        ("a request", get(&[]), "GET /x", &[("host", "a")]),
        ("a Host that is the authority", get(&[("host", "a")]), "GET /x", &[("host", "a")]),
        (
            "cookies in pieces",
            get(&[("cookie", "a=b"), ("cookie", "c=d")]),
            "GET /x",
            &[("cookie", "a=b; c=d")],
        ),
        ("te that takes trailers", get(&[("te", "trailers")]), "GET /x", &[("te", "trailers")]),
        ("a value past ASCII", get(&[("x", "é")]), "GET /x", &[("x", "é")]),
        (
            "a Host in place of the authority",
            vec![(":method", "GET"), (":scheme", "http"), (":path", "/x?y"), ("host", "a")],
            "GET /x?y",
            &[("host", "a")],
        ),
    ];
    for (name, headers, line, has) in &cases {
        let sent = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(headers));
        assert_eq!(outcome(stage.world.proxy, &sent).await, Outcome::Passed, "{name}");
        let seen = stage.backend.take().unwrap();
        assert_eq!(lines(&seen), [*line], "{name}");
        for (field, value) in *has {
            assert_eq!(seen[0].values(field), [*value], "{name}");
        }
    }
}

/// The `#` and what follows it are gone before we get to see them; they must be for everybody.
#[tokio::test]
async fn nobody_sees_a_fragment() {
    let stage = Stage::new().await;
    for path in ["/x#y", "/x#/../admin", "/x?y#z", "/admin#/x"] {
        let headers: Vec<_> =
            GET.into_iter().map(|(name, own)| (name, if name == ":path" { path } else { own })).collect();
        let sent = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&headers));
        outcome(stage.world.proxy, &sent).await;
        for seen in stage.backend.take().unwrap() {
            assert!(path.starts_with("/x") && path.starts_with(&seen.line[4..]), "{path}: {}", seen.line);
        }
    }
}
