//! Heads that nobody could read are told of all the same: a line in the access log, a refusal and a request in the metrics.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::sidecar::Sidecar;
use crate::support::until;

use super::exchanged;
use super::rest;
use super::statuses;

/// Nobody asks it for anything.
const PROVIDER: &str = "
  nobody:
    entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490, authority: \"http://127.0.0.1:1\" }
    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
    credential: { secret: { env: SECRET } }
";
const ROUTES: &str = "\n  all: { match: /, auth: anonymous }\n";

async fn sidecar() -> (Sidecar, SocketAddr) {
    let sidecar = Sidecar::start(PROVIDER, ROUTES, &[]).await;
    let proxy = sidecar.proxy.address.parse().unwrap();
    (sidecar, proxy)
}

#[tokio::test]
async fn each_has_its_line_and_is_counted_once() {
    let (sidecar, proxy) = sidecar().await;
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(200));
    for (sent, status) in [
        ("GARBAGE\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nhello", 400),
        (&long, 431),
        (&many, 431),
    ] {
        let answer = exchanged(proxy, sent.as_bytes()).await;
        assert_eq!(statuses(&answer), [status], "{}", answer.escape_ascii());
    }
    // nothing was answered, and nothing is told
    drop(TcpStream::connect(proxy).await.unwrap());
    let mut half = TcpStream::connect(proxy).await.unwrap();
    half.write_all(b"GET / HTT").await.unwrap();
    drop(half);
    exchanged(proxy, b"GET /whole HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    until("the last is counted", async || sidecar.count(&refusals("headers_too_large")).await == 2).await;
    assert_eq!(sidecar.count(&refusals("bad_request")).await, 4);
    for (status, count) in [(400, 4), (431, 2)] {
        let requests = format!(
            "http_server_request_duration_seconds_count{{http_route=\"\",http_request_method=\"_OTHER\",http_response_status_code=\"{status}\"}} "
        );
        assert_eq!(sidecar.count(&requests).await, count, "{status}");
    }
    until("the log has them all", async || access_lines(&sidecar).len() >= 7).await;
    let lines = access_lines(&sidecar);
    assert_eq!(lines.len(), 7, "{lines:?}");
    let unread: Vec<&Value> = lines.iter().filter(|line| line.get("url.path").is_none()).collect();
    assert_eq!(unread.len(), 6, "{lines:?}");
    for line in unread {
        let expected = match line["http.response.status_code"].as_u64() {
            Some(400) => "bad_request",
            Some(431) => "headers_too_large",
            _ => panic!("{line}"),
        };
        assert_eq!(line["reason"], expected, "{line}");
        assert_eq!(line["request_id"].as_str().unwrap().len(), 32, "{line}");
        assert!(line.get("http.request.method").is_none() && line.get("route").is_none(), "{line}");
    }
}

fn refusals(reason: &str) -> String {
    format!("obo_refusals_total{{route=\"\",reason=\"{reason}\"}} ")
}

fn access_lines(sidecar: &Sidecar) -> Vec<Value> {
    let log = sidecar.proxy.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["msg"] == "request").collect()
}

/// Closed with bytes unread, the kernel would send a reset, which can overtake the answer (RFC 9112 section 9.6).
#[tokio::test]
async fn who_still_sends_a_head_that_is_too_large_gets_to_read_the_answer() {
    let (_sidecar, proxy) = sidecar().await;
    for _ in 0..20 {
        let mut socket = TcpStream::connect(proxy).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(4_000_000));
        socket.write_all(head.as_bytes()).await.expect("the proxy reads on");
        let answer = rest(&mut socket).await;
        assert_eq!(statuses(&answer), [431], "{}", answer.escape_ascii());
    }
}
