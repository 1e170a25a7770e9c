//! Proxies that want the same token at the same moment: one fetches it, and the others wait for it, but not for ever.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::fleet::Fleet;
use crate::support::fleet::granted;
use crate::support::fleet::name;
use crate::support::fleet::of;
use crate::support::fleet::served;
use crate::support::idp::Answer;
use crate::support::idp::Content;
use crate::support::redis::Redis;
use crate::support::sidecar::Sidecar;
use crate::support::until;

/// A fleet of so many proxies.
async fn fleet(redis: &Redis, count: usize) -> (Fleet, Vec<Arc<Sidecar>>) {
    let fleet = Fleet::around(&format!("url: \"{}\"", redis.url())).await;
    let mut proxies = Vec::new();
    for _ in 0..count {
        proxies.push(fleet.proxy().await);
    }
    (fleet, proxies)
}

/// Asks all of them at once: which token each of them used.
fn ask_all(fleet: &Fleet, proxies: &[Arc<Sidecar>], user: usize) -> JoinSet<u64> {
    let calls = proxies.iter().map(|proxy| {
        let (proxy, token) = (proxy.clone(), fleet.token(user));
        async move { served(&proxy, "/", &token).await }
    });
    calls.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_proxies_that_want_one_token_at_once_ask_for_it_once() {
    let redis = Redis::start();
    let (fleet, proxies) = fleet(&redis, 4).await;
    fleet.idp.answers(|asked| granted(asked).after(Duration::from_millis(500)));
    let tokens = ask_all(&fleet, &proxies, 1).join_all().await;
    assert_eq!(fleet.exchanges(1), 1);
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    // a refusal is nobody else's: each is told for itself, and nobody waits for a lease that was given back
    fleet.idp.answers(|_| Answer::json(400, &json!({"error": "interaction_required"})));
    let begun = Instant::now();
    for proxy in &proxies {
        let answer = proxy.get("/", &fleet.token(2)).await;
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    assert_eq!(fleet.exchanges(2), 4);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_dies_while_the_others_wait_for_it_keeps_them_for_the_length_of_a_lease() {
    let redis = Redis::start();
    let (fleet, mut proxies) = fleet(&redis, 3).await;
    let is_first = AtomicBool::new(true);
    fleet.idp.answers(move |asked| match of(asked) == name(1) && is_first.swap(false, Ordering::SeqCst) {
        true => Answer { content: Content::Never, ..granted(asked) },
        false => granted(asked),
    });
    let dying = proxies.remove(0);
    let mut lost = ask_all(&fleet, std::slice::from_ref(&dying), 1);
    until("the identity provider is asked", async || fleet.exchanges(1) == 1).await;
    let begun = Instant::now();
    let waiting = ask_all(&fleet, &proxies, 1);
    lost.shutdown().await;
    drop(Arc::into_inner(dying).unwrap());
    assert_eq!(waiting.join_all().await.len(), 2);
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(3500), "{took:?}");
    assert!(took > Duration::from_secs(1), "nobody waited: {took:?}");
}
