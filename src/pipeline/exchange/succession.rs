//! What an exchanger leaves to the one that takes its place under another configuration.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::config;
use crate::config::IdentityProvider;
use crate::domain::clock::Clock;
use crate::domain::derived::Deriver;
use crate::domain::name::Name;
use crate::net::clients::Clients;
use crate::net::metadata::Metadata;
use crate::pipeline::exchange::Exchanger;
use crate::pipeline::exchange::Shared;
use crate::pipeline::exchange::errand::Known;
use crate::pipeline::exchange::flight::Flights;
use crate::pipeline::exchange::redis::Redis;
use crate::pipeline::exchange::rounds::Rounds;
use crate::telemetry::metrics::Metrics;

impl Exchanger {
    /// One for these providers in its place. The tokens that are there stay, as what they are filed under says all that
    /// decides which is the right one, unless `cache` makes room for more or fewer.
    pub fn succeeding(
        &self,
        providers: &[Arc<IdentityProvider>],
        metadata: &HashMap<Name, Metadata>,
        cache: &config::Cache,
        clients: Clients,
    ) -> Self {
        let older = &self.shared;
        let (clock, metrics) = (older.clock.clone(), older.metrics.clone());
        let is_known = |provider: &Arc<IdentityProvider>| {
            older.providers.get(&provider.name).is_some_and(|known| known.provider == *provider)
        };
        let are_same = providers.len() == older.providers.len() && providers.iter().all(is_known);
        let bounds = |cache: &config::Cache| (cache.max_entries, cache.max_bytes, cache.negative_ttl);
        let is_same_size = bounds(cache) == bounds(&older.cache);
        let provers = Arc::new(older.provers.succeeding(providers, clients.direct(), &clock, &metrics));
        let shared = Shared {
            providers: known(providers, metadata),
            deriver: match are_same && cache.key == older.cache.key {
                true => older.deriver.clone(),
                false => Deriver::new(),
            },
            memory: match (is_same_size, are_same) {
                (true, true) => older.memory.clone(),
                (true, false) => older.memory.forgiving(),
                (false, _) => older.memory.resized(cache),
            },
            redis: match cache.redis == older.cache.redis {
                true => older.redis.clone(),
                false => redis(cache, &clock, &metrics),
            },
            rounds: match is_same_size {
                true => older.rounds.clone(),
                false => Rounds::new(cache, clock.clone()),
            },
            advice: older.advice.clone(),
            // what is under way may be asked for with what is not to be used any more
            flights: if are_same { older.flights.clone() } else { Arc::new(Flights::new()) },
            endpoint: older.endpoint.succeeding(clients, provers.clone()),
            provers,
            cache: cache.clone(),
            clock,
            metrics,
            runtime: Handle::try_current().ok(),
        };
        Self { shared: Arc::new(shared) }
    }
}

/// Providers by name, each with what it says of its endpoints.
pub fn known(
    providers: &[Arc<IdentityProvider>],
    metadata: &HashMap<Name, Metadata>,
) -> HashMap<Name, Known> {
    let known = |provider: &Arc<IdentityProvider>| {
        let metadata = metadata.get(&provider.name).cloned();
        (provider.name.clone(), Known { provider: provider.clone(), metadata })
    };
    providers.iter().map(known).collect()
}

/// The tier that proxies share, if there is one.
pub fn redis(cache: &config::Cache, clock: &Clock, metrics: &Arc<Metrics>) -> Option<Arc<Redis>> {
    cache.redis.clone().map(|redis| Arc::new(Redis::new(redis, clock.clone(), metrics.clone())))
}
