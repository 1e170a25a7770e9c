//! The way to the keys fails, and crowds come with keys that nobody knows yet, or ever.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use obo_proxy::app::demo::entra::keys::OldKey;
use serde_json::json;
use tokio::task::JoinSet;

use crate::faults::network::NEAR;
use crate::faults::network::Network;
use crate::faults::network::Plan;
use crate::faults::refusal;
use crate::support::Plan as WorldPlan;
use crate::support::World;
use crate::support::relay::CLEAR;
use crate::support::relay::Conduct;
use crate::support::relay::Fault;
use crate::support::relay::Relay;
use crate::support::until;

/// What is done to the way to the keys before the proxy starts.
type First = fn(&Relay);

const AT_FIRST: [(&str, First); 5] = [
    ("refused", Relay::refuse),
    ("reset", |relay| relay.all(Conduct::both(Fault::ResetNow))),
    ("held up", |relay| relay.all(Conduct::both(Fault::Stall(0)))),
    ("cut in the middle of the answer", |relay| relay.all(Conduct::down(Fault::Cut(300)))),
    ("no HTTP", |relay| relay.all(Conduct::down(Fault::Garble(0)))),
];

#[tokio::test(flavor = "multi_thread")]
async fn without_a_way_to_the_keys_the_proxy_starts_and_says_so_and_heals_by_itself() {
    for (of, first) in AT_FIRST {
        let network = Network::begin(Plan { idp: "1s", ..Plan::default() }, first).await;
        let token = network.token(1);
        // one after the other, so that it has had its time to fail
        for _ in 0..3 {
            let told = network.proxy.ask(NEAR, Some(&token)).await;
            assert_eq!(refusal(&told), (503, "keys_unavailable".into()), "{of}");
            assert_eq!((told.header("retry-after"), told.header("www-authenticate")), ("1", ""), "{of}");
        }
        for (probe, status) in [("/readyz", 503), ("/livez", 200)] {
            assert_eq!(network.proxy.probe(probe).await.status, status, "{of}: {probe}");
        }
        network.to_idp.all(CLEAR);
        network.to_idp.take();
        network.proxy.ready().await;
        network.serves(&token).await;
    }
}

async fn world() -> Arc<World> {
    let provider = "    timeout: 60s\n    jwks: { refresh: 1h, cooldown: 30s }";
    Arc::new(World::with(WorldPlan { provider, ..WorldPlan::default() }).await)
}

/// Both sets of Entra's keys are there, that of version 1 and that of version 2.
async fn settled(world: &World) -> u64 {
    until("both sets are there", async || world.entra().key_requests() >= 2).await;
    for version in ["1", "2"] {
        let token = world.token_for(&format!("user=alice&version={version}"));
        until("they are in use", async || world.get("/raw", &token).await.status == StatusCode::OK).await;
    }
    world.entra().key_requests()
}

async fn all_at_once(world: &Arc<World>, tokens: impl Iterator<Item = String>) -> Vec<(u16, String)> {
    let calls = tokens.map(|token| {
        let world = world.clone();
        async move {
            let answer = world.get("/raw", &token).await;
            let reason = if answer.status == StatusCode::OK { String::new() } else { answer.reason() };
            (answer.status.as_u16(), reason)
        }
    });
    calls.collect::<JoinSet<_>>().join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_made_up_keys_at_once_are_one_fetch_and_all_401() {
    let world = world().await;
    let before = settled(&world).await;
    let made_up = |round: usize| {
        let world = world.clone();
        (0..200).map(move |n| world.altered(json!({}), json!({"kid": format!("made-up-{round}-{n}")})))
    };
    for round in 0..3 {
        for told in all_at_once(&world, made_up(round)).await {
            assert_eq!(told, (401, "unknown_key".into()));
        }
    }
    // one that was forced, and none after it within the cooldown
    assert_eq!(world.entra().key_requests() - before, 1);
    world.clock.advance(Duration::from_secs(31));
    all_at_once(&world, made_up(3)).await;
    assert_eq!(world.entra().key_requests() - before, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_with_a_new_key_are_let_in_by_one_fetch() {
    let world = world().await;
    let before = settled(&world).await;
    let old = world.token("alice");
    world.entra().rotate_keys(OldKey::Kept).unwrap();
    let new = (0..100).map(|n| world.altered(json!({"jti": n.to_string()}), json!({})));
    for told in all_at_once(&world, new).await {
        assert_eq!(told, (200, String::new()));
    }
    assert_eq!(world.entra().key_requests() - before, 1);
    assert_eq!(world.get("/raw", &old).await.status, StatusCode::OK);
}
