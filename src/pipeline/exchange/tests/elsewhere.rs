//! Proxies that share a real Redis: what must not come back from there.

use super::*;
use crate::domain::digest::Digest;
use crate::pipeline::exchange::tests::idp::granted_for;
use crate::pipeline::exchange::tests::server::Server;

const OLD: u8 = 1;
const NEW: u8 = 2;

/// A proxy with the encryption keys of these seeds.
fn proxy(idp: &Idp, server: &Server, keys: &[u8]) -> World {
    World::new(sample::provider(&idp.authority()), &server.cache(keys))
}

fn only(caller: &Caller) -> impl Fn(Digest) -> bool + Send + Sync + use<> {
    let user = caller.claims.user_digest;
    move |other| other == user
}

/// Waits until there are so many entries of a kind, and all leases are given back.
async fn until_there(server: &Server, kind: &str, count: usize) {
    let waiting = async {
        let pattern = format!("obo:{kind}:*");
        while server.matching(&pattern).len() != count || !server.names("lease").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    done.unwrap_or_else(|_| panic!("never {count} of {kind}: {:?}", server.matching("*")));
}

#[tokio::test]
async fn a_purge_counts_whichever_key_an_earlier_one_was_sealed_with() {
    for [before, now] in [[OLD, NEW], [NEW, OLD]] {
        let (idp, server) = (Idp::open(granted).await, Server::start());
        // an encryption key is being replaced: what one seals with, the other only opens
        let [one, other] = [&[before][..], &[now, before]].map(|keys| proxy(&idp, &server, keys));
        let alice = caller("alice", 1);
        let pass = |seconds| [&one, &other].map(|world| world.pass(seconds));
        one.fetch(&alice).await;
        pass(1);
        one.exchanger.purge(only(&alice));
        until_there(&server, "purge", 1).await;
        pass(100);
        assert_eq!(one.fetch(&alice).await.1, CacheResult::Miss);
        until_there(&server, "token", 1).await;
        assert_eq!(other.fetch(&alice).await.1, CacheResult::Shared);
        pass(1);
        other.exchanger.purge(only(&alice));
        until_there(&server, "purge", 2).await;
        let third = proxy(&idp, &server, &[before, now]);
        third.pass(102);
        assert_eq!(third.fetch(&alice).await.1, CacheResult::Miss);
    }
}

#[tokio::test]
async fn a_purge_that_redis_refuses_is_told_it_again() {
    let (idp, server) = (Idp::open(granted).await, Server::start());
    let [one, other] = [(); 2].map(|()| proxy(&idp, &server, &[OLD]));
    let alice = caller("alice", 1);
    one.fetch(&alice).await;
    until_there(&server, "token", 1).await;
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    for world in [&one, &other] {
        world.pass(1);
    }
    assert_eq!(one.exchanger.purge(only(&alice)).tokens, 1);
    let refused = async {
        let is_refused = |stats: &str| {
            stats.lines().any(|line| line.starts_with("cmdstat_set:") && !line.contains("rejected_calls=0"))
        };
        while !is_refused(&server.ask::<String>(&["INFO", "commandstats"]).unwrap()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refused).await.unwrap();
    assert!(server.names("obo:purge:*").is_empty());
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    until_there(&server, "purge", 1).await;
    assert_eq!(other.fetch(&alice).await.1, CacheResult::Miss);
}

#[tokio::test]
async fn who_purges_a_user_of_whom_nothing_is_here_finds_nothing_older_elsewhere_either() {
    const A_DAY: u64 = 24 * 3600;
    let (idp, server) = (Idp::open(|asked| granted_for(asked, A_DAY)).await, Server::start());
    let [one, other] = [(); 2].map(|()| proxy(&idp, &server, &[OLD]));
    let (alice, bob) = (caller("alice", 1), caller("bob", 1));
    for user in [&alice, &bob] {
        one.fetch(user).await;
    }
    until_there(&server, "token", 2).await;
    other.pass(10);
    assert_eq!(other.exchanger.purge(only(&alice)), Purged::default());
    other.pass(3 * 3600);
    assert_eq!(other.fetch(&bob).await.1, CacheResult::Shared);
    assert_eq!(other.fetch(&alice).await.1, CacheResult::Miss);
}

#[tokio::test]
async fn no_token_outlives_its_end_by_a_clock_that_runs_ahead_of_ours() {
    for (ahead, is_shared) in [(0, true), (30, true), (60, true), (61, false), (1800, false)] {
        let (idp, server) = (Idp::open(|asked| granted_for(asked, 3600)).await, Server::start());
        let [fast, right] = [(); 2].map(|()| proxy(&idp, &server, &[OLD]));
        fast.clock.set_wall(fast.clock.now().after(Duration::from_secs(ahead)));
        let (early, _) = fast.fetch(&caller("alice", 1)).await;
        until_there(&server, "token", 1).await;
        let (found, cache) = right.fetch(&caller("alice", 2)).await;
        assert_eq!((found == early, cache == CacheResult::Shared), (is_shared, is_shared), "{ahead}");
        right.pass(3600);
        // Redis' own clock says the same
        server.ask::<()>(&["FLUSHALL"]).unwrap();
        assert_ne!(right.fetch(&caller("alice", 3)).await.0, early, "{ahead}");
    }
}
