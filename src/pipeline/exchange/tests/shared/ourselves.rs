//! Tokens of our own are shared too, and what is one token A's alone stays so.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use super::*;
use crate::config::CacheKeyMode;
use crate::config::GrantType;
use crate::pipeline::exchange::tests::idp::json;
use crate::pipeline::exchange::tests::ourselves::ISSUER;
use crate::pipeline::exchange::tests::ourselves::for_applications;
use crate::pipeline::exchange::tests::ourselves::forgetful;
use crate::pipeline::exchange::tests::ourselves::numbering;
use crate::pipeline::exchange::tests::ourselves::token_b;

fn acting_proxy(fleet: &Fleet) -> World {
    let endpoint = format!("{}/token", fleet.idp.authority());
    fleet.proxy_of(sample::oidc(ISSUER, Some(&endpoint), GrantType::TokenExchange))
}

#[tokio::test]
async fn an_application_is_served_by_what_another_proxy_got_in_our_name() {
    let fleet = Fleet::of(|received| match received.form.get("assertion") {
        Some(_) => granted(received),
        None => json(
            200,
            &serde_json::json!({"token_type": "Bearer", "expires_in": 3600, "access_token": "ours"}),
        ),
    })
    .await;
    let [one, two] = fleet.proxies();
    let exchange = for_applications();
    for (proxy, caller, token, cache) in [
        (&one, sample::application("robot"), "ours", CacheResult::Miss),
        (&two, sample::application("crawler"), "ours", CacheResult::Shared),
        (&two, sample::application("robot"), "ours", CacheResult::Hit),
        (&two, caller("robot", 1), "b:robot.1:api://b/.default", CacheResult::Miss),
    ] {
        let exchanged = proxy.exchanger.token(&caller, &exchange).await.unwrap();
        assert_eq!((text(&exchanged).as_str(), exchanged.cache), (token, cache));
        until("it is shared", async || fleet.server.names("lease").is_empty()).await;
    }
    // no purge is about them
    one.pass(1);
    one.exchanger.purge(|_| true);
    let exchanged = fleet.proxy().exchanger.token(&sample::application("robot"), &exchange).await.unwrap();
    assert_eq!((text(&exchanged).as_str(), exchanged.cache), ("ours", CacheResult::Shared));
    assert_eq!(fleet.idp.requests(), 2);
}

#[tokio::test]
async fn one_actor_token_serves_the_users_of_every_proxy() {
    let fleet = Fleet::of(numbering(3600)).await;
    for (user, token, tokens) in [("alice", "b:alice.1:ours0", 2), ("bob", "b:bob.1:ours0", 3)] {
        assert_eq!(token_b(&acting_proxy(&fleet), user, 1).await, token);
        fleet.holds(tokens).await;
    }
    // the actor's token, and one for each user
    assert_eq!(fleet.idp.requests(), 3);
    assert_eq!(token_b(&acting_proxy(&fleet), "alice", 2).await, "b:alice.1:ours0");
    assert_eq!(fleet.idp.requests(), 3);
}

#[tokio::test]
async fn an_actor_token_that_the_idp_has_forgotten_is_replaced_for_all() {
    let oldest = Arc::new(AtomicUsize::new(0));
    let fleet = Fleet::of(forgetful(oldest.clone())).await;
    let [one, two, three] = std::array::from_fn(|_| acting_proxy(&fleet));
    assert_eq!(token_b(&one, "alice", 1).await, "b:alice.1:ours0");
    fleet.holds(2).await;
    oldest.store(1, Ordering::SeqCst);
    // it has the old one from Redis, is refused, and gets another
    assert_eq!(token_b(&two, "bob", 1).await, "b:bob.1:ours1");
    fleet.holds(3).await;
    assert_eq!(fleet.idp.requests(), 5);
    assert_eq!(token_b(&three, "carol", 1).await, "b:carol.1:ours1");
    assert_eq!(fleet.idp.requests(), 6);
}

#[tokio::test]
async fn in_mode_assertion_only_the_same_token_a_is_served_by_another_proxy() {
    let fleet = Fleet::of(granted).await;
    let cache = config::Cache { key: CacheKeyMode::Assertion, ..fleet.cache() };
    let proxy = || World::new(sample::provider(&fleet.idp.authority()), &cache);
    for (uti, cache) in
        [(1, CacheResult::Miss), (1, CacheResult::Shared), (2, CacheResult::Miss), (2, CacheResult::Shared)]
    {
        let proxy = proxy();
        assert_eq!(proxy.fetch(&caller("alice", uti)).await, (format!("b:alice.{uti}:a"), cache));
        until("it is shared", async || fleet.server.names("lease").is_empty()).await;
    }
    // nor by a proxy that goes by users, or it by them
    assert_eq!(fleet.proxy().fetch(&caller("alice", 1)).await.1, CacheResult::Miss);
    fleet.holds(3).await;
    assert_eq!(proxy().fetch(&caller("alice", 3)).await.1, CacheResult::Miss);
}
