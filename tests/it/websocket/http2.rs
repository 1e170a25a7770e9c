//! From HTTP/2 (RFC 8441) to HTTP/1.1.

use bytes::Bytes;
use h2::SendStream;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::Request;
use http::Response;
use tokio::net::TcpStream;

use super::PATIENCE;
use super::UP;
use super::Upstream;
use super::accept;
use super::agreement;
use super::code;
use super::field;
use crate::support::Plan;
use crate::support::World;

async fn connected(world: &World) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(world.proxy).await.unwrap();
    let (sender, mut connection) = h2::client::handshake(stream).await.unwrap();
    // until its settings have come
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(async { drop(connection.await) });
    pings.ping(h2::Ping::opaque()).await.unwrap();
    assert!(sender.is_extended_connect_protocol_enabled());
    sender
}

/// A CONNECT to `path`.
fn connect(world: &World, path: &str, protocol: Option<&'static str>) -> http::request::Builder {
    let request = Request::connect(match protocol {
        Some(_) => format!("http://{}{path}", world.proxy),
        None => world.proxy.to_string(),
    });
    match protocol {
        Some(protocol) => request.extension(Protocol::from_static(protocol)),
        None => request,
    }
}

async fn sent(
    sender: &SendRequest<Bytes>,
    request: http::request::Builder,
) -> (Response<h2::RecvStream>, SendStream<Bytes>) {
    let mut sender = sender.clone().ready().await.unwrap();
    let (response, stream) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    (tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap(), stream)
}

/// What comes until there are so many bytes, or it ends.
async fn bytes(body: &mut h2::RecvStream, most: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < most {
        let Some(data) = tokio::time::timeout(PATIENCE, body.data()).await.unwrap() else { break };
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend(data);
    }
    all
}

#[tokio::test]
async fn an_extended_connect_becomes_an_upgrade_with_a_key_of_ours() {
    let upstream = Upstream::agreeing().await;
    let world = upstream.world().await;
    let sender = connected(&world).await;
    let request = connect(&world, "/ws/a?b=c", Some("websocket"))
        .header("authorization", format!("Bearer {}", world.token("alice")))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "theirs")
        .header("sec-websocket-protocol", "chat")
        .header("origin", "https://app.example");
    let (response, mut stream) = sent(&sender, request).await;
    assert_eq!(response.status(), 200, "{response:?}");
    for gone in ["sec-websocket-accept", "upgrade", "connection", "content-length"] {
        assert!(!response.headers().contains_key(gone), "{gone}: {response:?}");
    }
    let mut body = response.into_body();
    stream.send_data(Bytes::from_static(UP), false).unwrap();
    assert_eq!(bytes(&mut body, UP.len()).await, UP);
    // other requests share the connection with it
    let get = Request::get(format!("http://{}/nothing", world.proxy));
    assert_eq!(sent(&sender, get).await.0.status(), 404);
    stream.send_data(Bytes::from_static(UP), true).unwrap();
    assert_eq!(bytes(&mut body, usize::MAX).await, UP);

    let head = upstream.heads().remove(0);
    assert!(head.starts_with("GET /ws/a?b=c HTTP/1.1\r\n"), "{head}");
    let key = field(&head, "sec-websocket-key").unwrap();
    assert_eq!((key.len(), key == "theirs"), (24, false), "{head}");
    let host = world.proxy.to_string();
    for (name, value) in [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-protocol", "chat"),
        ("host", host.as_str()),
        ("origin", "https://app.example"),
    ] {
        assert_eq!(field(&head, name), Some(value), "{head}");
    }
    assert!(field(&head, "authorization").is_some_and(|token| token.starts_with("Bearer ")), "{head}");
    crate::support::until("the connection upstream is closed", async || upstream.open() == 0).await;
}

#[tokio::test]
async fn who_is_refused_is_told_so_and_never_with_a_success() {
    let upstream = Upstream::agreeing().await;
    let world = upstream.world().await;
    let sender = connected(&world).await;
    for (path, fields) in [("/ws", &[][..]), ("/ws", &[("content-type", "application/grpc")][..])] {
        let request =
            fields.iter().fold(connect(&world, path, Some("websocket")), |request, (name, value)| {
                request.header(*name, *value)
            });
        let (response, _stream) = sent(&sender, request).await;
        assert_eq!(response.status(), 401, "{response:?}");
    }
    let (response, _stream) = sent(&sender, connect(&world, "/nothing", Some("websocket"))).await;
    assert_eq!(response.status(), 404);
    for protocol in [None, Some("connect-udp"), Some("connect-ip")] {
        let (response, _stream) = sent(&sender, connect(&world, "/open", protocol)).await;
        assert_eq!(response.status(), 405, "{protocol:?}");
    }
    assert!(upstream.heads().is_empty());
}

#[tokio::test]
async fn an_upstream_that_does_not_agree_is_not_taken_for_one_that_does() {
    let wrong = agreement(&accept("another key"));
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), 502),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 502),
        (wrong, 502),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nplain".to_owned(), 403),
    ] {
        let upstream = Upstream::answering({
            let answer = answer.clone();
            move |_| answer.clone()
        })
        .await;
        let world = upstream.world().await;
        let sender = connected(&world).await;
        let (response, _stream) = sent(&sender, connect(&world, "/open", Some("websocket"))).await;
        assert_eq!(response.status(), status, "{answer}");
        if status == 403 {
            assert_eq!(bytes(&mut response.into_body(), 5).await, b"plain");
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_takes_the_connection_upstream_with_it() {
    let upstream = Upstream::agreeing().await;
    let world = upstream.world().await;
    let sender = connected(&world).await;
    let (response, mut stream) = sent(&sender, connect(&world, "/open", Some("websocket"))).await;
    assert_eq!((response.status().as_u16(), upstream.open()), (200, 1));
    stream.send_reset(h2::Reason::CANCEL);
    crate::support::until("the connection upstream is closed", async || upstream.open() == 0).await;
}

#[tokio::test]
async fn it_is_told_when_the_proxy_stops() {
    let upstream = Upstream::agreeing().await;
    let mut world = World::with(Plan { drain: "1s", ..upstream.plan("", "") }).await;
    let sender = connected(&world).await;
    let (response, mut stream) = sent(&sender, connect(&world, "/open", Some("websocket"))).await;
    let mut body = response.into_body();
    world.stop();
    stream.send_data(Bytes::from_static(UP), false).unwrap();
    assert_eq!(bytes(&mut body, UP.len()).await, UP);
    assert_eq!(code(&bytes(&mut body, usize::MAX).await), 1001);
    stream.send_data(Bytes::new(), true).unwrap();
    tokio::time::timeout(PATIENCE, world.stopped()).await.unwrap();
}

#[tokio::test]
async fn an_upstream_spoken_to_in_http_2_only_is_not_asked() {
    let world = World::with(Plan {
        routes: "\n  all: { match: /, auth: anonymous, upstream: two }\n",
        upstreams: ", two: { url: \"http://127.0.0.1:1\", http2: always }",
        ..Plan::default()
    })
    .await;
    let sender = connected(&world).await;
    let (response, _stream) = sent(&sender, connect(&world, "/", Some("websocket"))).await;
    assert_eq!(response.status(), 501);
}
