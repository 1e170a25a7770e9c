//! The request goes on, and the answer comes back.

use http::Method;
use http::StatusCode;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::Plan;
use crate::support::World;

/// A world whose route `/` leads to a raw upstream that answers each connection with `answer`, then closes.
async fn world_before(answer: &'static str) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = socket.read(&mut head).await;
            let _ = socket.write_all(answer.as_bytes()).await;
            let _ = socket.shutdown().await;
        }
    });
    let upstream = format!("upstream: \"http://{address}\", timeouts: {{ response: 300ms }}");
    let exchange = "exchange: { scopes: [api://orders-backend/.default] }";
    let routes = format!(
        "\n  all: {{ match: /, auth: anonymous, {upstream} }}\n  exchanged: {{ match: /exchanged, {upstream}, {exchange} }}\n"
    );
    World::with(Plan { routes: routes.leak(), ..Plan::default() }).await
}

#[tokio::test]
async fn only_end_to_end_fields_go_on_and_ours_replace_the_callers() {
    let world = World::new().await;
    let answer = world
        .raw(
            "GET /public HTTP/1.1\r\nHost: shop.example\r\nConnection: close, x-drop, authorization, x-forwarded-for\r\nX-Drop: 1\r\nKeep-Alive: 5\r\n\
             Proxy-Authorization: Basic YTpi\r\nTE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nX-Forwarded-For: 6.6.6.6\r\n\
             Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Original-URL: /orders\r\nCookie: a=b\r\nx-keep: yes\r\n\r\n",
        )
        .await;
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let seen: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    let headers = seen["headers"].as_object().unwrap();
    for gone in [
        "connection",
        "x-drop",
        "keep-alive",
        "proxy-authorization",
        "te",
        "upgrade",
        "http2-settings",
        "x-real-ip",
        "x-original-url",
    ] {
        assert!(!headers.contains_key(gone), "{gone} went on: {seen}");
    }
    assert_eq!(headers["cookie"], "a=b");
    assert_eq!(headers["x-keep"], "yes");
    assert_eq!(headers["host"], "shop.example");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-host"], "shop.example");
    assert!(headers["forwarded"].as_str().unwrap().contains("for=127.0.0.1"));
    assert!(!seen.to_string().contains("6.6.6.6"));
}

#[tokio::test]
async fn a_request_id_is_kept_and_forwarding_headers_of_a_stranger_are_not() {
    let world = World::new().await;
    let request = world
        .request(Method::GET, "/public")
        .header("x-request-id", "abc-123")
        .header("x-forwarded-for", "9.9.9.9");
    let answer = world.send(request).await;
    assert_eq!(answer.header("x-request-id"), "abc-123");
    assert_eq!(answer.json()["headers"]["x-request-id"], "abc-123");
    assert_eq!(answer.json()["headers"]["x-forwarded-for"], "127.0.0.1");
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let world = World::with(Plan { listener: ", trusted_proxies: [127.0.0.0/8]", ..Plan::default() }).await;
    let request = world
        .request(Method::GET, "/public")
        .header("x-forwarded-for", "9.9.9.9")
        .header("x-forwarded-proto", "https");
    let seen = world.send(request).await.json();
    assert_eq!(seen["headers"]["x-forwarded-for"], "9.9.9.9, 127.0.0.1");
    assert!(seen["headers"]["x-forwarded-proto"].as_str().unwrap().starts_with("https"));
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_an_insane_one_is_replaced() {
    let world = World::new().await;
    let long = "a".repeat(129);
    for id in ["", &long, "a b"] {
        let answer = world.send(world.request(Method::GET, "/nothing").header("x-request-id", id)).await;
        let own = answer.header("x-request-id").to_owned();
        assert_eq!(own.len(), 32, "{own}");
        assert_eq!(answer.json()["request_id"], own);
    }
}

#[tokio::test]
async fn bodies_stream_both_ways_unchanged() {
    let body: Vec<u8> = (0..10 * 1024 * 1024u32).map(|at| (at % 251) as u8).collect();
    const ROUTES: &str = "\n  all: { match: /, auth: anonymous }\n";
    let world = World::with(Plan { routes: ROUTES, ..Plan::default() }).await;
    let answer = world.send_body(world.request(Method::POST, "/demo/echo-body"), body.clone().into()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body == body, "the body changed");
}

#[tokio::test]
async fn the_upstreams_own_answers_pass_as_they_are() {
    const ROUTES: &str = "\n  all: { match: /, auth: anonymous }\n";
    let world = World::with(Plan { routes: ROUTES, ..Plan::default() }).await;
    for status in [204, 304, 401, 404, 418, 500, 503] {
        let answer = world.get_anonymously(&format!("/demo/status/{status}")).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_ne!(answer.header("content-type"), "application/problem+json");
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_is_502() {
    let world = World::with(Plan {
        routes: "\n  all: { match: /, auth: anonymous, upstream: \"http://127.0.0.1:1\" }\n",
        ..Plan::default()
    })
    .await;
    let answer = world.get_anonymously("/").await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (502, "upstream_unreachable"));
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_in_time_is_504() {
    const ROUTES: &str = "\n  all: { match: /, auth: anonymous, timeouts: { response: 100ms } }\n";
    let world = World::with(Plan { routes: ROUTES, ..Plan::default() }).await;
    let answer = world.get_anonymously("/demo/hang").await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (504, "upstream_timeout"));
}

#[tokio::test]
async fn an_upstreams_challenge_for_token_b_is_replaced_by_ours() {
    let challenging = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"api\", error=\"invalid_token\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let world = world_before(challenging).await;
    assert_eq!(
        world.get_anonymously("/").await.header("www-authenticate"),
        "Bearer realm=\"api\", error=\"invalid_token\""
    );
    let answer = world.get("/exchanged", &world.token("alice")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"8eaef023-2b34-4da1-9baa-8bc8c9d6a490\"");
}
