//! A purge by one proxy, as others see it.

use super::*;
use crate::pipeline::exchange::tests::purging::only;

/// Purges what `proxy` knows of the user, and waits until others can know that.
async fn purge(fleet: &Fleet, proxy: &World, user: &Caller) {
    let before = fleet.server.names("purge").len();
    assert_eq!(proxy.exchanger.purge(only(user)).users, [user.claims.user_digest]);
    until("the mark is there", async || fleet.server.names("purge").len() == before + 1).await;
}

#[tokio::test]
async fn what_one_proxy_purges_no_other_finds_and_nobody_else_is_concerned() {
    let fleet = Fleet::of(granted).await;
    let [one, two] = fleet.proxies();
    let alice = caller("alice", 1);
    for user in [&alice, &caller("bob", 1)] {
        one.fetch(user).await;
        one.exchanger.token(user, &sample::exchange(&["b"])).await.unwrap();
    }
    fleet.holds(4).await;
    purge(&fleet, &one, &alice).await;
    assert_eq!(two.fetch(&caller("bob", 2)).await, ("b:bob.1:a".into(), CacheResult::Shared));
    assert_eq!(two.fetch(&caller("alice", 2)).await, ("b:alice.2:a".into(), CacheResult::Miss));
    let exchanged = two.exchanger.token(&caller("alice", 2), &sample::exchange(&["b"])).await.unwrap();
    assert_eq!((text(&exchanged).as_str(), exchanged.cache), ("b:alice.2:b", CacheResult::Miss));
    assert_eq!(two.looks(), Looks { hits: 1, misses: 2, errors: 0 });
    // what is purged may be a year old
    let left: u64 = fleet.server.run("TTL", &[fleet.server.name("purge")]);
    assert!(left > 365 * 24 * 3600, "{left}");
}

#[tokio::test]
async fn what_is_asked_for_more_than_a_minute_after_a_purge_is_shared_again() {
    // a minute is by how much clocks may differ
    for (seconds, cache) in [(0, CacheResult::Miss), (60, CacheResult::Miss), (61, CacheResult::Shared)] {
        let fleet = Fleet::of(granted).await;
        let [one, two, three] = fleet.proxies();
        one.fetch(&caller("alice", 1)).await;
        fleet.holds(1).await;
        let name = fleet.server.name("token");
        let purged = fleet.server.value(&name);
        purge(&fleet, &one, &caller("alice", 1)).await;
        for proxy in [&two, &three] {
            proxy.pass(seconds);
        }
        assert_eq!(two.fetch(&caller("alice", 2)).await.1, CacheResult::Miss, "{seconds}");
        fleet.replaces(&name, &purged).await;
        assert_eq!(three.fetch(&caller("alice", 3)).await.1, cache, "{seconds}");
    }
}

#[tokio::test]
async fn a_later_purge_counts_whoever_is_the_one_that_purges() {
    let fleet = Fleet::of(granted).await;
    let [one, two, three] = fleet.proxies();
    one.fetch(&caller("alice", 1)).await;
    fleet.holds(1).await;
    purge(&fleet, &one, &caller("alice", 1)).await;
    two.pass(100);
    let old = fleet.server.value(&fleet.server.name("token"));
    assert_eq!(two.fetch(&caller("alice", 2)).await.1, CacheResult::Miss);
    fleet.replaces(&fleet.server.name("token"), &old).await;
    two.pass(100);
    let name = fleet.server.name("purge");
    let earlier = fleet.server.value(&name);
    two.exchanger.purge(only(&caller("alice", 2)));
    fleet.replaces(&name, &earlier).await;
    three.pass(200);
    assert_eq!(three.fetch(&caller("alice", 3)).await.1, CacheResult::Miss);
}

#[tokio::test]
async fn a_mark_that_was_tampered_with_counts_as_a_purge() {
    /// What is done to the mark of that name and value; the other value is another user's mark.
    type Harm = fn(&Server, &str, &[u8], &[u8]);
    const HARMS: [(&str, Harm); 5] = [
        ("the first byte changed", |server, name, value, _| server.put(name, &flipped(value, 0))),
        ("the last byte changed", |server, name, value, _| {
            server.put(name, &flipped(value, value.len() - 1));
        }),
        ("a foreign text", |server, name, _, _| server.put(name, b"1700000000")),
        ("another user's", |server, name, _, other| server.put(name, other)),
        ("a list", |server, name, value, _| {
            server.run::<()>("DEL", &[name]);
            server.run::<()>("RPUSH", &[name.as_bytes(), value]);
        }),
    ];
    let fleet = Fleet::of(granted).await;
    let one = fleet.proxy();
    let users = (0..=HARMS.len()).map(|user| format!("user{user}"));
    let users = Vec::from_iter(users);
    let mut marks: Vec<(String, Vec<u8>)> = Vec::new();
    for user in &users {
        one.fetch(&caller(user, 1)).await;
        purge(&fleet, &one, &caller(user, 1)).await;
        let is_new = |name: &String| marks.iter().all(|(other, _)| other != name);
        let name = fleet.server.names("purge").into_iter().find(is_new).unwrap();
        let value = fleet.server.value(&name).unwrap();
        marks.push((name, value));
    }
    // long after the purge they are shared again
    one.pass(100);
    for user in &users {
        assert_eq!(one.fetch(&caller(user, 2)).await.1, CacheResult::Miss);
    }
    fleet.holds(users.len()).await;
    let (_, others) = marks.pop().unwrap();
    let two = fleet.proxy();
    two.pass(100);
    let untouched = users.last().unwrap();
    assert_eq!(two.fetch(&caller(untouched, 3)).await.1, CacheResult::Shared);
    for ((user, (name, value)), (of, harm)) in users.iter().zip(&marks).zip(HARMS) {
        let errors = two.looks().errors;
        harm(&fleet.server, name, value, &others);
        assert_eq!(two.fetch(&caller(user, 3)).await.1, CacheResult::Miss, "{of}");
        assert_eq!(two.looks().errors, errors + 1, "{of}");
    }
}
