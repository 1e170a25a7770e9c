//! Proxies with clocks of their own that share a real Redis.

use super::*;
use crate::config::Login;
use crate::config::SecretSource;
use crate::config::Topology;
use crate::domain::secret::Secret;
use crate::pipeline::exchange::tests::server::Server;

mod clocks;
mod counting;
mod evictions;
mod keys;
mod link;
mod ourselves;
mod purging;
mod rejected;
mod renewals;

/// Where every clock here starts.
const START: UnixTime = UnixTime::from_seconds(1_700_000_000);

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the proxies have in common.
struct Fleet {
    idp: Arc<Idp>,
    server: Server,
}

impl Fleet {
    /// A fleet before an identity provider that answers at once.
    async fn of(script: impl Fn(&idp::Received) -> Answer + Send + Sync + 'static) -> Self {
        Self { idp: Idp::open(script).await, server: Server::start() }
    }

    /// A proxy that has seen nobody.
    fn proxy(&self) -> World {
        self.proxy_of(sample::provider(&self.idp.authority()))
    }

    /// The same with an identity provider of another kind.
    fn proxy_of(&self, provider: IdentityProvider) -> World {
        World::new(provider, &self.cache())
    }

    /// The same with these encryption keys.
    fn proxy_with(&self, keys: Vec<SecretSource>) -> World {
        let redis = config::Redis { encryption_keys: keys, ..self.settings() };
        let cache = config::Cache { redis: Some(Arc::new(redis)), ..sample::cache() };
        World::new(sample::provider(&self.idp.authority()), &cache)
    }

    /// Several that have seen nobody.
    fn proxies<const COUNT: usize>(&self) -> [World; COUNT] {
        std::array::from_fn(|_| self.proxy())
    }

    fn cache(&self) -> config::Cache {
        config::Cache { redis: Some(Arc::new(self.settings())), ..sample::cache() }
    }

    fn settings(&self) -> config::Redis {
        settings(self.server.address(), PATIENCE)
    }

    /// Waits until that many tokens are there, and nobody is about to write or to ask for one.
    async fn holds(&self, tokens: usize) {
        let server = &self.server;
        let is_so = async || server.names("token").len() == tokens && server.names("lease").is_empty();
        until(&format!("{tokens} tokens"), is_so).await;
    }

    /// Waits until another value is under that name than this one.
    async fn replaces(&self, name: &str, value: &Option<Vec<u8>>) {
        let server = &self.server;
        let is_so = async || server.value(name) != *value && server.names("lease").is_empty();
        until("another value", is_so).await;
    }
}

/// What became of a proxy's look-ups in Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Looks {
    hits: u64,
    misses: u64,
    errors: u64,
}

impl World {
    fn looks(&self) -> Looks {
        Looks::of(&self.metrics)
    }

    /// Sets its wall clock that many seconds off the others' start.
    fn set_off(&self, seconds: i64) {
        self.clock.set_wall(UnixTime::from_seconds(START.as_seconds() + seconds));
    }
}

impl Looks {
    /// Those that were counted.
    fn of(metrics: &Metrics) -> Self {
        let metrics = metrics.encode();
        let count = |result: &str| {
            let name = format!("obo_cache_requests_total{{tier=\"redis\",result=\"{result}\"}} ");
            let number = metrics.lines().find_map(|line| line.strip_prefix(&name));
            number.map_or(0, |number| number.parse().unwrap())
        };
        Self { hits: count("hit"), misses: count("miss"), errors: count("error") }
    }
}

/// Redis as `server`, where a look-up may take that long.
fn settings(server: config::RedisServer, timeout: Duration) -> config::Redis {
    config::Redis {
        topology: Topology::Standalone { server, database: 0 },
        login: Login::default(),
        encryption_keys: vec![SecretSource::Here(encryption_key('a'))],
        timeout,
    }
}

fn encryption_key(letter: char) -> Secret {
    Secret::new(letter.to_string().repeat(32))
}

/// Waits until it is so.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn flipped(value: &[u8], at: usize) -> Vec<u8> {
    let mut value = value.to_vec();
    value[at] ^= 1;
    value
}
