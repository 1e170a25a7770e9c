//! The end: SIGTERM while requests come all the time, on connections that are kept and on new ones.

use std::time::Duration;

use tokio::time::Instant;

use crate::reload::address;
use crate::reload::echo;
use crate::reload::leading_to;
use crate::support::load::Kept;
use crate::support::load::Load;
use crate::support::process::Proxy;
use crate::support::process::shell;
use crate::support::process::signal;
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_to_the_end_of_the_process() {
    let echo = echo().await;
    for _ in 0..3 {
        let proxy = Proxy::start(&leading_to(&echo, "", "workers: 2"), &[]);
        let at = address(&proxy);
        let load = Load::new()
            .http1(at, 8, Duration::ZERO, "")
            // on a connection that is new each time
            .http1(at, 8, Duration::ZERO, "Connection: close\r\n")
            // on a connection that rests for most of the time
            .http1(at, 8, Duration::from_millis(150), "")
            .http2(at, 2, 4);
        load.proceeds(200).await;
        let mut resting = Kept::to(at).await.unwrap();
        resting.ask("/x", "").await.unwrap();
        signal(proxy.id(), "TERM");
        let probe = format!("curl -s http://{}/readyz", proxy.telemetry);
        until("it is not ready", async || {
            tokio::task::block_in_place(|| shell(&probe)).starts_with("draining")
        })
        .await;
        // load balancers have yet to notice
        load.proceeds(100).await;
        let mut newcomer = Kept::to(at).await.unwrap();
        let reply = newcomer.ask("/x", "").await.unwrap();
        assert_eq!((reply.status, reply.is_last), (200, true));
        // what is to be stopped is not to be changed
        proxy.write("nonsense: true\n");
        signal(proxy.id(), "HUP");
        let tally = load.until_refused().await;
        tally.check(&["/x"]);
        assert!(tally.refused >= 26, "{tally:?}");
        resting.end().await.unwrap();
        let (code, log) = tokio::task::block_in_place(|| proxy.wait());
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("refused and the one in use") && !log.contains("still in flight"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_has_its_time_and_a_second_signal_takes_it() {
    let echo = echo().await;
    for (signals, at_least, at_most, cut) in [
        (vec!["TERM"], Duration::from_secs(3), Duration::from_secs(15), true),
        (vec!["TERM", "TERM"], Duration::ZERO, Duration::from_secs(2), false),
        (vec!["INT", "TERM"], Duration::ZERO, Duration::from_secs(2), false),
    ] {
        let config = leading_to(&echo, "", "").replace("drain: 5s", "drain: 2s");
        let proxy = Proxy::start(&config, &[]);
        let before = echo.requests();
        let mut kept = Kept::to(address(&proxy)).await.unwrap();
        let hanging = tokio::spawn(async move { kept.ask("/demo/hang", "").await.map(|reply| reply.status) });
        until("it is on its way", async || echo.requests() > before).await;
        let begun = Instant::now();
        for name in &signals {
            signal(proxy.id(), name);
            // two that come at once are one
            until("it is heard", async || proxy.log().contains("\"msg\":\"stopping\"")).await;
        }
        let (code, log) = tokio::task::block_in_place(|| proxy.wait());
        let took = begun.elapsed();
        assert_eq!(code, Some(0), "{log}");
        assert!(took >= at_least && took < at_most, "{signals:?} {took:?}: {log}");
        assert_eq!(log.contains("still in flight when the drain time ended"), cut, "{log}");
        assert_eq!(log.contains("second signal"), !cut, "{log}");
        assert!(hanging.await.unwrap().is_err());
    }
}
