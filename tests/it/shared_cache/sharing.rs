//! What one proxy fetched serves the others, and nobody else.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::fleet::CLIENT;
use crate::support::fleet::Fleet;
use crate::support::fleet::Lookups;
use crate::support::fleet::TENANT;
use crate::support::fleet::cache_words;
use crate::support::fleet::encryption_key;
use crate::support::fleet::lookups;
use crate::support::fleet::name;
use crate::support::fleet::served;
use crate::support::redis::Redis;
use crate::support::redis::words;
use crate::support::sidecar::Sidecar;
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn what_one_proxy_fetched_serves_the_other_each_user_their_own() {
    let redis = Redis::start();
    let fleet = Fleet::around(&format!("url: \"{}/0\"", redis.url())).await;
    let [first, second] = [fleet.proxy().await, fleet.proxy().await];
    let before = lookups(&second).await;
    let fetched = fleet.serves_all(&first, 0..20).await;
    until("all are there", async || redis.entries().len() == 20).await;
    assert_eq!(fleet.serves_all(&second, 0..20).await, fetched);
    assert_eq!(fleet.exchanges_of(0..20), 20, "the second asked the identity provider");
    // from then on the second has them itself
    assert_eq!(fleet.serves_all(&second, 0..20).await, fetched);
    assert_eq!(lookups(&second).await, Lookups { hits: 20, ..before });
    let words = cache_words(&second);
    for word in ["shared", "hit"] {
        assert_eq!(words.iter().filter(|said| *said == word).count(), 20, "{word}: {words:?}");
    }
    // they end when the tokens do
    for name in redis.entries().keys() {
        assert!(name.starts_with("obo:"), "{name}");
        let left: i64 = redis.command(&["TTL", name]);
        assert!((3500..=3600).contains(&left), "{name}: {left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_agree_in_all_but_one_claim_share_nothing() {
    let redis = Redis::start();
    let fleet = Fleet::around(&format!("url: \"{}\"", redis.url())).await;
    let [first, second] = [fleet.proxy().await, fleet.proxy().await];
    let [one, other] = ["one", "other"].map(|session| fleet.token_of(1, session));
    let fetched = served_each(&first, [&one, &other]).await;
    assert_ne!(fetched[0], fetched[1]);
    until("both are there", async || redis.entries().len() == 2).await;
    assert_eq!(served_each(&second, [&one, &other]).await, fetched);
    assert_eq!(fleet.exchanges(1), 2);
}

async fn served_each(proxy: &Sidecar, tokens: [&str; 2]) -> [u64; 2] {
    [served(proxy, "/", tokens[0]).await, served(proxy, "/", tokens[1]).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_started_again_is_warm() {
    let redis = Redis::start();
    let fleet = Fleet::around(&format!("url: \"{}\"", redis.url())).await;
    let proxy = fleet.proxy().await;
    let fetched = fleet.serves_all(&proxy, 0..5).await;
    until("all are there", async || redis.entries().len() == 5).await;
    drop(proxy);
    let proxy = fleet.proxy().await;
    assert_eq!(fleet.serves_all(&proxy, 0..5).await, fetched);
    assert_eq!(fleet.exchanges_of(0..5), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_ever_written_to_redis_says_whose_it_is_or_what() {
    // the server writes down every change, those that are gone again too
    let redis = Redis::start_with(|_| words(&["--appendonly", "yes", "--appendfsync", "no"]));
    let fleet = Fleet::around(&format!("url: \"{}\"", redis.url())).await;
    let proxy = fleet.proxy().await;
    let token = fleet.token(1);
    let token_b = proxy.token_b("/", &token).await;
    until("it is there", async || redis.entries().len() == 1).await;
    let written = written_below(&redis.directory().join("appendonlydir"));
    for (name, value) in redis.entries() {
        for part in [name.as_bytes(), &value] {
            assert!(holds(&written, part), "this is not all that was written");
        }
    }
    let secrets = [&token, &token_b, "s3cret+/=", &encryption_key(1), &name(1), TENANT, CLIENT];
    let texts = ["api://orders-backend", "orders", "contoso", fleet.idp.authority(), "oid", "sid", "Bearer"];
    let parts = token.split('.').chain(token_b.split('.').skip(1));
    for secret in secrets.into_iter().chain(texts).chain(parts) {
        let encoded = URL_SAFE_NO_PAD.encode(secret);
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for form in [secret, &encoded, &hex] {
            assert!(!holds(&written, form.as_bytes()), "{form} was written");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encryption_key_is_replaced_without_losing_what_it_sealed() {
    let redis = Redis::start();
    let server = format!("url: \"{}\"", redis.url());
    let fleet = Fleet::around(&server).await;
    fleet.encryption_key("old", 2);
    fleet.encryption_key("new", 3);
    let mut kept = 0;
    // whom a proxy with these keys is asked for, and how often it has to ask for a token
    for (keys, asked) in [
        (&["old"][..], &[(1, 1), (2, 1)][..]),
        // the new one is known everywhere before anything is sealed with it
        (&["old", "new"], &[(1, 0)]),
        (&["new", "old"], &[(1, 0), (3, 1)]),
        (&["old", "new"], &[(3, 0)]),
        (&["new"], &[(3, 0), (2, 1)]),
        (&["key"], &[(1, 1), (3, 1)]),
    ] {
        let proxy = fleet.proxy_with(&server, keys, "1s").await;
        fleet.joined(&proxy).await;
        for (user, fetches) in asked {
            let before = fleet.exchanges(*user);
            fleet.serves(&proxy, *user).await;
            assert_eq!(fleet.exchanges(*user) - before, *fetches, "user {user} with {keys:?}");
            kept += fetches;
            until("it is kept", async || redis.entries().len() == kept).await;
        }
    }
}

/// Everything in the files of that directory.
fn written_below(directory: &Path) -> Vec<u8> {
    fs::read_dir(directory).unwrap().flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
