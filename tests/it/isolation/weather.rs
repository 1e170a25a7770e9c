//! What goes on meanwhile: other configurations, other keys, purges, and somebody at Redis who exchanges what lies there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use obo_proxy::net::client::Bounds;
use obo_proxy::net::client::Client;
use serde_json::Value;

use crate::isolation::callers::Stage;
use crate::isolation::chance::Chance;
use crate::isolation::lanes::COOLDOWN;
use crate::isolation::lanes::GENERATIONS;
use crate::isolation::lanes::Generation;
use crate::support::process::Proxy;
use crate::support::redis::Redis;

const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(60), body: 4 * 1024 * 1024 };

/// How often each thing was done.
#[derive(Debug, Default)]
pub struct Done {
    pub reloads: AtomicU64,
    pub rotations: AtomicU64,
    pub purges: AtomicU64,
    /// Tokens that were purged.
    pub purged: AtomicU64,
    /// Pairs of entries in Redis that were put in each other's place.
    pub swaps: AtomicU64,
}

/// Everything, all the time.
pub struct Weather {
    pub stage: Arc<Stage>,
    pub proxies: Vec<Arc<Proxy>>,
    pub redis: Arc<Redis>,
    pub done: Done,
}

impl Weather {
    /// Gives each proxy another configuration now and then.
    pub async fn reload(self: Arc<Self>, config: impl Fn(Generation) -> String, mut chance: Chance) {
        while self.goes_on(chance.below(1500)).await {
            let proxy = chance.pick(&[0, 1]);
            let proxy = self.proxies[proxy].clone();
            let config = config(chance.pick(&GENERATIONS));
            // it says nothing where that is in use already
            let verdict = tokio::task::spawn_blocking(move || {
                proxy.write(&config);
                proxy.read_again()
            });
            let verdict = verdict.await.unwrap();
            let said = verdict["msg"].as_str().unwrap();
            assert!(!said.contains("refused"), "{verdict}");
            if said.starts_with("another") {
                self.done.reloads.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Has the issuers sign with other keys.
    pub async fn rotate(self: Arc<Self>, mut chance: Chance) {
        for which in 0.. {
            if !self.goes_on(3000).await {
                return;
            }
            let wallet = self.stage.wallet.clone();
            let publishing = move || wallet.rotating(which).publish_another_key();
            tokio::task::spawn_blocking(publishing).await.unwrap();
            // a bad token may just have had the keys fetched: they are not fetched again before that
            tokio::time::sleep(COOLDOWN).await;
            self.stage.wallet.rotating(which).sign_with_the_newest_key();
            self.stage.wallet.forget(&mut chance);
            self.done.rotations.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Drops what a proxy keeps of somebody.
    pub async fn purge(self: Arc<Self>, mut chance: Chance) {
        let client = Client::plain().unwrap();
        while self.goes_on(chance.below(200)).await {
            let proxy = &self.proxies[chance.below(self.proxies.len())];
            let who = self.stage.wallet.somebody(&mut chance);
            let request = Request::post(format!("http://{}/api/v1/cache/purge", admin(proxy)))
                .header("x-obo-admin", "1")
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(who.to_string())))
                .unwrap();
            let answer = client.send(request, BOUNDS).await.unwrap();
            assert_eq!(answer.status(), 200, "{answer:?}");
            let said: Value = serde_json::from_slice(answer.body()).unwrap();
            self.done.purges.fetch_add(1, Ordering::Relaxed);
            self.done.purged.fetch_add(said["tokens"].as_u64().unwrap(), Ordering::Relaxed);
        }
    }

    /// Puts one user's token in Redis in the place of another's, and the other's in that of the one.
    pub async fn swap(self: Arc<Self>, mut chance: Chance) {
        while self.goes_on(700).await {
            let (redis, mut chance) = (self.redis.clone(), chance_of(&mut chance));
            let swapped = tokio::task::spawn_blocking(move || {
                let entries: Vec<_> = redis.entries().into_iter().collect();
                if entries.len() < 2 {
                    return 0;
                }
                for _ in 0..8 {
                    let [one, other] = [(); 2].map(|()| &entries[chance.below(entries.len())]);
                    redis.replace(&one.0, &other.1);
                    redis.replace(&other.0, &one.1);
                }
                8
            });
            self.done.swaps.fetch_add(swapped.await.unwrap(), Ordering::Relaxed);
        }
    }

    /// Waits so many milliseconds; whether there is anything to be done then.
    async fn goes_on(&self, milliseconds: usize) -> bool {
        tokio::time::sleep(Duration::from_millis(50 + milliseconds as u64)).await;
        !self.stage.is_over.load(Ordering::Relaxed)
    }

    /// What the proxies count, all of them together.
    pub async fn figures(&self) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for proxy in &self.proxies {
            for (name, value) in figures_of(proxy).await {
                *sums.entry(name).or_default() += value;
            }
        }
        sums
    }
}

/// What a proxy counts, by names with labels.
pub async fn figures_of(proxy: &Proxy) -> BTreeMap<String, u64> {
    let request = Request::get(format!("http://{}/metrics", proxy.telemetry)).body(Full::default()).unwrap();
    let answer = Client::plain().unwrap().send(request, BOUNDS).await.unwrap();
    let text = String::from_utf8_lossy(answer.body());
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    lines.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

fn chance_of(chance: &mut Chance) -> Chance {
    Chance::new(chance.next(), 0)
}

fn admin(proxy: &Proxy) -> SocketAddr {
    let lines = proxy.lines(|message| message == "admin interface");
    lines.last().unwrap()["address"].as_str().unwrap().parse().unwrap()
}
