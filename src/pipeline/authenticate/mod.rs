//! Third stage: token A becomes a [`Caller`] the route admits.
//!
//! **In:** the request's headers, the route's policy. **Out:** a [`Caller`], every claim of it verified. **Never:** uses an
//! unverified claim for more than choosing among configured issuers; lets a token choose its key or algorithm; takes
//! an id_token, an application's token on a route for users, or a token bound to a key we cannot check; blames
//! the caller for keys that could not be fetched.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use http::HeaderMap;
use tokio::task::JoinSet;

use crate::config;
use crate::config::EntraVersion;
use crate::config::IdentityProvider;
use crate::config::Policy;
use crate::config::Tenancy;
use crate::domain::caller::Caller;
use crate::domain::caller::Claims;
use crate::domain::clock::Clock;
use crate::domain::digest::Digest;
use crate::domain::name::Name;
use crate::domain::tenant::TenantId;
use crate::domain::token::UserToken;
use crate::net::client::Client;
use crate::pipeline::authenticate::claims::Stated;
use crate::pipeline::authenticate::issuer::Standing;
use crate::pipeline::authenticate::jws::Jws;
use crate::pipeline::authenticate::keys::KeySource;
use crate::pipeline::authenticate::memo::Memo;
use crate::pipeline::authenticate::memo::Memoised;
use crate::pipeline::authenticate::verify::Expected;
use crate::pipeline::authenticate::verify::TenantRule;
use crate::telemetry::metrics::Metrics;

pub mod bearer;
pub mod claims;
pub mod discovery;
pub mod error;
pub mod issuer;
pub mod json;
pub mod jwks;
pub mod jws;
pub mod keys;
pub mod memo;
pub mod policy;
pub mod roca;
pub mod verify;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use error::Kind;

/// Validates tokens A. Dropping it ends its background tasks.
#[derive(Debug)]
pub struct Authenticator {
    providers: Vec<Provider>,
    memo: Memo,
    clock: Clock,
    tasks: Mutex<JoinSet<()>>,
}

/// One identity provider with the keys of its two token versions.
#[derive(Debug)]
struct Provider {
    config: Arc<IdentityProvider>,
    v1: Arc<KeySource>,
    v2: Arc<KeySource>,
}

impl Authenticator {
    /// An authenticator of these providers' tokens, which remembers as many as `cache` may hold. It knows no keys
    /// until it is started.
    pub fn new(
        providers: &[Arc<IdentityProvider>],
        cache: &config::Cache,
        client: Client,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let source = |provider: &Arc<IdentityProvider>, version| {
            let (client, clock, metrics) = (client.clone(), clock.clone(), metrics.clone());
            Arc::new(KeySource::new(provider.clone(), version, client, clock, metrics))
        };
        let providers = providers
            .iter()
            .map(|config| Provider {
                config: config.clone(),
                v1: source(config, EntraVersion::V1),
                v2: source(config, EntraVersion::V2),
            })
            .collect();
        Self { providers, memo: Memo::new(cache), clock, tasks: Mutex::default() }
    }

    /// Starts to fetch keys, on the runtime this is called on: one task per provider. Starting twice is starting once.
    pub fn start(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_empty() {
            for provider in &self.providers {
                let (v1, v2) = (provider.v1.clone(), provider.v2.clone());
                tasks.spawn(async move {
                    tokio::join!(v1.keep_fresh(), v2.keep_fresh());
                });
            }
        }
    }

    /// Whether any provider's keys were ever fetched. Those of its other token version were at least tried: who is told
    /// that we are ready may come with a token of either.
    pub fn ready(&self) -> bool {
        self.providers.iter().any(|Provider { v1, v2, .. }| {
            (v1.is_ready() && v2.was_tried()) || (v2.is_ready() && v1.was_tried())
        })
    }

    /// The caller whose token `headers` carry, if `policy` admits them. Waits for nothing, but for a fetch of keys when
    /// the token names an unknown one.
    ///
    /// # Errors
    /// The first reason that applies, in the order of [`Kind`]; [`Kind::KeysUnavailable`] where the keys would be
    /// needed to tell.
    pub async fn caller(&self, headers: &HeaderMap, policy: &Policy) -> Result<Caller, Error> {
        let presented = bearer::presented(headers)?;
        let digest = Digest::of(presented.as_bytes());
        let Some(memoised) = self.remembered(&digest, policy) else {
            let token = presented.token()?;
            // on the heap: most requests have no need of it
            let claims = Box::pin(self.verified(&token, digest, policy)).await?;
            return Ok(Caller { token, claims });
        };
        let claims = memoised.claims.clone();
        verify::admits(policy.principals, claims.principal)
            .and_then(|()| policy::check(policy, &claims))
            .map_err(|kind| Error { kind, identity_provider: Some(claims.identity_provider.clone()) })?;
        Ok(Caller { token: presented.known_token()?, claims })
    }

