//! `retry`: what is sent again, how often, and what never is.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::route_settings::upstream::Raw;
use crate::route_settings::upstream::Scripted;
use crate::route_settings::upstream::rest;
use crate::route_settings::upstream::send;
use crate::route_settings::upstream::status;
use crate::route_settings::upstream::until_end;
use crate::route_settings::world;
use crate::support::World;
use crate::support::listen;
use crate::support::process::Proxy;
use crate::support::raw;
use crate::support::until;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine";

async fn before(upstream: SocketAddr, retry: &str) -> World {
    world(format!(
        "\n  api: {{ match: /, auth: anonymous, upstream: \"http://{upstream}\", retry: {{ {retry} }} }}\n"
    ))
    .await
}

async fn ask(world: &World, method: Method, body: &[u8]) -> u16 {
    world.send_body(world.request(method, "/a?b=c"), Bytes::copy_from_slice(body)).await.status.as_u16()
}

#[tokio::test]
async fn a_status_that_is_listed_is_tried_again_and_the_last_answer_is_the_callers() {
    for (retry, method, failures, failure, attempts, answer) in [
        ("on: [503], attempts: 2, backoff: 1ms", Method::GET, 2, 503, 3, 200),
        ("on: [503], attempts: 2, backoff: 1ms", Method::PUT, 1, 503, 2, 200),
        ("on: [503], attempts: 2, backoff: 1ms", Method::GET, 9, 503, 3, 503),
        ("on: [503], attempts: 1, backoff: 1ms", Method::GET, 9, 503, 2, 503),
        ("on: [503], backoff: 1ms", Method::GET, 9, 503, 2, 503),
        ("on: [503], attempts: 2, backoff: 1ms", Method::GET, 9, 500, 1, 500),
        ("on: [503], attempts: 2, backoff: 1ms", Method::POST, 9, 503, 1, 503),
        ("on: [503], attempts: 2, backoff: 1ms, methods: [POST]", Method::POST, 9, 503, 3, 503),
        ("on: [503], attempts: 2, backoff: 1ms, methods: [POST]", Method::GET, 9, 503, 1, 503),
        ("attempts: 2, backoff: 1ms", Method::GET, 9, 503, 1, 503),
        ("on: [connect_error, reset, 500, 502, 503], attempts: 2, backoff: 1ms", Method::GET, 9, 404, 1, 404),
    ] {
        let upstream =
            Scripted::start(
                move |number, _| async move { status(if number < failures { failure } else { 200 }) },
            )
            .await;
        let world = before(upstream.address(), retry).await;
        let body: &[u8] = if method == Method::GET { b"" } else { b"the whole body" };
        assert_eq!(ask(&world, method.clone(), body).await, answer, "{retry} {method}");
        let seen = upstream.seen();
        assert_eq!(seen.len(), attempts, "{retry} {method}");
        assert!(seen.iter().all(|one| one.method == method && one.body == body), "{seen:?}");
        let ids: Vec<_> = seen.iter().map(|one| one.headers["x-request-id"].clone()).collect();
        assert!(ids.windows(2).all(|two| two[0] == two[1]), "one request has one id");
        // one request of a caller's, however often it went on
        let answered = format!(
            "http_server_request_duration_seconds_count{{http_route=\"api\",http_request_method=\"{method}\",http_response_status_code=\"{answer}\"}} "
        );
        assert_eq!(world.metric(&answered).await, Some(1.0), "{answered}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_is_tried_again_only_if_that_is_listed() {
    for (retry, attempts, expected) in [
        ("on: [reset], attempts: 2, backoff: 1ms", 3, 200),
        ("on: [reset], attempts: 1, backoff: 1ms", 2, 502),
        ("on: [connect_error], attempts: 2, backoff: 1ms", 1, 502),
    ] {
        let upstream = Raw::start(|number, mut stream| async move {
            until_end(&mut stream, "\r\n\r\n").await;
            if number >= 2 {
                send(&mut stream, OK).await;
            }
        })
        .await;
        let world = before(upstream.address, retry).await;
        assert_eq!(ask(&world, Method::GET, b"").await, expected, "{retry}");
        assert_eq!(*upstream.connections.lock().unwrap(), attempts, "{retry}");
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_yet_gets_the_request_whole_once_it_is() {
    // an address that nobody listens on for now
    let address = listen().await.local_addr().unwrap();
    let routes = format!(
        "
  api: {{ match: /, auth: anonymous, upstream: \"http://{address}\", retry: {{ attempts: 10, backoff: 50ms, methods: [GET, POST] }} }}
  once: {{ match: /once, auth: anonymous, upstream: \"http://{address}\" }}
"
    );
    let world = world(routes).await;
    let once = world.get_anonymously("/once").await;
    assert_eq!((once.status.as_u16(), once.reason().as_str()), (502, "upstream_unreachable"));
    let body = vec![7; 64 * 1024];
    let asked = async {
        let empty = async { ask(&world, Method::GET, b"").await };
        let full = async { ask(&world, Method::POST, &body).await };
        tokio::join!(empty, full)
    };
    let starting = async {
        // each was refused a connection once at least
        let refused = "http_client_request_duration_seconds_count{";
        until("they have tried", async || sum(&world, refused).await >= 4.0).await;
        let listener = TcpListener::bind(address).await.unwrap();
        Scripted::on(listener, |_, _| async { status(200) })
    };
    let (answers, upstream) = tokio::join!(asked, starting);
    assert_eq!(answers, (200, 200));
    let mut lengths: Vec<usize> = upstream.seen().iter().map(|one| one.body.len()).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [0, 64 * 1024]);
}

/// The sum of the metrics that begin so.
async fn sum(world: &World, beginning: &str) -> f64 {
    let text = String::from_utf8(world.probe("/metrics").await.body.to_vec()).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(beginning));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn what_cannot_be_sent_again_whole_is_not() {
    let upstream = Scripted::start(|_, _| async { status(503) }).await;
    let world = before(upstream.address(), "on: [503], attempts: 2, backoff: 1ms").await;
    assert_eq!(ask(&world, Method::PUT, &vec![7; 64 * 1024]).await, 503);
    assert_eq!(upstream.count(), 3);
    assert_eq!(ask(&world, Method::PUT, &vec![7; 64 * 1024 + 1]).await, 503);
    assert_eq!(upstream.count(), 4);
    let chunked = "PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    assert!(world.raw(chunked).await.starts_with("HTTP/1.1 503 "));
    assert_eq!(upstream.count(), 5);
    assert!(upstream.seen()[..3].iter().all(|one| one.body.len() == 64 * 1024));
}

#[tokio::test]
async fn nothing_is_sent_again_once_the_caller_has_a_part_of_the_answer() {
    let upstream = Raw::start(|_, mut stream| async move {
        until_end(&mut stream, "\r\n\r\n").await;
        send(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    })
    .await;
    let world =
        before(upstream.address, "on: [connect_error, reset, 500, 502, 503], attempts: 5, backoff: 1ms")
            .await;
    let answer = world.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nhalf"), "{answer}");
    assert_eq!(*upstream.connections.lock().unwrap(), 1);
}

#[tokio::test]
async fn no_attempt_begins_after_the_time_for_an_answer() {
    let upstream = Scripted::start(|_, _| async { status(503) }).await;
    let world = world(format!(
        "\n  api: {{ match: /, auth: anonymous, upstream: \"http://{}\", retry: {{ on: [503], attempts: 10, backoff: 1s }}, timeouts: {{ response: 3s }} }}\n",
        upstream.address()
    ))
    .await;
    assert_eq!(world.get_anonymously("/").await.status, 503);
    // after 1 s, and perhaps after 2 s more, at most; the pause after that would be too long
    assert!((2..=3).contains(&upstream.count()), "{}", upstream.count());
}

#[tokio::test]
async fn a_caller_who_leaves_during_a_pause_ends_it() {
    let upstream = Scripted::start(|_, _| async { status(503) }).await;
    let world = world(format!(
        "\n  api: {{ match: /, auth: anonymous, upstream: \"http://{}\", retry: {{ on: [503], backoff: 20s }}, limits: {{ concurrency: 1 }} }}\n",
        upstream.address()
    ))
    .await;
    let mut caller = TcpStream::connect(world.proxy).await.unwrap();
    caller.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    until("it was tried", async || upstream.count() == 1).await;
    // a method that is not tried again is answered at once, if there is room
    let is_there_room = async || {
        let answer = world.send(world.request(Method::POST, "/")).await;
        assert_eq!(answer.status, 503);
        answer.body == "as the upstream says"
    };
    assert!(!is_there_room().await);
    drop(caller);
    until("there is room", is_there_room).await;
    assert!(upstream.seen().iter().filter(|one| one.method == Method::GET).count() == 1);
}

#[tokio::test]
async fn an_attempt_that_hangs_ends_with_the_time_for_an_answer() {
    let upstream = Raw::start(|number, mut stream| async move {
        until_end(&mut stream, "\r\n\r\n").await;
        if number > 0 {
            rest(&mut stream).await;
        }
    })
    .await;
    let world = world(format!(
        "\n  api: {{ match: /, auth: anonymous, upstream: \"http://{}\", retry: {{ on: [reset], attempts: 9, backoff: 1ms }}, timeouts: {{ response: 500ms }} }}\n",
        upstream.address
    ))
    .await;
    let answer = world.get_anonymously("/").await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (504, "upstream_timeout"));
    assert_eq!(*upstream.connections.lock().unwrap(), 2);
}

const EXCHANGED: &str = "exchange: { scopes: [api://orders-backend/orders.read] }";

#[tokio::test]
async fn a_token_that_ends_during_a_pause_is_not_sent() {
    for (ends, attempts) in [(false, 2), (true, 1)] {
        let clock = Arc::new(Mutex::new(None::<obo_proxy::domain::clock::Clock>));
        let moved = Arc::clone(&clock);
        let upstream = Scripted::start(move |number, _| {
            let moved = Arc::clone(&moved);
            async move {
                if let (true, Some(clock)) = (ends, &*moved.lock().unwrap()) {
                    clock.advance(Duration::from_secs(2 * 3600));
                }
                status(if number == 0 { 503 } else { 200 })
            }
        })
        .await;
        let world = world(format!(
            "\n  api: {{ match: /, {EXCHANGED}, upstream: \"http://{}\", retry: {{ on: [503], attempts: 3, backoff: 1ms }} }}\n",
            upstream.address()
        ))
        .await;
        *clock.lock().unwrap() = Some(world.clock.clone());
        let answer = world.get("/a", &world.token("alice")).await;
        assert_eq!(answer.status.as_u16(), if ends { 503 } else { 200 }, "{answer:?}");
        assert_eq!((upstream.count(), world.entra().token_requests()), (attempts, 1));
    }
}

#[tokio::test]
async fn one_copy_of_a_body_serves_retries_and_the_request_with_another_token() {
    const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let upstream = Scripted::start(|number, _| async move {
        match number {
            0 => status(503),
            1 => {
                let mut response = status(401);
                let claims = STANDARD.encode(CLAIMS);
                let challenge =
                    format!("Bearer realm=\"\", error=\"insufficient_claims\", claims=\"{claims}\"");
                response.headers_mut().insert("www-authenticate", HeaderValue::try_from(challenge).unwrap());
                response
            }
            _ => status(200),
        }
    })
    .await;
    let world = world(format!(
        "\n  api: {{ match: /, {EXCHANGED}, upstream: \"http://{}\", retry: {{ on: [503], backoff: 1ms }} }}\n",
        upstream.address()
    ))
    .await;
    let bearer = format!("Bearer {}", world.token("alice"));
    let request = world.request(Method::PUT, "/a").header("authorization", &bearer);
    let answer = world.send_body(request, vec![7; 60_000].into()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = upstream.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|one| one.body == vec![7; 60_000] && one.token() != bearer));
    assert!(seen[0].token() == seen[1].token() && seen[1].token() != seen[2].token());
    assert_eq!(world.entra().token_requests(), 2);
}

#[tokio::test]
async fn the_log_has_one_line_with_the_time_of_all_attempts() {
    let upstream =
        Scripted::start(|number, _| async move { status(if number < 2 { 503 } else { 200 }) }).await;
    let config = format!(
        r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
routes:
  api: {{ match: /, upstream: "http://{}", auth: anonymous, retry: {{ on: [503], attempts: 2, backoff: 100ms }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json }} }}
shutdown: {{ delay: 0s, drain: 2s }}
"#,
        upstream.address()
    );
    let proxy = tokio::task::spawn_blocking(move || Proxy::start(&config, &[])).await.unwrap();
    let answer =
        raw(proxy.address.parse().unwrap(), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (_, log) = tokio::task::spawn_blocking(move || proxy.stop()).await.unwrap();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let requests: Vec<&Value> = lines.iter().filter(|line| line["msg"] == "request").collect();
    assert_eq!((requests.len(), upstream.count()), (1, 3), "{log}");
    // half of 100 ms and half of 200 ms at least
    assert!(requests[0]["upstream_ms"].as_f64().unwrap() >= 150.0, "{}", requests[0]);
    assert!(requests[0]["upstream_ms"].as_f64() <= requests[0]["duration_ms"].as_f64());
}

#[test]
fn the_page_on_routes_shows_what_loads() {
    let page = fs::read_to_string(crate::support::process::repository("docs/routes.md")).unwrap();
    let shown: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(shown.len(), 4);
    let minimal = fs::read_to_string(crate::support::process::repository("config/minimal.yaml")).unwrap();
    for text in shown {
        let loaded = obo_proxy::config::load_text("routes.md", &format!("{minimal}{text}"), &[]);
        let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
        let told: Vec<_> = loaded.warnings.iter().map(|warning| warning.message.as_str()).collect();
        assert!(told.is_empty(), "{text}: {told:?}");
    }
}
