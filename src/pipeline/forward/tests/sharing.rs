//! HTTP/2 connections that are shared, refuse, and go away.

use h2::Reason;
use h2::server::SendResponse;
use tokio::sync::Barrier;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::failures::kind;
use super::versions::acceptor;
use super::versions::header;
use super::versions::https_route;
use super::*;

/// What an upstream does with a request.
#[derive(Clone)]
enum Does {
    Answer,
    /// Answers when all have come.
    Wait(Arc<Barrier>),
    /// Sends a head, and the body's end with the next permit.
    Hold(Arc<Semaphore>),
    /// Answers, and wants no more requests.
    AnswerAndLeave,
    /// Does not look at it.
    Reset(Reason),
    /// Does not look at it, and closes.
    Leave,
}

/// An upstream that does with the requests of each connection what `script` says, given the connection's number and
/// the request's; a permit for each connection that ended.
async fn scripted(
    script: impl Fn(usize, usize) -> Does + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>, Arc<Semaphore>) {
    let script = Arc::new(script);
    let ended = Arc::new(Semaphore::new(0));
    let ends = Arc::clone(&ended);
    let (address, count) = numbered(move |number, stream| {
        let (script, ended) = (Arc::clone(&script), Arc::clone(&ends));
        async move {
            serve(number, stream, script.as_ref()).await;
            ended.add_permits(1);
        }
    })
    .await;
    (address, count, ended)
}

async fn serve(number: usize, stream: TcpStream, script: &(dyn Fn(usize, usize) -> Does + Send + Sync)) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut asked = 0;
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let does = script(number, asked);
        asked += 1;
        match does {
            Does::Answer => answer(number, &mut respond, true),
            Does::Wait(barrier) => {
                tokio::spawn(async move {
                    barrier.wait().await;
                    answer(number, &mut respond, true);
                });
            }
            Does::Hold(go_on) => {
                let head = Response::builder().header("x-connection", number).body(()).unwrap();
                let mut body = respond.send_response(head, false).unwrap();
                tokio::spawn(async move {
                    go_on.acquire().await.unwrap().forget();
                    // whoever asked may be gone
                    let _ = body.send_data(Bytes::from_static(b"end"), true);
                });
            }
            Does::AnswerAndLeave => {
                answer(number, &mut respond, true);
                connection.graceful_shutdown();
            }
            Does::Reset(reason) => respond.send_reset(reason),
            Does::Leave => return,
        }
    }
}

fn answer(number: usize, respond: &mut SendResponse<Bytes>, ends: bool) {
    let head = Response::builder().header("x-connection", number).body(()).unwrap();
    respond.send_response(head, ends).unwrap();
}

fn shared(address: &str) -> Route {
    Route { upstream: Arc::new(Upstream { http2: Http2::Always, ..upstream(address) }), ..route(address) }
}

async fn ended(ended: &Semaphore) {
    tokio::time::timeout(LONG, ended.acquire()).await.expect("it is closed").unwrap().forget();
}

/// What becomes of so many requests at the same time.
async fn at_once(case: &Arc<Case>, requests: usize) -> Vec<String> {
    let mut fetching = JoinSet::new();
    for _ in 0..requests {
        let case = Arc::clone(case);
        fetching.spawn(async move {
            match case.fetch().await {
                Ok(response) => header(&response, "x-connection").to_owned(),
                refused => kind(refused),
            }
        });
    }
    fetching.join_all().await
}

#[tokio::test]
async fn requests_at_the_same_time_share_a_connection_from_the_first() {
    let barrier = Arc::new(Barrier::new(20));
    let (address, count, _) = scripted(move |_, _| Does::Wait(Arc::clone(&barrier))).await;
    let case = Case::new(shared(&address));
    for _ in 0..2 {
        assert_eq!(at_once(&case, 20).await, vec!["0"; 20]);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn over_tls_requests_share_a_connection_or_have_one_each_as_is_negotiated() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    for (protocol, most) in [("h2", 1), ("http/1.1", 20)] {
        let acceptor = acceptor("127.0.0.1", &ca, &[protocol]);
        let barrier = Arc::new(Barrier::new(20));
        let (address, count) = numbered(move |_, stream| {
            let (acceptor, barrier) = (acceptor.clone(), Arc::clone(&barrier));
            async move {
                let io = TokioIo::new(acceptor.accept(stream).await.unwrap());
                let service = service_fn(move |_| {
                    let barrier = Arc::clone(&barrier);
                    async move {
                        barrier.wait().await;
                        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::new())))
                    }
                });
                let _ended_somehow = match protocol {
                    "h2" => {
                        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        builder.serve_connection(io, service).await
                    }
                    _ => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
                };
            }
        })
        .await;
        let case = Case::new(https_route(&address, &ca, Http2::Auto, HostRewrite::Upstream));
        for _ in 0..2 {
            assert_eq!(at_once(&case, 20).await, vec![""; 20], "{protocol}");
        }
        assert_eq!(count.load(Ordering::SeqCst), most, "{protocol}");
    }
}

