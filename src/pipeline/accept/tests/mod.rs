//! Real sockets on loopback. Limits are short, and every wait ends by itself.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use http_body::Body;
use http_body::Frame;
use http_body_util::BodyExt;
use http_body_util::Empty;
use http_body_util::Full;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Address;
use crate::config::ListenerAddress;
use crate::config::ProxyProtocol;
use crate::config::TrustedProxies;
use crate::config::UnderscoreHeaders;
use crate::domain::peer::Trust;
use crate::net::BoxError;

use super::*;

mod http2;

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(20);

struct Served {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    drain: Drain,
    permits: Arc<Semaphore>,
    task: JoinHandle<()>,
}

fn limits(header_timeout: Duration, idle_timeout: Duration) -> Limits {
    Limits { connections: 100, header_bytes: 16 * 1024, header_timeout, idle_timeout }
}

async fn served<H, F>(limits: Limits, handler: H) -> Served
where
    H: Fn(Request<Incoming>, Arc<Peer>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<net::Body>> + Send + 'static,
{
    let settings = config::Listener {
        name: Name::parse("default").unwrap(),
        address: ListenerAddress::Tcp(Address { host: "127.0.0.1".into(), port: 0 }),
        tls: None,
        underscore_headers: UnderscoreHeaders::Drop,
        trusted_proxies: TrustedProxies {
            networks: vec!["127.0.0.2/32".parse().unwrap()],
            unix: Trust::Untrusted,
        },
        proxy_protocol: ProxyProtocol::Off,
    };
    let listener = Listener::bind(&settings).await.unwrap();
    let address = listener.local_address().unwrap().tcp().unwrap();
    let (metrics, drain) = (Arc::new(Metrics::new()), Drain::new());
    let permits = Arc::new(Semaphore::new(limits.connections));
    let (dealt, mut sockets) = tokio::sync::mpsc::unbounded_channel::<Accepted>();
    let deal = move |accepted| drop(dealt.send(accepted));
    let accepting = accept(listener, Arc::clone(&permits), Arc::clone(&metrics), drain.clone(), deal);
    let draining = drain.clone();
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        connections.spawn(accepting);
        while let Some(accepted) = sockets.recv().await {
            let handler = handler.clone();
            let handler = move |request, peer| Box::pin(handler(request, peer));
            connections.spawn(accepted.serve(limits, handler, |_| (), draining.clone()));
        }
        while connections.join_next().await.is_some() {}
    });
    Served { address, metrics, drain, permits, task }
}

fn text(text: &'static str) -> Response<net::Body> {
    Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync())
}

