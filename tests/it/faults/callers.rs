//! Callers go away while something is fetched for them, and many wait for one thing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client;
use h2::client::SendRequest;
use http::Request;
use http::StatusCode;
use obo_proxy::app::demo::entra::script::Script;
use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::faults::network::FAR;
use crate::faults::network::Network;
use crate::faults::network::Plan;
use crate::support::Plan as WorldPlan;
use crate::support::World;
use crate::support::relay::Conduct;
use crate::support::relay::Fault;
use crate::support::until;

/// A world in which nobody is in a hurry.
async fn world() -> World {
    World::with(WorldPlan { provider: "    timeout: 60s", ..WorldPlan::default() }).await
}

/// A caller that has sent so much and resets its connection.
async fn reset(world: &World, sent: &str) -> TcpStream {
    let mut caller = TcpStream::connect(world.proxy).await.unwrap();
    caller.write_all(sent.as_bytes()).await.unwrap();
    SockRef::from(&caller).set_linger(Some(Duration::ZERO)).unwrap();
    caller
}

/// What the proxy counts of callers who have left before they were answered.
async fn left(world: &World) -> f64 {
    let metrics = world.probe("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    let lines = text.lines().filter(|line| {
        line.starts_with("http_server_request_duration_seconds_count") && line.contains("\"499\"")
    });
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_during_the_exchange_has_nothing_forwarded_and_takes_nobody_along() {
    let world = Arc::new(world().await);
    let token = world.token("alice");
    let hold = world.entra().script(Script::hold);
    let head = |request: &str| format!("{request} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n");
    // whoever comes first leads; all of them leave
    let leaving = [
        format!("{}\r\n", head("GET /orders/left")),
        format!("{}Content-Length: 4\r\n\r\nbody", head("POST /orders/left")),
        format!("{}Content-Length: 4\r\n\r\nbo", head("POST /orders/left")),
        format!("{}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n", head("PUT /orders/left")),
    ];
    let mut callers = Vec::new();
    for sent in &leaving {
        callers.push(reset(&world, sent).await);
        until("the token is asked for", async || world.entra().token_requests() == 1).await;
    }
    let socket = TcpStream::connect(world.proxy).await.unwrap();
    let (over_http2, connection) = client::handshake(socket).await.unwrap();
    let _connection = tokio::spawn(connection);
    let mut over_http2: SendRequest<Bytes> = over_http2.ready().await.unwrap();
    let request = Request::get(format!("http://{}/orders/left", world.proxy));
    let request = request.header("authorization", format!("Bearer {token}")).body(()).unwrap();
    let (answer, mut stream) = over_http2.send_request(request, true).unwrap();
    let waiting = async || world.metric("obo_exchanges_coalesced_total ").await.unwrap();
    until("all of them wait", async || waiting().await >= 4.0).await;
    let staying = (0..20).map(|_| {
        let (world, token) = (world.clone(), token.clone());
        async move { world.get("/orders/stayed", &token).await.status }
    });
    let staying: JoinSet<_> = staying.collect();
    until("the others wait too", async || waiting().await >= 24.0).await;
    drop(callers);
    stream.send_reset(Reason::CANCEL);
    assert!(answer.await.is_err());
    until("they are seen to have left", async || left(&world).await >= 5.0).await;
    drop(hold);
    for status in staying.join_all().await {
        assert_eq!(status, StatusCode::OK);
    }
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (1, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_have_left_the_token_is_there_for_the_next_one() {
    let world = world().await;
    let token = world.token("alice");
    let hold = world.entra().script(Script::hold);
    let head = format!("GET /orders HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    let caller = reset(&world, &head).await;
    until("the token is asked for", async || world.entra().token_requests() == 1).await;
    drop(caller);
    until("it is seen to have left", async || left(&world).await >= 1.0).await;
    drop(hold);
    until("it is there", async || world.metric("obo_cache_entries{tier=\"memory\"} ").await == Some(1.0))
        .await;
    assert_eq!(world.get("/orders", &token).await.status, StatusCode::OK);
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_reaches_all_who_wait_for_it_at_once() {
    const CALLERS: usize = 100;
    let network = Network::start(Plan::default()).await;
    let token = network.stranger();
    network.to_idp.all(Conduct::down(Fault::Stall(0)));
    let calls = (0..CALLERS).map(|_| {
        let (proxy, token) = (network.proxy.clone(), token.clone());
        async move { proxy.ask(FAR, Some(&token)).await }
    });
    let calls: JoinSet<_> = calls.collect();
    let coalesced = async || network.proxy.count("obo_exchanges_coalesced_total ").await;
    until("all wait", async || coalesced().await >= CALLERS as u64 - 1).await;
    until("one of them has asked", async || network.exchanges() == 1).await;
    network.to_idp.all(Conduct::both(Fault::ResetNow));
    for told in calls.join_all().await {
        assert_eq!((told.status.as_u16(), told.reason().as_str()), (503, "idp_unavailable"));
    }
    // one was asked in vain, and the second try did not get through
    assert_eq!((network.exchanges(), network.far.requests()), (1, 0));
}
