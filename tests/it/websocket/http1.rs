//! From HTTP/1.1 to HTTP/1.1.

use http::StatusCode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::ACCEPT;
use super::DOWN;
use super::KEY;
use super::PATIENCE;
use super::UP;
use super::Upstream;
use super::agreement;
use super::asking;
use super::bearer;
use super::echoed;
use super::field;
use super::rest;
use super::until;
use super::upgraded;
use crate::support::World;
use crate::support::listen;
use crate::support::raw;

#[tokio::test]
async fn a_websocket_goes_on_with_token_b_and_no_other_field_of_the_connection() {
    let upstream = Upstream::agreeing().await;
    let world = upstream.world().await;
    let fields = format!(
        "{}Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\nHTTP2-Settings: x\r\n\
         Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
         Origin: https://app.example\r\n",
        bearer(&world.token("alice"))
    );
    let mut socket = upgraded(world.proxy, &asking("/ws/a?b=c", &fields)).await;
    echoed(&mut socket, UP).await;
    echoed(&mut socket, DOWN).await;
    let head = upstream.heads().remove(0);
    assert!(head.starts_with("GET /ws/a?b=c HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, superchat"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("origin", "https://app.example"),
        ("host", "shop.example"),
    ] {
        assert_eq!(field(&head, name), Some(value), "{head}");
    }
    for gone in ["x-hop", "keep-alive", "te", "http2-settings"] {
        assert_eq!(field(&head, gone), None, "{head}");
    }
    assert_eq!(head.to_ascii_lowercase().matches("connection:").count(), 1, "{head}");
    let token = field(&head, "authorization").unwrap();
    assert!(token.starts_with("Bearer ") && !token.contains(&world.token("alice")), "{head}");
    assert_eq!(
        world.metric("http_server_request_duration_seconds_count{http_route=\"ws\",http_request_method=\"GET\",http_response_status_code=\"101\"} ").await,
        Some(1.0)
    );
}

#[tokio::test]
async fn who_is_refused_is_told_in_http_before_anything_goes_upstream() {
    let upstream = Upstream::agreeing().await;
    let world = upstream.world().await;
    let mut socket = TcpStream::connect(world.proxy).await.unwrap();
    for token in ["", "Authorization: Bearer a.b.c\r\n", "Content-Type: application/grpc\r\n"] {
        socket.write_all(asking("/ws", token).as_bytes()).await.unwrap();
        let head = until(&mut socket, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        assert_eq!(field(&head, "content-type"), Some("application/problem+json"), "{head}");
        let length = field(&head, "content-length").unwrap().parse().unwrap();
        socket.read_exact(&mut vec![0; length]).await.unwrap();
    }
    assert!(upstream.heads().is_empty());
    // the connection goes on, as HTTP or not
    let token = bearer(&world.token("alice"));
    socket.write_all(asking("/ws", &token).as_bytes()).await.unwrap();
    let head = until(&mut socket, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    echoed(&mut socket, UP).await;
}

#[tokio::test]
async fn a_caller_that_asks_again_at_once_is_not_taken_for_one_that_asked_too_early() {
    let upstream = Upstream::agreeing().await;
    let world = upstream.world().await;
    let mut socket = TcpStream::connect(world.proxy).await.unwrap();
    for _ in 0..500 {
        socket.write_all(asking("/ws", "").as_bytes()).await.unwrap();
        let head = until(&mut socket, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        let length = field(&head, "content-length").unwrap().parse().unwrap();
        socket.read_exact(&mut vec![0; length]).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_does_not_agree_passes_and_the_connection_goes_on() {
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain", "200"),
        ("HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nplain\r\n0\r\n\r\n", "403"),
        (
            "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nContent-Length: 5\r\n\r\nplain",
            "426",
        ),
    ] {
        let upstream = Upstream::answering(move |_| answer.into()).await;
        let world = upstream.world().await;
        let mut socket = TcpStream::connect(world.proxy).await.unwrap();
        for _ in 0..2 {
            socket.write_all(asking("/open", "").as_bytes()).await.unwrap();
            let got = until(&mut socket, "plain").await;
            assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
            assert_eq!(field(&got, "upgrade"), None, "{got}");
            // the chunked one has an end to come
            if field(&got, "transfer-encoding").is_some() {
                assert_eq!(until(&mut socket, "0\r\n\r\n").await, "\r\n0\r\n\r\n");
            }
        }
        assert_eq!(upstream.heads().len(), 2);
    }
}

#[tokio::test]
async fn a_101_that_does_not_fit_what_was_asked_is_502() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\n";
    for (path, extra, answer) in [
        ("/open", "", format!("{switching}\r\n")),
        ("/open", "", agreement("x").replace("Upgrade: websocket", "Upgrade: h2c")),
        ("/open", "", agreement("x").replace("Connection: Upgrade", "Connection: close")),
        ("/open", "", agreement("x").replace("Sec-WebSocket-Accept: x\r\n", "")),
    ] {
        let upstream = Upstream::answering(move |_| answer.clone()).await;
        let world = upstream.world().await;
        let answer = raw(world.proxy, &asking(path, &format!("{extra}Connection: close\r\n"))).await;
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("upstream_unreachable"), "{answer}");
    }
    // nobody asked at all
    let upstream = Upstream::answering(|_| agreement(ACCEPT)).await;
    let world = upstream.world().await;
    assert_eq!(world.get_anonymously("/open").await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn other_protocols_are_not_asked_for() {
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        "Upgrade: websocket\r\n",
    ] {
        let upstream = Upstream::answering(|_| "HTTP/1.1 204 No Content\r\n\r\n".into()).await;
        let world = upstream.world().await;
        let request = format!("GET /open HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
        let answer = raw(world.proxy, &request).await;
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
        let head = upstream.heads().remove(0);
        for gone in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(field(&head, gone), None, "{head}");
        }
    }
}

/// An upstream that takes one connection and answers when it is told to. What it was sent until then, and afterwards.
async fn told_to_answer(early: &[u8], answer: &str) -> (World, TcpStream, TcpStream, Vec<u8>) {
    let listener = listen().await;
    let upstream = Upstream {
        address: listener.local_addr().unwrap(),
        heads: Default::default(),
        open: Default::default(),
    };
    let world = upstream.world().await;
    let mut caller = TcpStream::connect(world.proxy).await.unwrap();
    caller.write_all(&[asking("/open", "").as_bytes(), early].concat()).await.unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    until(&mut socket, "\r\n\r\n").await;
    let mut before = [0; 64];
    let more = tokio::time::timeout(std::time::Duration::from_millis(100), socket.read(&mut before)).await;
    assert!(more.is_err(), "{more:?} bytes went on before the answer");
    socket.write_all(answer.as_bytes()).await.unwrap();
    let mut got = vec![0; 12];
    tokio::time::timeout(PATIENCE, caller.read_exact(&mut got)).await.unwrap().unwrap();
    (world, caller, socket, got)
}

#[tokio::test]
async fn what_comes_too_early_waits_for_the_101() {
    let (_world, mut caller, mut socket, got) =
        told_to_answer(UP, &[&agreement(ACCEPT), "early down"].concat()).await;
    assert_eq!(got, b"HTTP/1.1 101");
    let mut up = vec![0; UP.len()];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut up)).await.unwrap().unwrap();
    assert_eq!(up, UP);
    // and what an upstream sends with its 101 comes after it
    assert!(until(&mut caller, "early down").await.ends_with("\r\n\r\nearly down"));
}

#[tokio::test]
async fn what_came_with_a_request_that_is_not_agreed_to_is_no_request() {
    let smuggled = "GET /open/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let refused = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain";
    for early in [smuggled, &smuggled[..20], "\r\n"] {
        let (_world, mut caller, socket, got) = told_to_answer(early.as_bytes(), refused).await;
        assert_eq!(got, b"HTTP/1.1 200");
        // the rest of what it began comes later
        let _ = caller.write_all(&smuggled.as_bytes()[early.len().min(smuggled.len())..]).await;
        let rest = String::from_utf8(rest(&mut caller).await).unwrap();
        assert!(rest.ends_with("\r\n\r\nplain"), "{early:?}: {rest}");
        drop(socket);
    }
}

#[tokio::test]
async fn one_side_may_end_before_the_other() {
    let upstream = Upstream::agreeing().await;
    let world = upstream.world().await;
    let mut socket = upgraded(world.proxy, &asking("/open", "")).await;
    socket.write_all(UP).await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(rest(&mut socket).await, UP);
    crate::support::until("the connection upstream is closed", async || upstream.open() == 0).await;
}