async fn ok(_: Request<Incoming>, _: Arc<Peer>) -> Response<net::Body> {
    text("fine")
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn wait_for_connections(&self, count: usize) {
        let line = format!("obo_connections{{listener=\"default\"}} {count}\n");
        tokio::time::timeout(LONG, async {
            while !self.metrics.encode().contains(&line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
    }
}

/// All that comes until the other side closes, however it does.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(LONG, stream.read_to_end(&mut bytes)).await;
    let _closed_or_reset = read.expect("the connection is closed");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All that comes until `end` has come.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    tokio::time::timeout(LONG, async {
        while !bytes.ends_with(end.as_bytes()) {
            bytes.push(stream.read_u8().await.unwrap());
        }
    })
    .await
    .unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_silently_in_time() {
    let served = served(limits(SHORT, LONG), ok).await;
    let began = Instant::now();
    let mut stream = served.connect().await;
    assert_eq!(rest(&mut stream).await, "");
    assert!((SHORT..LONG / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    served.wait_for_connections(0).await;
}

#[tokio::test]
async fn a_head_that_trickles_in_gets_no_more_time() {
    let served = served(limits(SHORT, LONG), ok).await;
    let began = Instant::now();
    let (mut read, mut write) = served.connect().await.into_split();
    let trickle = tokio::spawn(async move {
        let mut tick = tokio::time::interval(SHORT / 10);
        while write.write_all(b"G").await.is_ok() {
            tick.tick().await;
        }
    });
    let mut bytes = Vec::new();
    let _closed_or_reset = tokio::time::timeout(LONG, read.read_to_end(&mut bytes)).await.unwrap();
    assert!(bytes.is_empty());
    assert!((SHORT..LONG / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    trickle.await.unwrap();
}

#[tokio::test]
async fn a_connection_may_rest_between_requests_but_not_dawdle_over_the_next_head() {
    let served = served(limits(SHORT, LONG), ok).await;
    let mut stream = served.connect().await;
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        until(&mut stream, "fine").await;
        // longer than a head may take
        assert!(tokio::time::timeout(SHORT * 2, stream.read_u8()).await.is_err());
    }
    let began = Instant::now();
    stream.write_all(b"GET").await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
    assert!((SHORT..LONG / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_resting_connection_is_closed_in_time() {
    let served = served(limits(LONG, SHORT), ok).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until(&mut stream, "fine").await;
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn an_answer_may_take_its_time() {
    let served = served(limits(SHORT, SHORT), |_, _| async {
        tokio::time::sleep(SHORT * 4).await;
        text("late")
    })
    .await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until(&mut stream, "late").await;
}

/// A body without end.
struct Endless(Arc<AtomicUsize>);

impl Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 4096])))))
    }
}

#[tokio::test]
async fn who_does_not_read_the_answer_is_cut_off() {
    let frames = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&frames);
    let served = served(limits(LONG, SHORT), move |_, _| {
        let body = Endless(Arc::clone(&counted)).boxed_unsync();
        async { Response::new(body) }
    })
    .await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until(&mut stream, "\r\n\r\n").await;
    served.wait_for_connections(0).await;
    let bytes = frames.load(Ordering::SeqCst) * 4096;
    assert!(bytes < 64 << 20, "{bytes} bytes were made for nobody");
}

#[tokio::test]
async fn a_head_too_large_is_answered_431() {
    let served = served(limits(LONG, LONG), ok).await;
    let long = "x".repeat(17 * 1024);
    let many: String = (0..130).map(|at| format!("x-{at}: y\r\n")).collect();
    let long_target = format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n");
    let long_field = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n");
    let many_fields = format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    for head in [long_target, long_field, many_fields] {
        let mut stream = served.connect().await;
        let _reset_while_writing = stream.write_all(head.as_bytes()).await;
        assert!(rest(&mut stream).await.starts_with("HTTP/1.1 431 "));
    }
    let fits = "x".repeat(15 * 1024);
    let mut stream = served.connect().await;
    stream.write_all(format!("GET /{fits} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
    until(&mut stream, "fine").await;
}

#[tokio::test]
async fn a_head_may_be_bounded_below_the_smallest_buffer() {
    let served = served(Limits { header_bytes: 1000, ..limits(LONG, LONG) }, ok).await;
    for (length, expected) in [(900, "HTTP/1.1 200 "), (1000, "HTTP/1.1 431 ")] {
        let mut stream = served.connect().await;
        let head = format!("GET /{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "x".repeat(length));
        stream.write_all(head.as_bytes()).await.unwrap();
        assert!(rest(&mut stream).await.starts_with(expected), "{length}");
    }
}

#[tokio::test]
async fn a_drain_lets_requests_in_flight_end_and_closes_the_rest() {
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (entered, go) = (Arc::clone(&entered), Arc::clone(&go));
        move |request: Request<Incoming>, _| {
            let (entered, go) = (Arc::clone(&entered), Arc::clone(&go));
            async move {
                if request.uri().path() == "/slow" {
                    entered.notify_one();
                    go.notified().await;
                }
                text("fine")
            }
        }
    };
    let served = served(limits(LONG, LONG), handler).await;
    let mut silent = served.connect().await;
    let mut resting = served.connect().await;
    resting.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until(&mut resting, "fine").await;
    let mut busy = served.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    entered.notified().await;

    served.wait_for_connections(3).await;
    served.drain.start();
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut resting).await, "");
    assert!(TcpStream::connect(served.address).await.is_err());
    assert!(!served.task.is_finished());
    go.notify_one();
    let answer = rest(&mut busy).await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("fine"), "{answer}");
    tokio::time::timeout(LONG, served.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn before_a_drain_every_answer_says_that_the_connection_ends() {
    let served = served(limits(LONG, LONG), ok).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(!until(&mut stream, "fine").await.contains("connection: close"));
    served.drain.announce();
    for mut stream in [stream, served.connect().await] {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.contains("connection: close\r\n") && answer.ends_with("fine"), "{answer}");
    }
}

#[tokio::test]
async fn a_drain_loses_no_request_that_is_on_its_way() {
    let served = served(limits(LONG, LONG), ok).await;
    let mut resting = served.connect().await;
    resting.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until(&mut resting, "fine").await;
    // not accepted yet: without an await in between, nobody else on this thread has run
    let queued = std::net::TcpStream::connect(served.address).unwrap();
    served.drain.start();
    queued.set_nonblocking(true).unwrap();
    for mut stream in [TcpStream::from_std(queued).unwrap(), resting] {
        tokio::time::sleep(SHORT / 3).await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.contains("connection: close\r\n") && answer.ends_with("fine"), "{answer}");
    }
    tokio::time::timeout(LONG, served.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn dropping_the_server_cuts_what_is_left() {
    let served = served(limits(LONG, LONG), |_, _| std::future::pending()).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    served.wait_for_connections(1).await;
    served.task.abort();
    assert_eq!(rest(&mut stream).await, "");
    served.wait_for_connections(0).await;
}

#[tokio::test]
async fn a_panic_costs_one_connection() {
    let served = served(limits(LONG, LONG), |request: Request<Incoming>, _| async move {
        assert_ne!(request.uri().path(), "/panic", "told to");
        text("fine")
    })
    .await;
    let mut other = served.connect().await;
    other.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until(&mut other, "fine").await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
    other.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until(&mut other, "fine").await;
    served.wait_for_connections(1).await;
    assert_eq!(served.permits.available_permits(), 99);
}

#[tokio::test]
async fn accepting_pauses_at_the_limit() {
    let one = Limits { connections: 1, ..limits(LONG, LONG) };
    let served = served(one, ok).await;
    let mut first = served.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until(&mut first, "fine").await;
    let mut second = served.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(tokio::time::timeout(SHORT, second.read_u8()).await.is_err());
    drop(first);
    until(&mut second, "fine").await;
}

#[tokio::test]
async fn a_burst_of_connections_waits_without_being_turned_away() {
    let served = served(limits(LONG, LONG), ok).await;
    // while this thread does not await, nobody accepts
    let connect = |_| std::net::TcpStream::connect_timeout(&served.address, SHORT);
    let connected: Result<Vec<_>, _> = (0..300).map(connect).collect();
    assert_eq!(connected.unwrap().len(), 300);
}

#[tokio::test]
async fn a_peer_is_trusted_by_its_address() {
    let served = served(limits(LONG, LONG), |_, peer: Arc<Peer>| async move {
        match peer.trust {
            Trust::Trusted => text("trusted."),
            Trust::Untrusted => text("untrusted."),
        }
    })
    .await;
    for (from, expected) in [("127.0.0.1:0", "\r\n\r\nuntrusted."), ("127.0.0.2:0", "\r\n\r\ntrusted.")] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from.parse().unwrap()).unwrap();
        let mut stream = socket.connect(served.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.ends_with(expected), "{answer}");
    }
}

