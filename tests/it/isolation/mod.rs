//! One user's token never serves another, nor one route's another route: two proxies that share a Redis, with room for few
//! tokens, under random callers, while everything that can change changes.
//!
//! `ISOLATION_SECONDS` says for how long, `ISOLATION_SEED` which chance: a failure prints it.

mod callers;
mod chance;
mod court;
mod deputy;
mod lanes;
mod wallet;
mod weather;

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use obo_proxy::app::server::Server;
use obo_proxy::app::server::Transport;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::isolation::callers::Line;
use crate::isolation::callers::Stage;
use crate::isolation::callers::Tally;
use crate::isolation::chance::Chance;
use crate::isolation::court::Court;
use crate::isolation::lanes::GENERATIONS;
use crate::isolation::lanes::Generation;
use crate::isolation::wallet::TENANT;
use crate::isolation::wallet::Wallet;
use crate::isolation::weather::Weather;
use crate::support::idp::Idp;
use crate::support::idp::OTHER_TENANT;
use crate::support::listen;
use crate::support::process::Proxy;
use crate::support::redis::Redis;

/// How long the suite takes over it.
const USUAL: Duration = Duration::from_secs(20);

/// How much longer it may take until everything has happened, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// Who asks each proxy: on connections of their own, and on streams of shared ones.
const ALONE: u64 = 8;
const CONNECTIONS: u64 = 2;
const STREAMS: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_ever_gets_what_is_anothers() {
    let number = |name: &str| {
        let text = std::env::var_os(name)?.into_string().unwrap();
        Some(text.parse::<u64>().expect("a number"))
    };
    let seed = number("ISOLATION_SEED").unwrap_or_else(|| RandomState::new().hash_one(()));
    let span = number("ISOLATION_SECONDS").map_or(USUAL, Duration::from_secs);
    let court = Arc::new(Court::default());
    let [entra, partner, opaque] = [(); 3].map(|()| {
        let court = court.clone();
        Idp::start(move |asked| court.issue(asked))
    });
    let wallet = Arc::new(Wallet::new(entra.await, partner.await, opaque.await));
    let hearing = court.clone();
    let one = Server::start(listen().await, Transport::Plain, move |request| hearing.clone().hear(request))
        .unwrap();
    let listener = listen().await;
    let two = listener.local_addr().unwrap();
    let serving = tokio::spawn(court::serve_http2(listener, court.clone()));
    let redis = Arc::new(Redis::start());
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), crate::support::fleet::encryption_key(1)).unwrap();
    let providers = lanes::providers(
        wallet.entra.authority(),
        wallet.partner.authority(),
        wallet.opaque.authority(),
        &[TENANT, OTHER_TENANT],
    );
    let config = {
        let (one, redis, key) = (one.address(), redis.url(), key.path().display().to_string());
        move |generation: Generation| {
            let routes = lanes::routes(generation);
            let Generation { number, key: mode } = generation;
            format!(
                r#"
workers: 2
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
identity_providers:{providers}
upstreams:
  one: {{ url: "http://{one}/g{number}" }}
  two: {{ url: "http://{two}/g{number}", http2: always }}
defaults: {{ timeouts: {{ response: 120s }} }}
routes:{routes}
cache:
  max_entries: 100
  key: {mode}
  negative_ttl: 1s
  redis: {{ url: "{redis}/0", encryption_keys: [{{ file: "{key}" }}], timeout: 1s }}
admin: {{ address: "127.0.0.1:0" }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json, level: "info,audit=warn", access: false }} }}
shutdown: {{ delay: 0s, drain: 2s }}
"#
            )
        }
    };
    let mut proxies = Vec::new();
    for _ in 0..2 {
        let config = config(GENERATIONS[0]);
        let starting = tokio::task::spawn_blocking(move || Proxy::start(&config, &lanes::ENVIRONMENT));
        proxies.push(Arc::new(starting.await.unwrap()));
    }
    let stage = Arc::new(Stage {
        court: court.clone(),
        wallet: wallet.clone(),
        is_over: AtomicBool::new(false),
        tally: Tally::default(),
        nonces: AtomicU64::new(1),
        seed,
    });
    let weather = Arc::new(Weather { stage: stage.clone(), proxies, redis, done: weather::Done::default() });
    weather.until_ready().await;

    let mut taking_part = JoinSet::new();
    let mut chances = (0..).map(|who| Chance::new(seed, who));
    for proxy in &weather.proxies {
        let address = proxy.address.parse().unwrap();
        for _ in 0..ALONE {
            taking_part.spawn(stage.clone().ask_all_the_time(address, chances.next().unwrap(), None));
        }
        for _ in 0..CONNECTIONS {
            let line = Line::http2(address).await.unwrap();
            for _ in 0..STREAMS {
                let line = line.another();
                taking_part.spawn(stage.clone().ask_all_the_time(address, chances.next().unwrap(), line));
            }
        }
    }
    taking_part.spawn(weather.clone().reload(config, chances.next().unwrap()));
    taking_part.spawn(weather.clone().rotate(chances.next().unwrap()));
    taking_part.spawn(weather.clone().purge(chances.next().unwrap()));
    taking_part.spawn(weather.clone().swap(chances.next().unwrap()));

    let begun = Instant::now();
    let mut missing = Vec::new();
    while court.wrongs().is_empty() && begun.elapsed() < span + PATIENCE {
        tokio::time::sleep(Duration::from_millis(200)).await;
        missing = weather.missing().await;
        if begun.elapsed() >= span && missing.is_empty() {
            break;
        }
    }
    let took = begun.elapsed();
    stage.is_over.store(true, Ordering::SeqCst);
    while let Some(ended) = taking_part.join_next().await {
        ended.unwrap();
    }
    serving.abort();
    let told = weather.told(took).await;
    eprintln!("seed {seed}\n{told}");
    let wrongs = court.wrongs();
    assert!(
        wrongs.is_empty(),
        "ISOLATION_SEED={seed}: {} wrong, the first of them:\n{}\n{told}",
        wrongs.len(),
        wrongs[..wrongs.len().min(5)].join("\n"),
    );
    assert!(missing.is_empty(), "ISOLATION_SEED={seed}: it did not happen: {missing:?}\n{told}");
    let lost = stage.tally.lost.lock().unwrap();
    assert_eq!(lost.0, 0, "ISOLATION_SEED={seed}: lost, the last for {}\n{told}", lost.1);
}

