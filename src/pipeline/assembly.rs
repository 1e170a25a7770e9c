//! From a configuration to the stages, and to those that take their place under another one.
//!
//! **In:** a configuration, and the pipeline before it, if there is one. **Out:** a pipeline. **Never:** contacts anyone;
//! takes anything away from the pipeline before, which finishes what it began.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Cache;
use crate::config::Config;
use crate::config::IdentityProvider;
use crate::config::Upstream;
use crate::domain::clock::Clock;
use crate::domain::name::Name;
use crate::net::clients::Clients;
use crate::net::metadata::Metadata;
use crate::pipeline::Pipeline;
use crate::pipeline::Stages;
use crate::pipeline::authenticate;
use crate::pipeline::authenticate::Authenticator;
use crate::pipeline::exchange::Exchanger;
use crate::pipeline::forward::Forwarder;
use crate::pipeline::forward::capture::Keeper;
use crate::pipeline::forward::limit::Turnstiles;
use crate::pipeline::respond::Responder;
use crate::pipeline::route::RouteTable;
use crate::telemetry::journey::Observer;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

/// Why the stages cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS towards an upstream.
    #[error("TLS towards an upstream cannot be set up")]
    Tls(#[from] crate::net::tls::Error),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random(#[from] aws_lc_rs::error::Unspecified),
}

/// The stages that deal with tokens, and know nothing of requests.
pub struct Tokens {
    /// Validates tokens A.
    pub authenticator: Authenticator,
    /// Exchanges them.
    pub exchanger: Exchanger,
    metadata: HashMap<Name, Metadata>,
}

impl Tokens {
    /// The stages for these `providers`. Nothing is contacted yet.
    pub fn new(
        providers: &[Arc<IdentityProvider>],
        cache: &Cache,
        clients: &Clients,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let found = |provider: &Arc<IdentityProvider>| {
            Some((provider.name.clone(), Metadata::of(provider, clients.of(provider), clock.clone())?))
        };
        let metadata: HashMap<Name, Metadata> = providers.iter().filter_map(found).collect();
        let exchanger =
            Exchanger::new(providers, &metadata, cache, clients.clone(), clock.clone(), metrics.clone());
        let outside = outside(&exchanger, clients, &metadata, clock, metrics);
        let authenticator = Authenticator::new(providers, cache, &outside);
        Self { authenticator, exchanger, metadata }
    }
}

impl Pipeline {
    /// The stages for `config`. `clients` talk to the identity providers; they do so on the runtime this is called on,
    /// whichever worker asks. Nothing is contacted yet.
    ///
    /// # Errors
    /// If TLS cannot be set up or the system gives no random numbers.
    pub fn new(
        config: &Config,
        clients: &Clients,
        tracer: Option<Arc<Tracer>>,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, SetupError> {
        let providers = &config.identity_providers;
        let Tokens { authenticator, exchanger, metadata } =
            Tokens::new(providers, &config.cache, clients, clock, metrics);
        let stages = Stages {
            routes: RouteTable::new(&config.routes),
            authenticator,
            exchanger,
            keeper: Keeper::default(),
            turnstiles: Turnstiles::new(&config.routes),
            responder: Responder::new(providers, metadata.clone()),
            observer: Observer::new(&config.routes, tracer, metrics, clock.clone())?,
            metrics: metrics.clone(),
            clock: clock.clone(),
            is_anonymous: providers.is_empty(),
            providers: providers.clone(),
            metadata,
        };
        let forwarder = Forwarder::new(&config.routes)?;
        Ok(Self { stages: Arc::new(stages), forwarder })
    }

    /// The stages for another `config`, to take the place of these, which finish what they began. What did not change goes
    /// on as it is: tokens, keys, connections to upstreams that `is_current`, what users are called. Nothing is contacted
    /// yet.
    ///
    /// # Errors
    /// If TLS cannot be set up or the system gives no random numbers.
    pub fn succeeding(
        &self,
        config: &Config,
        clients: &Clients,
        tracer: Option<Arc<Tracer>>,
        is_current: impl Fn(&Upstream) -> bool,
    ) -> Result<Self, SetupError> {
        let older = &*self.stages;
        let providers = &config.identity_providers;
        let found = |provider: &Arc<IdentityProvider>| {
            Some((provider.name.clone(), older.metadata_of(provider, clients)?))
        };
        let metadata: HashMap<Name, Metadata> = providers.iter().filter_map(found).collect();
        let exchanger = older.exchanger.succeeding(providers, &metadata, &config.cache, clients.clone());
        let outside = outside(&exchanger, clients, &metadata, &older.clock, &older.metrics);
        let stages = Stages {
            routes: RouteTable::new(&config.routes),
            authenticator: older.authenticator.succeeding(providers, &config.cache, &outside),
            exchanger,
            keeper: older.keeper.clone(),
            turnstiles: older.turnstiles.succeeding(&config.routes),
            responder: Responder::new(providers, metadata.clone()),
            observer: older.observer.succeeding(&config.routes, tracer, &older.metrics)?,
            metrics: older.metrics.clone(),
            clock: older.clock.clone(),
            is_anonymous: providers.is_empty(),
            providers: providers.clone(),
            metadata,
        };
        let forwarder = self.forwarder.succeeding(&config.routes, is_current)?;
        Ok(Self { stages: Arc::new(stages), forwarder })
    }

    /// The same stages for one more worker, which keeps the connections it has by the pipeline `before`.
    pub fn for_worker(&self, before: Option<&Self>) -> Self {
        let forwarder = self.forwarder.beside(before.map(|before| &before.forwarder));
        Self { stages: self.stages.clone(), forwarder }
    }
}

impl Stages {
    /// The metadata of `provider`, if it needs any: what is at hand if it is found where it was.
    fn metadata_of(&self, provider: &Arc<IdentityProvider>, clients: &Clients) -> Option<Metadata> {
        let own = self.metadata.get(&provider.name);
        let known = self.providers.iter().find(|known| known.name == provider.name).zip(own);
        match known {
            Some((same, metadata)) if same == provider => Some(metadata.clone()),
            known => {
                let newer = Metadata::of(provider, clients.of(provider), self.clock.clone())?;
                if let Some((_, older)) = known.filter(|(known, _)| known.server == provider.server) {
                    newer.inherit(older);
                }
                Some(newer)
            }
        }
    }
}

fn outside(
    exchanger: &Exchanger,
    clients: &Clients,
    metadata: &HashMap<Name, Metadata>,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> authenticate::Outside {
    authenticate::Outside {
        clients: clients.clone(),
        authentication: exchanger.client_authentication(),
        metadata: metadata.clone(),
        clock: clock.clone(),
        metrics: metrics.clone(),
    }
}
