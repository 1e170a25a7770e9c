//! Proxies whose wall clocks differ. Each goes by its own.

use super::*;
use crate::pipeline::exchange::tests::idp::json;
use crate::pipeline::exchange::tests::idp::refused;
use crate::pipeline::exchange::tests::idp::token_b;

/// How long a token lives.
const LIFE: i64 = 3600;

/// Only the first token is to be had.
fn once(received: &idp::Received) -> Answer {
    match received.assertion() {
        "alice.1" => granted(received),
        _ => refused("access_denied"),
    }
}

#[tokio::test]
async fn what_is_over_by_the_own_clock_is_not_used() {
    let fleet = Fleet::of(once).await;
    fleet.proxy().fetch(&caller("alice", 1)).await;
    fleet.holds(1).await;
    // how far the clock is from the other proxy's when that asked for the token
    for (seconds, is_used) in [
        (0, true),
        (300, true),
        (LIFE - 1, true),
        (LIFE, false),
        (LIFE + 300, false),
        (100_000_000, false),
        (-30, true),
        (-300, false),
        (-3600, false),
    ] {
        let proxy = fleet.proxy();
        proxy.set_off(seconds);
        let found = proxy.get(&caller("alice", 2)).await;
        assert_eq!(found.is_ok_and(|found| text(&found) == "b:alice.1:a"), is_used, "{seconds}");
        let (hits, misses) = if is_used { (1, 0) } else { (0, 1) };
        assert_eq!(proxy.looks(), Looks { hits, misses, errors: 0 }, "{seconds}");
    }
}

#[tokio::test]
async fn nothing_that_was_found_outlives_its_end_by_the_own_clock() {
    let fleet = Fleet::of(once).await;
    fleet.proxy().fetch(&caller("alice", 1)).await;
    fleet.holds(1).await;
    for seconds in [0, 300, 3500, -30] {
        let proxy = fleet.proxy();
        proxy.set_off(seconds);
        let found = proxy.clock.now();
        assert_eq!(proxy.fetch(&caller("alice", 2)).await.1, CacheResult::Shared, "{seconds}");
        // one that seems to be of the time to come lasts no longer for that
        proxy.pass(u64::try_from(LIFE - 1 - seconds.max(0)).unwrap());
        assert_eq!(proxy.fetch(&caller("alice", 2)).await.0, "b:alice.1:a", "{seconds}");
        proxy.pass(1);
        assert!(proxy.get(&caller("alice", 3)).await.is_err(), "{seconds}");
        // by now Redis has forgotten it; setting the clock back revives nothing that was in memory
        fleet.server.run::<()>("DEL", &[fleet.server.name("token")]);
        proxy.clock.set_wall(found);
        assert!(proxy.get(&caller("alice", 4)).await.is_err(), "{seconds}");
        fleet.proxy().fetch(&caller("alice", 1)).await;
        fleet.holds(1).await;
    }
}

#[tokio::test]
async fn a_clock_that_is_set_right_ends_what_was_found_before() {
    let fleet = Fleet::of(once).await;
    fleet.proxy().fetch(&caller("alice", 1)).await;
    fleet.holds(1).await;
    let late = fleet.proxy();
    late.set_off(-30);
    assert_eq!(late.fetch(&caller("alice", 2)).await.1, CacheResult::Shared);
    late.set_off(LIFE - 1);
    assert_eq!(late.fetch(&caller("alice", 2)).await.0, "b:alice.1:a");
    late.set_off(LIFE);
    assert!(late.get(&caller("alice", 3)).await.is_err());
}

#[tokio::test]
async fn what_a_fast_clock_left_is_renewed_and_ends_no_later_than_it_says() {
    // half a minute ahead, so that its tokens seem to be of the time to come
    let fleet = Fleet::of(|received| {
        let number = received.assertion().rsplit('.').next().unwrap();
        let body = serde_json::json!({
            "token_type": "Bearer", "access_token": token_b(received), "expires_in": 3600, "refresh_in": 600,
        });
        if number == "1" { json(200, &body) } else { refused("access_denied") }
    })
    .await;
    let [fast, right] = fleet.proxies();
    fast.set_off(30);
    fast.fetch(&caller("alice", 1)).await;
    fleet.holds(1).await;
    assert_eq!(right.fetch(&caller("alice", 2)).await.1, CacheResult::Shared);
    // renewal is spread by a tenth at most
    right.pass(500);
    assert_eq!(right.fetch(&caller("alice", 3)).await.1, CacheResult::Hit);
    right.pass(200);
    assert_eq!(right.fetch(&caller("alice", 3)).await.1, CacheResult::Stale);
    right.pass(3600 - 700 - 1);
    assert_eq!(right.fetch(&caller("alice", 3)).await.1, CacheResult::Stale);
    right.pass(1);
    assert!(right.get(&caller("alice", 4)).await.is_err());
}