#[tokio::test]
async fn a_malformed_body_can_still_be_answered_and_then_the_connection_ends() {
    let served = served(limits(LONG, LONG), |request: Request<Incoming>, _| async move {
        match request.into_body().collect().await {
            Ok(_) => text("whole"),
            Err(_) => {
                let mut refusal = text("broken");
                *refusal.status_mut() = http::StatusCode::BAD_REQUEST;
                refusal
            }
        }
    })
    .await;
    for body in [
        "3\r\nabcdef\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
    ] {
        let mut stream = served.connect().await;
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        stream
            .write_all(format!("{head}{body}GET /next HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("broken"), "{body:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{body:?}: {answer}");
    }
}

#[tokio::test]
async fn the_next_request_is_never_read_out_of_a_body_nobody_wanted() {
    let paths = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&paths);
    let served = served(limits(LONG, SHORT), move |request: Request<Incoming>, _| {
        seen.lock().unwrap().push(request.uri().path().to_owned());
        async { text("early") }
    })
    .await;
    let mut stream = served.connect().await;
    stream.write_all(b"POST /first HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n").await.unwrap();
    until(&mut stream, "early").await;
    let mut smuggled = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1000);
    smuggled.resize(100_000, b'x');
    let _reset_while_writing = stream.write_all(&smuggled).await;
    rest(&mut stream).await;
    assert_eq!(*paths.lock().unwrap(), ["/first"]);
}

#[tokio::test]
async fn who_sends_a_body_nobody_wants_can_still_read_the_answer() {
    let served = served(limits(LONG, LONG), |_, _| async { text("early") }).await;
    let mut stream = served.connect().await;
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n").await.unwrap();
    // the answer is on its way before the body is
    stream.readable().await.unwrap();
    stream.write_all(&vec![b'x'; 4_000_000]).await.unwrap();
    assert!(rest(&mut stream).await.ends_with("early"));
    // the other side does not wait for ever for ours to be closed
    served.wait_for_connections(0).await;
}

/// Tells when it is dropped.
struct Told(Arc<Notify>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// While a token is fetched, nobody reads the body: what was sent whole would go on though its sender is gone.
#[tokio::test]
async fn nobody_waits_on_for_a_caller_who_reset_the_connection_whatever_is_left_of_the_body() {
    let (asked, given_up) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (on_asked, on_given_up) = (Arc::clone(&asked), Arc::clone(&given_up));
    let served = served(limits(LONG, LONG), move |request, _| {
        let (asked, told) = (Arc::clone(&on_asked), Told(Arc::clone(&on_given_up)));
        async move {
            asked.notify_one();
            std::future::pending::<()>().await;
            drop((request, told));
            text("never")
        }
    })
    .await;
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbo",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ] {
        let mut caller = served.connect().await;
        caller.write_all(request.as_bytes()).await.unwrap();
        asked.notified().await;
        socket2::SockRef::from(&caller).set_linger(Some(Duration::ZERO)).unwrap();
        drop(caller);
        tokio::time::timeout(LONG, given_up.notified()).await.unwrap_or_else(|_| panic!("{request:?}"));
    }
    served.wait_for_connections(0).await;
}

#[tokio::test]
async fn no_body_is_an_empty_body() {
    let served = served(limits(LONG, LONG), |request: Request<Incoming>, _| async move {
        assert!(request.body().is_end_stream());
        Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync())
    })
    .await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(until(&mut stream, "\r\n\r\n").await.contains("content-length: 0\r\n"));
}

