//! Requests that came in HTTP/2, as a strict server of HTTP/1.1 sees them: what has no one meaning there does not arrive, not by
//! one byte, and what ends too early or too late never arrives whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::Plan;
use crate::support::World;
use crate::support::http2::DATA;
use crate::support::http2::END_HEADERS;
use crate::support::http2::END_STREAM;
use crate::support::http2::Frame;
use crate::support::http2::GOAWAY;
use crate::support::http2::HEADERS;
use crate::support::http2::PADDED;
use crate::support::http2::Peer;
use crate::support::http2::RST_STREAM;
use crate::support::http2::block;
use crate::support::http2::connect;
use crate::support::http2::field;
use crate::support::http2::frame;
use crate::support::listen;
use crate::support::until;

/// A request as the strict server reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Request {
    line: String,
    /// Names and values as they came.
    fields: Vec<(String, String)>,
    content: Vec<u8>,
    trailers: Vec<(String, String)>,
}

impl Request {
    fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }
}

#[derive(Default)]
struct Seen {
    bytes: usize,
    whole: Vec<Request>,
    /// What no server should have to read.
    wrong: Vec<String>,
    open: usize,
}

/// A server that reads as RFC 9112 says and not a bit more kindly.
struct Strict {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Strict {
    async fn start() -> Self {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noting = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let noting = Arc::clone(&noting);
                noting.lock().unwrap().open += 1;
                tokio::spawn(async move {
                    serve(socket, &noting).await;
                    noting.lock().unwrap().open -= 1;
                });
            }
        });
        Self { address, seen }
    }

    /// What came since the last time.
    fn take(&self) -> (usize, Vec<Request>) {
        let mut seen = self.seen.lock().unwrap();
        assert!(seen.wrong.is_empty(), "{:?}", seen.wrong);
        (std::mem::take(&mut seen.bytes), std::mem::take(&mut seen.whole))
    }
}

async fn serve(mut socket: TcpStream, seen: &Mutex<Seen>) {
    let mut read = Vec::new();
    loop {
        match request(&read) {
            Ok(Some((request, length))) => {
                read.drain(..length);
                let answer = match request.line.split(' ').nth(1) {
                    Some("/204") => "HTTP/1.1 204 No Content\r\n\r\n",
                    Some("/304") => "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
                    _ if request.line.starts_with("HEAD ") => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
                    _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                };
                seen.lock().unwrap().whole.push(request);
                if socket.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(None) => {}
            Err(why) => {
                let text = String::from_utf8_lossy(&read).into_owned();
                seen.lock().unwrap().wrong.push(format!("{why}: {text:?}"));
                return;
            }
        }
        match socket.read_buf(&mut read).await {
            Ok(0) | Err(_) => return,
            Ok(count) => seen.lock().unwrap().bytes += count,
        }
    }
}

/// The request that `bytes` begin with, and how long it is; `None` if it is not whole.
fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, &'static str> {
    let Some((head, mut at)) = lines(bytes, 0)? else { return Ok(None) };
    let (line, fields) = head.split_first().ok_or("there is no request line")?;
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else {
        return Err("the request line is not of three words");
    };
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err("the method is no token");
    }
    let is_target = target == "*" || target.starts_with('/');
    if !is_target || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the target is neither in origin form nor `*`");
    }
    let mut request =
        Request { line: line.clone(), fields: named(fields)?, content: Vec::new(), trailers: Vec::new() };
    if request.all("host").len() != 1 {
        return Err("there is not one Host");
    }
    match (&request.all("content-length")[..], &request.all("transfer-encoding")[..]) {
        ([], []) => {}
        ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length: usize = length.parse().map_err(|_| "the length is no number")?;
            let Some(content) = bytes.get(at..at + length) else { return Ok(None) };
            request.content = content.to_vec();
            at += length;
        }
        ([], ["chunked"]) => loop {
            let Some(end) = bytes[at..].windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
            let size =
                std::str::from_utf8(&bytes[at..at + end]).map_err(|_| "the chunk's size is no text")?;
            let size = usize::from_str_radix(size, 16).map_err(|_| "the chunk's size is no number")?;
            at += end + 2;
            if size == 0 {
                let Some((trailers, end)) = lines(bytes, at)? else { return Ok(None) };
                request.trailers = named(&trailers)?;
                at = end;
                break;
            }
            let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
            let content = chunk.strip_suffix(b"\r\n").ok_or("the chunk does not end where it should")?;
            request.content.extend(content);
            at += size + 2;
        },
        _ => return Err("the framing is ambiguous"),
    }
    Ok(Some((request, at)))
}

