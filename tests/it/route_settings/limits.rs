//! `limits`: how long a body may be, and how many requests may be on their way.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use obo_proxy::app::demo::frames::Frames;
use obo_proxy::net::Body;
use obo_proxy::net::BoxError;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::route_settings::upstream::Raw;
use crate::route_settings::upstream::Scripted;
use crate::route_settings::upstream::rest;
use crate::route_settings::upstream::send;
use crate::route_settings::upstream::status;
use crate::route_settings::upstream::until_end;
use crate::route_settings::world;
use crate::support::Plan;
use crate::support::World;
use crate::support::process::Proxy;
use crate::support::process::shell;
use crate::support::until;

fn bounded(upstream: SocketAddr) -> String {
    format!(
        "
  api: {{ match: /, exchange: {{ scopes: [api://orders-backend/orders.read] }}, upstream: \"http://{upstream}\", limits: {{ request_body: 1KiB }} }}
  open: {{ match: /open, auth: anonymous, upstream: \"http://{upstream}\", limits: {{ request_body: 1KiB }} }}
  empty: {{ match: /empty, auth: anonymous, upstream: \"http://{upstream}\", limits: {{ request_body: 0B }} }}
"
    )
}

#[tokio::test]
async fn a_body_that_says_that_it_is_too_long_is_refused_before_anything_is_done_for_it() {
    let upstream =
        Scripted::start(|_, seen| async move { status(if seen.body.len() <= 1024 { 200 } else { 500 }) })
            .await;
    let world = world(bounded(upstream.address())).await;
    let bearer = format!("Bearer {}", world.token("alice"));
    let post = async |path: &str, length: usize| {
        let request = world.request(Method::POST, path).header("authorization", &bearer);
        world.send_body(request, vec![7; length].into()).await
    };
    for path in ["/a", "/open"] {
        let answer = post(path, 1025).await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (413, "body_too_large"));
    }
    assert_eq!((upstream.count(), world.entra().token_requests()), (0, 0));
    assert_eq!(post("/empty", 1).await.status, 413);
    for (path, length) in [("/a", 1024), ("/open", 1024), ("/open", 0), ("/empty", 0)] {
        assert_eq!(post(path, length).await.status, 200, "{path} {length}");
    }
    // whoever waits for our word does not have to send it
    let answer = world
        .raw("POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && !answer.contains("100 Continue"), "{answer}");
    let refusals = "obo_refusals_total{route=\"open\",reason=\"body_too_large\"} ";
    assert_eq!(world.metric(refusals).await, Some(2.0));
    let call = world.request(Method::POST, "/open").header("content-type", "application/grpc");
    let answer = world.send_body(call, vec![7; 1025].into()).await;
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, "8"));
}

#[tokio::test]
async fn a_body_that_grows_too_long_is_cut_for_the_upstream_and_refused() {
    let got = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&got);
    let upstream = Raw::start(move |_, mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            let came = rest(&mut stream).await;
            kept.lock().unwrap().push(came);
        }
    })
    .await;
    let world = world(bounded(upstream.address)).await;
    let chunk = format!("200\r\n{}\r\n", "x".repeat(512));
    let answer = world
        .raw(&format!(
            "POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}1\r\nx\r\n0\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    until("the upstream saw the end", async || !got.lock().unwrap().is_empty()).await;
    let got = got.lock().unwrap().clone();
    // what it got is no whole request, and never looks like one
    assert!(got.len() == 1 && !got[0].contains("\r\n0\r\n"), "{got:?}");
}

#[tokio::test]
async fn a_body_that_ends_where_it_must_passes() {
    let upstream = Scripted::start(|_, _| async { status(200) }).await;
    let world = world(bounded(upstream.address())).await;
    let chunk = format!("200\r\n{}\r\n", "x".repeat(512));
    let answer = world
        .raw(&format!(
            "POST /open HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(upstream.seen()[0].body.len(), 1024);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_cut_with_the_body() {
    let upstream = Raw::start(move |_, mut stream| async move {
        until_end(&mut stream, "\r\n\r\n").await;
        send(&mut stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        rest(&mut stream).await;
    })
    .await;
    let world = world(bounded(upstream.address)).await;
    let mut caller = TcpStream::connect(world.proxy).await.unwrap();
    let head = "POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    caller.write_all(head.as_bytes()).await.unwrap();
    let begun = until_end(&mut caller, "hello\r\n").await;
    assert!(begun.starts_with("HTTP/1.1 200 OK"), "{begun}");
    send(&mut caller, format!("400\r\n{}\r\n0\r\n\r\n", "x".repeat(1024)).as_bytes()).await;
    let end = rest(&mut caller).await;
    assert!(!end.contains("0\r\n\r\n"), "it looks complete: {end:?}");
}

#[tokio::test]
async fn the_same_holds_over_http2_on_both_sides() {
    let upstream = Scripted::start(|_, _| async { status(200) }).await;
    let http1 = upstream.address();
    // an upstream that speaks HTTP/2 alone: the echo of a second proxy
    let behind =
        world(format!("\n  all: {{ match: /, auth: anonymous, upstream: \"http://{http1}\" }}\n")).await;
    let sections = format!("upstreams: {{ two: {{ url: \"http://{}\", http2: always }} }}", behind.proxy);
    let config = format!(
        r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
{sections}
routes:
  two: {{ match: /two, upstream: two, auth: anonymous, limits: {{ request_body: 100KiB }} }}
  one: {{ match: /one, upstream: "http://{http1}", auth: anonymous, limits: {{ request_body: 100KiB }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json }} }}
shutdown: {{ delay: 0s, drain: 2s }}
"#
    );
    let proxy = tokio::task::spawn_blocking(move || Proxy::start(&config, &[])).await.unwrap();
    let proxy = Arc::new(proxy);
    for path in ["/one", "/two"] {
        for (kib, expected) in [(96, 200), (112, 413), (4000, 413)] {
            let asked = Arc::clone(&proxy);
            // -T - : of unknown length; what is left over may meet a closed connection
            let curl = move || {
                shell(&format!(
                    "head -c $(({kib} * 1024)) /dev/zero | curl -sS -m 30 -H 'Expect:' -T - -o /dev/null -w '%{{http_code}}' 'http://{}{path}' || true",
                    asked.address
                ))
            };
            let code = tokio::task::spawn_blocking(curl).await.unwrap();
            assert_eq!(code, expected.to_string(), "{path} {kib}");
            assert_eq!(over_http2(&proxy.address, path, kib).await, expected, "{path} {kib}");
        }
    }
}

/// The status of a request with so much of a body, whose length is not said, over HTTP/2.
async fn over_http2(address: &str, path: &str, kib: usize) -> u16 {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let frames = (0..kib / 16).map(|_| Ok(Frame::data(Bytes::from(vec![7; 16 * 1024]))));
    let body = Body::new(Frames::new(frames, Duration::ZERO));
    let request = Request::post(format!("http://{address}{path}")).body(body).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(status == 413, String::from_utf8_lossy(&text).contains("body_too_large"));
    status
}

/// An upstream whose answers to requests with an `x-hold` begin when the test says so, and end when it says so again.
struct Holding {
    upstream: Scripted,
    held: Arc<Mutex<HashMap<String, Held>>>,
}

struct Held {
    begin: Option<oneshot::Sender<()>>,
    end: Option<oneshot::Sender<()>>,
}

impl Holding {
    async fn start() -> Self {
        let held: Arc<Mutex<HashMap<String, Held>>> = Arc::default();
        let kept = Arc::clone(&held);
        let upstream = Scripted::start(move |_, seen| {
            let kept = Arc::clone(&kept);
            async move {
                let Some(name) = seen.headers.get("x-hold") else { return status(200) };
                let ((begin, begun), (end, ended)) = (oneshot::channel(), oneshot::channel());
                let one = Held { begin: Some(begin), end: Some(end) };
                kept.lock().unwrap().insert(name.to_str().unwrap().to_owned(), one);
                let _ = begun.await;
                Response::new(Body::new(Halves { sent: 0, ended }))
            }
        })
        .await;
        Self { upstream, held }
    }

    /// A request that the upstream holds.
    async fn hold(&self, world: &World, name: &str) -> TcpStream {
        let mut caller = TcpStream::connect(world.proxy).await.unwrap();
        let request = format!("GET /api HTTP/1.1\r\nHost: a\r\nX-Hold: {name}\r\n\r\n");
        caller.write_all(request.as_bytes()).await.unwrap();
        until("the upstream has it", async || self.held.lock().unwrap().contains_key(name)).await;
        caller
    }

    fn begin(&self, name: &str) {
        self.held.lock().unwrap().get_mut(name).unwrap().begin.take().unwrap().send(()).unwrap();
    }

    fn end(&self, name: &str) {
        self.held.lock().unwrap().get_mut(name).unwrap().end.take().unwrap().send(()).unwrap();
    }
}

/// A body whose first half comes at once, and whose second when it is ended.
struct Halves {
    sent: usize,
    ended: oneshot::Receiver<()>,
}

impl http_body::Body for Halves {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.sent == 1 {
            let _ = ready!(Pin::new(&mut self.ended).poll(cx));
        }
        self.sent += 1;
        let half = (self.sent <= 2).then(|| Ok(Frame::data(Bytes::from_static(b"half\n"))));
        Poll::Ready(half)
    }
}

#[tokio::test]
async fn so_many_requests_at_a_time_and_no_more_until_one_has_ended_or_was_given_up() {
    let holding = Holding::start().await;
    let routes = format!(
        "
  api: {{ match: /api, auth: anonymous, upstream: \"http://{0}\", limits: {{ concurrency: 2 }} }}
  other: {{ match: /other, auth: anonymous, upstream: \"http://{0}\" }}
",
        holding.upstream.address()
    );
    let plan = Plan { routes: routes.leak(), sections: "workers: 2", ..Plan::default() };
    let world = World::with(plan).await;
    let status_of = async |path: &str| world.get_anonymously(path).await.status.as_u16();

    // two connections, one for each worker
    let (mut a, b) = (holding.hold(&world, "a").await, holding.hold(&world, "b").await);
    let answer = world.get_anonymously("/api").await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (503, "overloaded"));
    assert_eq!(answer.header("retry-after"), "1");
    let call = world.request(Method::POST, "/api").header("content-type", "application/grpc");
    assert_eq!(world.send(call).await.header("grpc-status"), "14");
    assert_eq!(status_of("/other").await, 200);
    assert_eq!(holding.upstream.count(), 3);

    // who hangs up makes room
    drop(b);
    until("there is room", async || status_of("/api").await == 200).await;
    let c = holding.hold(&world, "c").await;
    assert_eq!(status_of("/api").await, 503);

    // an answer is on its way until its last byte
    holding.begin("a");
    assert!(until_end(&mut a, "half\n").await.starts_with("HTTP/1.1 200 OK"));
    assert_eq!(status_of("/api").await, 503);
    holding.end("a");
    until_end(&mut a, "0\r\n\r\n").await;
    until("there is room", async || status_of("/api").await == 200).await;
    let d = holding.hold(&world, "d").await;
    assert_eq!(status_of("/api").await, 503);

    // or until it is given up
    holding.begin("c");
    drop(c);
    until("there is room", async || status_of("/api").await == 200).await;
    drop(d);
    until("all is over", async || {
        let (e, f) = (world.get_anonymously("/api"), world.get_anonymously("/api"));
        let (e, f) = tokio::join!(e, f);
        (e.status, f.status) == (StatusCode::OK, StatusCode::OK)
    })
    .await;
    let refusals = world.metric("obo_refusals_total{route=\"api\",reason=\"overloaded\"} ").await;
    assert!(refusals >= Some(5.0), "{refusals:?}");
}

#[tokio::test]
async fn who_is_not_let_in_takes_no_room_and_no_failure_keeps_any() {
    let routes = "
  guarded: { match: /guarded, token: remove, upstream: \"http://127.0.0.1:1\", limits: { concurrency: 1 } }
  api: { match: /api, auth: anonymous, limits: { concurrency: 1, request_body: 1B } }
";
    let world = world(routes.to_owned()).await;
    let token = world.token("alice");
    for _ in 0..5 {
        assert_eq!(world.get_anonymously("/guarded").await.status, 401);
        assert_eq!(world.get("/guarded", &token).await.status, 502);
        assert_eq!(world.get_anonymously("/api").await.status, 200);
        let long = world.request(Method::POST, "/api");
        assert_eq!(world.send_body(long, Bytes::from_static(b"xx")).await.status, 413);
        assert_eq!(world.send(world.request(Method::HEAD, "/api")).await.status, 200);
    }
}
