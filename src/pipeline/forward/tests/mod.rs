//! Real sockets on loopback: a caller's raw bytes on one side, an upstream's on the other.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::config::Access;
use crate::config::EncodedSlashes;
use crate::config::HostRewrite;
use crate::config::Http2;
use crate::config::Match;
use crate::config::PathKind;
use crate::config::Rewrite;
use crate::config::Timeouts;
use crate::config::Treatment;
use crate::config::UnvalidatedToken;
use crate::config::Upstream;
use crate::config::UpstreamTls;
use crate::domain::name::Name;
use crate::domain::peer::Trust;

use super::*;

mod failures;
mod gone;
mod pooling;
mod sharing;
mod streams;
mod succession;
mod upgrades;
mod versions;

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(20);

fn route(authority: &str) -> Route {
    Route {
        name: Name::parse("orders").unwrap(),
        listeners: None,
        matches: Match {
            hosts: Vec::new(),
            path: "/".into(),
            path_kind: PathKind::Prefix,
            methods: Vec::new(),
            headers: Vec::new(),
        },
        client_certificate: None,
        access: Access::Anonymous(UnvalidatedToken::Remove),
        upstream: Arc::new(upstream(authority)),
        rewrite: Rewrite { strip_prefix: None, host: HostRewrite::Preserve },
        encoded_slashes: EncodedSlashes::Reject,
        timeouts: Timeouts { response: LONG, idle: LONG },
        treatment: Treatment::default(),
    }
}

fn upstream(authority: &str) -> Upstream {
    Upstream {
        authority: authority.parse().unwrap(),
        socket: None,
        scheme: Scheme::Http,
        base_path: String::new(),
        http2: Http2::Auto,
        tls: UpstreamTls::default(),
        connect_timeout: LONG,
    }
}

fn peer() -> Peer {
    Peer::new(Some("192.0.2.7:1234".parse().unwrap()), Trust::Untrusted)
}

/// A forwarder with one route.
struct Case {
    forwarder: Forwarder,
    route: Arc<Route>,
}

impl Case {
    fn new(route: Route) -> Arc<Self> {
        Self::bounded(route, pool::Bounds::default())
    }

    fn bounded(route: Route, bounds: pool::Bounds) -> Arc<Self> {
        let route = Arc::new(route);
        let pools = pool::Pools::new(&[Arc::clone(&route)], bounds).unwrap();
        Arc::new(Self { forwarder: Forwarder { pools }, route })
    }

    async fn send<B>(&self, request: Request<B>) -> Result<Response<net::Body>, Error>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let path = request.uri().path().to_owned();
        let (ours, id) = (HeaderValue::from_static("Bearer ours"), HeaderValue::from_static("id-1"));
        let onward = Onward {
            route: &self.route,
            path: &path,
            authorization: Authorization::Replace(&ours),
            caller: None,
            peer: &peer(),
            scheme: Scheme::Http,
            request_id: &id,
            trace: None,
            websocket: None,
        };
        tokio::time::timeout(LONG * 4, self.forwarder.send(request, onward)).await.expect("an end in time")
    }

    /// What becomes of a GET without a body.
    async fn fetch(&self) -> Result<Response<net::Body>, Error> {
        self.send(Request::get("/").header("host", "orders.example").body(Full::new(Bytes::new())).unwrap())
            .await
    }

    /// A server in front of the forwarder, which answers errors with 500 and their `Debug`.
    async fn gateway(self: &Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let case = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let case = Arc::clone(&case);
                let service = service_fn(move |request: Request<Incoming>| {
                    let case = Arc::clone(&case);
                    async move {
                        Ok::<_, std::convert::Infallible>(case.send(request).await.unwrap_or_else(|error| {
                            let body = Full::from(format!("{error:?}")).map_err(|never| match never {});
                            let mut refusal = Response::new(body.boxed_unsync());
                            *refusal.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                            refusal
                        }))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        address
    }
}

/// An upstream that does with each connection what `script` says.
async fn raw<F>(script: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(script(stream));
        }
    });
    address
}

/// The same, but it is told which connection it is, from 0; and how many there were.
async fn numbered<F>(script: impl Fn(usize, TcpStream) -> F + Send + 'static) -> (String, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = raw(move |stream| script(counted.fetch_add(1, Ordering::SeqCst), stream)).await;
    (address, count)
}

/// An upstream that reads a head, writes `answer`, and closes.
async fn answering(answer: impl Into<Vec<u8>>) -> String {
    let answer: Arc<[u8]> = answer.into().into();
    raw(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            until(&mut stream, "\r\n\r\n").await;
            stream.write_all(&answer).await.unwrap();
        }
    })
    .await
}

/// An upstream that keeps what it was sent, up to the end of a head, and answers an empty 200.
async fn keeping() -> (String, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    let address = raw(move |mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            loop {
                let head = until(&mut stream, "\r\n\r\n").await;
                if head.is_empty() {
                    return;
                }
                kept.lock().unwrap().push(head);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    (address, heads)
}

/// A hyper server over `stream`: it answers with the request's body, and says in its fields what it saw.
async fn echo(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, http2: bool) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let mut response = Response::builder().header("x-version", format!("{:?}", request.version()));
        response = response.header("x-authority", request.uri().authority().map_or("", |a| a.as_str()));
        for name in
            ["host", "te", "authorization", "trailer", "content-length", "transfer-encoding", "expect"]
        {
            if let Some(value) = request.headers().get(name) {
                response = response.header(format!("x-{name}"), value);
            }
        }
        if let Some(trailer) = request.headers().get("trailer") {
            response = response.header("trailer", trailer);
        }
        Ok::<_, http::Error>(response.body(request.into_body()).unwrap())
    });
    let io = TokioIo::new(stream);
    let _ended_somehow = match http2 {
        true => {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
        }
        false => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
    };
}

