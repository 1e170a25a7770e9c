//! What upstreams and callers do wrong, and whose fault it is said to be.

use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;

pub fn kind(result: Result<Response<net::Body>, Error>) -> String {
    match result {
        Ok(response) => format!("{}", response.status()),
        Err(Error::Timeout(phase)) => format!("Timeout({phase:?})"),
        Err(error) => {
            // a one-line text for the log, and no source hidden
            assert!(!error.to_string().contains('\n'));
            format!("{error:?}").split('(').next().unwrap().to_owned()
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_told_from_one_that_broke_off() {
    for (answer, expected) in [
        ("", "Reset"),
        ("HTTP/1.1 200", "Reset"),
        ("HTTP/1.1 200 OK\r\ncontent-le", "Reset"),
        ("garbage\r\n\r\n", "BadReply"),
        ("<html>HTTP/0.9</html>", "BadReply"),
        ("\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "BadReply"),
        ("HTTP/1.1 999999 What\r\n\r\n", "BadReply"),
        ("HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n", "BadReply"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx", "BadReply"),
        ("HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\nx", "BadReply"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "BadReply"),
        ("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", "BadReply"),
    ] {
        let case = Case::new(route(&answering(answer).await));
        assert_eq!(kind(case.fetch().await), expected, "{answer:?}");
    }
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(300_000));
    assert_eq!(kind(Case::new(route(&answering(long).await)).fetch().await), "BadReply");
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_failure_to_connect() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let case = Case::new(route(&unused.to_string()));
    assert_eq!(kind(case.fetch().await), "Connect");
}

#[tokio::test]
async fn an_upstream_that_does_not_take_the_connection_is_late() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // once its queue is full, the kernel leaves who else wants to connect without an answer
    let mut queued = Vec::new();
    while let Ok(connected) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
        queued.push(connected.unwrap());
    }
    let slow = Upstream { connect_timeout: SHORT, ..upstream(&address.to_string()) };
    let case = Case::new(Route { upstream: Arc::new(slow), ..route(&address.to_string()) });
    assert_eq!(kind(case.fetch().await), "Timeout(Connect)");
}

#[tokio::test]
async fn an_upstream_that_resets_the_connection_is_a_reset() {
    let address = raw(|mut stream| async move {
        // closing with unread bytes makes the kernel send a reset
        stream.read_u8().await.unwrap();
    })
    .await;
    assert_eq!(kind(Case::new(route(&address)).fetch().await), "Reset");
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_late() {
    let address = raw(|mut stream| async move {
        rest(&mut stream).await;
    })
    .await;
    let case = Case::new(Route { timeouts: Timeouts { response: SHORT, idle: LONG }, ..route(&address) });
    let began = Instant::now();
    assert_eq!(kind(case.fetch().await), "Timeout(Response)");
    assert!((SHORT..LONG / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_that_is_cut_is_cut() {
    for (answer, so_far) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "half"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "4\r\nhalf\r\n"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", "4\r\nhalf\r\n"),
    ] {
        let gateway = Case::new(route(&answering(answer).await)).gateway().await;
        let got = asked(gateway, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}: {got}");
        let body = got.split_once("\r\n\r\n").unwrap().1;
        assert!(so_far.starts_with(body), "{answer}: {got}");
    }
}

#[tokio::test]
async fn an_answer_that_stops_coming_is_cut() {
    let address = raw(|mut stream| async move {
        until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
        rest(&mut stream).await;
    })
    .await;
    let case = Case::new(Route { timeouts: Timeouts { response: LONG, idle: SHORT }, ..route(&address) });
    let began = Instant::now();
    let error = case.fetch().await.unwrap().into_body().collect().await.unwrap_err();
    assert_eq!(error.downcast_ref::<body::Cut>(), Some(&body::Cut::Idle));
    assert!((SHORT..LONG / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_malformed_body_is_the_callers_fault_and_never_whole_at_the_upstream() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let address = raw(move |mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            let got = rest(&mut stream).await;
            kept.lock().unwrap().push(got);
        }
    })
    .await;
    let gateway = Case::new(route(&address)).gateway().await;
    for body in [
        "3\r\nabc\r\nzz\r\n",
        "3\r\nabcdef\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nbad name: x\r\n\r\n",
    ] {
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let got = asked(gateway, &format!("{head}{body}")).await;
        assert!(got.contains("RequestBody("), "{body:?}: {got}");
    }
    let seen = seen.lock().unwrap();
    assert!(!seen.iter().any(|seen| seen.ends_with("0\r\n\r\n")), "{seen:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_the_callers_fault() {
    let address = raw(|mut stream| async move {
        rest(&mut stream).await;
    })
    .await;
    let case =
        Case::new(Route { timeouts: Timeouts { response: SHORT / 3, idle: SHORT }, ..route(&address) });
    let gateway = case.gateway().await;
    let got = asked(gateway, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf").await;
    assert!(got.contains("SlowCaller"), "{got}");
}

#[tokio::test]
async fn a_body_that_is_not_taken_is_the_upstreams_fault() {
    let address = raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let case =
        Case::new(Route { timeouts: Timeouts { response: SHORT / 3, idle: SHORT }, ..route(&address) });
    let body = Full::new(Bytes::from(vec![b'x'; 64 << 20]));
    let frames = streams::Pieces::of(64 << 20);
    assert_eq!(kind(case.send(Request::post("/").body(frames).unwrap()).await), "Timeout(Idle)");
    assert_eq!(
        kind(case.send(Request::post("/").body(body).unwrap()).await),
        "Timeout(Response)",
        "one piece is taken"
    );
}

#[tokio::test]
async fn when_the_caller_leaves_the_upstream_is_told() {
    let (asked, left) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (on_asked, on_left) = (Arc::clone(&asked), Arc::clone(&left));
    let address = raw(move |mut stream| {
        let (asked, left) = (Arc::clone(&on_asked), Arc::clone(&on_left));
        async move {
            until(&mut stream, "\r\n\r\n").await;
            asked.notify_one();
            rest(&mut stream).await;
            left.notify_one();
        }
    })
    .await;
    let gateway = Case::new(route(&address)).gateway().await;
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut stream = TcpStream::connect(gateway).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        asked.notified().await;
        drop(stream);
        tokio::time::timeout(LONG, left.notified()).await.expect("the upstream sees the end");
    }
}

#[tokio::test]
async fn a_connection_the_upstream_closed_while_it_rested_is_not_used_again() {
    let closed = Arc::new(Notify::new());
    let on_closed = Arc::clone(&closed);
    let address = raw(move |mut stream| {
        let closed = Arc::clone(&on_closed);
        async move {
            until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            drop(stream);
            closed.notify_one();
        }
    })
    .await;
    let case = Case::new(route(&address));
    for _ in 0..20 {
        assert_eq!(kind(case.fetch().await), "200 OK");
        closed.notified().await;
    }
}

#[tokio::test]
async fn a_route_of_another_configuration_has_no_upstream() {
    let case = Case::new(route("127.0.0.1:1"));
    let other = Route { name: Name::parse("other").unwrap(), ..route("127.0.0.1:1") };
    let id = HeaderValue::from_static("id-1");
    let onward = Onward {
        route: &other,
        path: "/",
        authorization: Authorization::Remove,
        caller: None,
        peer: &peer(),
        scheme: Scheme::Http,
        request_id: &id,
        trace: None,
        websocket: None,
    };
    let result = case.forwarder.send(Request::new(Full::new(Bytes::new())), onward).await;
    assert_eq!(kind(result), "UnknownRoute");
}