#[test]
fn accepting_pauses_longer_each_time_it_fails_but_not_for_a_peer_that_left() {
    let full = io::Error::from(io::ErrorKind::StorageFull);
    let left = io::Error::from(io::ErrorKind::ConnectionAborted);
    let mut pause = Pause::default();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        pause = pause.after(&left).after(&full);
        pauses.push(pause.0.unwrap().as_millis());
    }
    assert_eq!(pauses, [10, 20, 40, 80, 100, 100]);
    assert_eq!(Pause::default().after(&left), Pause::default());
}

/// The paths of the requests that were answered, on a connection whose bodies are read in the background while the
/// answer is already out.
async fn recorded(limits: Limits) -> (Served, Arc<std::sync::Mutex<Vec<String>>>) {
    let paths = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&paths);
    let served = served(limits, move |request: Request<Incoming>, _| {
        seen.lock().unwrap().push(request.uri().path().to_owned());
        tokio::spawn(request.into_body().collect());
        async { text("fine") }
    })
    .await;
    (served, paths)
}

#[tokio::test]
async fn what_was_read_too_far_is_the_beginning_of_the_next_request() {
    let (served, paths) = recorded(limits(LONG, LONG)).await;
    let mut stream = served.connect().await;
    let head = |path| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    stream.write_all((head("/1") + &head("/2") + "GET /3").as_bytes()).await.unwrap();
    until(&mut stream, "fine").await;
    until(&mut stream, "fine").await;
    assert!(tokio::time::timeout(SHORT, stream.read_u8()).await.is_err());
    stream.write_all(b"-and-more HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until(&mut stream, "fine").await;
    stream.write_all(head("/4").as_bytes()).await.unwrap();
    until(&mut stream, "fine").await;
    assert_eq!(*paths.lock().unwrap(), ["/1", "/2", "/3-and-more", "/4"]);
}

#[tokio::test]
async fn half_a_head_that_came_before_the_answer_is_dawdling_too() {
    let (served, _) = recorded(limits(SHORT, LONG)).await;
    let began = Instant::now();
    let mut stream = served.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET").await.unwrap();
    assert!(rest(&mut stream).await.ends_with("fine"));
    assert!((SHORT..LONG / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_body_that_comes_after_its_answer_is_no_request() {
    let (served, paths) = recorded(limits(LONG, LONG)).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let length = format!("content-length: {}", smuggled.len() * 3);
    let chunk = format!("{:x}\r\n{smuggled}\r\n", smuggled.len());
    for (framing, part, end) in
        [(length.as_str(), smuggled, ""), ("transfer-encoding: chunked", chunk.as_str(), "0\r\n\r\n")]
    {
        paths.lock().unwrap().clear();
        let mut stream = served.connect().await;
        for _ in 0..2 {
            let head = format!("POST /first HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            until(&mut stream, "fine").await;
            for _ in 0..3 {
                stream.write_all(part.as_bytes()).await.unwrap();
                // read, and parsed if anyone takes it for a request
                assert!(tokio::time::timeout(SHORT / 5, stream.read_u8()).await.is_err());
            }
            stream.write_all(end.as_bytes()).await.unwrap();
        }
        stream.write_all(b"GET /next HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        until(&mut stream, "fine").await;
        assert_eq!(*paths.lock().unwrap(), ["/first", "/first", "/next"], "{framing}");
    }
}

#[tokio::test]
async fn nothing_that_comes_after_the_last_answer_is_a_request() {
    let (served, paths) = recorded(limits(LONG, LONG)).await;
    let mut stream = served.connect().await;
    let head = "POST /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody";
    stream.write_all(head.as_bytes()).await.unwrap();
    until(&mut stream, "fine").await;
    let _reset_while_writing = stream.write_all(b"GET /late HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(rest(&mut stream).await, "");
    drop(stream);
    served.wait_for_connections(0).await;
    assert_eq!(*paths.lock().unwrap(), ["/last"]);
}
