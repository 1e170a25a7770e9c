//! How long a token serves, and what is kept of it.

use std::time::Duration;

use serde_json::json;

use crate::config;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::tests::World;
use crate::pipeline::exchange::tests::idp::Answer;
use crate::pipeline::exchange::tests::idp::Idp;
use crate::pipeline::exchange::tests::idp::granted;
use crate::pipeline::exchange::tests::idp::granted_for;
use crate::pipeline::exchange::tests::idp::json;
use crate::pipeline::exchange::tests::idp::refused;
use crate::pipeline::exchange::tests::in_turn;
use crate::pipeline::exchange::tests::sample;
use crate::pipeline::exchange::tests::sample::caller;
use crate::pipeline::exchange::tests::text;
use crate::telemetry::metrics::CacheResult;

/// From here on every token that lives an hour is due.
pub const RENEWAL: u64 = 3330;

#[tokio::test]
async fn a_token_is_never_served_at_or_past_its_end() {
    let idp =
        Idp::open(in_turn(vec![|received| granted_for(received, 100), |_| json(503, &json!({}))])).await;
    let world = World::of(&idp);
    let user = caller("alice", 1);
    let start = world.clock.now();
    assert_eq!(world.fetch(&user).await.1, CacheResult::Miss);
    world.pass(99);
    assert_eq!(world.fetch(&user).await.1, CacheResult::Stale); // the IdP is down; the token lives
    world.pass(1);
    let down = Kind::Unavailable { retry_after: Duration::from_secs(1) };
    assert_eq!(world.kind(&user).await, down);
    world.clock.set_wall(start); // setting the clock back revives nothing
    assert_eq!(world.kind(&user).await, down);
}

#[tokio::test]
async fn a_token_is_renewed_ahead_while_the_old_one_serves() {
    let idp = Idp::closed(granted).await;
    let world = World::of(&idp);
    idp.open_gate_once();
    assert_eq!(world.fetch(&caller("alice", 1)).await.1, CacheResult::Miss);
    world.pass(3269);
    assert_eq!(world.fetch(&caller("alice", 2)).await, ("b:alice.1:a".into(), CacheResult::Hit));
    world.pass(RENEWAL - 3269);
    for _ in 0..5 {
        assert_eq!(world.fetch(&caller("alice", 3)).await, ("b:alice.1:a".into(), CacheResult::Stale));
    }
    idp.arrived(2).await;
    idp.open_gate();
    world.until("obo_exchanges_in_flight 0").await;
    world
        .until_that("the new token is there", || {
            world.metrics.encode().contains("outcome=\"ok\"} 2") && idp.requests() == 2
        })
        .await;
    world.pass(3600 - RENEWAL); // the old one is over now
    assert_eq!(world.fetch(&caller("alice", 4)).await, ("b:alice.3:a".into(), CacheResult::Hit));
    assert_eq!(idp.requests(), 2);
}

#[tokio::test]
async fn a_renewal_that_fails_is_tried_again_ever_more_seldom_and_keeps_nobody_waiting() {
    let idp = Idp::open(in_turn(vec![granted, |_| json(500, &json!({}))])).await;
    let world = World::of(&idp);
    let user = caller("alice", 1);
    world.fetch(&user).await;
    world.pass(RENEWAL);
    for (attempts, gap) in [(1, 10), (2, 20), (3, 40), (4, 60), (5, 60)] {
        for _ in 0..5 {
            assert_eq!(world.fetch(&user).await.1, CacheResult::Stale);
        }
        let failed = format!(
            "obo_exchanges_total{{identity_provider=\"contoso\",outcome=\"idp_unavailable\"}} {attempts}"
        );
        world.until(&failed).await;
        world.pass(gap - 1);
        assert_eq!(world.fetch(&user).await.1, CacheResult::Stale);
        assert!(!world.is_flying(&user));
        // nor is there a second try: the token lives
        assert_eq!(idp.requests(), 1 + attempts);
        world.pass(1);
    }
}

