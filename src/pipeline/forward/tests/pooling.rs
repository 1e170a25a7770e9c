//! HTTP/1.1 connections that rest, are used again, and die meanwhile.

use tokio::sync::Notify;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::failures::kind;
use super::versions::header;
use super::*;

/// An upstream that answers with the number of the connection, and keeps half of each body back until told.
struct Halves {
    address: String,
    count: Arc<AtomicUsize>,
    /// One permit, one other half.
    go_on: Arc<Vec<Semaphore>>,
    /// One permit, one end of a connection.
    ended: Arc<Semaphore>,
}

impl Halves {
    async fn start() -> Self {
        let go_on: Arc<Vec<Semaphore>> = Arc::new((0..16).map(|_| Semaphore::new(0)).collect());
        let ended = Arc::new(Semaphore::new(0));
        let (waits, ends) = (Arc::clone(&go_on), Arc::clone(&ended));
        let (address, count) = numbered(move |number, mut stream| {
            let (go_on, ended) = (Arc::clone(&waits), Arc::clone(&ends));
            async move {
                while !until(&mut stream, "\r\n\r\n").await.is_empty() {
                    let head =
                        format!("HTTP/1.1 200 OK\r\nx-connection: {number}\r\ncontent-length: 2\r\n\r\na");
                    stream.write_all(head.as_bytes()).await.unwrap();
                    tokio::select! {
                        biased;
                        go_on = go_on[number].acquire() => go_on.unwrap().forget(),
                        _ = stream.read_u8() => break,
                    }
                    stream.write_all(b"b").await.unwrap();
                }
                ended.add_permits(1);
            }
        })
        .await;
        Self { address, count, go_on, ended }
    }

    /// Has the other half of `response` sent, and reads it.
    async fn end(&self, response: Response<net::Body>) {
        self.go_on[number(&response)].add_permits(1);
        assert_eq!(text(response).await, "ab");
        settle().await;
    }

