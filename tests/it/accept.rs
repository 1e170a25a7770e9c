//! A socket becomes a request, or is closed.

use std::time::Duration;

use http::StatusCode;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::Plan;
use crate::support::World;
use crate::support::process::Proxy;
use crate::support::process::config;
use crate::support::process::shell;

#[tokio::test]
async fn a_head_longer_than_configured_is_refused() {
    let world = World::with(Plan { sections: "limits: { header_bytes: 8KiB }", ..Plan::default() }).await;
    let of = |length: usize| {
        format!(
            "GET /public HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx-long: {}\r\n\r\n",
            "a".repeat(length)
        )
    };
    assert!(world.raw(&of(7_000)).await.starts_with("HTTP/1.1 200 "));
    assert!(world.raw(&of(10_000)).await.starts_with("HTTP/1.1 431 "));
    assert_eq!(world.echo.requests(), 1);
}

#[tokio::test]
async fn underscore_headers_are_dropped_unless_kept() {
    let ask = "GET /public HTTP/1.1\r\nHost: a\r\nX_Tenant: admin\r\nConnection: close\r\n\r\n";
    let world = World::new().await;
    assert!(!world.raw(ask).await.contains("admin"));
    let world = World::with(Plan { listener: ", underscore_headers: keep", ..Plan::default() }).await;
    assert!(world.raw(ask).await.contains("admin"));
}

