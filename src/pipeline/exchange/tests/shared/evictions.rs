//! Redis may give back what it was told to forget: a replica that lagged becomes the master, or somebody writes it there.

use super::*;
use crate::pipeline::exchange::demand::Demand;
use crate::pipeline::exchange::tests::idp::refused;
use crate::pipeline::exchange::tests::lives::RENEWAL;

/// How a token is found to be of no use.
#[derive(Clone, Copy, Debug)]
enum Way {
    Upstream,
    Renewal,
}

#[tokio::test]
async fn what_was_evicted_is_not_taken_when_it_is_there_again() {
    for way in [Way::Upstream, Way::Renewal] {
        let fleet = Fleet::of(|received| match received.assertion() {
            "alice.2" => refused("interaction_required"),
            _ => granted(received),
        })
        .await;
        let [one, two] = fleet.proxies();
        let had = one.get(&caller("alice", 1)).await.unwrap();
        fleet.holds(1).await;
        let name = fleet.server.name("token");
        let old = fleet.server.value(&name).unwrap();
        match way {
            Way::Upstream => {
                one.pass(31);
                let demand = Demand::default();
                let refusal = one.rejected(&caller("alice", 1), &had, &demand, Chance::Never).await;
                assert!(refusal.unwrap().is_none());
            }
            Way::Renewal => {
                one.pass(RENEWAL);
                assert_eq!(one.fetch(&caller("alice", 2)).await.1, CacheResult::Stale);
            }
        }
        fleet.holds(0).await;
        assert_eq!(one.exchanger.cached(), 0);
        fleet.server.put(&name, &old);
        assert_eq!(
            one.fetch(&caller("alice", 3)).await,
            ("b:alice.3:a".into(), CacheResult::Miss),
            "{way:?}"
        );
        fleet.replaces(&name, &Some(old.clone())).await;
        // whoever knows nothing of it takes it
        fleet.server.put(&name, &old);
        assert_eq!(two.fetch(&caller("alice", 4)).await, ("b:alice.1:a".into(), CacheResult::Shared));
    }
}

#[tokio::test]
async fn what_another_proxy_asked_for_after_the_eviction_is_taken() {
    let fleet = Fleet::of(granted).await;
    let [one, two] = fleet.proxies();
    let had = one.get(&caller("alice", 1)).await.unwrap();
    fleet.holds(1).await;
    for proxy in [&one, &two] {
        proxy.pass(31);
    }
    let refusal = one.rejected(&caller("alice", 1), &had, &Demand::default(), Chance::Never).await;
    assert!(refusal.unwrap().is_none());
    fleet.holds(0).await;
    // a record says no more than the second
    two.pass(2);
    assert_eq!(two.fetch(&caller("alice", 2)).await.1, CacheResult::Miss);
    fleet.holds(1).await;
    one.pass(3);
    assert_eq!(one.fetch(&caller("alice", 3)).await, ("b:alice.2:a".into(), CacheResult::Shared));
}