    async fn ended(&self, connections: u32) {
        let ended = self.ended.acquire_many(connections);
        tokio::time::timeout(LONG, ended).await.expect("they are closed").unwrap().forget();
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

/// Lets the tasks of connections see what they were sent.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn number(response: &Response<net::Body>) -> usize {
    header(response, "x-connection").parse().unwrap()
}

async fn fetched<const N: usize>(case: &Case) -> [Response<net::Body>; N] {
    let mut responses = Vec::new();
    for _ in 0..N {
        responses.push(case.fetch().await.unwrap());
    }
    responses.try_into().unwrap()
}

#[tokio::test]
async fn the_last_connection_to_rest_is_the_first_to_be_used() {
    let upstream = Halves::start().await;
    let case = Case::new(route(&upstream.address));
    let [zero, one, two] = fetched(&case).await;
    assert_eq!([&zero, &one, &two].map(number), [0, 1, 2], "a connection carries one answer at a time");
    upstream.end(zero).await;
    upstream.end(two).await;
    upstream.end(one).await;
    let responses: [_; 4] = fetched(&case).await;
    assert_eq!(responses.each_ref().map(number), [1, 2, 0, 3]);
}

#[tokio::test]
async fn only_so_many_connections_rest() {
    let upstream = Halves::start().await;
    let bounds = pool::Bounds { most: 2, ..pool::Bounds::default() };
    let case = Case::bounded(route(&upstream.address), bounds);
    let responses: [_; 4] = fetched(&case).await;
    for response in responses {
        upstream.end(response).await;
    }
    upstream.ended(2).await;
    let responses: [_; 3] = fetched(&case).await;
    assert_eq!(responses.each_ref().map(number), [3, 2, 4]);
}

#[tokio::test]
async fn with_as_many_connections_as_there_may_be_another_is_refused_and_what_is_given_up_makes_room() {
    let upstream = Halves::start().await;
    let case = Case::new(route(&upstream.address));
    case.forwarder.budget().allow(4);
    let [one, two] = fetched(&case).await;
    let refused = case.fetch().await.unwrap_err();
    assert!(matches!(refused, Error::NoRoom), "{refused:?}");
    assert_eq!(upstream.count(), 2, "nobody was asked");
    drop(one);
    upstream.ended(1).await;
    settle().await;
    assert_eq!(fetched::<1>(&case).await.each_ref().map(number), [2]);
    upstream.end(two).await;
    assert_eq!(fetched::<1>(&case).await.each_ref().map(number), [1], "it rested");
}

#[tokio::test]
async fn what_rests_gives_way_to_the_same_upstream_elsewhere_and_to_one_that_has_fewer() {
    let (upstream, other) = (Halves::start().await, Halves::start().await);
    let route_to = |address: &str| Arc::new(route(address));
    let (busy, quiet) = (route_to(&upstream.address), route_to(&other.address));
    let bounds = pool::Bounds::default();
    let pools = pool::Pools::new(&[Arc::clone(&busy), Arc::clone(&quiet)], bounds).unwrap();
    let beside = Forwarder { pools: pools.beside(None) };
    let on = |forwarder, route: &Arc<Route>| Case { forwarder, route: Arc::clone(route) };
    let here = on(Forwarder { pools }, &busy);
    here.forwarder.budget().allow(5);
    let [rests, _busy] = fetched(&here).await;
    upstream.end(rests).await;
    // of 5 it has 2, and there are 3 left
    let there = on(beside, &busy);
    let [elsewhere] = fetched(&there).await;
    let [more] = fetched(&there).await;
    assert_eq!([number(&elsewhere), number(&more)], [2, 3]);
    upstream.ended(1).await;
    upstream.end(more).await;
    let there = on(there.forwarder.beside(None), &quiet);
    let [first, second] = fetched(&there).await;
    assert_eq!([number(&first), number(&second)], [0, 1]);
    upstream.ended(1).await;
    let refused = there.fetch().await.unwrap_err();
    assert!(matches!(refused, Error::NoRoom), "{refused:?}");
}

#[tokio::test]
async fn a_connection_that_rests_too_long_is_closed() {
    let upstream = Halves::start().await;
    let bounds = pool::Bounds { rest: SHORT, ..pool::Bounds::default() };
    let case = Case::bounded(route(&upstream.address), bounds);
    for round in 0..2 {
        let [rests, busy] = fetched(&case).await;
        let began = Instant::now();
        upstream.end(rests).await;
        upstream.ended(1).await;
        assert!((SHORT..LONG / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert_eq!(upstream.ended.available_permits(), 0, "an answer under way keeps its connection");
        upstream.end(busy).await;
        upstream.ended(1).await;
        assert_eq!(upstream.count(), 2 * (round + 1));
    }
}

#[tokio::test]
async fn connections_are_closed_with_their_forwarder() {
    let upstream = Halves::start().await;
    let case = Case::new(route(&upstream.address));
    let [rests, busy] = fetched(&case).await;
    upstream.end(rests).await;
    drop(case);
    upstream.end(busy).await;
    upstream.ended(2).await;
}

#[tokio::test]
async fn the_connection_of_an_answer_that_is_not_read_to_its_end_is_closed() {
    let upstream = Halves::start().await;
    let case = Case::new(route(&upstream.address));
    for number_of in 0..2 {
        let mut response = case.fetch().await.unwrap();
        assert_eq!(number(&response), number_of);
        assert_eq!(response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        drop(response);
        upstream.ended(1).await;
    }
    drop(case.fetch().await.unwrap());
    upstream.ended(1).await;
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn the_connection_of_an_answer_that_is_refused_is_closed() {
    let ended = Arc::new(Notify::new());
    let ends = Arc::clone(&ended);
    let (address, count) = numbered(move |_, mut stream| {
        let ended = Arc::clone(&ends);
        async move {
            until(&mut stream, "\r\n\r\n").await;
            let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            assert_eq!(rest(&mut stream).await, "");
            ended.notify_one();
        }
    })
    .await;
    let case = Case::new(route(&address));
    for round in 1..3 {
        assert_eq!(kind(case.fetch().await), "BadReply");
        tokio::time::timeout(LONG, ended.notified()).await.expect("it is closed");
        assert_eq!(count.load(Ordering::SeqCst), round);
    }
}

#[tokio::test]
async fn a_connection_is_not_used_again_before_its_request_is_sent_but_then_it_is() {
    let uploaded = Arc::new(Notify::new());
    let uploads = Arc::clone(&uploaded);
    let (address, count) = numbered(move |number, mut stream| {
        let uploaded = Arc::clone(&uploads);
        async move {
            while !until(&mut stream, "\r\n\r\n").await.is_empty() {
                let head = format!("HTTP/1.1 200 OK\r\nx-connection: {number}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                if number == 0 && until(&mut stream, "the end").await.ends_with("the end") {
                    uploaded.notify_one();
                }
            }
        }
    })
    .await;
    let case = Case::new(route(&address));
    let gateway = case.gateway().await;
    let mut caller = TcpStream::connect(gateway).await.unwrap();
    caller.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\nhalf").await.unwrap();
    assert!(until(&mut caller, "\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
    settle().await;
    let [other] = fetched(&case).await;
    assert_eq!(number(&other), 1);
    caller.write_all(b"the end").await.unwrap();
    tokio::time::timeout(LONG, uploaded.notified()).await.expect("the upload is not cut");
    settle().await;
    let [again] = fetched(&case).await;
    assert_eq!(number(&again), 0);
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

/// What becomes of a second request, when the upstream says `last` instead of an answer to it; and of how many
/// connections.
async fn second(method: Method, body: &'static str, last: &'static str) -> (String, usize) {
    let (address, count) = numbered(move |number, mut stream| async move {
        until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        until(&mut stream, "\r\n\r\n").await;
        if number == 0 {
            stream.write_all(last.as_bytes()).await.unwrap();
        }
    })
    .await;
    let case = Case::new(route(&address));
    assert_eq!(kind(case.fetch().await), "200 OK");
    settle().await;
    let request = Request::builder().method(method).header("host", "a").header("x-mine", "1");
    let result = case.send(request.body(Full::from(body)).unwrap()).await;
    (kind(result), count.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_request_that_may_be_repeated_is_when_the_connection_that_rested_was_dead() {
    for (method, body, last, expected, connections) in [
        (Method::GET, "", "", "200 OK", 2),
        (Method::HEAD, "", "", "200 OK", 2),
        (Method::PUT, "", "", "200 OK", 2),
        (Method::DELETE, "", "", "200 OK", 2),
        (Method::GET, "body", "", "Reset", 1),
        (Method::PUT, "body", "", "Reset", 1),
        (Method::POST, "", "", "Reset", 1),
        (Method::POST, "body", "", "Reset", 1),
        (Method::PATCH, "", "", "Reset", 1),
        (Method::GET, "", "H", "Reset", 1),
        (Method::GET, "", "HTTP/1.1 100 Continue\r\n\r\n", "Reset", 1),
        (Method::GET, "", "garbage\r\n\r\n", "BadReply", 1),
    ] {
        let outcome = second(method.clone(), body, last).await;
        assert_eq!(outcome, (expected.to_owned(), connections), "{method} {body:?} {last:?}");
    }
}

#[tokio::test]
async fn a_repeated_request_is_the_same_and_is_repeated_once() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    let (address, count) = numbered(move |number, mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            let head = until(&mut stream, "\r\n\r\n").await;
            kept.lock().unwrap().push(head);
            if number > 0 {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            let head = until(&mut stream, "\r\n\r\n").await;
            kept.lock().unwrap().push(head);
        }
    })
    .await;
    let case = Case::new(route(&address));
    assert_eq!(kind(case.fetch().await), "200 OK");
    settle().await;
    let request =
        Request::get("/a?b=c").header("host", "a").header("x-mine", "1").body(Full::from("")).unwrap();
    assert_eq!(kind(case.send(request).await), "Reset");
    assert_eq!(kind(case.fetch().await), "Reset", "a new connection is not made twice");
    assert_eq!(count.load(Ordering::SeqCst), 3);
    let heads = heads.lock().unwrap();
    assert!(
        heads[1].contains("x-mine: 1\r\n") && heads[1].starts_with("GET /a?b=c HTTP/1.1\r\n"),
        "{heads:?}"
    );
    assert_eq!(heads[1], heads[2]);
    assert_eq!(heads.len(), 4);
}