/// The lines from `at` to an empty one, and where what follows begins.
fn lines(bytes: &[u8], at: usize) -> Result<Option<(Vec<String>, usize)>, &'static str> {
    let (mut all, mut at) = (Vec::new(), at);
    loop {
        let Some(end) = bytes[at..].windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
        let line = &bytes[at..at + end];
        at += end + 2;
        if line.is_empty() {
            return Ok(Some((all, at)));
        }
        if line.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
            return Err("there is a control character");
        }
        all.push(String::from_utf8_lossy(line).into_owned());
    }
}

fn named(lines: &[String]) -> Result<Vec<(String, String)>, &'static str> {
    let field = |line: &String| {
        let (name, value) = line.split_once(':').ok_or("a field has no colon")?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err("a field's name is no token");
        }
        let value = value.strip_prefix(' ').unwrap_or(value);
        match value.trim_matches([' ', '\t']) == value {
            true => Ok((name.to_owned(), value.to_owned())),
            false => Err("a field's value begins or ends with a blank"),
        }
    };
    lines.iter().map(field).collect()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/case");
const AUTHORITY: (&str, &str) = (":authority", "a.example");
const END: u8 = END_HEADERS | END_STREAM;

/// A request without content.
fn bare(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END, 1, &block(fields))
}

/// A GET with these fields more.
fn get(more: &[(&str, &str)]) -> Vec<u8> {
    bare(&[&[METHOD, SCHEME, PATH, AUTHORITY][..], more].concat())
}

/// The head of a POST with these fields more.
fn post(more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [&[(":method", "POST"), SCHEME, PATH, AUTHORITY][..], more].concat();
    frame(HEADERS, END_HEADERS, 1, &block(&fields))
}

fn data(content: &str) -> Vec<u8> {
    frame(DATA, 0, 1, content.as_bytes())
}

fn last(content: &str) -> Vec<u8> {
    frame(DATA, END_STREAM, 1, content.as_bytes())
}

/// The strict server behind the proxy.
async fn world() -> (Strict, World) {
    let strict = Strict::start().await;
    let world = World::with(Plan {
        routes: "\n  all: { match: /, auth: anonymous, upstream: strict, rewrite: { host: preserve } }\n",
        upstreams: format!(", strict: {{ url: \"http://{}\" }}", strict.address).leak(),
        ..Plan::default()
    })
    .await;
    (strict, world)
}

/// Sends the frames on a connection of their own: what came of stream 1, until it ended.
async fn sent(world: &World, frames: &[u8]) -> Vec<Frame> {
    let mut peer = Peer::greeted(connect(world.proxy.port(), None).await, &[]).await;
    peer.send(frames).await;
    peer.until(|it| it.stream == 1 && (it.ends_stream() || it.kind == RST_STREAM)).await
}

/// Whether the stream was reset, or the connection with it, or the answer says that the request was bad.
fn is_refusal(seen: &[Frame]) -> bool {
    let status = seen.iter().find_map(Frame::status);
    let is_reset = seen.last().is_some_and(|it| matches!(it.kind, RST_STREAM | GOAWAY));
    matches!(status, Some(400 | 405 | 417)) || (status.is_none() && is_reset)
}

