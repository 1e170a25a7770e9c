//! Upstreams refuse a token in whose place another proxy may have the next one.

use super::*;
use crate::pipeline::exchange::demand::Demand;
use crate::pipeline::exchange::tests::rejected::CLAIMS;
use crate::pipeline::exchange::tests::rejected::demanding;
use crate::pipeline::exchange::tests::rejected::numbered;

/// Proxies that all have the first token of alice's.
async fn warm<const COUNT: usize>(fleet: &Fleet) -> [(World, Exchanged); COUNT] {
    let proxies: [World; COUNT] = fleet.proxies();
    let mut warm = Vec::new();
    for proxy in proxies {
        let had = proxy.get(&caller("alice", 0)).await.unwrap();
        assert!(text(&had).ends_with(":any:0"));
        fleet.holds(1).await;
        warm.push((proxy, had));
    }
    warm.try_into().unwrap_or_else(|_| panic!("there is one for each proxy"))
}

/// Has `proxy` get another token in the place of the one it had, and waits until that is shared.
async fn replaced(fleet: &Fleet, (proxy, had): &(World, Exchanged), demand: &Demand) -> String {
    let name = fleet.server.name("token");
    let old = fleet.server.value(&name);
    let another = proxy.rejected(&caller("alice", 0), had, demand, Chance::Once).await;
    let another = another.unwrap().unwrap();
    assert_eq!(another.cache, CacheResult::Miss);
    fleet.replaces(&name, &old).await;
    text(&another)
}

#[tokio::test]
async fn what_another_proxy_was_given_for_the_same_claims_is_taken_over() {
    let fleet = Fleet::of(numbered()).await;
    let [first, second, third] = warm(&fleet).await;
    let satisfying = replaced(&fleet, &first, &demanding(CLAIMS)).await;
    assert!(satisfying.ends_with(":claims:1"));
    let (two, had) = &second;
    let taken = two.rejected(&caller("alice", 1), had, &demanding(CLAIMS), Chance::Once).await;
    let taken = taken.unwrap().unwrap();
    assert_eq!((text(&taken), taken.cache), (satisfying.clone(), CacheResult::Shared));
    assert_eq!(two.fetch(&caller("alice", 2)).await, (satisfying, CacheResult::Hit));
    assert_eq!(fleet.idp.requests(), 2);
    // other claims are others
    let other = demanding(&CLAIMS.replace("c1", "c2"));
    assert!(replaced(&fleet, &third, &other).await.ends_with(":claims:2"));
    assert_eq!(fleet.idp.requests(), 3);
}

#[tokio::test]
async fn what_another_proxy_was_given_without_the_claims_does_not_satisfy_them() {
    let fleet = Fleet::of(numbered()).await;
    let [first, second] = warm(&fleet).await;
    // it is another token than the one that was refused, but no better
    first.0.pass(31);
    assert!(replaced(&fleet, &first, &Demand::default()).await.ends_with(":any:1"));
    assert!(replaced(&fleet, &second, &demanding(CLAIMS)).await.ends_with(":claims:2"));
    assert_eq!(fleet.idp.received()[2].form["claims"], CLAIMS);
}

#[tokio::test]
async fn a_newer_token_of_another_proxy_s_takes_the_place_of_a_refused_one() {
    let fleet = Fleet::of(numbered()).await;
    let [first, second, third] = warm(&fleet).await;
    for (proxy, _) in [&first, &second, &third] {
        proxy.pass(31);
    }
    let newer = replaced(&fleet, &first, &Demand::default()).await;
    assert!(newer.ends_with(":any:1"));
    for (proxy, had) in [&second, &third] {
        let taken = proxy.rejected(&caller("alice", 1), had, &Demand::default(), Chance::Once).await;
        let taken = taken.unwrap().unwrap();
        assert_eq!((text(&taken), taken.cache), (newer.clone(), CacheResult::Shared));
    }
    assert_eq!(fleet.idp.requests(), 2);
    // nor did they take it from the others
    assert_eq!(fleet.proxy().fetch(&caller("alice", 2)).await, (newer, CacheResult::Shared));
}

#[tokio::test]
async fn a_refused_token_is_not_taken_in_its_own_place() {
    let fleet = Fleet::of(numbered()).await;
    let [first] = warm(&fleet).await;
    first.0.pass(31);
    assert!(replaced(&fleet, &first, &Demand::default()).await.ends_with(":any:1"));
    assert_eq!(first.0.looks(), Looks { hits: 0, misses: 2, errors: 0 });
}
