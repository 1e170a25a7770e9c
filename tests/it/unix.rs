//! Upstreams behind Unix sockets.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::UnixListener;
use tokio::net::UnixSocket;
use tokio::net::UnixStream;

use crate::support::Plan;
use crate::support::World;
use crate::support::until;

/// A back end behind `path` that says what it was asked, in which version, and with how much content.
fn describing(path: &Path, http2: bool) {
    serve_all(UnixListener::bind(path).unwrap(), http2);
}

fn serve_all(listener: UnixListener, http2: bool) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, http2));
        }
    });
}

async fn serve(stream: UnixStream, http2: bool) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let (head, body) = request.into_parts();
        let host = head.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
        let host = host.or_else(|| head.uri.authority().map(ToString::to_string)).unwrap_or_default();
        let path = head.uri.path_and_query().unwrap().clone();
        let length = body.collect().await?.to_bytes().len();
        let text = format!("{:?} {} {host} {path} {length}", head.version, head.method);
        Ok::<_, hyper::Error>(Response::new(Full::<bytes::Bytes>::from(text)))
    });
    let stream = TokioIo::new(stream);
    let _ended_somehow = match http2 {
        true => http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await,
        false => http1::Builder::new().serve_connection(stream, service).await,
    };
}

async fn world(path: &Path, upstream: &str, route: &str) -> World {
    let upstreams = format!(", app: {{ url: \"unix:{}\"{upstream} }}", path.display());
    let routes = format!("\n  all: {{ match: /, auth: anonymous, upstream: app{route} }}\n");
    World::with(Plan { upstreams: upstreams.leak(), routes: routes.leak(), ..Plan::default() }).await
}

fn socket() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    (directory, path)
}

async fn said(world: &World, method: Method, body: &'static [u8]) -> String {
    let request = world.request(method, "/a%20b?c=d").header("host", "shop.example");
    let answer = world.send_body(request, body.into()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test]
async fn requests_go_through_a_socket_in_either_version_with_the_callers_host() {
    for (upstream, route, version, host) in [
        ("", "", "HTTP/1.1", "shop.example"),
        (", http2: always", "", "HTTP/2.0", "shop.example"),
        ("", ", rewrite: { host: upstream }", "HTTP/1.1", "localhost"),
        (", http2: always", ", rewrite: { host: upstream }", "HTTP/2.0", "localhost"),
    ] {
        let (_directory, path) = socket();
        describing(&path, version == "HTTP/2.0");
        let world = world(&path, upstream, route).await;
        for _ in 0..2 {
            assert_eq!(said(&world, Method::GET, b"").await, format!("{version} GET {host} /a%20b?c=d 0"));
            assert_eq!(
                said(&world, Method::POST, b"hello").await,
                format!("{version} POST {host} /a%20b?c=d 5")
            );
        }
        let label = "http_client_request_duration_seconds_count{server_address=\"unix\"} ";
        assert_eq!(world.metric(label).await, Some(4.0));
    }
}

#[tokio::test]
async fn a_socket_that_is_not_there_yet_is_502_until_it_is() {
    let (_directory, path) = socket();
    let world = world(&path, "", "").await;
    let answer = world.get_anonymously("/").await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (502, "upstream_unreachable"));
    // nobody listens any more
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(world.get_anonymously("/").await.status, StatusCode::BAD_GATEWAY);
    std::fs::remove_file(&path).unwrap();
    describing(&path, false);
    assert_eq!(world.get_anonymously("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_crowd_before_a_socket_waits_for_its_turn() {
    let (_directory, path) = socket();
    let listener = UnixSocket::new_stream().unwrap();
    listener.bind(&path).unwrap();
    // few may wait in it, and nobody is let in
    let listener = listener.listen(1).unwrap();
    let world = world(&path, ", timeouts: { connect: 20s }", "").await;
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let address = world.proxy;
            tokio::spawn(async move {
                let mut socket = TcpStream::connect(address).await.unwrap();
                socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
                let mut answer = String::new();
                socket.read_to_string(&mut answer).await.unwrap();
                answer
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    serve_all(listener, false);
    for answer in asking {
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test]
async fn a_websocket_goes_through_a_socket_too() {
    let (_directory, path) = socket();
    let listener = UnixListener::bind(&path).unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: x\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    let world = world(&path, "", "").await;
    let mut socket = TcpStream::connect(world.proxy).await.unwrap();
    let asking = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
    socket.write_all(asking.as_bytes()).await.unwrap();
    socket.write_all(&[0x82, 0x80, 1, 2, 3, 4]).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 101 ") && answer.ends_with(&[0x82, 0x80, 1, 2, 3, 4]),
        "{answer:?}"
    );
    serving.await.unwrap();
    until("no connection is left", async || {
        world.metric("obo_connections{listener=\"default\"} ").await == Some(0.0)
    })
    .await;
}
