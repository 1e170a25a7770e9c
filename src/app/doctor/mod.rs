//! What an operator asks at three in the morning: is what the configuration names there, and does it take us?
//!
//! **In:** a checked configuration. **Out:** what was found of each thing it names, and what to do about it. **Never:** changes
//! anything but one entry of its own in Redis; waits longer than fifteen seconds; shows a token or a secret.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::app::machine::Outbound;
use crate::config::Config;
use crate::domain::clock::Clock;

mod certificate;
mod check;
mod clock;
mod credential;
mod files;
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
    Provider(usize),
    Upstream(usize),
    Redis,
    Listener(usize),
    Telemetry,
    Files,
}

/// Looks at everything that `config` names; at nothing but what is in `only`, if that names anything.
///
/// # Errors
/// The names that can be in `only`, if one there is none of them.
pub async fn examine(config: Config, clock: &Clock, only: &[String]) -> Result<Vec<Group>, Vec<String>> {
    let (all, names) = patients(&config);
    if only.iter().any(|wanted| !names.iter().any(|(kind, name)| wanted == kind || wanted == name)) {
        let mut known: Vec<String> =
            names.into_iter().flat_map(|(kind, name)| [kind.to_owned(), name]).collect();
        known.sort();
        known.dedup();
        return Err(known);
    }
    let is_wanted = |(kind, name): &(&str, String)| {
        only.is_empty() || only.iter().any(|word| word == kind || word == name)
    };
    let wanted = all.into_iter().zip(&names).filter(|(_, name)| is_wanted(name));
    let (config, round) = (Arc::new(config), Round::lasting(PATIENCE, clock));
    let mut looking = JoinSet::new();
    for (at, (patient, _)) in wanted.enumerate() {
        let (config, round) = (config.clone(), round.clone());
        looking.spawn(async move { (at, look(&patient, &config, &round).await) });
    }
    let mut groups = looking.join_all().await;
    groups.sort_by_key(|(at, _)| *at);
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}

/// All there is to look at, each with its kind and its name.
fn patients(config: &Config) -> (Vec<Patient>, Vec<(&'static str, String)>) {
    let mut all = Vec::new();
    for (at, provider) in config.identity_providers.iter().enumerate() {
        all.push((Patient::Provider(at), (provider::KIND, provider.name.to_string())));
    }
    for (at, route) in upstream::distinct(config).into_iter().enumerate() {
        all.push((Patient::Upstream(at), (upstream::KIND, upstream::name(&route.upstream))));
    }
    if config.cache.redis.is_some() {
        all.push((Patient::Redis, (redis::KIND, String::new())));
    }
    for (at, listener) in config.listeners.iter().enumerate() {
        all.push((Patient::Listener(at), (listener::KIND, listener.name.to_string())));
    }
    all.push((Patient::Telemetry, (listener::TELEMETRY, String::new())));
    all.push((Patient::Files, (files::KIND, String::new())));
    all.into_iter().unzip()
}

async fn look(patient: &Patient, config: &Arc<Config>, round: &Round) -> Group {
    match patient {
        Patient::Provider(at) => match config.identity_providers.get(*at) {
            Some(provider) => match Outbound::for_providers(config, None) {
                Ok(client) => provider::look(round, config, provider, client.client()).await,
                Err(error) => {
                    let verdict = remedies::client(&error);
                    Group::new(provider::KIND, provider.name.as_str(), vec![Check::at_once("tls", verdict)])
                }
            },
            None => Group::new(provider::KIND, "", Vec::new()),
        },
        Patient::Upstream(at) => match upstream::distinct(config).get(*at) {
            Some(route) => upstream::look(round, route).await,
            None => Group::new(upstream::KIND, "", Vec::new()),
        },
        Patient::Redis => match &config.cache.redis {
            Some(settings) => redis::look(round, settings).await,
            None => Group::new(redis::KIND, "", Vec::new()),
        },
        Patient::Listener(at) => match config.listeners.get(*at) {
            Some(settings) => listener::look(round, settings, &config.telemetry.address).await,
            None => Group::new(listener::KIND, "", Vec::new()),
        },
        Patient::Telemetry => listener::look_at_telemetry(round, &config.telemetry.address).await,
        Patient::Files => files::look(round, config).await,
    }
}
