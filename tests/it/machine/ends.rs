//! The process is killed, or told things far too often.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::server::Transport;
use tokio::task::JoinSet;

use crate::machine::Provider;
use crate::machine::ROUTES;
use crate::machine::SECRET;
use crate::machine::free;
use crate::support::fleet::served;
use crate::support::listen;
use crate::support::load::Load;
use crate::support::process::Proxy;
use crate::support::process::shell;
use crate::support::process::signal;
use crate::support::sidecar::Sidecar;
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_was_killed_is_there_again_at_the_same_places_and_a_herd_costs_one_exchange_each() {
    let provider = Provider::start().await;
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("http.sock");
    let (address, telemetry) = (free(), free());
    // the addresses are those of before, each time
    let places = [
        ("OBO__LISTENERS__DEFAULT__ADDRESS", address.as_str()),
        ("OBO__TELEMETRY__ADDRESS", telemetry.as_str()),
    ];
    let configured = provider.configured(SECRET);
    let listeners = format!("OBO__LISTENERS__LOCAL__ADDRESS=unix:{}", socket.display());
    let environment: Vec<_> = places.into_iter().chain(listeners.split_once('=')).collect();
    for _ in 0..3 {
        let proxy = Arc::new(Sidecar::start_with(&configured, ROUTES, "workers: 2", &environment).await);
        assert_eq!(proxy.proxy.telemetry, telemetry);
        proxy.ready().await;
        let before = provider.idp.requests();
        let tokens: Vec<_> = (0..5).map(|_| provider.stranger()).collect();
        let mut herd = JoinSet::new();
        for number in 0..100 {
            let (proxy, token) = (proxy.clone(), tokens[number % tokens.len()].clone());
            herd.spawn(async move { served(&proxy, "/", &token).await });
        }
        herd.join_all().await;
        assert_eq!(provider.idp.requests() - before, tokens.len());
        let through = format!(
            "curl -s -m 20 -o /dev/null -w '%{{http_code}}' --unix-socket {} http://a/ -H 'Authorization: Bearer {}'",
            socket.display(),
            tokens[0]
        );
        assert_eq!(tokio::task::block_in_place(|| shell(&through)), "200", "{}", proxy.proxy.log());
        // in the middle of everything
        let mut busy = JoinSet::new();
        for token in tokens {
            let (proxy, line) = (
                proxy.clone(),
                format!(
                    "curl -s -m 20 -o /dev/null http://{address}/ -H 'Authorization: Bearer {token}' || true"
                ),
            );
            busy.spawn_blocking(move || {
                let _kept = proxy;
                (0..20).for_each(|_| drop(shell(&line)));
            });
        }
        signal(proxy.proxy.id(), "KILL");
        drop(busy.join_all().await);
        assert!(fs::exists(&socket).unwrap(), "a process that is killed cleans nothing up");
        assert!(Arc::into_inner(proxy).is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_hangups_in_a_second_lose_no_request_and_the_newest_configuration_is_used() {
    let echo = Echo::start(listen().await, Transport::Plain).unwrap();
    let leading_to = |base: &str| {
        format!(
            r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
routes: {{ all: {{ match: /, auth: anonymous, upstream: "http://{}{base}" }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json, access: false }} }}
shutdown: {{ delay: 0s, drain: 5s }}
"#,
            echo.address()
        )
    };
    let proxy = tokio::task::block_in_place(|| Proxy::start(&leading_to("/one"), &[]));
    let at = proxy.address.parse().unwrap();
    let load = Load::new().http1(at, 4, Duration::from_millis(2), "").http2(at, 1, 4);
    load.proceeds(50).await;
    let storm = format!("for i in {{1..1000}}; do kill -HUP {}; done", proxy.id());
    tokio::task::block_in_place(|| shell(&storm));
    proxy.write(&leading_to("/two"));
    tokio::task::block_in_place(|| shell(&storm));
    until("the newest one is in use", async || {
        !proxy.lines(|message| message == "another configuration is in use").is_empty()
    })
    .await;
    load.proceeds(50).await;
    load.end().await.check(&["/one/x", "/two/x"]);
    // it comes to rest: signals that come while one is acted on are one
    until("it rests", async || {
        let (before, ticks) = (proxy.verdicts().len(), proxy.cpu_ticks());
        tokio::task::block_in_place(|| thread::sleep(Duration::from_secs(1)));
        proxy.verdicts().len() == before && proxy.cpu_ticks() - ticks < 20
    })
    .await;
    let (code, log) = tokio::task::block_in_place(|| proxy.stop());
    assert_eq!(code, Some(0), "{log}");
}
