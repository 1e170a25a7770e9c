//! One identity provider as the one whose tokens are judged: its issuers, its keys, and whom to ask.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::task::JoinSet;

use crate::config::EntraVersion;
use crate::config::IdentityProvider;
use crate::config::Introspection;
use crate::domain::clock::Clock;
use crate::domain::name::Name;
use crate::domain::tenant::TenantId;
use crate::net::client_authentication::ClientAuthentication;
use crate::net::clients::Clients;
use crate::net::metadata::Metadata;
use crate::pipeline::authenticate::claims::Stated;
use crate::pipeline::authenticate::error::Error;
use crate::pipeline::authenticate::error::Kind;
use crate::pipeline::authenticate::introspection::Introspector;
use crate::pipeline::authenticate::issuer;
use crate::pipeline::authenticate::issuer::Standing;
use crate::pipeline::authenticate::keys::KeySource;
use crate::pipeline::authenticate::keys::fetch::Origin;
use crate::telemetry::metrics::Metrics;

/// What tokens are judged with, besides the configuration.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Fetch keys, and ask about tokens.
    pub clients: Clients,
    /// Says to servers that are asked about tokens who asks.
    pub authentication: Arc<dyn ClientAuthentication>,
    /// Where the endpoints of servers other than Entra are, as far as others want to know too.
    pub metadata: HashMap<Name, Metadata>,
    /// The time.
    pub clock: Clock,
    /// Counts the fetches.
    pub metrics: Arc<Metrics>,
}

/// A provider, its keys, and whom to ask. Dropping it ends its background tasks.
#[derive(Debug)]
pub struct Provider {
    /// What it was made from.
    pub config: Arc<IdentityProvider>,
    /// Its keys: those of version 2 tokens at Entra, the only ones elsewhere.
    pub keys: Arc<KeySource>,
    /// The keys of Entra's version 1 tokens.
    v1_keys: Option<Arc<KeySource>>,
    /// Who is asked about tokens that are no JWT.
    pub introspector: Option<Introspector>,
    tasks: Mutex<JoinSet<()>>,
}

impl Provider {
    /// The provider of that configuration. It knows no keys yet.
    pub fn new(config: &Arc<IdentityProvider>, outside: &Outside) -> Self {
        let Outside { clients, authentication, metadata, clock, metrics } = outside;
        let client = clients.of(config);
        let source = |origin| {
            let (client, clock, metrics) = (client.clone(), clock.clone(), metrics.clone());
            Arc::new(KeySource::new(config.clone(), origin, client, clock, metrics))
        };
        let known = metadata.get(&config.name).cloned();
        let Some(metadata) = known.or_else(|| Metadata::of(config, client.clone(), clock.clone())) else {
            let [keys, v1_keys] = [EntraVersion::V2, EntraVersion::V1].map(Origin::Entra).map(source);
            let (config, tasks) = (config.clone(), Mutex::default());
            return Self { config, keys, v1_keys: Some(v1_keys), introspector: None, tasks };
        };
        let introspector = (config.introspection == Introspection::On).then(|| {
            let (client, authentication) = (client.clone(), authentication.clone());
            Introspector::new(config.clone(), metadata.clone(), client, authentication, clock.clone())
        });
        let keys = source(Origin::Server(metadata));
        Self { config: config.clone(), keys, v1_keys: None, introspector, tasks: Mutex::default() }
    }

    /// The same provider under other settings. Where they leave alone which keys are fetched and from where, those at
    /// hand serve until they are fetched anew.
    pub fn succeeding(older: &Self, config: &Arc<IdentityProvider>, outside: &Outside) -> Self {
        let newer = Self::new(config, outside);
        if older.config.server == config.server && older.config.algorithms == config.algorithms {
            for (own, known) in newer.sources().zip(older.sources()) {
                own.inherit(known);
            }
        }
        newer
    }

    /// Starts to fetch its keys, on the runtime this is called on: one task per set. Starting twice is starting once.
    pub fn start(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_empty() {
            for source in self.sources() {
                let source = source.clone();
                tasks.spawn(async move { source.keep_fresh().await });
            }
        }
    }

    /// Whether there is anything left to wait for at the start: each set of keys is there, or was tried.
    pub fn was_tried(&self) -> bool {
        self.sources().all(|source| source.was_tried())
    }

    /// How it stands to the issuer that a token names; `None` = not its issuer.
    pub fn standing(&self, stated: &Stated) -> Option<Standing> {
        issuer::standing(&self.config.server, self.domain().as_ref(), stated)
    }

    /// The tenant that a configured domain was found to stand for.
    pub fn domain(&self) -> Option<TenantId> {
        self.sources().find_map(|source| source.tenant())
    }

    /// The keys of Entra's tokens of that version; elsewhere there are no others.
    pub fn keys(&self, version: Option<EntraVersion>) -> &KeySource {
        match (version, &self.v1_keys) {
            (Some(EntraVersion::V1), Some(keys)) => keys,
            _ => &self.keys,
        }
    }

    /// All its sets of keys.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<KeySource>> {
        std::iter::once(&self.keys).chain(&self.v1_keys)
    }

    /// Whether its tokens can be judged: keys were fetched, or are not needed as it can be asked. Those of Entra's other
    /// version were at least tried: who is told that we are ready may come with a token of either.
    pub fn is_ready(&self) -> bool {
        let has_keys = self.sources().any(|source| source.is_ready());
        (has_keys || self.introspector.is_some()) && self.was_tried()
    }

    /// A refusal of a token that seems to be this provider's.
    pub fn error(&self, kind: Kind) -> Error {
        Error { kind, identity_provider: Some(self.config.name.clone()), user: None }
    }
}
