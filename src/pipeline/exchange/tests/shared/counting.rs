//! Each look-up in Redis is counted once, as what came of it.

use super::*;
use crate::pipeline::exchange::tests::lives::RENEWAL;
use crate::pipeline::exchange::tests::purging::only;

impl Fleet {
    /// A fleet before an identity provider that answers when it is told to.
    async fn waiting() -> Self {
        Self { idp: Idp::closed(granted).await, server: Server::start() }
    }

    /// Waits until Redis was asked that often for something.
    async fn is_asked(&self, times: u64) {
        let is_so = async || self.server.number("commandstats", "cmdstat_getrange") >= times;
        until("Redis is asked", is_so).await;
    }
}

#[tokio::test]
async fn a_cold_look_up_is_a_hit_or_a_miss_or_an_error_and_a_warm_one_is_none() {
    let mut fleet = Fleet::of(granted).await;
    let [one, two] = fleet.proxies();
    let users = ["shared", "tampered", "purged", "doubtful", "due"];
    for user in users {
        one.fetch(&caller(user, 1)).await;
    }
    fleet.holds(users.len()).await;
    let mut expected = Looks::default();
    let check = |expected: &Looks, of: &str| assert_eq!(two.looks(), *expected, "{of}");
    for cache in [CacheResult::Shared, CacheResult::Hit, CacheResult::Hit] {
        assert_eq!(two.fetch(&caller("shared", 2)).await.1, cache);
        expected.hits = 1;
        check(&expected, "what is there");
    }
    for cache in [CacheResult::Miss, CacheResult::Hit] {
        assert_eq!(two.fetch(&caller("missing", 2)).await.1, cache);
        expected.misses = 1;
        check(&expected, "what is not there");
    }
    fleet.holds(users.len() + 1).await;
    one.exchanger.purge(only(&caller("purged", 1)));
    until("it is marked", async || fleet.server.names("purge").len() == 1).await;
    two.fetch(&caller("purged", 2)).await;
    expected.misses += 1;
    check(&expected, "what was purged");
    let marked = fleet.server.name("purge");
    one.exchanger.purge(only(&caller("doubtful", 1)));
    until("it is marked", async || fleet.server.names("purge").len() == 2).await;
    let mark = fleet.server.names("purge").into_iter().find(|name| *name != marked).unwrap();
    fleet.server.put(&mark, b"x");
    two.fetch(&caller("doubtful", 2)).await;
    expected.errors += 1;
    check(&expected, "what has a mark that nobody of us made");
    for name in fleet.server.names("token") {
        let value = fleet.server.value(&name).unwrap();
        fleet.server.put(&name, &flipped(&value, 20));
    }
    two.fetch(&caller("tampered", 2)).await;
    expected.errors += 1;
    check(&expected, "what was tampered with");
    // with its renewal, which finds what is due as well
    fleet.server.run::<()>("FLUSHALL", &[] as &[&str]);
    one.fetch(&caller("renewed", 1)).await;
    fleet.holds(1).await;
    two.pass(RENEWAL);
    assert_eq!(two.fetch(&caller("renewed", 2)).await.1, CacheResult::Shared);
    expected.hits += 1;
    check(&expected, "what is due");
    two.fetch(&caller("renewed", 3)).await;
    two.until_that("it is renewed", || !two.is_flying(&caller("renewed", 3))).await;
    expected.misses += 1;
    check(&expected, "the renewal");
    fleet.server.kill();
    for user in 0..5 {
        two.fetch(&caller(&format!("late{user}"), 2)).await;
        expected.errors += 1;
        check(&expected, "a server that is gone");
    }
}

#[tokio::test]
async fn those_who_wait_for_one_token_look_once() {
    let fleet = Fleet::waiting().await;
    let proxy = fleet.proxy();
    let callers: Vec<_> = (0..100).map(|uti| proxy.begin(caller("alice", uti))).collect();
    fleet.idp.arrived(1).await;
    fleet.idp.open_gate();
    for waiting in callers {
        waiting.await.unwrap().unwrap();
    }
    assert_eq!(proxy.looks(), Looks { misses: 1, ..Looks::default() });
}

#[tokio::test]
async fn waiting_for_another_proxy_s_exchange_is_one_look_up() {
    let fleet = Fleet::waiting().await;
    let [one, two] = fleet.proxies();
    let leader = one.begin(caller("alice", 1));
    fleet.idp.arrived(1).await;
    let waiting = two.begin(caller("alice", 2));
    // it has looked several times
    fleet.is_asked(4).await;
    fleet.idp.open_gate();
    leader.await.unwrap().unwrap();
    let found = waiting.await.unwrap().unwrap();
    assert_eq!((text(&found).as_str(), found.cache), ("b:alice.1:a", CacheResult::Shared));
    assert_eq!(two.looks(), Looks { hits: 1, ..Looks::default() });
    assert_eq!(fleet.idp.requests(), 1);
}

#[tokio::test]
async fn waiting_in_vain_for_another_proxy_s_exchange_is_one_look_up() {
    let fleet = Fleet::waiting().await;
    let [one, two] = fleet.proxies();
    let leader = one.begin(caller("alice", 1));
    fleet.idp.arrived(1).await;
    let waiting = two.begin(caller("alice", 2));
    fleet.is_asked(3).await;
    two.pass(2);
    fleet.idp.arrived(2).await;
    fleet.idp.open_gate();
    assert_eq!(waiting.await.unwrap().unwrap().cache, CacheResult::Miss);
    leader.await.unwrap().unwrap();
    assert_eq!(two.looks(), Looks { misses: 1, ..Looks::default() });
}