#[tokio::test]
async fn a_renewal_is_not_tried_while_the_idp_asks_to_wait() {
    let idp = Idp::open(in_turn(vec![
        granted,
        |_| Answer { status: 429, headers: vec![("retry-after", "60".into())], body: String::new() },
        granted,
    ]))
    .await;
    let world = World::of(&idp);
    let user = caller("alice", 1);
    world.fetch(&user).await;
    world.pass(RENEWAL);
    world.fetch(&user).await;
    assert!(world.is_flying(&user));
    world.until("obo_exchanges_total{identity_provider=\"contoso\",outcome=\"idp_throttled\"} 1").await;
    for (seconds, flying) in [(59, false), (1, true)] {
        world.pass(seconds);
        assert_eq!(world.fetch(&user).await.1, CacheResult::Stale);
        assert_eq!(world.is_flying(&user), flying);
    }
}

#[tokio::test]
async fn a_newcomer_is_kept_however_popular_the_others_are() {
    let idp = Idp::open(granted).await;
    let world =
        World::new(sample::provider(&idp.authority()), &config::Cache { max_entries: 3, ..sample::cache() });
    for _ in 0..10 {
        for user in ["alice", "bob", "carol"] {
            world.fetch(&caller(user, 1)).await;
        }
    }
    world.fetch(&caller("dave", 1)).await;
    assert_eq!(world.exchanger.cached(), 3);
    for (user, cache) in
        [("dave", CacheResult::Hit), ("carol", CacheResult::Hit), ("alice", CacheResult::Miss)]
    {
        assert_eq!(world.fetch(&caller(user, 1)).await.1, cache, "{user}");
    }
}

#[tokio::test]
async fn a_renewal_that_is_refused_ends_the_old_token() {
    let idp = Idp::open(in_turn(vec![granted, |_| refused("interaction_required")])).await;
    let world = World::of(&idp);
    let user = caller("alice", 1);
    world.fetch(&user).await;
    world.pass(RENEWAL);
    assert_eq!(world.fetch(&user).await.1, CacheResult::Stale);
    world.until_that("the token is gone", || world.exchanger.cached() == 0).await;
    assert_eq!(world.kind(&user).await, Kind::InteractionRequired);
    assert_eq!(idp.requests(), 2);
    world.until("obo_cache_evictions_total{reason=\"explicit\"} 1").await;
}

#[tokio::test]
async fn a_token_without_a_usable_life_serves_its_flight_only() {
    let idp = Idp::closed(|received| granted_for(received, u64::MAX)).await;
    let world = World::of(&idp);
    let leader = world.begin(caller("alice", 1));
    idp.arrived(1).await;
    let waiter = world.begin(caller("alice", 2));
    world.until("obo_exchanges_coalesced_total 1").await;
    idp.open_gate();
    assert_eq!(text(&leader.await.unwrap().unwrap()), "b:alice.1:a");
    assert_eq!(text(&waiter.await.unwrap().unwrap()), "b:alice.1:a");
    assert_eq!(world.exchanger.cached(), 0);
    assert_eq!(world.fetch(&caller("alice", 3)).await, ("b:alice.3:a".into(), CacheResult::Miss));
}

#[tokio::test]
async fn the_cache_keeps_the_most_recent_within_its_bounds() {
    let idp = Idp::open(granted).await;
    for cache in [
        config::Cache { max_entries: 10, ..sample::cache() },
        config::Cache { max_bytes: 8 * 1024, ..sample::cache() },
    ] {
        let world = World::new(sample::provider(&idp.authority()), &cache);
        for user in 0..40 {
            world.fetch(&caller(&format!("user{user}"), 1)).await;
        }
        let held = world.exchanger.cached();
        assert!((8..=10).contains(&held), "{held}");
        assert_eq!(world.fetch(&caller("user39", 1)).await.1, CacheResult::Hit);
        assert_eq!(world.fetch(&caller("user0", 1)).await.1, CacheResult::Miss);
        assert!(world.metrics.encode().contains("obo_cache_evictions_total{reason=\"size\"}"));
    }
}