#[tokio::test]
async fn silent_and_slow_connections_are_closed() {
    let world = World::with(Plan {
        sections: "limits: { header_timeout: 200ms, idle_timeout: 300ms }",
        ..Plan::default()
    })
    .await;
    // nothing at all, half a head, and rest after a request: all end by themselves
    assert_eq!(world.raw("").await, "");
    assert!(!world.raw("GET /public HTTP/1.1\r\nHost: a\r\n").await.contains("200 OK"));
    let answer = world.raw("GET /public HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    while world.metric("obo_connections{listener=\"default\"} ").await != Some(0.0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_request_in_flight_is_finished_while_draining_and_no_new_one_is_taken() {
    let mut world = World::new().await;
    let mut socket = TcpStream::connect(world.proxy).await.unwrap();
    socket.write_all(b"POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab").await.unwrap();
    while world.echo.requests() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.stop();
    while TcpStream::connect(world.proxy).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    socket.write_all(b"cd").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("\"body_bytes\":4"), "{answer}");
    world.stopped().await;
}

#[tokio::test]
async fn the_connection_limit_makes_newcomers_wait() {
    let world = World::with(Plan { sections: "limits: { connections: 1 }", ..Plan::default() }).await;
    let mut first = TcpStream::connect(world.proxy).await.unwrap();
    first.write_all(b"GET /public HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = TcpStream::connect(world.proxy).await.unwrap();
    second.write_all(b"GET /public HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(200), second.read_exact(&mut byte)).await;
    assert!(waiting.is_err(), "the second connection was served beside the first");
    drop(first);
    second.read_exact(&mut byte).await.unwrap();
}

#[tokio::test]
async fn a_head_request_has_no_body_in_its_refusal() {
    let world = World::new().await;
    let answer = world.send(world.request(http::Method::HEAD, "/orders")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn a_refused_requests_body_is_drained_if_it_is_small_and_never_read_as_a_request() {
    let world = World::new().await;
    let next = "GET /public/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let refused = |length: usize, extra: &str| {
        let body = "GET /public/smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(length / 40 + 1);
        format!(
            "POST /orders HTTP/1.1\r\nHost: a\r\n{extra}Content-Length: {length}\r\n\r\n{}",
            &body[..length]
        )
    };
    let answer = world.raw(&format!("{}{next}", refused(60_000, ""))).await;
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("/public/next"), "{answer}");
    let answer = world.raw(&format!("{}{next}", refused(1_000_000, ""))).await;
    assert!(!answer.contains("/public/next"), "{answer}");
    // nobody is told to send what nobody wants
    let waiting = "POST /orders HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let answer = world.raw(waiting).await;
    assert!(answer.starts_with("HTTP/1.1 401 ") && !answer.contains("100 Continue"), "{answer}");
    assert_eq!(world.echo.requests(), 1);
}

/// What curl gets over HTTP/2 without TLS: protocol, status and body.
async fn over_http2(url: String, options: &str) -> String {
    let line = format!(
        "curl -sS --http2-prior-knowledge -w '\\n%{{http_version}} %{{http_code}}' {options} '{url}'"
    );
    tokio::task::spawn_blocking(move || shell(&line)).await.unwrap()
}

#[tokio::test]
async fn http_2_without_tls_is_spoken_on_the_same_port() {
    let world = World::new().await;
    let token = world.token("alice");
    let url = |path: &str| format!("http://{}{path}", world.proxy);
    let answer = over_http2(url("/orders/7"), &format!("-H 'authorization: Bearer {token}'")).await;
    assert!(answer.ends_with("\n2 200") && answer.contains("\"aud\":\"api://orders-backend\""), "{answer}");
    let answer = over_http2(url("/public"), "-d hello -H 'cookie: a=b' -H 'host: shop.example'").await;
    assert!(answer.ends_with("\n2 200") && answer.contains("\"body_bytes\":5"), "{answer}");
    assert!(
        answer.contains("\"host\":\"shop.example\"") && answer.contains("\"cookie\":\"a=b\""),
        "{answer}"
    );
    let answer = over_http2(url("/orders"), "").await;
    assert!(answer.ends_with("\n2 401") && answer.contains("missing_token"), "{answer}");
    let answer = over_http2(url("/public/../orders"), "--path-as-is").await;
    assert!(answer.ends_with("\n2 400") && answer.contains("invalid_path"), "{answer}");
    assert_eq!(world.get_anonymously("/public").await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_descriptors_it_waits_idly_and_goes_on_when_there_are_some_again() {
    let proxy = Proxy::start(&config("http://127.0.0.1:1", "127.0.0.1:1", "info"), &[("SECRET", "secret")]);
    let used = proxy.descriptors();
    shell(&format!("prlimit --pid {} --nofile={}", proxy.id(), used + 8));
    let mut connections = Vec::new();
    for _ in 0..40 {
        connections.push(TcpStream::connect(&proxy.address).await.unwrap());
    }
    while !proxy.log().contains("cannot accept connections") {
        tokio::task::yield_now().await;
    }
    let before = proxy.cpu_ticks();
    let last = connections.last_mut().unwrap();
    last.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(1), last.read_u8()).await;
    assert!(answered.is_err(), "it cannot be accepted yet: {answered:?}");
    let ticks = proxy.cpu_ticks() - before;
    assert!(ticks < 20, "{ticks} of 100 ticks were used to wait");
    assert_eq!(proxy.log().matches("cannot accept connections").count(), 1, "{}", proxy.log());
    let mut last = connections.pop().unwrap();
    drop(connections);
    let mut start = [0; 12];
    tokio::time::timeout(Duration::from_secs(20), last.read_exact(&mut start)).await.unwrap().unwrap();
    assert_eq!(&start, b"HTTP/1.1 401");
}

#[tokio::test]
async fn an_idle_proxy_ends_without_waiting_for_anyone() {
    let proxy = Proxy::start(&config("http://127.0.0.1:1", "127.0.0.1:1", "info"), &[("SECRET", "secret")]);
    let answer = shell(&format!("curl -s -o /dev/null -w '%{{http_code}}' http://{}/", proxy.address));
    assert_eq!(answer, "401");
    let (code, log) = proxy.stop();
    assert_eq!(code, Some(0), "{log}");
    // it did wait out the whole drain time, with nothing to wait for
    assert!(!log.contains("in flight"), "{log}");
}

/// Numbers that look random, the same each time.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// One answer, read to its end by its `content-length`: its status.
async fn answer(socket: &mut TcpStream, read: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(read).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let head = text[..end].to_ascii_lowercase();
            let (_, length) = head.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if read.len() >= end + 4 + length {
                read.drain(..end + 4 + length);
                return Some(text[9..12].to_owned());
            }
        }
        if socket.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}

#[tokio::test]
async fn a_request_is_answered_at_whatever_moment_of_a_rest_it_comes() {
    const CONNECTIONS: u64 = 300;
    const ROUNDS: u64 = 20;
    let proxy = Proxy::start(&config("http://127.0.0.1:1", "127.0.0.1:1", "info"), &[("SECRET", "secret")]);
    let callers = (0..CONNECTIONS).map(|number| {
        let address = proxy.address.clone();
        tokio::spawn(async move {
            let mut socket = TcpStream::connect(&address).await.unwrap();
            socket.set_nodelay(true).unwrap();
            let mut number = numbers(number + 1);
            let mut read = Vec::new();
            for round in 0..ROUNDS {
                let get = "GET /orders HTTP/1.1\r\nHost: a\r\n\r\n";
                let post = "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET ";
                let chunked =
                    "POST /orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
                let (text, answers) = match number(5) {
                    0 => (get.to_owned(), 1),
                    1 => (post.to_owned(), 1),
                    2 => (chunked.to_owned(), 1),
                    3 => (format!("{get}{post}{get}"), 3),
                    _ => (get.repeat(40), 40),
                };
                // in two pieces with a pause of a rest's length between, as often as not
                let cut = usize::try_from(number(u64::try_from(text.len()).unwrap())).unwrap();
                let cut = if number(2) == 0 { cut } else { text.len() };
                socket.write_all(&text.as_bytes()[..cut]).await.unwrap();
                if cut < text.len() {
                    tokio::time::sleep(Duration::from_micros(47_000 + number(6_000))).await;
                    socket.write_all(&text.as_bytes()[cut..]).await.unwrap();
                }
                for _ in 0..answers {
                    let answered = tokio::time::timeout(Duration::from_secs(20), answer(&mut socket, &mut read));
                    let status = answered.await.unwrap_or_else(|_| panic!("no answer, round {round}: {text:?} cut at {cut}"));
                    assert_eq!(status.as_deref(), Some("401"), "round {round}: {text:?} cut at {cut}");
                }
                tokio::time::sleep(Duration::from_micros(46_000 + number(8_000))).await;
            }
            assert!(read.is_empty(), "more answers than requests: {}", String::from_utf8_lossy(&read));
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}