    /// What the token of that digest was found to say, if a full verification would find the same now.
    fn remembered(&self, token: &Digest, policy: &Policy) -> Option<Arc<Memoised>> {
        let memoised = self.memo.find(token).filter(|memoised| memoised.counts_for(policy))?;
        let claims = &memoised.claims;
        let provider = self.provider(&claims.identity_provider)?;
        let config = &provider.config;
        let by_domain = config.entra().is_some_and(|entra| matches!(entra.tenancy, Tenancy::Domain(_)));
        let is_same = provider.keys(memoised.version).generation() == Some(memoised.generation)
            && (!by_domain || provider.domain() == claims.tenant)
            && verify::times(claims.expires_on, claims.not_before, config.clock_skew, self.clock.now())
                .is_ok();
        is_same.then_some(memoised)
    }

    /// What `token` says, checked from its form to the route's policy.
    async fn verified(
        &self,
        token: &UserToken,
        digest: Digest,
        policy: &Policy,
    ) -> Result<Arc<Claims>, Error> {
        let jws = Jws::parse(token.expose())?;
        let stated = Stated::parse(jws.payload())?;
        let candidates = || policy.identity_providers.iter().filter_map(|name| self.provider(name));
        jws.algorithm(candidates().flat_map(|provider| provider.config.algorithms.iter().copied()))?;
        let (provider, standing) = candidates()
            .filter_map(|provider| Some((provider, provider.standing(&stated)?)))
            .reduce(|best, next| if rank(&next.1) > rank(&best.1) { next } else { best })
            .ok_or(Kind::WrongIssuer)?;
        let claims = self.claims(provider, &standing, &jws, stated, digest, policy).await;
        claims.map_err(|kind| Error { kind, identity_provider: Some(provider.config.name.clone()) })
    }

    fn provider(&self, name: &Name) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.config.name == *name)
    }

    async fn claims(
        &self,
        provider: &Provider,
        standing: &Standing,
        jws: &Jws<'_>,
        stated: Stated,
        digest: Digest,
        policy: &Policy,
    ) -> Result<Arc<Claims>, Kind> {
        let (issuer, tenant) = match standing {
            Standing::Accepted(issuer) => (issuer, TenantRule::Allowed),
            Standing::Barred(issuer) => (issuer, TenantRule::Barred),
            Standing::Undecided => return Err(Kind::KeysUnavailable),
        };
        let config = &provider.config;
        // before the key is looked up: a token that no key of ours could have signed is worth no fetch
        jws.algorithm(config.algorithms.iter().copied())?;
        let held = provider.keys(issuer.version).holding(jws.kid()).await?;
        if held.tenant.as_ref().is_some_and(|tenant| *tenant != issuer.tenant) {
            return Err(Kind::WrongIssuer);
        }
        verify::signature(jws, &held.keys, &config.algorithms, |key| {
            config.entra().is_some_and(|entra| issuer.owns(key, entra))
        })?;
        let rivals = self.rivals(provider, &stated);
        let (principals, now) = (policy.principals, self.clock.now());
        let expected = Expected { provider: config, issuer, tenant, principals, now };
        let claims = Arc::new(verify::claims(stated, jws.typ(), digest, &expected)?);
        // from here on it is the route that may refuse, and another route may not
        self.memo.keep(Memoised {
            claims: claims.clone(),
            version: issuer.version,
            generation: held.generation,
            rivals,
            kept_for: claims.expires_on.after(config.clock_skew).since(now),
        });
        policy::check(policy, &claims)?;
        Ok(claims)
    }

    /// The providers besides `chosen` that take tokens of the issuer that `stated` names.
    fn rivals(&self, chosen: &Provider, stated: &Stated) -> Vec<Name> {
        let names = self.providers.iter().map(|provider| (&provider.config.name, provider));
        names
            .filter(|(name, provider)| **name != chosen.config.name && provider.standing(stated).is_some())
            .map(|(name, _)| name.clone())
            .collect()
    }
}

impl Provider {
    fn standing(&self, stated: &Stated) -> Option<Standing> {
        issuer::standing(self.config.entra()?, self.domain().as_ref(), stated)
    }

    /// The tenant that a configured domain was found to stand for.
    fn domain(&self) -> Option<TenantId> {
        self.v2.tenant().or_else(|| self.v1.tenant())
    }

    fn keys(&self, version: EntraVersion) -> &KeySource {
        match version {
            EntraVersion::V1 => &self.v1,
            EntraVersion::V2 => &self.v2,
        }
    }
}

/// Two providers may share an issuer (one tenant by its id, several through a shared endpoint): the one that lets the
/// tenant in is meant.
fn rank(standing: &Standing) -> u8 {
    match standing {
        Standing::Barred(_) => 0,
        Standing::Undecided => 1,
        Standing::Accepted(_) => 2,
    }
}
