//! Who gets the result of whose exchange.

use proptest::prelude::*;

use crate::pipeline::exchange::errand::Errand;
use crate::pipeline::exchange::errand::Wanted;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::tests::World;
use crate::pipeline::exchange::tests::idp::Idp;
use crate::pipeline::exchange::tests::idp::granted;
use crate::pipeline::exchange::tests::idp::refused;
use crate::pipeline::exchange::tests::sample;
use crate::pipeline::exchange::tests::sample::caller;
use crate::pipeline::exchange::tests::text;
use crate::telemetry::metrics::CacheResult;

#[tokio::test]
async fn ten_thousand_callers_of_one_cold_key_make_one_request() {
    let idp = Idp::closed(granted).await;
    let world = World::of(&idp);
    let callers: Vec<_> = (0..10_000).map(|uti| world.begin(caller("alice", uti))).collect();
    world.until("obo_exchanges_coalesced_total 9999").await;
    idp.open_gate();
    for waiting in callers {
        assert!(text(&waiting.await.unwrap().unwrap()).starts_with("b:alice."));
    }
    assert_eq!(idp.requests(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_keys_make_a_hundred_requests_however_many_call() {
    let idp = Idp::open(granted).await;
    let world = World::of(&idp);
    let callers: Vec<_> =
        (0..2000).map(|n| (n % 100, world.begin(caller(&format!("user{}", n % 100), n)))).collect();
    for (user, waiting) in callers {
        assert!(text(&waiting.await.unwrap().unwrap()).starts_with(&format!("b:user{user}.")));
    }
    assert_eq!(idp.requests(), 100);
    assert_eq!(world.exchanger.cached(), 100);
}

#[tokio::test]
async fn a_token_that_arrives_between_look_up_and_take_off_spares_the_request() {
    let idp = Idp::open(granted).await;
    let world = World::of(&idp);
    let user = caller("alice", 1);
    let exchange = sample::exchange(&["a"]);
    let key = world.exchanger.shared.key(&user, &exchange).unwrap();
    let wanted = Wanted { key, errand: Errand::Caller(&user, &exchange), instead: None, asker: None };
    world.fetch(&user).await;
    assert!(world.exchanger.shared.board(wanted).unwrap().is_none());
}

#[tokio::test]
async fn a_leader_that_hangs_up_changes_nothing_for_the_others() {
    let idp = Idp::closed(granted).await;
    let world = World::of(&idp);
    let leader = world.begin(caller("alice", 1));
    idp.arrived(1).await;
    let waiter = world.begin(caller("alice", 2));
    world.until("obo_exchanges_coalesced_total 1").await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    idp.open_gate();
    assert_eq!(text(&waiter.await.unwrap().unwrap()), "b:alice.1:a");
    assert_eq!(idp.requests(), 1);
}

#[tokio::test]
async fn an_exchange_nobody_waits_for_still_fills_the_cache() {
    let idp = Idp::closed(granted).await;
    let world = World::of(&idp);
    let leader = world.begin(caller("alice", 1));
    idp.arrived(1).await;
    leader.abort();
    idp.open_gate();
    world.until_that("the token is cached", || world.exchanger.cached() == 1).await;
    assert_eq!(world.fetch(&caller("alice", 2)).await.1, CacheResult::Hit);
    assert_eq!(idp.requests(), 1);
}

#[test]
fn exchanges_outlive_the_runtime_of_their_callers() {
    let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (idp, world) = control.block_on(async {
        let idp = Idp::closed(granted).await;
        let world = World::of(&idp);
        (idp, world)
    });
    let worker = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    worker.block_on(async {
        let _leader = world.begin(caller("alice", 1));
        idp.arrived(1).await;
    });
    drop(worker);
    let waiter = control.spawn({
        let world = world.clone();
        async move { world.fetch(&caller("alice", 2)).await.0 }
    });
    control.block_on(world.until("obo_exchanges_coalesced_total 1"));
    idp.open_gate();
    assert_eq!(control.block_on(waiter).unwrap(), "b:alice.1:a");
    assert_eq!(idp.requests(), 1);
}

#[tokio::test]
async fn a_refusal_of_one_token_a_does_not_answer_another() {
    let idp = Idp::closed(|received| match received.assertion() {
        "alice.1" => refused("interaction_required"),
        _ => granted(received),
    })
    .await;
    let world = World::of(&idp);
    let leader = world.begin(caller("alice", 1));
    idp.arrived(1).await;
    let same = world.begin(caller("alice", 1));
    let others: Vec<_> = (0..50).map(|n| world.begin(caller("alice", 2 + n % 2))).collect();
    world.until("obo_exchanges_coalesced_total 51").await;
    idp.open_gate();
    assert_eq!(leader.await.unwrap().unwrap_err().kind, Kind::InteractionRequired);
    assert_eq!(same.await.unwrap().unwrap_err().kind, Kind::InteractionRequired);
    for other in others {
        assert_ne!(text(&other.await.unwrap().unwrap()), "b:alice.1:a");
    }
    assert_eq!(idp.requests(), 2); // one for the refusal, one for all the others
}

#[tokio::test]
async fn a_refusal_of_the_proxy_itself_answers_everyone_who_waits() {
    let idp = Idp::closed(|_| refused("invalid_scope")).await;
    let world = World::of(&idp);
    let leader = world.begin(caller("alice", 1));
    idp.arrived(1).await;
    let other = world.begin(caller("alice", 2));
    world.until("obo_exchanges_coalesced_total 1").await;
    idp.open_gate();
    assert_eq!(leader.await.unwrap().unwrap_err().kind, Kind::Misconfigured);
    assert_eq!(other.await.unwrap().unwrap_err().kind, Kind::Misconfigured);
    assert_eq!(idp.requests(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn whoever_calls_gets_the_token_that_was_issued_for_them(
        calls in proptest::collection::vec((0_u8..6, 0_u32..3, 0_u8..4), 1..150),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let idp = Idp::open(granted).await;
            let world = World::of(&idp);
            let running: Vec<_> = calls
                .into_iter()
                .map(|(user, uti, scope)| {
                    let (world, user, scope) = (world.clone(), format!("user{user}"), format!("api://s{scope}/x"));
                    tokio::spawn(async move {
                        let exchange = sample::exchange(&[&scope]);
                        let exchanged = world.exchanger.token(&caller(&user, uti), &exchange).await.unwrap();
                        (text(&exchanged), user, scope)
                    })
                })
                .collect();
            for call in running {
                let (token, user, scope) = call.await.unwrap();
                assert!(token.starts_with(&format!("b:{user}.")) && token.ends_with(&format!(":{scope}")), "{token}");
            }
        });
    }
}
