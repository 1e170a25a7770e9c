//! What a back end that is broken or hostile answers is never passed on for a success.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use crate::support::Plan;
use crate::support::World;
use crate::support::listen;

use super::exchanged;
use super::statuses;

/// A back end that says, whatever it is asked, what it is told to, and closes.
async fn parrot() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    let answer = Arc::<Mutex<Vec<u8>>>::default();
    let shared = Arc::clone(&answer);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = shared.lock().unwrap().clone();
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 4096]).await;
                let _ = socket.write_all(&answer).await;
                let _ = socket.shutdown().await;
                // not reset while the answer is read
                let _ = socket.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    (address, answer)
}

struct Stage {
    world: World,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Stage {
    async fn new() -> Self {
        let (address, answer) = parrot().await;
        let upstreams = format!(", parrot: {{ url: \"http://{address}\" }}");
        let routes = "\n  all: { match: /, auth: anonymous, upstream: parrot }\n";
        let plan = Plan { upstreams: upstreams.leak(), routes, ..Plan::default() };
        Self { world: World::with(plan).await, answer }
    }

    /// What a caller gets if the back end says that.
    async fn answer(&self, said: &[u8]) -> Vec<u8> {
        said.clone_into(&mut self.answer.lock().unwrap());
        let request = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        exchanged(self.world.proxy, request).await
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_502() {
    let stage = Stage::new().await;
    let ok = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}").into_bytes();
    let mut cases: Vec<(String, Vec<u8>)> = [
        ("nothing", ""),
        ("line ends", "\r\n\r\n"),
        ("as HTTP/0.9", "hello"),
        ("a page as HTTP/0.9", "<html>hello</html>\r\n\r\n"),
        ("another protocol", "SSH-2.0-OpenSSH_9.2\r\n"),
        ("TLS", "\u{16}\u{3}\u{1}\0\u{5}hello\r\n\r\n"),
        ("a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Len"),
        ("a head without its end", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"),
        ("another version", "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("version 1.2", "HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("no version", "200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("no status", "HTTP/1.1 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("two digits", "HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("a negative status", "HTTP/1.1 -20 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("status 99", "HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("status 0", "HTTP/1.1 000 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("two spaces before the status", "HTTP/1.1  200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("something before it", "xHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        (
            "switching protocols unasked",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello",
        ),
        ("nothing but before the answer", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"),
    ]
    .map(|(name, said)| (name.to_owned(), said.as_bytes().to_vec()))
    .into();
    for (name, fields) in [
        ("no colon", "X\r\n"),
        ("no name", ": y\r\n"),
        ("a space before the colon", "X : y\r\n"),
        ("a line that goes on", "X: y\r\n z\r\n"),
        ("a NUL in a value", "X: y\0z\r\n"),
        ("a control character in a value", "X: y\u{1}z\r\n"),
        ("a carriage return in a value", "X: y\rz\r\n"),
        ("a NUL in a name", "X\0: y\r\n"),
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("two lengths in one", "Content-Length: 5, 6\r\n"),
        ("a length with a sign", "Content-Length: +5\r\n"),
        ("a negative length", "Content-Length: -5\r\n"),
        ("a length that is none", "Content-Length: five\r\n"),
        ("a length with a letter", "Content-Length: 5x\r\n"),
        ("a length past all bounds", "Content-Length: 99999999999999999999\r\n"),
        ("a length and a space before the colon", "Content-Length : 5\r\n"),
        ("a coding nobody knows", "Transfer-Encoding: x\r\n"),
        ("gzip, then chunked", "Transfer-Encoding: gzip, chunked\r\n"),
        ("identity", "Transfer-Encoding: identity\r\n"),
        ("chunked, then identity", "Transfer-Encoding: chunked, identity\r\n"),
        ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked in quotes", "Transfer-Encoding: \"chunked\"\r\n"),
        ("a coding and a space before the colon", "Transfer-Encoding : chunked\r\n"),
    ] {
        cases.push((name.to_owned(), ok(fields, "5\r\nhello\r\n0\r\n\r\n")));
    }
    let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    cases.push(("a coding of HTTP/1.0".into(), old.into()));
    cases.push(("a value of 4 MB".into(), ok(&format!("X: {}\r\n", "y".repeat(4_000_000)), "")));
    cases.push(("a name of 4 MB".into(), ok(&format!("{}: y\r\n", "X".repeat(4_000_000)), "")));
    cases.push(("10 000 fields".into(), ok(&"X: y\r\n".repeat(10_000), "")));
    cases.push(("a reason of 4 MB".into(), format!("HTTP/1.1 200 {}\r\n\r\n", "y".repeat(4_000_000)).into()));
    let mut wrong = Vec::new();
    for (name, said) in &cases {
        let got = stage.answer(said).await;
        let text = String::from_utf8_lossy(&got);
        if statuses(&got) != [502] || !text.contains("\"reason\":\"upstream_unreachable\"") {
            wrong.push(format!("{name}: {}", text.get(..300).unwrap_or(&text)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_comes_before_an_answer_is_none() {
    let stage = Stage::new().await;
    let flood = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n".repeat(20_000);
    let got = stage.answer(flood.as_bytes()).await;
    assert_eq!(statuses(&got), [502]);
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_goes_wrong_is_cut() {
    let stage = Stage::new().await;
    let chunked = |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let mut wrong = Vec::new();
    for (name, said) in [
        ("shorter than its length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello".to_owned()),
        ("a chunk that breaks off", chunked("9\r\nhello")),
        ("no last chunk", chunked("5\r\nhello\r\n")),
        ("no end after the last chunk", chunked("5\r\nhello\r\n0\r\n")),
        ("a size with a sign", chunked("5\r\nhello\r\n+5\r\nhello\r\n0\r\n\r\n")),
        ("a size with 0x", chunked("5\r\nhello\r\n0x5\r\nhello\r\n0\r\n\r\n")),
        ("a size past all bounds", chunked("5\r\nhello\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
        ("a line feed alone after a size", chunked("5\r\nhello\r\n5\nhello\r\n0\r\n\r\n")),
        ("a longer chunk than it says", chunked("5\r\nhello\r\n5\r\nhello world\r\n0\r\n\r\n")),
        ("a line feed in an extension", chunked("5\r\nhello\r\n5;a\nb\r\nhello\r\n0\r\n\r\n")),
        ("a trailer without a colon", chunked("5\r\nhello\r\n0\r\nX\r\n\r\n")),
        ("another answer in place of a chunk", chunked("5\r\nhello\r\nHTTP/1.1 200 OK\r\n\r\n")),
    ] {
        let got = stage.answer(said.as_bytes()).await;
        let text = String::from_utf8_lossy(&got).to_ascii_lowercase();
        // either nothing of it was passed on yet, or the caller can tell that it is not whole
        let is_cut = match text.contains("transfer-encoding: chunked") {
            true => !text.ends_with("\r\n0\r\n\r\n"),
            false => text.contains("content-length: 9\r\n"),
        };
        if statuses(&got) != [502] && !(is_cut && statuses(&got) == [200]) {
            wrong.push(format!("{name}: {text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn an_answer_says_once_where_it_ends() {
    let stage = Stage::new().await;
    for (name, said, body) in [
        (
            "a length beside a coding",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "the same length twice",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            "hello",
        ),
        ("more than its length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello world", "hello"),
        (
            "another answer behind it",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden",
            "hello",
        ),
        ("until it closes", "HTTP/1.1 200 OK\r\n\r\nhello", "5\r\nhello\r\n0\r\n\r\n"),
        ("of HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nhello", "5\r\nhello\r\n0\r\n\r\n"),
        (
            "a field of its connection",
            "HTTP/1.1 200 OK\r\nConnection: x-a\r\nX-A: hidden\r\nContent-Length: 5\r\n\r\nhello",
            "hello",
        ),
        ("without content, but with some", "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\nhidden", ""),
        ("not modified, but with content", "HTTP/1.1 304 Not Modified\r\n\r\nhidden", ""),
    ] {
        let got = stage.answer(said.as_bytes()).await;
        let text = String::from_utf8_lossy(&got);
        let (head, got) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{name}: {text}"));
        let head = head.to_ascii_lowercase();
        let says = ["content-length:", "transfer-encoding:"].map(|field| head.matches(field).count());
        assert!(says.iter().sum::<usize>() <= 1, "{name}: {text}");
        assert_eq!(got, body, "{name}: {text}");
        assert!(!text.contains("hidden"), "{name}: {text}");
    }
}
