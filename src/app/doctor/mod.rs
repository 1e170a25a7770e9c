//! What an operator asks at three in the morning: is what the configuration names there, and does it take us?
//!
//! **In:** a checked configuration. **Out:** what was found of each thing it names, and what to do about it. **Never:** changes
//! anything but one entry of its own in Redis; waits longer than fifteen seconds; shows a token or a secret.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::app::machine::Outbound;
use crate::config;
use crate::config::Address;
use crate::config::Config;
use crate::config::IdentityProvider;
use crate::config::Route;
use crate::domain::clock::Clock;

mod certificate;
mod check;
mod clock;
mod credential;
mod files;
mod introspection;
mod listener;
mod provider;
mod reach;
mod redis;
mod remedies;
pub mod report;
mod upstream;

pub use check::Check;
pub use check::Finding;
pub use check::Group;

use check::Round;

/// How long it all may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// One thing to be looked at.
#[derive(Clone, Debug)]
enum Patient {
    Provider(Arc<IdentityProvider>),
    Upstream(Arc<Route>),
    Redis(Arc<config::Redis>),
    Listener(Box<config::Listener>),
    Telemetry,
    Admin(Address),
    Files,
}

/// Looks at everything that `config` names; at nothing but what is in `only`, if that names anything.
///
/// # Errors
/// The names that can be in `only`, if one there is none of them.
pub async fn examine(config: Config, clock: &Clock, only: &[String]) -> Result<Vec<Group>, Vec<String>> {
    let mut patients = patients(&config);
    if only.iter().any(|word| !patients.iter().any(|patient| patient.is_called(word))) {
        let called = |patient: Patient| [patient.kind().to_owned(), patient.name()];
        let mut known: Vec<String> = patients.into_iter().flat_map(called).collect();
        known.retain(|name| !name.is_empty());
        known.sort();
        known.dedup();
        return Err(known);
    }
    patients.retain(|patient| only.is_empty() || only.iter().any(|word| patient.is_called(word)));
    let (config, round) = (Arc::new(config), Round::lasting(PATIENCE, clock));
    let mut looking = JoinSet::new();
    for (at, patient) in patients.into_iter().enumerate() {
        let (config, round) = (config.clone(), round.clone());
        looking.spawn(async move { (at, patient.look(&config, &round).await) });
    }
    let mut groups = looking.join_all().await;
    groups.sort_by_key(|(at, _)| *at);
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}

/// All there is to look at.
fn patients(config: &Config) -> Vec<Patient> {
    let providers = config.identity_providers.iter().cloned().map(Patient::Provider);
    let upstreams = upstream::distinct(config).into_iter().cloned().map(Patient::Upstream);
    let redis = config.cache.redis.iter().cloned().map(Patient::Redis);
    let listeners = config.listeners.iter().cloned().map(Box::new).map(Patient::Listener);
    let admin = config.admin.iter().map(|admin| Patient::Admin(admin.address.clone()));
    let own = listeners.chain([Patient::Telemetry]).chain(admin).chain([Patient::Files]);
    providers.chain(upstreams).chain(redis).chain(own).collect()
}

impl Patient {
    fn kind(&self) -> &'static str {
        match self {
            Self::Provider(_) => provider::KIND,
            Self::Upstream(_) => upstream::KIND,
            Self::Redis(_) => redis::KIND,
            Self::Listener(_) => listener::KIND,
            Self::Telemetry => listener::TELEMETRY,
            Self::Admin(_) => listener::ADMIN,
            Self::Files => files::KIND,
        }
    }

    /// What tells it from others of its kind.
    fn name(&self) -> String {
        match self {
            Self::Provider(provider) => provider.name.to_string(),
            Self::Upstream(route) => upstream::name(&route.upstream),
            Self::Listener(settings) => settings.name.to_string(),
            Self::Redis(_) | Self::Telemetry | Self::Admin(_) | Self::Files => String::new(),
        }
    }

    fn is_called(&self, word: &str) -> bool {
        self.kind() == word || (!word.is_empty() && self.name() == word)
    }

    async fn look(&self, config: &Config, round: &Round) -> Group {
        let checks = match self {
            Self::Provider(provider) => match Outbound::for_providers(config, None) {
                Ok(outbound) => provider::look(round, config, provider, outbound.clients()).await,
                Err(error) => vec![Check::at_once("tls", remedies::client(&error))],
            },
            Self::Upstream(route) => upstream::look(round, route).await,
            Self::Redis(settings) => redis::look(round, settings).await,
            Self::Listener(settings) => listener::look(round, settings, &config.telemetry.address).await,
            Self::Telemetry => listener::look_at_telemetry(round, &config.telemetry.address).await,
            Self::Admin(address) => listener::look_at_admin(round, address, &config.telemetry.address).await,
            Self::Files => files::look(round, config).await,
        };
        Group::new(self.kind(), &self.name(), checks)
    }
}
