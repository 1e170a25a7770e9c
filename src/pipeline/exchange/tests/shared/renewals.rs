//! Tokens near their end, of which another proxy may have the next.

use super::*;
use crate::pipeline::exchange::tests::lives::RENEWAL;

#[tokio::test]
async fn what_one_proxy_renewed_another_takes_over_when_its_own_is_due() {
    let fleet = Fleet::of(granted).await;
    let [one, two] = fleet.proxies();
    one.fetch(&caller("alice", 1)).await;
    fleet.holds(1).await;
    assert_eq!(two.fetch(&caller("alice", 2)).await.1, CacheResult::Shared);
    let name = fleet.server.name("token");
    let old = fleet.server.value(&name);
    for proxy in [&one, &two] {
        proxy.pass(RENEWAL);
    }
    assert_eq!(one.fetch(&caller("alice", 3)).await, ("b:alice.1:a".into(), CacheResult::Stale));
    fleet.replaces(&name, &old).await;
    assert_eq!(two.fetch(&caller("alice", 4)).await, ("b:alice.1:a".into(), CacheResult::Stale));
    let renewed = ("b:alice.3:a".to_owned(), CacheResult::Hit);
    until("it is taken over", async || two.fetch(&caller("alice", 5)).await == renewed).await;
    assert_eq!(fleet.idp.requests(), 2);
    assert_eq!(two.looks(), Looks { hits: 2, misses: 0, errors: 0 });
    // it lives as long as the one who asked for it was told
    two.pass(3599);
    assert_eq!(two.fetch(&caller("alice", 6)).await, ("b:alice.3:a".into(), CacheResult::Stale));
    two.pass(1);
    assert_eq!(two.fetch(&caller("alice", 7)).await.1, CacheResult::Miss);
}

#[tokio::test]
async fn a_token_that_is_due_serves_a_cold_proxy_while_it_is_renewed() {
    let fleet = Fleet::of(granted).await;
    let [one, two, three] = fleet.proxies();
    one.fetch(&caller("alice", 1)).await;
    fleet.holds(1).await;
    let name = fleet.server.name("token");
    let due = fleet.server.value(&name);
    for proxy in [&two, &three] {
        proxy.pass(RENEWAL);
    }
    assert_eq!(two.fetch(&caller("alice", 2)).await, ("b:alice.1:a".into(), CacheResult::Shared));
    assert_eq!(two.fetch(&caller("alice", 3)).await, ("b:alice.1:a".into(), CacheResult::Stale));
    let renewed = ("b:alice.3:a".to_owned(), CacheResult::Hit);
    until("it is renewed", async || two.fetch(&caller("alice", 4)).await == renewed).await;
    assert_eq!(fleet.idp.requests(), 2);
    fleet.replaces(&name, &due).await;
    assert_eq!(three.fetch(&caller("alice", 5)).await, ("b:alice.3:a".into(), CacheResult::Shared));
    assert_eq!(two.looks(), Looks { hits: 1, misses: 1, errors: 0 });
}