#[tokio::test]
async fn when_connecting_fails_everyone_who_waits_is_told_and_the_next_tries_again() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = unused.local_addr().unwrap().to_string();
    drop(unused);
    let case = Case::new(shared(&address));
    assert_eq!(at_once(&case, 5).await, vec!["Connect"; 5]);
    let listener = TcpListener::bind(&address).await.unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(7, stream, &|_, _| Does::Answer).await;
    });
    assert_eq!(at_once(&case, 5).await, vec!["7"; 5]);
}

#[tokio::test]
async fn a_connection_is_made_though_the_one_who_began_leaves() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let acceptor = acceptor("127.0.0.1", &ca, &["h2"]);
    let (came, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (comes, waits) = (Arc::clone(&came), Arc::clone(&go_on));
    let (address, count) = numbered(move |_, stream| {
        let (acceptor, came, go_on) = (acceptor.clone(), Arc::clone(&comes), Arc::clone(&waits));
        async move {
            came.add_permits(1);
            go_on.acquire().await.unwrap().forget();
            echo(acceptor.accept(stream).await.unwrap(), true).await;
        }
    })
    .await;
    let case = Case::new(https_route(&address, &ca, Http2::Auto, HostRewrite::Upstream));
    let first = tokio::spawn({
        let case = Arc::clone(&case);
        async move { kind(case.fetch().await) }
    });
    came.acquire().await.unwrap().forget();
    let second = tokio::spawn({
        let case = Arc::clone(&case);
        async move { kind(case.fetch().await) }
    });
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    go_on.add_permits(1);
    assert_eq!(second.await.unwrap(), "200 OK");
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_that_goes_away_ends_its_answers_and_is_replaced() {
    let go_on = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&go_on);
    let (address, count, ends) = scripted(move |connection, request| match (connection, request) {
        (0, 0) => Does::Hold(Arc::clone(&waits)),
        (0, _) => Does::AnswerAndLeave,
        _ => Does::Answer,
    })
    .await;
    let case = Case::new(shared(&address));
    let held = case.fetch().await.unwrap();
    assert_eq!(header(&case.fetch().await.unwrap(), "x-connection"), "0");
    // the upstream's wish arrives some time after its answer
    while at_once(&case, 1).await == ["0"] {
        tokio::task::yield_now().await;
    }
    assert_eq!(at_once(&case, 3).await, ["1", "1", "1"]);
    go_on.add_permits(1);
    assert_eq!(text(held).await, "end");
    ended(&ends).await;
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_request_the_upstream_did_not_look_at_is_sent_again_if_it_may_be() {
    for (method, does, expected) in [
        (Method::GET, Does::Reset(Reason::REFUSED_STREAM), "1"),
        (Method::GET, Does::Leave, "1"),
        (Method::POST, Does::Reset(Reason::REFUSED_STREAM), "Reset"),
        (Method::POST, Does::Leave, "Reset"),
        (Method::GET, Does::Reset(Reason::INTERNAL_ERROR), "Reset"),
        (Method::GET, Does::Reset(Reason::CANCEL), "Reset"),
    ] {
        let (address, _, _) = scripted(move |connection, request| match (connection, request) {
            (0, 1) => does.clone(),
            _ => Does::Answer,
        })
        .await;
        let case = Case::new(shared(&address));
        assert_eq!(at_once(&case, 1).await, ["0"]);
        let request = Request::builder().method(&method).header("host", "a").body(Full::from("")).unwrap();
        let outcome = match case.send(request).await {
            Ok(response) => header(&response, "x-connection").to_owned(),
            refused => kind(refused),
        };
        assert_eq!(outcome, expected, "{method}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_to_its_end_leaves_the_connection_to_others() {
    let go_on = Arc::new(Semaphore::new(0));
    let (address, count, _) = scripted(move |_, _| Does::Hold(Arc::clone(&go_on))).await;
    let case = Case::new(shared(&address));
    for _ in 0..3 {
        drop(case.fetch().await.unwrap());
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_shared_connection_nobody_uses_is_closed() {
    let go_on = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&go_on);
    let (address, count, ends) = scripted(move |_, _| Does::Hold(Arc::clone(&waits))).await;
    let bounds = pool::Bounds { rest: SHORT, ..pool::Bounds::default() };
    let case = Case::bounded(shared(&address), bounds);
    for round in 1..3 {
        let held = case.fetch().await.unwrap();
        // an answer under way keeps its connection, however long it takes
        tokio::time::timeout(SHORT * 3, ends.acquire()).await.unwrap_err();
        let other = case.fetch().await.unwrap();
        assert_eq!(header(&other, "x-connection"), header(&held, "x-connection"));
        go_on.add_permits(2);
        assert_eq!([text(held).await, text(other).await], ["end", "end"]);
        ended(&ends).await;
        assert_eq!(count.load(Ordering::SeqCst), round);
    }
}
