//! The real binary with a relay on each of its ways: to the identity provider, to Redis, to one of two upstreams.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::Method;
use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::server::Transport;
use serde_json::json;
use tempfile::TempDir;

use crate::support::Answer;
use crate::support::fleet::CLIENT;
use crate::support::fleet::TENANT;
use crate::support::fleet::encryption_key;
use crate::support::fleet::granted;
use crate::support::fleet::name;
use crate::support::fleet::served;
use crate::support::idp::Idp;
use crate::support::listen;
use crate::support::redis::Redis;
use crate::support::relay::CLEAR;
use crate::support::relay::Relay;
use crate::support::sidecar::Sidecar;

/// The upstream that is reached directly.
pub const NEAR: &str = "/near";

/// The upstream behind a relay.
pub const FAR: &str = "/far";

/// Users from here on are nobody's but [`Network::stranger`]'s.
const STRANGERS: usize = 100_000;

/// Dropping it stops it all.
pub struct Network {
    pub idp: Idp,
    pub to_idp: Relay,
    pub far: Echo,
    pub to_far: Relay,
    /// Where tokens are shared, in the networks that have it.
    pub redis: Option<(Redis, Relay)>,
    pub proxy: Arc<Sidecar>,
    /// `identity_providers`, `routes` and the rest of the configuration.
    config: [String; 3],
    _directory: TempDir,
    strangers: AtomicUsize,
}

/// What may differ.
#[derive(Clone, Copy)]
pub struct Plan {
    /// How long the identity provider may take.
    pub idp: &'static str,
    /// How long the upstream behind the relay may take.
    pub far: &'static str,
    pub with_redis: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { idp: "60s", far: "60s", with_redis: false }
    }
}

impl Network {
    /// One in which all is well, and the keys are there.
    pub async fn start(plan: Plan) -> Self {
        let network = Self::begin(plan, |_| ()).await;
        network.proxy.ready().await;
        network
    }

    /// One where `first` is done to the way to the identity provider before the proxy starts.
    pub async fn begin(plan: Plan, first: impl FnOnce(&Relay)) -> Self {
        let listener = listen().await;
        let to_idp = Relay::to(listener.local_addr().unwrap());
        let authority = format!("http://{}", to_idp.address());
        let idp = Idp::start_on(listener, authority, json!({}), Transport::Plain, granted).await;
        first(&to_idp);
        let far = Echo::start(listen().await, Transport::Plain).unwrap();
        let to_far = Relay::to(far.address());
        let redis = match plan.with_redis {
            true => {
                let redis = tokio::task::spawn_blocking(Redis::start).await.unwrap();
                let relay = Relay::to(([127, 0, 0, 1], redis.port()).into());
                Some((redis, relay))
            }
            false => None,
        };
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        fs::write(&key, format!("{}\n", encryption_key(1))).unwrap();
        let sections = redis.as_ref().map(|(_, relay)| {
            format!(
                "\ncache:\n  redis: {{ url: \"redis://{}\", encryption_keys: [{{ file: \"{}\" }}] }}",
                relay.address(),
                key.display()
            )
        });
        let providers = format!(
            r#"
  contoso:
    entra: {{ tenant: {TENANT}, authority: "{}" }}
    client_id: {CLIENT}
    credential: {{ secret: {{ env: SECRET }} }}
    timeout: {}"#,
            idp.authority(),
            plan.idp,
        );
        let routes = format!(
            r#"
  near: {{ match: {NEAR}, exchange: {{ scopes: [api://orders-backend/.default] }} }}
  far:
    match: {FAR}
    upstream: "http://{}"
    timeouts: {{ connect: {far}, response: {far}, idle: {far} }}
    exchange: {{ scopes: [api://orders-backend/.default] }}
"#,
            to_far.address(),
            far = plan.far,
        );
        // which connection rests is known where one worker has them all
        let config = [providers, routes, format!("workers: 1{}", sections.unwrap_or_default())];
        let proxy = start(&config).await;
        let strangers = AtomicUsize::new(0);
        Self { idp, to_idp, far, to_far, redis, proxy, config, _directory: directory, strangers }
    }

    /// Another proxy of the same configuration.
    pub async fn another_proxy(&self) -> Arc<Sidecar> {
        let proxy = start(&self.config).await;
        proxy.ready().await;
        proxy
    }

    /// A token A of that user's.
    pub fn token(&self, user: usize) -> String {
        self.idp.entra_token(TENANT, &name(user), json!({"sid": "s"}))
    }

    /// A token A of somebody for whom nothing was exchanged yet.
    pub fn stranger(&self) -> String {
        self.token(STRANGERS + self.strangers.fetch_add(1, Ordering::Relaxed))
    }

    /// Calls the upstream that is reached directly, with a token A whose user must be let through with a token B of their own:
    /// which one that is.
    pub async fn serves(&self, token: &str) -> u64 {
        served(&self.proxy, NEAR, token).await
    }

    /// Calls the upstream behind the relay.
    pub async fn far(&self, token: &str) -> Answer {
        self.proxy.ask(FAR, Some(token)).await
    }

    /// The same by another method.
    pub async fn send(&self, method: Method, token: &str, body: Bytes) -> Answer {
        self.proxy.call(method, FAR, token, body).await
    }

    /// How often the token endpoint was asked.
    pub fn exchanges(&self) -> usize {
        self.idp.requests()
    }

    /// Mends the way to the identity provider, and waits until strangers are served again.
    pub async fn heal_the_way_to_the_idp(&self) {
        self.to_idp.all(CLEAR);
        self.to_idp.take();
        self.proxy.until(NEAR, &self.stranger(), |answer| answer.status == 200).await;
    }
}

async fn start([providers, routes, sections]: &[String; 3]) -> Arc<Sidecar> {
    Arc::new(Sidecar::start_with(providers, routes, sections, &[]).await)
}