/// All that comes until `end` has come, or the other side closes.
async fn until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while !bytes.ends_with(end.as_bytes()) {
            match stream.read_u8().await {
                Ok(byte) => bytes.push(byte),
                Err(_) => break,
            }
        }
    };
    tokio::time::timeout(LONG, read).await.expect("an end in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All that comes until the other side closes.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _closed_or_reset =
        tokio::time::timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("the end in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a caller gets for `request`, whose connection is closed afterwards.
async fn asked(gateway: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

async fn text(response: Response<net::Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_request_goes_on_with_the_token_that_is_meant_for_the_upstream() {
    let (address, heads) = keeping().await;
    let case = Case::new(route(&address));
    let gateway = case.gateway().await;
    let request = "GET /orders?q=a%20b HTTP/1.1\r\nHost: orders.example\r\nAuthorization: Bearer theirs\r\n\
                   Connection: close, x-hop\r\nX-Hop: 1\r\nExpect: 100-continue\r\nAccept: */*\r\n\r\n";
    assert!(asked(gateway, request).await.starts_with("HTTP/1.1 200 OK\r\n"));
    let head = heads.lock().unwrap().remove(0);
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "GET /orders?q=a%20b HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "accept: */*",
            "authorization: Bearer ours",
            "forwarded: for=192.0.2.7;host=orders.example;proto=http",
            "host: orders.example",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: orders.example",
            "x-forwarded-port: 80",
            "x-forwarded-proto: http",
            "x-request-id: id-1",
        ]
    );
}

#[tokio::test]
async fn an_answer_comes_back_as_it_is() {
    let answer = "HTTP/1.1 418 Short And Stout\r\nServer: theirs\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\n\
                  Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nWWW-Authenticate: Bearer\r\nConnection: close, x-hop\r\n\
                  X-Hop: 1\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\n\u{1}raw\r\n";
    let gateway = Case::new(route(&answering(answer).await)).gateway().await;
    let got = asked(gateway, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(lines.remove(0), "HTTP/1.1 418 Short And Stout");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "connection: close",
            "content-encoding: gzip",
            "content-length: 6",
            "date: Tue, 15 Nov 1994 08:12:31 GMT",
            "server: theirs",
            "set-cookie: a=b",
            "set-cookie: c=d",
            "www-authenticate: Bearer",
        ]
    );
    assert_eq!(body, "\u{1}raw\r\n");
}

#[tokio::test]
async fn answers_without_a_body_pass_and_the_connection_goes_on() {
    for (method, answer, expected) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "content-length: 5\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 5\r\n\r\n", "etag: \"x\"\r\n"),
        (
            "GET",
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            " 200 OK",
        ),
        ("GET", "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 200 OK"),
    ] {
        let gateway = Case::new(route(&answering(answer).await)).gateway().await;
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        for _ in 0..2 {
            stream.write_all(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).await.unwrap();
            let got = until(&mut stream, "\r\n\r\n").await;
            assert!(got.contains(expected), "{answer}: {got}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_says_its_length_twice_ends_where_its_content_does() {
    for (fields, body, length) in [
        ("transfer-encoding: chunked\r\ncontent-length: 3", "5\r\nhello\r\n0\r\n\r\n", None),
        ("content-length: 30\r\ntransfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n", None),
        ("content-length: 5, 5", "hello", Some("5")),
        ("content-length: 5\r\ncontent-length: 5", "hello", Some("5")),
    ] {
        let case = Case::new(route(&answering(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}")).await));
        let response = case.fetch().await.unwrap();
        let lengths: Vec<_> = response.headers().get_all("content-length").iter().cloned().collect();
        assert_eq!(lengths, Vec::from_iter(length), "{fields}");
        let answer =
            asked(case.gateway().await, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(answer.contains("hello"), "{fields}: {answer}");
    }
}

#[tokio::test]
async fn routes_that_share_an_upstream_share_its_connections() {
    let connections = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&connections);
    let address = raw(move |mut stream| {
        *counted.lock().unwrap() += 1;
        async move {
            while !until(&mut stream, "\r\n\r\n").await.is_empty() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    let one = Arc::new(route(&address));
    let shared = Arc::clone(&one.upstream);
    let two = Arc::new(Route { name: Name::parse("other").unwrap(), upstream: shared, ..route(&address) });
    let forwarder = Forwarder::new(&[Arc::clone(&one), Arc::clone(&two)]).unwrap();
    let id = HeaderValue::from_static("id-1");
    for route in [&one, &two, &one] {
        let onward = Onward {
            route,
            path: "/",
            authorization: Authorization::Remove,
            caller: None,
            peer: &peer(),
            scheme: Scheme::Http,
            request_id: &id,
            trace: None,
            websocket: None,
        };
        let response = forwarder.send(Request::new(Full::new(Bytes::new())), onward).await.unwrap();
        assert_eq!(text(response).await, "");
        // the client puts a connection back once it has seen the end of the answer
        tokio::task::yield_now().await;
    }
    assert_eq!(*connections.lock().unwrap(), 1);
}