/// Requests that are refused by their head.
fn ambiguous() -> Vec<(&'static str, Vec<u8>)> {
    let with = |name, value| get(&[(name, value)]);
    let of = |pseudo: [(&str, &str); 4]| bare(&pseudo);
    let posted = |more: &[(&str, &str)]| [post(more), last("x")].concat();
    vec![
        ("a length without content", with("content-length", "5")),
        ("two lengths that differ", posted(&[("content-length", "1"), ("content-length", "2")])),
        ("two lengths that agree", posted(&[("content-length", "1"), ("content-length", "1")])),
        ("a list of lengths", posted(&[("content-length", "1, 1")])),
        ("a signed length", posted(&[("content-length", "+1")])),
        ("a negative length", posted(&[("content-length", "-1")])),
        ("a hexadecimal length", posted(&[("content-length", "0x1")])),
        ("an empty length", posted(&[("content-length", "")])),
        ("a length with a blank", posted(&[("content-length", "1 ")])),
        ("chunked", posted(&[("transfer-encoding", "chunked")])),
        ("chunked, and a length", posted(&[("transfer-encoding", "chunked"), ("content-length", "1")])),
        ("identity", posted(&[("transfer-encoding", "identity")])),
        ("a coding nobody knows", posted(&[("transfer-encoding", "xchunked")])),
        ("connection: close", with("connection", "close")),
        ("connection: names a field", with("connection", "host")),
        ("keep-alive", with("keep-alive", "timeout=5")),
        ("proxy-connection", with("proxy-connection", "keep-alive")),
        ("upgrade: h2c", with("upgrade", "h2c")),
        ("upgrade: websocket", with("upgrade", "websocket")),
        ("te: gzip", with("te", "gzip")),
        ("te: trailers and more", with("te", "trailers, gzip")),
        ("a value with CR", with("x", "a\rb")),
        ("a value with LF", with("x", "a\nb")),
        ("a value with a field in it", with("x", "a\r\ntransfer-encoding: chunked")),
        ("a value with a request in it", with("x", "a\r\n\r\nGET /admin HTTP/1.1\r\nHost: a")),
        ("a value with NUL", with("x", "a\0b")),
        ("a value that begins with a blank", with("x", " chunked")),
        ("a value that ends with a tab", with("x", "chunked\t")),
        ("a name with a field in it", with("x: y\r\ntransfer-encoding", "chunked")),
        ("a name with a colon", with("transfer-encoding: chunked, x", "y")),
        ("a name with a blank", with("transfer-encoding ", "chunked")),
        ("a name with NUL", with("x\0", "y")),
        ("a name in upper case", with("Transfer-Encoding", "chunked")),
        ("a name that is empty", with("", "y")),
        ("a name beyond ASCII", with("\u{212a}", "y")),
        ("a method with a blank", of([(":method", "GET /admin HTTP/1.1\r\nx:"), SCHEME, PATH, AUTHORITY])),
        ("a method with a target", of([(":method", "GET /admin"), SCHEME, PATH, AUTHORITY])),
        ("an empty method", of([(":method", ""), SCHEME, PATH, AUTHORITY])),
        ("connect in lower case", of([(":method", "connect"), SCHEME, PATH, AUTHORITY])),
        ("trace in lower case", of([(":method", "trace"), SCHEME, PATH, AUTHORITY])),
        ("CONNECT with a path", of([(":method", "CONNECT"), SCHEME, PATH, AUTHORITY])),
        ("CONNECT", bare(&[(":method", "CONNECT"), (":authority", "internal:22")])),
        ("a path with a line in it", of([METHOD, SCHEME, (":path", "/ HTTP/1.1\r\nx: y"), AUTHORITY])),
        ("a path with a blank", of([METHOD, SCHEME, (":path", "/a b"), AUTHORITY])),
        ("a path with a tab", of([METHOD, SCHEME, (":path", "/a\tb"), AUTHORITY])),
        ("a path that is empty", of([METHOD, SCHEME, (":path", ""), AUTHORITY])),
        ("a path that is relative", of([METHOD, SCHEME, (":path", "case"), AUTHORITY])),
        ("a path that is a query", of([METHOD, SCHEME, (":path", "?x=y"), AUTHORITY])),
        ("a path that is a URL", of([METHOD, SCHEME, (":path", "http://b.example/"), AUTHORITY])),
        ("a path that begins with two slashes", of([METHOD, SCHEME, (":path", "//b.example/"), AUTHORITY])),
        ("* for another method than OPTIONS", of([METHOD, SCHEME, (":path", "*"), AUTHORITY])),
        ("another scheme", of([METHOD, (":scheme", "ftp"), PATH, AUTHORITY])),
        ("a scheme with a URL", of([METHOD, (":scheme", "http://b.example/x"), PATH, AUTHORITY])),
        ("a scheme with a line", of([METHOD, (":scheme", "http\r\nx: y"), PATH, AUTHORITY])),
        ("an authority with userinfo", of([METHOD, SCHEME, PATH, (":authority", "u:p@a.example")])),
        ("an authority with a path", of([METHOD, SCHEME, PATH, (":authority", "a.example/b")])),
        ("an authority with a line", of([METHOD, SCHEME, PATH, (":authority", "a.example\r\nx: y")])),
        ("an authority that is a list", of([METHOD, SCHEME, PATH, (":authority", "a.example,b.example")])),
        ("an authority that is empty", of([METHOD, SCHEME, PATH, (":authority", "")])),
        ("neither authority nor Host", bare(&[METHOD, SCHEME, PATH])),
        ("a Host that is not the authority", with("host", "b.example")),
        ("a Host that is the authority with a port", with("host", "a.example:80")),
        ("two Hosts", bare(&[METHOD, SCHEME, PATH, ("host", "a.example"), ("host", "b.example")])),
        ("two Hosts that agree", bare(&[METHOD, SCHEME, PATH, ("host", "a.example"), ("host", "a.example")])),
        ("two methods", bare(&[METHOD, (":method", "POST"), SCHEME, PATH, AUTHORITY])),
        ("two paths", bare(&[METHOD, SCHEME, PATH, (":path", "/admin"), AUTHORITY])),
        ("two authorities", bare(&[METHOD, SCHEME, PATH, AUTHORITY, (":authority", "b.example")])),
        ("two schemes", bare(&[METHOD, SCHEME, (":scheme", "https"), PATH, AUTHORITY])),
        ("a pseudo-header field after another field", bare(&[METHOD, SCHEME, AUTHORITY, ("x", "y"), PATH])),
        ("an unknown pseudo-header field", with(":x", "y")),
        ("a pseudo-header field of answers", with(":status", "200")),
        ("no method", bare(&[SCHEME, PATH, AUTHORITY])),
        ("an expectation nobody knows", with("expect", "200-ok")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_one_meaning_in_http_1_does_not_arrive_by_one_byte() {
    let (strict, world) = world().await;
    let mut wrong = Vec::new();
    for (name, frames) in ambiguous() {
        let seen = sent(&world, &frames).await;
        if !is_refusal(&seen) {
            wrong.push(format!("{name}: {seen:?}"));
        }
        // on the way to the server it would be overtaken by nothing
        world.get_anonymously("/marker").await;
        let (_, whole) = strict.take();
        let lines: Vec<&str> = whole.iter().map(|request| request.line.as_str()).collect();
        if lines != ["GET /marker HTTP/1.1"] {
            wrong.push(format!("{name}: {whole:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let first = {
        world.get_anonymously("/marker").await;
        strict.take().0
    };
    for (name, frames) in ambiguous() {
        sent(&world, &frames).await;
        assert_eq!(strict.take().0, 0, "{name}: bytes arrived");
    }
    assert!(first > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_where_it_says_never_arrives_whole() {
    let trailers = |name, value| frame(HEADERS, END, 1, &field(name, value));
    let five = || post(&[("content-length", "5")]);
    let (strict, world) = world().await;
    for (name, frames) in [
        ("less than was stated", vec![five(), last("1234")]),
        ("less, in pieces", vec![five(), data("12"), last("34")]),
        ("nothing of what was stated", vec![five(), last("")]),
        ("less, and trailers", vec![five(), data("1234"), trailers("x", "y")]),
        ("more than was stated", vec![five(), last("123456")]),
        ("more, in pieces", vec![five(), data("123"), last("456")]),
        ("more, and all that was stated before", vec![five(), data("12345"), last("6")]),
        (
            "more, where nothing was stated",
            vec![post(&[("content-length", "0")]), last("GET / HTTP/1.1\r\n\r\n")],
        ),
        ("padding for content", vec![five(), frame(DATA, END_STREAM | PADDED, 1, b"\x04\x31\0\0\0\0")]),
        ("taken back", vec![five(), data("12345"), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])]),
        (
            "taken back, of no stated length",
            vec![post(&[]), data("12345"), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])],
        ),
        (
            "trailers that do not end it",
            vec![post(&[]), data("1"), frame(HEADERS, END_HEADERS, 1, &field("x", "y"))],
        ),
        ("upper case in trailers", vec![post(&[]), data("1"), trailers("X", "y")]),
        ("a line in trailers", vec![post(&[]), data("1"), trailers("x", "y\r\n\r\nGET /admin HTTP/1.1")]),
        ("chunked in trailers", vec![post(&[]), data("1"), trailers("transfer-encoding", "chunked")]),
    ] {
        let is_taken_back = name.starts_with("taken back");
        let mut peer = Peer::greeted(connect(world.proxy.port(), None).await, &[]).await;
        // one at a time, so that what may arrive does
        for one in &frames {
            peer.send(one).await;
            tokio::task::yield_now().await;
        }
        if !is_taken_back {
            let seen = peer.until(|it| it.stream == 1 && (it.ends_stream() || it.kind == RST_STREAM)).await;
            assert!(is_refusal(&seen), "{name}: {seen:?}");
        }
        until("the connection with half a request is closed", async || {
            let seen = strict.seen.lock().unwrap();
            assert!(seen.whole.is_empty(), "{name}: {:?}", seen.whole);
            seen.open == 0
        })
        .await;
        assert_eq!(strict.take().1, [], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_arrive_says_the_same_in_the_other_words() {
    let (strict, world) = world().await;
    let arrives = async |name: &str, frames: &[u8], status: u16| {
        let seen = sent(&world, frames).await;
        assert_eq!(seen.iter().find_map(Frame::status), Some(status), "{name}: {seen:?}");
        let content: usize = seen.iter().filter(|it| it.kind == DATA).map(|it| it.payload.len()).sum();
        let mut whole = strict.take().1;
        assert_eq!(whole.len(), 1, "{name}: {whole:?}");
        (whole.remove(0), content)
    };

    let (plain, _) = arrives("GET", &get(&[("host", "A.example")]), 200).await;
    assert_eq!(plain.line, "GET /case HTTP/1.1");
    assert_eq!(plain.all("host"), ["a.example"]);
    assert!(plain.all("content-length").is_empty() && plain.all("transfer-encoding").is_empty());

    let crumbs = get(&[("cookie", "a=b"), ("x", "y"), ("cookie", "c=d"), ("cookie", "e=f")]);
    let (crumbs, _) = arrives("cookies", &crumbs, 200).await;
    assert_eq!(crumbs.all("cookie"), ["a=b; c=d; e=f"]);

    let several = get(&[("x", "1"), ("x", "2"), ("te", "trailers"), ("x", "inner blank")]);
    let (several, _) = arrives("a field several times", &several, 200).await;
    assert_eq!(several.all("x").join(", "), "1, 2, inner blank");

    let smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = smuggled.len().to_string();
    let known = [post(&[("content-length", &length)]), data(&smuggled[..9]), last(&smuggled[9..])].concat();
    let (known, _) = arrives("content of known length", &known, 200).await;
    assert_eq!(
        (known.all("content-length"), known.content.as_slice()),
        (vec![length.as_str()], smuggled.as_bytes())
    );
    let unknown = [post(&[]), data(smuggled), last("")].concat();
    let (unknown, _) = arrives("content of unknown length", &unknown, 200).await;
    assert_eq!(
        (unknown.all("transfer-encoding"), unknown.content.as_slice()),
        (vec!["chunked"], smuggled.as_bytes())
    );
    let late = [post(&[("content-length", "2")]), data("xy"), last("")].concat();
    assert_eq!(arrives("an end that comes apart", &late, 200).await.0.content, b"xy");
    let empty = [post(&[("content-length", "0")]), last("")].concat();
    assert_eq!(arrives("an end of nothing that comes apart", &empty, 200).await.0.content, b"");

    let with_content = block(&[METHOD, SCHEME, PATH, AUTHORITY]);
    let with_content = [frame(HEADERS, END_HEADERS, 1, &with_content), last("x")].concat();
    assert_eq!(arrives("GET with content", &with_content, 200).await.0.content, b"x");

    let behind = [
        ("x", "y"),
        ("authorization", "Bearer x"),
        ("content-length", "9"),
        ("host", "b.example"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "10.0.0.1"),
    ];
    let behind = [post(&[("trailer", "x")]), data("x"), frame(HEADERS, END, 1, &block(&behind))].concat();
    let (behind, _) = arrives("trailers", &behind, 200).await;
    assert!(behind.trailers.iter().all(|(name, _)| name.eq_ignore_ascii_case("x")), "{behind:?}");
    assert!(behind.all("x").is_empty() && behind.all("cookie").is_empty(), "{behind:?}");

    // the library drops these where it should refuse them
    for (name, more) in [
        ("a second head", &[METHOD, SCHEME, (":path", "/admin"), AUTHORITY][..]),
        ("a pseudo-header field", &[(":path", "/admin"), ("x", "y")]),
    ] {
        let behind = [post(&[]), data("x"), frame(HEADERS, END, 1, &block(more))].concat();
        let (behind, _) = arrives(name, &behind, 200).await;
        assert_eq!((behind.line.as_str(), behind.content.as_slice()), ("POST /case HTTP/1.1", &b"x"[..]));
        assert!(behind.trailers.iter().all(|(name, _)| name == "x"), "{behind:?}");
    }

    let head = [(":method", "HEAD"), SCHEME, PATH, AUTHORITY];
    assert_eq!(arrives("HEAD", &bare(&head), 200).await.1, 0);
    for (path, status) in [("/204", 204), ("/304", 304)] {
        let (_, content) = arrives(path, &bare(&[METHOD, SCHEME, (":path", path), AUTHORITY]), status).await;
        assert_eq!(content, 0);
    }
}
