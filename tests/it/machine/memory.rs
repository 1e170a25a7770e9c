//! More users than the cache has room for, and an address space with an end.

use serde_json::json;
use tokio::task::JoinSet;

use crate::machine::Provider;
use crate::support::fleet::granted_with;
use crate::support::fleet::served;

const MIB: u64 = 1024 * 1024;

/// Further bytes of each token B. A proxy that kept them all would grow by 30 MiB from the second round to the last.
const WEIGHT: usize = 36 * 1024;

/// By how much it may grow, in MiB: the first rounds fill what is kept anyway, buffers and arenas of threads.
const GROWTH: u64 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn users_who_do_not_fit_cost_no_memory_and_each_gets_their_own_token() {
    let provider = Provider::start().await;
    provider.idp.answers(|asked| granted_with(asked, json!("x".repeat(WEIGHT))));
    let proxy = provider.proxy_by(&[], "cache: { max_entries: 100 }", &[]).await;
    let mut memory = Vec::new();
    for round in 0..5 {
        let mut users = JoinSet::new();
        for number in 0..8 {
            let tokens: Vec<_> =
                (0..25).map(|user| provider.token(200 * round + 25 * number + user)).collect();
            let proxy = proxy.clone();
            users.spawn(async move {
                let mut first = Vec::new();
                for token in &tokens {
                    first.push(served(&proxy, "/", token).await);
                }
                // whoever had to make room gets a newer one, of their own all the same
                for (token, first) in tokens.iter().zip(first).rev().take(5) {
                    assert!(served(&proxy, "/", token).await >= first);
                }
            });
        }
        users.join_all().await;
        memory.push(proxy.proxy.memory() / MIB);
    }
    eprintln!("{memory:?} MiB");
    assert!(memory[4] <= memory[1] + GROWTH, "{memory:?} MiB");
    let held = proxy.count("obo_cache_entries{tier=\"memory\"} ").await;
    assert!(held > 50 && held <= 100, "{held}");
    assert!(provider.idp.requests() >= 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_address_space_is_enough_for_ordinary_work() {
    let provider = Provider::start().await;
    let proxy = provider.proxy_by(&["prlimit", "--as=536870912", "--"], "workers: 2", &[]).await;
    let mut users = JoinSet::new();
    for _ in 0..8 {
        let tokens: Vec<_> = (0..50).map(|_| provider.stranger()).collect();
        let proxy = proxy.clone();
        users.spawn(async move {
            for token in tokens {
                served(&proxy, "/", &token).await;
            }
        });
    }
    users.join_all().await;
    assert!(proxy.probe("/livez").await.status.is_success());
}
