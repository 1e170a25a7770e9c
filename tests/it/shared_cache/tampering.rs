//! Whoever can write to Redis can make proxies ask the identity provider again, and nothing else.

use std::collections::BTreeMap;

use crate::support::fleet::Fleet;
use crate::support::fleet::Lookups;
use crate::support::fleet::lookups;
use crate::support::redis::Redis;
use crate::support::until;

/// What is done to an entry of that name and value.
type Harm = fn(&Redis, &str, &[u8]);

/// What may be in an entry's place.
const HARMS: [(&str, Harm); 14] = [
    ("the first bit flipped", |redis, name, value| redis.replace(name, &flipped(value, 0, 0x80))),
    ("a bit flipped in the second byte", |redis, name, value| redis.replace(name, &flipped(value, 1, 1))),
    ("a bit flipped near the start", |redis, name, value| redis.replace(name, &flipped(value, 14, 4))),
    ("a bit flipped in the middle", |redis, name, value| {
        redis.replace(name, &flipped(value, value.len() / 2, 1));
    }),
    ("the last bit flipped", |redis, name, value| redis.replace(name, &flipped(value, value.len() - 1, 1))),
    ("a byte less", |redis, name, value| redis.replace(name, &value[..value.len() - 1])),
    ("a byte more", |redis, name, value| redis.replace(name, &[value, b"\0"].concat())),
    ("twice the same", |redis, name, value| redis.replace(name, &[value, value].concat())),
    ("a number", |redis, name, _| redis.replace(name, b"1")),
    ("a foreign text", |redis, name, _| redis.replace(name, b"{\"access_token\":\"another\"}")),
    ("a list", |redis, name, value| instead(redis, name, "RPUSH", &[value])),
    ("a set", |redis, name, value| instead(redis, name, "SADD", &[value])),
    ("a hash", |redis, name, value| instead(redis, name, "HSET", &[b"token", value])),
    ("a stream", |redis, name, value| instead(redis, name, "XADD", &[b"*", b"token", value])),
];

fn flipped(value: &[u8], at: usize, bit: u8) -> Vec<u8> {
    let mut value = value.to_vec();
    value[at] ^= bit;
    value
}

fn instead(redis: &Redis, name: &str, command: &str, arguments: &[&[u8]]) {
    redis.command::<()>(&["DEL", name]);
    redis.put(command, name, arguments);
}

/// The entries of so many users, fetched by a proxy that is gone again.
async fn stored(fleet: &Fleet, redis: &Redis, users: usize) -> Vec<(String, Vec<u8>)> {
    let first = fleet.proxy().await;
    let mut known = BTreeMap::new();
    let mut entries = Vec::new();
    for user in 0..users {
        fleet.serves(&first, user).await;
        until("it is there", async || redis.entries().len() > user).await;
        let all = redis.entries();
        entries.extend(all.clone().into_iter().filter(|(name, _)| !known.contains_key(name)));
        known = all;
    }
    assert_eq!(entries.len(), users);
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_is_not_used_but_replaced() {
    let redis = Redis::start();
    let fleet = Fleet::around(&format!("url: \"{}\"", redis.url())).await;
    let entries = stored(&fleet, &redis, HARMS.len()).await;
    let second = fleet.proxy().await;
    let mut before = lookups(&second).await;
    for (user, ((of, harm), (name, value))) in HARMS.into_iter().zip(&entries).enumerate() {
        harm(&redis, name, value);
        fleet.serves(&second, user).await;
        assert_eq!(fleet.exchanges(user), 2, "{of}");
        before.errors += 1;
        assert_eq!(lookups(&second).await, before, "{of}");
    }
    let is_mended = |(name, old): &(String, Vec<u8>)| {
        let now: Result<Vec<u8>, _> = redis.ask(&["GET", name]);
        now.is_ok_and(|now| now.len().abs_diff(old.len()) < 8 && now != *old)
    };
    until("all are mended", async || entries.iter().all(is_mended)).await;
    let third = fleet.proxy().await;
    fleet.serves_all(&third, 0..HARMS.len()).await;
    assert_eq!(fleet.exchanges_of(0..HARMS.len()), 2 * HARMS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_change_places_serve_nobody() {
    let redis = Redis::start();
    let fleet = Fleet::around(&format!("url: \"{}\"", redis.url())).await;
    let entries = stored(&fleet, &redis, 3).await;
    for (user, (name, _)) in entries.iter().enumerate() {
        let (_, of_the_next) = &entries[(user + 1) % 3];
        redis.replace(name, of_the_next);
    }
    let second = fleet.proxy().await;
    // each is called with a token B of their own
    fleet.serves_all(&second, 0..3).await;
    assert_eq!(fleet.exchanges_of(0..3), 6);
    assert_eq!((lookups(&second).await.hits, lookups(&second).await.errors), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_value_is_as_good_as_none() {
    let redis = Redis::start();
    let fleet = Fleet::around(&format!("url: \"{}\"", redis.url())).await;
    let entries = stored(&fleet, &redis, 1).await;
    redis.replace(&entries[0].0, b"");
    let second = fleet.proxy().await;
    let before = lookups(&second).await;
    fleet.serves(&second, 0).await;
    assert_eq!(fleet.exchanges(0), 2);
    assert_eq!(lookups(&second).await, Lookups { misses: before.misses + 1, ..before });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_value_is_not_even_read() {
    let redis = Redis::start();
    let fleet = Fleet::around(&format!("url: \"{}\"", redis.url())).await;
    let entries = stored(&fleet, &redis, 2).await;
    let [one, other] = [fleet.proxy().await, fleet.hasty_proxy().await];
    for (user, (proxy, (name, _))) in [&one, &other].into_iter().zip(&entries).enumerate() {
        let before = proxy.proxy.most_memory();
        redis.replace(name, &vec![b'x'; 200_000_000]);
        fleet.serves(proxy, user).await;
        assert_eq!(fleet.exchanges(user), 2);
        assert_eq!(lookups(proxy).await.errors, 1);
        let more = proxy.proxy.most_memory() - before;
        assert!(more < 20_000_000, "it took {more} bytes");
    }
    fleet.share(&one, &other).await;
}
