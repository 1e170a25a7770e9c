//! The IdP is down, slow or throttles: who is served, who waits, and how often it is asked.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::config::Credential;
use crate::config::IdentityProvider;
use crate::domain::clock::UnixTime;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::tests::World;
use crate::pipeline::exchange::tests::idp;
use crate::pipeline::exchange::tests::idp::Answer;
use crate::pipeline::exchange::tests::idp::Idp;
use crate::pipeline::exchange::tests::idp::granted;
use crate::pipeline::exchange::tests::idp::json;
use crate::pipeline::exchange::tests::idp::refused;
use crate::pipeline::exchange::tests::in_turn;
use crate::pipeline::exchange::tests::sample;
use crate::pipeline::exchange::tests::sample::caller;
use crate::telemetry::metrics::CacheResult;

const DOWN: Kind = Kind::Unavailable { retry_after: Duration::from_secs(1) };

fn unavailable(_: &idp::Received) -> Answer {
    json(503, &json!({}))
}

/// An IdP that grants everything while it is up, and a switch.
async fn switchable() -> (Arc<Idp>, Arc<AtomicBool>) {
    let up = Arc::new(AtomicBool::new(true));
    let switch = up.clone();
    let idp = Idp::open(move |received| match up.load(Ordering::SeqCst) {
        true => granted(received),
        false => unavailable(received),
    })
    .await;
    (idp, switch)
}

#[tokio::test]
async fn who_waits_gets_a_second_try_and_is_not_told_of_the_first() {
    let idp = Idp::open(in_turn(vec![unavailable, granted])).await;
    let world = World::of(&idp);
    let started = Instant::now();
    assert_eq!(world.fetch(&caller("alice", 1)).await.1, CacheResult::Miss);
    assert!(started.elapsed() >= Duration::from_millis(500), "{:?}", started.elapsed());
    assert_eq!(idp.requests(), 2);
    // both are counted: each was an exchange of its own for the IdP
    for outcome in ["idp_unavailable", "ok"] {
        let line = format!("obo_exchanges_total{{identity_provider=\"contoso\",outcome=\"{outcome}\"}} 1");
        assert!(world.metrics.encode().contains(&line), "{line}");
    }
}

#[tokio::test]
async fn an_idp_that_never_answers_takes_two_time_limits_and_a_pause() {
    let idp = Idp::closed(granted).await;
    let provider =
        IdentityProvider { timeout: Duration::from_millis(300), ..sample::provider(&idp.authority()) };
    let world = World::new(provider, &sample::cache());
    let started = Instant::now();
    assert_eq!(world.kind(&caller("alice", 1)).await, DOWN);
    // no upper bound on what a busy machine takes
    assert!(started.elapsed() >= Duration::from_millis(1100), "{:?}", started.elapsed());
    assert_eq!(idp.requests(), 2);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_asked_for_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    tokio::spawn({
        let asked = asked.clone();
        async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                asked.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                let head =
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"tok";
                stream.write_all(head).await.unwrap();
            }
        }
    });
    let world = World::new(sample::provider(&authority), &sample::cache());
    assert_eq!(world.kind(&caller("alice", 1)).await, DOWN);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_outage_hits_only_those_without_a_token_and_ends_within_a_second() {
    let (idp, up) = switchable().await;
    let world = World::of(&idp);
    let users: Vec<_> = (0..20).map(|n| caller(&format!("user{n}"), 1)).collect();
    for user in &users {
        world.fetch(user).await;
    }
    up.store(false, Ordering::SeqCst);
    world.pass(3330); // all are due for renewal
    for _ in 0..3 {
        for user in &users {
            let exchanged = world.get(user).await.unwrap();
            assert_eq!((exchanged.cache, exchanged.waited), (CacheResult::Stale, None));
        }
    }
    world.until_that("five renewals have failed", || idp.requests() >= 25).await;
    for n in 0..20 {
        assert_eq!(world.kind(&caller(&format!("stranger{n}"), 1)).await, DOWN);
    }
    up.store(true, Ordering::SeqCst);
    world.pass(1);
    assert_eq!(world.fetch(&caller("stranger0", 1)).await.1, CacheResult::Miss);
    assert_eq!(world.fetch(&caller("stranger1", 1)).await.1, CacheResult::Miss);
}

#[tokio::test]
async fn a_thousand_keys_cost_an_idp_that_is_down_a_handful_of_requests_and_then_one_a_second() {
    let (idp, up) = switchable().await;
    up.store(false, Ordering::SeqCst);
    let world = World::of(&idp);
    for n in 0..1000 {
        assert_eq!(world.kind(&caller(&format!("user{n}"), 1)).await, DOWN);
    }
    assert_eq!(idp.requests(), 5); // two tries, two tries, one try
    for second in 1..=10 {
        world.pass(1);
        for n in 0..1000 {
            assert_eq!(world.kind(&caller(&format!("user{n}"), 1)).await, DOWN);
        }
        assert_eq!(idp.requests(), 5 + second);
    }
}