impl Weather {
    /// Waits until each proxy has all the keys: those of both versions of Entra's tokens, and of the others.
    async fn until_ready(&self) {
        const SETS: [(&str, u64); 6] =
            [("contoso", 2), ("careful", 2), ("fabrikam", 2), ("partner", 1), ("bearer", 1), ("opaque", 1)];
        for proxy in &self.proxies {
            crate::support::until("the proxy has all keys", async || {
                let figures = weather::figures_of(proxy).await;
                SETS.iter().all(|(provider, sets)| {
                    let name =
                        format!("obo_jwks_refreshes_total{{identity_provider=\"{provider}\",result=\"ok\"}}");
                    figures.get(&name).is_some_and(|times| times >= sets)
                })
            })
            .await;
        }
    }

    /// What ought to have happened and has not.
    async fn missing(&self) -> Vec<&'static str> {
        let figures = self.figures().await;
        let of = |name: &str| sum(&figures, name);
        let (tally, done) = (&self.stage.tally, &self.done);
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let all = [
            ("served", now(&tally.served)),
            ("refused", now(&tally.refused)),
            ("turned away", now(&tally.turned_away)),
            ("aborted", now(&tally.aborted)),
            ("stepped up", now(&tally.stepped_up)),
            ("hits", of("obo_cache_requests_total{tier=\"memory\",result=\"hit\"}")),
            ("renewals", of("obo_cache_requests_total{tier=\"memory\",result=\"stale\"}")),
            ("shared", of("obo_cache_requests_total{tier=\"redis\",result=\"hit\"}")),
            ("flights shared", of("obo_exchanges_coalesced_total")),
            ("evictions", of("obo_cache_evictions_total{reason=\"")),
            ("reloads", now(&done.reloads)),
            ("rotations", now(&done.rotations)),
            ("purged", now(&done.purged)),
            ("swaps", now(&done.swaps)),
        ];
        all.into_iter().filter(|(_, count)| *count < 3).map(|(what, _)| what).collect()
    }

    /// All that is known of it.
    async fn told(&self, took: Duration) -> String {
        let figures = self.figures().await;
        let of = |name: &str| sum(&figures, name);
        let cache = |tier: &str, result: &str| {
            of(&format!("obo_cache_requests_total{{tier=\"{tier}\",result=\"{result}\"}}"))
        };
        let evictions: Vec<_> =
            figures.iter().filter(|(name, _)| name.starts_with("obo_cache_evictions_total{")).collect();
        format!(
            "{:?} in {took:.1?}\n{:?}\nrequests at services {}, questions at identity providers {}, tokens B {}\n\
             memory: hits {}, misses {}, stale {}; redis: hits {}, misses {}; flights shared {}\nevictions {evictions:?}",
            self.stage.tally,
            self.done,
            self.stage.court.seen.load(Ordering::Relaxed),
            self.stage.wallet.exchanges(),
            self.stage.court.given(),
            cache("memory", "hit"),
            cache("memory", "miss"),
            cache("memory", "stale"),
            cache("redis", "hit"),
            cache("redis", "miss"),
            of("obo_exchanges_coalesced_total"),
        )
    }
}

/// The sum of all metrics whose names begin so.
fn sum(figures: &std::collections::BTreeMap<String, u64>, name: &str) -> u64 {
    figures.iter().filter(|(own, _)| own.starts_with(name)).map(|(_, count)| count).sum()
}
