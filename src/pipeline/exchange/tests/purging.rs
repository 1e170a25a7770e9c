//! A user's tokens are purged while they are cached, while they are on their way, and while others' are.

use super::*;
use crate::config::AppTokens;
use crate::config::Exchange;
use crate::domain::digest::Digest;
use crate::telemetry::access_log::UserHash;

/// Whether a user is the one who is meant, and no other.
pub fn only(caller: &Caller) -> impl Fn(Digest) -> bool + Send + Sync + use<> {
    let user = caller.claims.user_digest;
    move |other| other == user
}

#[tokio::test]
async fn whoever_is_purged_is_exchanged_for_anew_and_nobody_else_is() {
    let idp = Idp::open(granted).await;
    let world = World::of(&idp);
    let (alice, bob) = (caller("alice", 1), caller("bob", 1));
    for user in [&alice, &bob] {
        assert_eq!(world.fetch(user).await.1, CacheResult::Miss);
        world.exchanger.token(user, &sample::exchange(&["b"])).await.unwrap();
    }
    world.pass(1);
    // as the log calls her
    let user_hash = UserHash::new().unwrap();
    let purged = world.exchanger.purge(user_hash.is_called(&user_hash.of(&alice.claims)));
    assert_eq!(purged, Purged { users: vec![alice.claims.user_digest], tokens: 2 });
    assert_eq!(world.exchanger.cached(), 2);
    for (expected_of_alice, requests) in [(CacheResult::Miss, 5), (CacheResult::Hit, 5)] {
        assert_eq!(world.fetch(&bob).await.1, CacheResult::Hit);
        assert_eq!(world.fetch(&alice).await.1, expected_of_alice);
        assert_eq!(idp.requests(), requests);
    }
    assert_eq!(world.exchanger.purge(user_hash.is_called("0123456789abcdef")), Purged::default());
    let metrics = world.metrics.encode();
    assert!(metrics.contains("obo_cache_evictions_total{reason=\"purged\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_token_on_its_way_is_given_to_those_who_wait_and_not_kept() {
    let idp = Idp::closed(granted).await;
    let world = World::of(&idp);
    let (alice, bob) = (caller("alice", 1), caller("bob", 1));
    let waiting = [world.begin(alice.clone()), world.begin(bob.clone())];
    idp.arrived(2).await;
    world.pass(1);
    assert_eq!(world.exchanger.purge(only(&alice)), Purged::default());
    idp.open_gate();
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
    assert_eq!(world.exchanger.cached(), 1);
    assert_eq!(world.fetch(&bob).await.1, CacheResult::Hit);
    assert_eq!(world.fetch(&alice).await.1, CacheResult::Miss);
    assert_eq!(world.fetch(&alice).await.1, CacheResult::Hit);
}

#[tokio::test]
async fn tokens_of_our_own_are_nobody_s_to_purge() {
    let idp = Idp::open(|_| {
        idp::json(
            200,
            &serde_json::json!({"access_token": "ours", "token_type": "Bearer", "expires_in": 3600}),
        )
    })
    .await;
    let world = World::of(&idp);
    let exchange = Arc::new(Exchange {
        app_tokens: AppTokens::ClientCredentials,
        ..Exchange::clone(&sample::exchange(&["api://b/.default"]))
    });
    let robot = sample::application("robot");
    world.exchanger.token(&robot, &exchange).await.unwrap();
    world.pass(1);
    assert_eq!(world.exchanger.purge(|_| true), Purged::default());
    assert_eq!(world.exchanger.token(&robot, &exchange).await.unwrap().cache, CacheResult::Hit);
}

#[tokio::test]
async fn what_is_wanted_and_what_flies_are_filed_alike() {
    let idp = Idp::open(granted).await;
    let world = World::of(&idp);
    let shared = &world.exchanger.shared;
    let [asked_for, of_applications] = [AppTokens::Reject, AppTokens::ClientCredentials]
        .map(|app_tokens| Arc::new(Exchange { app_tokens, ..Exchange::clone(&sample::exchange(&["a"])) }));
    for (caller, exchange, expected) in [
        (caller("alice", 1), &asked_for, Some(caller("alice", 2).claims.user_digest)),
        (caller("alice", 1), &of_applications, Some(caller("alice", 2).claims.user_digest)),
        (sample::application("robot"), &of_applications, None),
    ] {
        let key = shared.key(&caller, exchange).unwrap();
        let wanted = Wanted { key, errand: Errand::Caller(&caller, exchange), instead: None, asker: None };
        let journey = shared.journey(wanted).unwrap();
        assert_eq!((wanted.filed().key, wanted.filed().holder), (key, expected));
        assert_eq!(journey.filed(), wanted.filed());
    }
    let provider = sample::oidc(
        "https://id.example",
        Some("https://id.example/token"),
        config::GrantType::TokenExchange,
    );
    let known = Known { provider: Arc::new(provider), metadata: None };
    let key = CacheKey::of_actor(&known.provider);
    let wanted = Wanted { key, errand: Errand::Actor(&known), instead: None, asker: None };
    assert_eq!(wanted.filed().holder, None);
    assert_eq!(Journey::of_actor(&wanted, &known).unwrap().filed(), wanted.filed());
}
