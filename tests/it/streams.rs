//! Messages in pieces, and answers without content, through the whole proxy.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::HeaderMap;
use http::Request;
use http::Response;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::Plan;
use crate::support::World;
use crate::support::listen;

const PATIENCE: Duration = Duration::from_secs(30);

/// A world whose only upstream is at `address`.
async fn world(address: SocketAddr, upstream: &str, route: &str) -> World {
    let upstreams = format!(", other: {{ url: \"http://{address}\"{upstream} }}");
    let routes = format!(
        "
  all: {{ match: /, auth: anonymous, upstream: other{route} }}
  ours: {{ match: /ours, upstream: other, exchange: {{ scopes: [api://orders-backend/.default] }}{route} }}
"
    );
    World::with(Plan { upstreams: upstreams.leak(), routes: routes.leak(), ..Plan::default() }).await
}

/// A back end that does with each connection what `script` says.
async fn scripted<F>(script: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener: TcpListener = listen().await;
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(script(socket));
        }
    });
    address
}

/// A back end that reads a head, answers with `answer`, and closes.
async fn answering(answer: &'static str) -> SocketAddr {
    scripted(move |mut socket| async move {
        until(&mut socket, "\r\n\r\n").await;
        let _ = socket.write_all(answer.as_bytes()).await;
        let _ = socket.shutdown().await;
    })
    .await
}

/// All that comes until `end` has, or the other side closes.
async fn until(socket: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while !bytes.ends_with(end.as_bytes()) {
            match socket.read_u8().await {
                Ok(byte) => bytes.push(byte),
                Err(_) => break,
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn connected(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async { drop(connection.await) });
    sender.ready().await.unwrap()
}

async fn data(body: &mut h2::RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = tokio::time::timeout(PATIENCE, body.data()).await.unwrap()?;
    Some(data.inspect(|data| body.flow_control().release_capacity(data.len()).unwrap()))
}

/// A gRPC service: it sends each message back as it comes, and then its status.
async fn grpc() -> SocketAddr {
    scripted(|socket| async move {
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let te = request.headers().get("te").cloned();
                let mut response = Response::builder().header("content-type", "application/grpc");
                if let Some(te) = te {
                    response = response.header("x-te", te);
                }
                let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
                let mut body = request.into_body();
                while let Some(Ok(message)) = data(&mut body).await {
                    stream.send_data(message, false).unwrap();
                }
                let sent = body.trailers().await.unwrap().unwrap_or_default();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                trailers.insert("grpc-message", sent.len().to_string().parse().unwrap());
                trailers.insert("authorization", "Bearer x".parse().unwrap());
                stream.send_trailers(trailers).unwrap();
            });
        }
    })
    .await
}

#[tokio::test]
async fn grpc_passes_in_both_directions_message_by_message_with_its_status() {
    let world = world(grpc().await, ", http2: always", "").await;
    let mut sender = connected(world.proxy).await;
    for path in ["/orders.Orders/Get", "/ours/orders.Orders/Watch"] {
        let request = Request::post(format!("http://{}{path}", world.proxy))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {}", world.token("alice")));
        let (response, mut stream) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        let response = tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-te"]),
            (200, &"trailers".parse().unwrap())
        );
        let mut body = response.into_body();
        // each is answered before the next is sent
        for message in ["one", "two", "three"] {
            stream.send_data(Bytes::from(message), false).unwrap();
            assert_eq!(data(&mut body).await.unwrap().unwrap(), message);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", "42".parse().unwrap());
        trailers.insert("authorization", "Bearer smuggled".parse().unwrap());
        trailers.insert("x-forwarded-for", "6.6.6.6".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
        assert!(data(&mut body).await.is_none());
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert_eq!(trailers["grpc-message"], "1", "one of the caller's trailers may go on");
        assert!(!trailers.contains_key("authorization"));
        sender = sender.ready().await.unwrap();
    }
}

#[tokio::test]
async fn trailers_that_may_not_be_any_are_left_out_of_http_1_too() {
    let address = scripted(|mut socket| async move {
        let request = until(&mut socket, "\r\n\r\n").await + &until(&mut socket, "0\r\n").await;
        let request = request + &until(&mut socket, "\r\n\r\n").await;
        let seen = request.split("\r\n0\r\n").nth(1).unwrap().trim().replace("\r\n", ";");
        let answer = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-checksum, content-length, host, set-cookie\r\n\
             X-Seen: {seen}\r\n\r\n4\r\nbody\r\n0\r\nX-Checksum: 42\r\nContent-Length: 9\r\nHost: evil\r\nSet-Cookie: a=b\r\n\r\n"
        );
        socket.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let world = world(address, "", "").await;
    let answer = world
        .raw(
            "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: x-mine, authorization, transfer-encoding\r\n\
             Transfer-Encoding: chunked\r\nConnection: close, te\r\n\r\n\
             3\r\nabc\r\n0\r\nX-Mine: yes\r\nAuthorization: Bearer x\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\r\n",
        )
        .await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_ascii_lowercase().contains("\r\nx-seen: x-mine: yes\r\n"), "{answer}");
    let (content, trailers) = body.split_once("\r\n0\r\n").unwrap();
    assert_eq!((content, trailers.to_ascii_lowercase().trim()), ("4\r\nbody", "x-checksum: 42"), "{answer}");
}

#[tokio::test]
async fn events_arrive_as_they_are_sent_for_as_long_as_some_do() {
    let (send, mut sends) = tokio::sync::mpsc::unbounded_channel::<()>();
    let sends = {
        let (again, each) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            while sends.recv().await.is_some() {
                again.send_modify(|count| *count += 1);
            }
        });
        each
    };
    let address = scripted(move |mut socket| {
        let mut sends = sends.clone();
        async move {
            until(&mut socket, "\r\n\r\n").await;
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            socket.write_all(head.as_bytes()).await.unwrap();
            while sends.changed().await.is_ok() {
                let event = format!("data: {}\n\n", *sends.borrow_and_update());
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                if socket.write_all(chunk.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    // far less than it lasts for the head, and for each pause
    let world = world(address, "", ", timeouts: { response: 300ms, idle: 1s }").await;
    let mut socket = TcpStream::connect(world.proxy).await.unwrap();
    socket.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n").await.unwrap();
    until(&mut socket, "\r\n\r\n").await;
    for event in 1..=6 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        send.send(()).unwrap();
        let got = until(&mut socket, "\n\n\r\n").await;
        assert!(got.ends_with(&format!("data: {event}\n\n\r\n")), "{got}");
    }
    let began = Instant::now();
    assert_eq!(until(&mut socket, "\0").await, "", "no end of chunks: it is cut");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn nobody_sends_a_body_before_it_is_wanted() {
    let address = scripted(|mut socket| async move {
        let head = until(&mut socket, "\r\n\r\n").await;
        let expects = head.to_ascii_lowercase().contains("expect:");
        let body = until(&mut socket, "hello").await;
        let text = format!("{expects} {body}");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        socket.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let world = world(address, "", "").await;
    let asking = |token: &str| {
        format!(
            "POST /ours HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
             Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
    };
    let refused = world.raw(&asking("a.b.c")).await;
    assert!(refused.starts_with("HTTP/1.1 401 ") && !refused.contains("100 Continue"), "{refused}");
    let mut socket = TcpStream::connect(world.proxy).await.unwrap();
    socket.write_all(asking(&world.token("alice")).as_bytes()).await.unwrap();
    assert_eq!(until(&mut socket, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"hello").await.unwrap();
    assert!(until(&mut socket, "\0").await.ends_with("\r\n\r\nfalse hello"));
}

#[tokio::test]
async fn what_an_upstream_says_before_its_answer_is_not_taken_for_it() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n\
                  HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let world = world(answering(answer).await, "", "").await;
    let got = world.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\nhello"), "{got}");
    assert!(!got.contains("rel=preload") && got.matches("HTTP/1.1").count() == 1, "{got}");
    let mut sender = connected(world.proxy).await;
    let request = Request::get(format!("http://{}/", world.proxy)).body(()).unwrap();
    let response = sender.send_request(request, true).unwrap().0.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(data(&mut response.into_body()).await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn answers_without_content_have_none_and_the_connection_goes_on() {
    for (method, answer, status, fields) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", 200, Some("12345")),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, None),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", 304, None),
    ] {
        let world = world(answering(answer).await, "", "").await;
        let mut socket = TcpStream::connect(world.proxy).await.unwrap();
        for _ in 0..2 {
            let request = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
            socket.write_all(request.as_bytes()).await.unwrap();
            let head = until(&mut socket, "\r\n\r\n").await.to_ascii_lowercase();
            assert!(head.starts_with(&format!("http/1.1 {status} ")), "{answer}: {head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            assert_eq!(length, fields, "{answer}: {head}");
        }
        let mut sender = connected(world.proxy).await;
        let request = Request::builder().method(method).uri(format!("http://{}/", world.proxy));
        let (response, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
        let response = tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap();
        assert_eq!(response.status(), status);
        let length = response.headers().get("content-length").map(|length| length.to_str().unwrap());
        assert_eq!(length, fields, "{answer}");
        assert!(data(&mut response.into_body()).await.is_none(), "{answer}");
    }
}

#[tokio::test]
async fn callers_of_http_1_0_get_what_they_understand() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    for answer in [chunked, plain] {
        let world = world(answering(answer).await, "", "").await;
        let got = world.raw("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.0 200 OK\r\n") && got.ends_with("\r\n\r\nhello"), "{got}");
        assert!(!got.to_ascii_lowercase().contains("transfer-encoding"), "{got}");
        // an upgrade is of HTTP/1.1 only
        let asking = "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert!(world.raw(asking).await.starts_with("HTTP/1.0 200 OK\r\n"));
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_cut_for_every_caller() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
    ] {
        let world = world(answering(answer).await, "", "").await;
        let got = world.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(got.contains("hello") && !got.ends_with("0\r\n\r\n"), "{answer}: {got}");
        assert!(got.contains("ontent-length: 9") || got.contains("chunked"), "{answer}: {got}");
        let mut sender = connected(world.proxy).await;
        let request = Request::get(format!("http://{}/", world.proxy)).body(()).unwrap();
        let response = sender.send_request(request, true).unwrap().0.await.unwrap();
        let mut body = response.into_body();
        let ended = loop {
            match data(&mut body).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        assert!(ended.is_some_and(|error| error.is_reset()), "{answer}: a clean end");
    }
}
