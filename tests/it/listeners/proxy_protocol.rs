//! Load balancers that say whom they connect for.

use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::listeners::Front;
use crate::listeners::curl;
use crate::listeners::files;
use crate::listeners::headers;
use crate::listeners::tls;
use crate::support::certificates::Authority;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n";

/// A header of version 2.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &length, block].concat()
}

/// An address block of version 2 for IPv4.
fn block(address: [u8; 4]) -> Vec<u8> {
    [&address[..], &[127, 0, 0, 1], &[0xd4, 0x31], &[0x1f, 0x90]].concat()
}

/// All that comes until the proxy closes.
async fn rest(socket: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer)).await;
    let _closed_or_reset = read.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The headers that the API saw, if the answer is its.
fn seen(answer: &str) -> Value {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    serde_json::from_str::<Value>(body).unwrap()["headers"].clone()
}

async fn ask(front: &Front, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(&front.proxy.address).await.unwrap();
    let _refused_early = socket.write_all(bytes).await;
    rest(&mut socket).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_load_balancer_says_where_a_connection_comes_from() {
    let listener = "proxy_protocol: true, trusted_proxies: [127.0.0.0/8, 10.0.0.0/8, 'fd00::/8']";
    let front = Front::start(listener, "").await;
    let claimed = "203.0.113.9";
    let mut six = [0; 36];
    six[..2].copy_from_slice(&[0x20, 0x01]);
    six[15] = 7;
    for (header, expected) in [
        (b"PROXY TCP4 192.0.2.7 127.0.0.1 54321 8080\r\n".to_vec(), "192.0.2.7".to_owned()),
        (b"PROXY TCP6 2001:db8::7 ::1 54321 8080\r\n".to_vec(), "2001:db8::7".to_owned()),
        (v2(1, 0x11, &block([192, 0, 2, 7])), "192.0.2.7".to_owned()),
        (v2(1, 0x21, &six), "2001::7".to_owned()),
        // more than an address is passed over
        (v2(1, 0x11, &[&block([192, 0, 2, 7])[..], &[4; 2000]].concat()), "192.0.2.7".to_owned()),
        // who is behind the load balancer may be a trusted proxy too
        (v2(1, 0x11, &block([10, 0, 0, 7])), format!("{claimed}, 10.0.0.7")),
        // the load balancer speaks for itself, or for it does not say whom
        (v2(0, 0, &[]), format!("{claimed}, 127.0.0.1")),
        (v2(1, 0, &[]), "127.0.0.1".to_owned()),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1".to_owned()),
    ] {
        let answer = ask(&front, &[&header[..], GET].concat()).await;
        assert_eq!(seen(&answer)["x-forwarded-for"], expected, "{header:?}");
    }
    // curl speaks version 1
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let url = format!("http://{}/", front.proxy.address);
        assert_eq!(headers(&["--haproxy-protocol", version, &url]).await["x-forwarded-for"], "127.0.0.1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_may_come_in_pieces_and_the_request_right_behind_it() {
    let front = Front::start("proxy_protocol: true, trusted_proxies: 127.0.0.1", "").await;
    for header in [
        b"PROXY TCP4 192.0.2.7 127.0.0.1 54321 8080\r\n".to_vec(),
        v2(1, 0x11, &block([192, 0, 2, 7])),
        v2(1, 0x11, &[&block([192, 0, 2, 7])[..], &[4; 700]].concat()),
    ] {
        let all = [&header[..], GET].concat();
        for cut in (1..header.len() + 8).step_by(if header.len() > 100 { 101 } else { 3 }) {
            let mut socket = TcpStream::connect(&front.proxy.address).await.unwrap();
            socket.set_nodelay(true).unwrap();
            socket.write_all(&all[..cut]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
            socket.write_all(&all[cut..]).await.unwrap();
            let answer = rest(&mut socket).await;
            assert_eq!(seen(&answer)["x-forwarded-for"], "192.0.2.7", "{header:?} cut at {cut}");
        }
        let mut socket = TcpStream::connect(&front.proxy.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        for byte in &all[..60] {
            socket.write_all(&[*byte]).await.unwrap();
        }
        socket.write_all(&all[60..]).await.unwrap();
        assert_eq!(seen(&rest(&mut socket).await)["x-forwarded-for"], "192.0.2.7");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_header_the_connection_is_closed_without_an_answer() {
    let sections = "limits: { header_timeout: 400ms }";
    let front = Front::start("proxy_protocol: true, trusted_proxies: 127.0.0.1", sections).await;
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    for bytes in [
        GET.to_vec(),
        [&b"PROXY TCP4 192.0.2.7 127.0.0.1 54321\r\n"[..], GET].concat(),
        [&b"PROXY TCP4 192.0.2.7 127.0.0.1 54321 8080\n"[..], GET].concat(),
        [long.as_bytes(), GET].concat(),
        [&v2(1, 0x11, &[0; 4])[..], GET].concat(),
        [&v2(2, 0x11, &block([192, 0, 2, 7]))[..], GET].concat(),
        [&v2(1, 0x11, &[0; 5000])[..], GET].concat(),
        [&v2(0, 0, &[])[..], &v2(0, 0, &[]), GET].concat(),
    ] {
        let answer = ask(&front, &bytes).await;
        // a second header is no request
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{bytes:?}: {answer}");
    }
    for bytes in [&b""[..], b"PROXY TCP4 192.0.2.7", SIGNATURE, &v2(1, 0x11, &block([1, 2, 3, 4]))[..20]] {
        let began = Instant::now();
        assert_eq!(ask(&front, bytes).await, "", "{bytes:?}");
        assert!(began.elapsed() >= Duration::from_millis(400), "{bytes:?}: {:?}", began.elapsed());
    }
    assert_eq!(front.echo.requests(), 0);
    let stranger = Front::start("proxy_protocol: true, trusted_proxies: 192.0.2.0/24", "").await;
    let good = [&b"PROXY TCP4 192.0.2.7 127.0.0.1 54321 8080\r\n"[..], GET].concat();
    assert_eq!(ask(&stranger, &good).await, "");
    assert_eq!(stranger.echo.requests(), 0);
    // where it is not asked for it is no header but rubbish
    let off = Front::start("trusted_proxies: 127.0.0.1", "").await;
    assert!(ask(&off, &good).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_the_header_are_counted_and_told_of_once_a_second() {
    for (trusted, bytes, reason) in [
        ("127.0.0.1", GET, "no_proxy_header"),
        ("192.0.2.0/24", &b"PROXY UNKNOWN\r\n"[..], "untrusted_proxy"),
    ] {
        let front = Front::start(&format!("proxy_protocol: true, trusted_proxies: {trusted}"), "").await;
        if reason == "no_proxy_header" {
            // one that comes and goes is a health check
            drop(TcpStream::connect(&front.proxy.address).await.unwrap());
        }
        let begun = Instant::now();
        for _ in 0..40 {
            ask(&front, bytes).await;
        }
        let counted = format!("obo_connections_refused_total{{listener=\"default\",reason=\"{reason}\"}} 40");
        let metrics = front.metrics().await;
        assert!(metrics.contains(&counted), "{counted}: {metrics}");
        let lines = front.proxy.lines(|message| message == "a connection is refused");
        let most = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
        assert!((1..=most).contains(&lines.len()), "{lines:?}");
        let line = &lines[0];
        assert_eq!((&line["level"], &line["reason"]), (&"warn".into(), &reason.into()), "{line}");
        assert_eq!((&line["listener"], line["peer"].is_string()), (&"default".into(), true), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_comes_before_tls_and_at_unix_sockets_too() {
    let directory = files(&Authority::new());
    let listener = tls(directory.path(), "") + ", proxy_protocol: true, trusted_proxies: 127.0.0.1";
    let front = Front::start(&listener, "").await;
    let url = format!("https://localhost:{}/", front.port());
    for version in ["--http1.1", "--http2"] {
        let seen = headers(&["-k", "--haproxy-protocol", version, &url]).await;
        assert_eq!(
            (&seen["x-forwarded-for"], &seen["x-forwarded-proto"]),
            (&"127.0.0.1".into(), &"https".into())
        );
        assert!(curl(&["-k", version, &url]).await.is_err(), "{version} without the header");
    }
    let path = directory.path().join("http.sock");
    let path = path.to_str().unwrap();
    let listener = format!("address: 'unix:{path}', proxy_protocol: true, trusted_proxies: 'unix:'");
    let front = Front::start(&listener, "").await;
    for (header, expected) in [
        (&v2(1, 0x11, &block([192, 0, 2, 7]))[..], Value::from("192.0.2.7")),
        (&v2(0, 0, &[]), Value::from("203.0.113.9")),
        (b"PROXY UNKNOWN\r\n", Value::Null),
    ] {
        let mut socket = UnixStream::connect(path).await.unwrap();
        socket.write_all(&[header, GET].concat()).await.unwrap();
        assert_eq!(seen(&rest(&mut socket).await)["x-forwarded-for"], expected, "{header:?}");
    }
    assert_eq!(front.echo.requests(), 3);
}