#[tokio::test]
async fn a_credential_that_is_missing_does_not_use_up_the_probes_of_one_that_works() {
    let (idp, up) = switchable().await;
    up.store(false, Ordering::SeqCst);
    let missing = Credential::SecretFile("/nonexistent/secret".into());
    let credentials = vec![missing, sample::secret("right")];
    let provider = IdentityProvider { credentials, ..sample::provider(&idp.authority()) };
    let world = World::new(provider, &sample::cache());
    for n in 0..10 {
        assert_eq!(world.kind(&caller(&format!("user{n}"), 1)).await, DOWN);
    }
    assert_eq!(idp.requests(), 5);
    world.pass(1);
    for n in 0..10 {
        assert_eq!(world.kind(&caller(&format!("user{n}"), 1)).await, DOWN);
    }
    assert_eq!(idp.requests(), 6, "one a second");
    up.store(true, Ordering::SeqCst);
    world.pass(1);
    assert_eq!(world.fetch(&caller("alice", 1)).await.1, CacheResult::Miss);
}

#[tokio::test]
async fn many_keys_at_once_get_no_second_try_of_an_idp_that_fails_all_of_them() {
    let idp = Idp::closed(unavailable).await;
    let world = World::of(&idp);
    let waiting: Vec<_> = (0..200).map(|n| world.begin(caller(&format!("user{n}"), 1))).collect();
    idp.arrived(200).await;
    idp.open_gate();
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap_err().kind, DOWN);
    }
    assert_eq!(idp.requests(), 200);
}

#[tokio::test]
async fn an_idp_that_throttles_everyone_is_spared_too_and_one_that_throttles_one_user_is_not() {
    let throttled = |received: &idp::Received| Answer {
        status: 429,
        headers: vec![("retry-after", "20".into())],
        body: received.assertion().into(),
    };
    let idp = Idp::open(throttled).await;
    let world = World::of(&idp);
    for n in 0..100 {
        world.kind(&caller(&format!("user{n}"), 1)).await;
    }
    assert_eq!(idp.requests(), 5);
    // who was told to wait longer is not told less
    world.pass(5);
    assert_eq!(
        world.kind(&caller("user0", 2)).await,
        Kind::Throttled { retry_after: Duration::from_secs(15) }
    );

    let idp = Idp::open(move |received| match received.assertion().starts_with("loop") {
        true => json(400, &json!({"error": "invalid_grant", "error_codes": [50196]})),
        false => granted(received),
    })
    .await;
    let world = World::of(&idp);
    for n in 0..20 {
        let wait = Kind::Throttled { retry_after: Duration::from_secs(60) };
        assert_eq!(world.kind(&caller(&format!("loop{n}"), 1)).await, wait);
    }
    assert_eq!(world.fetch(&caller("alice", 1)).await.1, CacheResult::Miss);
}

#[tokio::test]
async fn a_throttled_key_serves_its_live_token_and_is_asked_for_when_that_is_over_and_not_before() {
    let idp = Idp::open(in_turn(vec![
        granted,
        |_| Answer { status: 429, headers: vec![("retry-after", "3600".into())], body: String::new() },
        granted,
    ]))
    .await;
    let world = World::of(&idp);
    let user = caller("alice", 1);
    world.fetch(&user).await;
    world.pass(3400);
    world.fetch(&user).await;
    world.until("obo_exchanges_total{identity_provider=\"contoso\",outcome=\"idp_throttled\"} 1").await;
    world.pass(199);
    assert_eq!(world.fetch(&user).await.1, CacheResult::Stale);
    world.pass(1);
    let left = |seconds| Kind::Throttled { retry_after: Duration::from_secs(seconds) };
    assert_eq!(world.kind(&caller("alice", 2)).await, left(3400));
    world.pass(3399);
    assert_eq!(world.kind(&user).await, left(1));
    assert_eq!(idp.requests(), 2);
    world.pass(1);
    assert_eq!(world.fetch(&user).await.1, CacheResult::Miss);
}

#[tokio::test]
async fn setting_the_clock_does_not_put_renewal_off_and_brings_no_dead_token_to_life() {
    let idp = Idp::open(granted).await;
    let world = World::of(&idp);
    let user = caller("alice", 1);
    let start = world.clock.now();
    world.fetch(&user).await;
    world.pass(3330);
    world.clock.set_wall(start); // an hour back
    assert_eq!(world.fetch(&user).await.1, CacheResult::Stale);
    world.until_that("the token is renewed", || idp.requests() == 2 && !world.is_flying(&user)).await;
    assert_eq!(world.fetch(&user).await.1, CacheResult::Hit);
    // an hour and a bit ahead: by the wall the token is over, and the wall may be right
    world.clock.set_wall(UnixTime::from_seconds(start.as_seconds() + 3600));
    assert_eq!(world.fetch(&user).await.1, CacheResult::Miss);
}

#[tokio::test]
async fn who_has_seen_eight_exchanges_refused_to_others_is_told_to_come_back() {
    let idp = Idp::closed(|_| refused("interaction_required")).await;
    let world = World::of(&idp);
    let waiting: Vec<_> = (0..100).map(|uti| world.begin(caller("alice", uti))).collect();
    world.until("obo_exchanges_coalesced_total 99").await;
    idp.open_gate();
    let mut refused = 0;
    for call in waiting {
        match call.await.unwrap().unwrap_err().kind {
            Kind::InteractionRequired => refused += 1,
            kind => assert_eq!(kind, Kind::Overloaded { retry_after: Duration::from_secs(1) }),
        }
    }
    assert_eq!((refused, idp.requests()), (8, 8));
    // the next one is not answered for the others' sake: it may be the one who has signed in anew
    assert_eq!(world.kind(&caller("alice", 1000)).await, Kind::InteractionRequired);
    assert_eq!(idp.requests(), 9);
}
