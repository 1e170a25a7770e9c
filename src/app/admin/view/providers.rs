//! The identity providers: their keys, their token endpoints, and who we are to them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::app::admin::view::Moment;
use crate::app::admin::view::Sources;
use crate::config::AuthorizationServer;
use crate::config::Credential;
use crate::config::Entra;
use crate::config::EntraVersion;
use crate::config::IdentityProvider;
use crate::config::Tenancy;
use crate::pipeline::authenticate::survey::KeysInUse;
use crate::pipeline::exchange::survey::BreakerState;
use crate::pipeline::exchange::survey::TokenEndpointState;

/// The most tenants' endpoints that are listed of one provider.
const MOST_ENDPOINTS: usize = 20;

/// Every identity provider.
#[derive(Debug, Serialize)]
pub struct Providers {
    /// By name.
    pub identity_providers: Vec<Provider>,
}

/// One identity provider.
#[derive(Debug, Serialize)]
pub struct Provider {
    /// Its name.
    pub name: String,
    /// `entra` or `oidc`.
    pub kind: &'static str,
    /// Who issues its tokens.
    pub issuer: String,
    /// Whose users may enter, at Entra: tenant ids, or a domain.
    pub tenants: Vec<String>,
    /// What we are called there.
    pub client_id: String,
    /// How we prove who we are, in the order in which it is tried.
    pub credentials: Vec<&'static str>,
    /// When the first of our certificates ends, if we have one.
    pub credential_ends_at: Option<Moment>,
    /// Its keys, one entry a set.
    pub keys: Vec<Keys>,
    /// The token endpoints that were asked since the start.
    pub token_endpoints: Vec<TokenEndpoint>,
    /// Exchanges since the start, by outcome.
    pub exchanges: BTreeMap<String, u64>,
    /// Tokens looked at since the start, by result.
    pub authentications: BTreeMap<String, u64>,
}

/// A set of keys.
#[derive(Debug, Serialize)]
pub struct Keys {
    /// `v1` or `v2` at Entra: of which of its tokens.
    pub tokens: Option<&'static str>,
    /// How many are in use; 0 = they could not be fetched yet.
    pub count: usize,
    /// When they were fetched.
    pub fetched_at: Option<Moment>,
    /// How long ago that is.
    pub age_seconds: Option<u64>,
    /// That they cannot be fetched anew; absent = as far as is known, they can.
    pub failing: Option<Failing>,
}

/// Fetches of keys that have failed one after the other.
#[derive(Debug, Serialize)]
pub struct Failing {
    /// When the first of them did.
    pub since: Moment,
    /// How many there were.
    pub failures: u32,
    /// Why the last one failed.
    pub cause: String,
}

/// A token endpoint.
#[derive(Debug, Serialize)]
pub struct TokenEndpoint {
    /// Where it is.
    pub url: String,
    /// `answers`, or `failing`: then it is asked once a second.
    pub state: &'static str,
}

impl Providers {
    /// As they are.
    pub(super) fn of(sources: &Sources<'_>) -> Self {
        let mut all: Vec<Provider> = sources
            .config
            .identity_providers
            .iter()
            .map(|provider| Provider::of(provider, sources))
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Self { identity_providers: all }
    }
}

impl Provider {
    fn of(provider: &IdentityProvider, sources: &Sources<'_>) -> Self {
        let Sources { figures, survey, .. } = sources;
        let label = [("identity_provider", provider.name.as_str())];
        let end = figures.moment("obo_credential_expiry_timestamp_seconds", &label);
        let keys = survey.keys.iter().filter(|keys| keys.identity_provider == provider.name);
        let endpoints = survey.token_endpoints.iter();
        let endpoints = endpoints.filter(|endpoint| endpoint.identity_provider == provider.name);
        let (kind, issuer, tenants) = match &provider.server {
            AuthorizationServer::Entra(entra) => ("entra", issuer(entra), tenants(&entra.tenancy)),
            AuthorizationServer::Oidc(oidc) => ("oidc", oidc.issuer.clone(), Vec::new()),
        };
        Self {
            name: provider.name.to_string(),
            kind,
            issuer,
            tenants,
            client_id: provider.client_id.clone(),
            credentials: provider.credentials.iter().map(credential).collect(),
            credential_ends_at: end.map(Moment::new),
            keys: keys.map(|keys| Keys::of(keys, sources)).collect(),
            token_endpoints: endpoints.take(MOST_ENDPOINTS).map(TokenEndpoint::of).collect(),
            exchanges: figures.by("obo_exchanges_total", &label, "outcome"),
            authentications: figures.by("obo_authentications_total", &label, "result"),
        }
    }
}

impl Keys {
    fn of(keys: &KeysInUse, sources: &Sources<'_>) -> Self {
        Self {
            tokens: keys.version.map(|version| match version {
                EntraVersion::V1 => "v1",
                EntraVersion::V2 => "v2",
            }),
            count: keys.held.map_or(0, |held| held.count),
            fetched_at: keys.held.map(|held| sources.ago(held.age)),
            age_seconds: keys.held.map(|held| held.age.as_secs()),
            failing: keys.failing.as_ref().map(|failing| Failing {
                since: sources.ago(failing.age),
                failures: failing.count,
                cause: failing.cause.clone(),
            }),
        }
    }
}

impl TokenEndpoint {
    fn of(endpoint: &TokenEndpointState) -> Self {
        let state = match endpoint.breaker {
            BreakerState::Closed => "answers",
            BreakerState::Open => "failing",
        };
        Self { url: endpoint.url.clone(), state }
    }
}

fn issuer(entra: &Entra) -> String {
    entra.issuer(EntraVersion::V2, entra.tenancy.segment())
}

fn tenants(tenancy: &Tenancy) -> Vec<String> {
    match tenancy {
        Tenancy::Id(id) => vec![id.as_str().to_owned()],
        Tenancy::Domain(domain) => vec![domain.clone()],
        Tenancy::Shared { allowed, .. } => allowed.iter().map(|id| id.as_str().to_owned()).collect(),
    }
}

fn credential(credential: &Credential) -> &'static str {
    match credential {
        Credential::SecretFile(_) | Credential::Secret(_) => "secret",
        Credential::Certificate(_) => "certificate",
        Credential::FederatedToken(_) => "federated_token",
        Credential::ManagedIdentity(_) => "managed_identity",
    }
}
