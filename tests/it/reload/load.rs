//! Reloads while requests come all the time: each is answered, by the routes before or those after.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::reload::IN_USE;
use crate::reload::address;
use crate::reload::check;
use crate::reload::curl;
use crate::reload::echo;
use crate::reload::leading_to;
use crate::support::load::Kept;
use crate::support::load::Load;
use crate::support::process::Proxy;
use crate::support::process::shell;
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_and_the_next_one_on_a_kept_connection_goes_by_the_new_routes() {
    let echo = echo().await;
    let [one, two] = ["/one", "/two"].map(|base| leading_to(&echo, base, "workers: 2"));
    let proxy = Proxy::start(&one, &[]);
    let load = Load::new()
        .http1(address(&proxy), 6, Duration::ZERO, "")
        // who pauses that long is on a connection that rests
        .http1(address(&proxy), 6, Duration::from_millis(120), "")
        .http2(address(&proxy), 2, 4);
    load.proceeds(100).await;
    let mut kept = Kept::to(address(&proxy)).await.unwrap();
    for (config, path) in [(&two, "/two/x"), (&one, "/one/x")].repeat(8) {
        let verdict = tokio::task::block_in_place(|| proxy.reload(config));
        check(&verdict, IN_USE, &proxy);
        assert_eq!(verdict["changed"], "routes.all.upstream");
        let reply = kept.ask("/x", "").await.unwrap();
        assert_eq!((reply.status, reply.path().as_str(), reply.is_last), (200, path, false));
        load.proceeds(50).await;
    }
    let tally = load.end().await;
    tally.check(&["/one/x", "/two/x"]);
    assert!(tally.answered() >= 900, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_end_as_they_began() {
    let (echo, another) = (echo().await, echo().await);
    let proxy = Proxy::start(&leading_to(&echo, "", ""), &[]);
    let call = format!("curl -s 'http://{}/demo/drip?chunks=20&pause_ms=100'", proxy.address);
    let drip = tokio::task::spawn_blocking(move || shell(&call));
    // half a body
    let mut upload = TcpStream::connect(address(&proxy)).await.unwrap();
    upload.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab").await.unwrap();
    until("both are on their way", async || echo.requests() == 2).await;
    let verdict = tokio::task::block_in_place(|| proxy.reload(&leading_to(&another, "/two", "")));
    check(&verdict, IN_USE, &proxy);
    upload.write_all(b"cd").await.unwrap();
    let mut answer = vec![0; 4096];
    let read = upload.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"path\":\"/x\""), "{answer}");
    assert_eq!(drip.await.unwrap().lines().count(), 20);
    assert_eq!((echo.requests(), another.requests()), (2, 0));
    assert_eq!(curl(&proxy.address, ""), ("200".into(), "/two/x".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_before_still_count_for_what_their_route_may_take() {
    let echo = echo().await;
    let config = |most: usize| {
        format!(
            r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
routes: {{ all: {{ match: /, auth: anonymous, upstream: "http://{}", limits: {{ concurrency: {most} }} }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json }} }}
"#,
            echo.address()
        )
    };
    let proxy = Proxy::start(&config(1), &[]);
    let mut upload = TcpStream::connect(address(&proxy)).await.unwrap();
    upload.write_all(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab").await.unwrap();
    until("it is on its way", async || echo.requests() == 1).await;
    tokio::task::block_in_place(|| {
        for (most, status) in [(1, "503"), (2, "200"), (1, "503")] {
            proxy.write(&config(most));
            proxy.read_again();
            assert_eq!(curl(&proxy.address, "").0, status, "of {most}");
        }
    });
    upload.write_all(b"cd").await.unwrap();
    let mut answer = vec![0; 4096];
    assert!(upload.read(&mut answer).await.unwrap() > 0);
    let free = async || tokio::task::block_in_place(|| curl(&proxy.address, "").0) == "200";
    until("there is room", free).await;
}
