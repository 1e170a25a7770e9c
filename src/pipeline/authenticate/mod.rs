//! Third stage: token A becomes a [`Caller`] the route admits.
//!
//! **In:** the request's headers, the route's policy. **Out:** a [`Caller`], every claim of it verified. **Never:** uses an
//! unverified claim for more than choosing among configured issuers; lets a token choose its key or algorithm; takes
//! an id_token, an application's token on a route for users, or a token bound to a key we cannot check; blames
//! the caller for keys that could not be fetched.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::config;
use crate::config::IdentityProvider;
use crate::config::Policy;
use crate::config::Tenancy;
use crate::domain::caller::Caller;
use crate::domain::caller::Claims;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::name::Name;
use crate::domain::token::UserToken;
use crate::pipeline::authenticate::claims::Stated;
use crate::pipeline::authenticate::introspection::Word;
use crate::pipeline::authenticate::issuer::Issuer;
use crate::pipeline::authenticate::issuer::Standing;
use crate::pipeline::authenticate::jws::Jws;
use crate::pipeline::authenticate::memo::Evidence;
use crate::pipeline::authenticate::memo::Memo;
use crate::pipeline::authenticate::memo::Memoised;
use crate::pipeline::authenticate::principal::Form;
use crate::pipeline::authenticate::principal::Judged;
use crate::pipeline::authenticate::provider::Provider;
use crate::pipeline::authenticate::verify::Expected;
use crate::pipeline::authenticate::verify::TenantRule;
use crate::pipeline::authenticate::verify::Verified;

pub mod appraisal;
pub mod bearer;
pub mod claims;
pub mod confirmation;
pub mod discovery;
pub mod error;
pub mod introspection;
pub mod issuer;
pub mod json;
pub mod jwks;
pub mod jws;
pub mod keys;
pub mod memo;
pub mod policy;
pub mod principal;
pub mod provider;
pub mod roca;
pub mod survey;
pub mod verify;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use error::Kind;
pub use provider::Outside;

/// Validates tokens A. Its background tasks end with the last one that has the same providers.
#[derive(Debug)]
pub struct Authenticator {
    providers: Vec<Arc<Provider>>,
    memo: Memo,
    clock: Clock,
}

impl Authenticator {
    /// An authenticator of these providers' tokens, which remembers as many as `cache` may hold. It knows no keys
    /// until it is started.
    pub fn new(providers: &[Arc<IdentityProvider>], cache: &config::Cache, outside: &Outside) -> Self {
        let providers = providers.iter().map(|config| Arc::new(Provider::new(config, outside))).collect();
        Self { providers, memo: Memo::new(cache), clock: outside.clock.clone() }
    }

    /// One for these providers in its place. Providers that did not change keep their keys and go on fetching them. If
    /// none did, what was found valid needs no second look.
    pub fn succeeding(
        &self,
        providers: &[Arc<IdentityProvider>],
        cache: &config::Cache,
        outside: &Outside,
    ) -> Self {
        let provider = |config: &Arc<IdentityProvider>| match self.provider(&config.name) {
            Some(same) if same.config == *config => same.clone(),
            Some(older) => Arc::new(Provider::succeeding(older, config, outside)),
            None => Arc::new(Provider::new(config, outside)),
        };
        let providers: Vec<Arc<Provider>> = providers.iter().map(provider).collect();
        let is_own = |provider| self.providers.iter().any(|own| Arc::ptr_eq(own, provider));
        let are_same = providers.len() == self.providers.len() && providers.iter().all(is_own);
        let memo = if are_same && self.memo.fits(cache) { self.memo.clone() } else { Memo::new(cache) };
        Self { providers, memo, clock: outside.clock.clone() }
    }

    /// Starts to fetch keys, on the runtime this is called on: one task per set. Starting twice is starting once.
    pub fn start(&self) {
        self.providers.iter().for_each(|provider| provider.start());
    }

    /// Whether there is anything left to wait for at the start: every set of keys is there, or was tried.
    pub fn was_tried(&self) -> bool {
        self.providers.iter().all(|provider| provider.was_tried())
    }

    /// Whether any provider's tokens can be judged.
    pub fn ready(&self) -> bool {
        self.providers.iter().any(|provider| provider.is_ready())
    }

    /// The caller whose token `headers` carry, if `policy` admits them. `certificate` is the digest of the one that the
    /// peer showed in its TLS handshake. Waits for nothing, but for a fetch of keys when the token names an unknown one.
    ///
    /// # Errors
    /// The first reason that applies, in the order of [`Kind`]; [`Kind::KeysUnavailable`] where the keys would be
    /// needed to tell.
    pub async fn caller(
        &self,
        headers: &HeaderMap,
        policy: &Policy,
        certificate: Option<&Digest>,
    ) -> Result<Caller, Error> {
        let presented = bearer::presented(headers)?;
        let digest = Digest::of(presented.as_bytes());
        let Some(memoised) = self.remembered(&digest, policy) else {
            let token = presented.token()?;
            // on the heap: most requests have no need of it
            let claims = Box::pin(self.verified(&token, digest, policy, certificate)).await?;
            admits(policy, &claims)?;
            return Ok(Caller { token, claims });
        };
        let claims = memoised.claims.clone();
        let judged = Judged { principal: claims.principal, sign: memoised.sign };
        verify::admits(policy.principals, judged)
            .and_then(|()| Ok(confirmation::check(memoised.holder.as_ref(), certificate)?))
            .map_err(|error| Error { identity_provider: Some(claims.identity_provider.clone()), ..error })?;
        admits(policy, &claims)?;
        Ok(Caller { token: presented.known_token()?, claims })
    }

    /// When the token that says `claims` lets nobody in any more.
    pub fn end(&self, claims: &Claims) -> UnixTime {
        let skew = self.provider(&claims.identity_provider).map(|provider| provider.config.clock_skew);
        claims.expires_on.after(skew.unwrap_or_default())
    }

    /// What the token of that digest was found to say, if a full verification would find the same now.
    fn remembered(&self, token: &Digest, policy: &Policy) -> Option<Arc<Memoised>> {
        let memoised = self.memo.find(token).filter(|memoised| memoised.counts_for(policy))?;
        let claims = &memoised.claims;
        let provider = self.provider(&claims.identity_provider)?;
        let config = &provider.config;
        let by_domain = config.entra().is_some_and(|entra| matches!(entra.tenancy, Tenancy::Domain(_)));
        let stands = match memoised.evidence {
            Evidence::Signature { version, generation } => {
                provider.keys(version).generation() == Some(generation)
            }
            Evidence::Word { until } => self.clock.monotonic() < until,
        };
        let is_same = stands
            && (!by_domain || provider.domain() == claims.tenant)
            && verify::times(claims.expires_on, claims.not_before, config.clock_skew, self.clock.now())
                .is_ok();
        is_same.then_some(memoised)
    }

    /// What `token` says, checked from its form to its holder. What else the route demands is not.
    async fn verified(
        &self,
        token: &UserToken,
        digest: Digest,
        policy: &Policy,
        certificate: Option<&Digest>,
    ) -> Result<Arc<Claims>, Error> {
        let asked = Asked { digest, policy, certificate };
        let candidates = || policy.identity_providers.iter().filter_map(|name| self.provider(name));
        if let Some(provider) = candidates().find(|provider| provider.introspector.is_some())
            && !jws::is_meant(token.expose())
        {
            // seldom taken: it does not make every request larger
            let claims = Box::pin(self.introspected(provider, token, asked)).await;
            return claims.map_err(|error| provider.error(error));
        }
        let jws = Jws::parse(token.expose())?;
        let stated = Stated::parse(jws.payload())?;
        let standings = candidates().filter_map(|provider| Some((provider, provider.standing(&stated)?)));
        let best = issuer::meant(standings);
        if best.as_ref().is_some_and(|(provider, _)| provider.config.entra().is_some()) {
            stated.check_as_entra_s()?;
        }
        jws.algorithm(candidates().flat_map(|provider| provider.config.algorithms.iter().copied()))?;
        let (provider, standing) = best.ok_or(Kind::WrongIssuer)?;
        let claims = self.claims(provider, &standing, &jws, stated, asked).await;
        claims.map_err(|error| provider.error(error))
    }

    fn provider(&self, name: &Name) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| provider.config.name == *name)
    }

    async fn claims(
        &self,
        provider: &Provider,
        standing: &Standing,
        jws: &Jws<'_>,
        stated: Stated,
        asked: Asked<'_>,
    ) -> Result<Arc<Claims>, Error> {
        let (issuer, tenant) = match standing {
            Standing::Accepted(issuer) => (issuer, TenantRule::Allowed),
            Standing::Barred(issuer) => (issuer, TenantRule::Barred),
            Standing::Undecided => return Err(Kind::KeysUnavailable.into()),
        };
        let config = &provider.config;
        // before the key is looked up: a token that no key of ours could have signed is worth no fetch
        let algorithm = jws.algorithm(config.algorithms.iter().copied())?;
        let held = provider.keys(issuer.version()).holding(jws.key(), algorithm).await?;
        if held.tenant.is_some() && held.tenant.as_ref() != issuer.tenant() {
            return Err(Kind::WrongIssuer.into());
        }
        verify::signature(jws, &held.keys, &config.algorithms, |key| issuer.owns(key, &config.server))?;
        let rivals = self.rivals(provider, |other| other.standing(&stated).is_some());
        let evidence = Evidence::Signature { version: issuer.version(), generation: held.generation };
        let now = self.clock.now();
        let expected = Expected {
            provider: config,
            issuer,
            tenant,
            principals: asked.policy.principals,
            certificate: asked.certificate,
            now,
        };
        let verified = verify::claims(stated, Form::Jwt(jws.typ()), asked.digest, &expected)?;
        let kept_for = verified.claims.expires_on.after(config.clock_skew).since(now);
        Ok(self.remember(verified, evidence, rivals, kept_for))
    }

    /// What `provider` says of a token that is no JWT.
    async fn introspected(
        &self,
        provider: &Provider,
        token: &UserToken,
        asked: Asked<'_>,
    ) -> Result<Arc<Claims>, Error> {
        let introspector = provider.introspector.as_ref().ok_or(Kind::Misconfigured)?;
        let heard = introspector.word(token, asked.digest).await.map_err(Kind::from)?;
        let stated = match &*heard.word {
            Word::Active(stated) => stated.clone(),
            Word::Endless => return Err(Kind::Malformed("it never expires").into()),
            Word::Inactive => return Err(Kind::Inactive.into()),
        };
        // it need not name its issuer, who is the one that was asked
        let is_own = stated.find("iss").is_none() || provider.standing(&stated).is_some();
        if !is_own {
            return Err(Kind::WrongIssuer.into());
        }
        let expected = Expected {
            provider: &provider.config,
            issuer: &Issuer::Sole,
            tenant: TenantRule::Allowed,
            principals: asked.policy.principals,
            certificate: asked.certificate,
            now: self.clock.now(),
        };
        // the tolerance for clocks lets a token in, but its issuer is asked each time
        let kept_for = stated.expires_on().since(expected.now).min(introspection::RELIED_ON);
        let verified = verify::claims(stated, Form::Opaque, asked.digest, &expected)?;
        let evidence = Evidence::Word { until: heard.asked_at + kept_for };
        let rivals = self.rivals(provider, |other| other.introspector.is_some());
        Ok(self.remember(verified, evidence, rivals, kept_for))
    }

    /// Remembers what was verified: from here on it is the route that may refuse, and another route may not.
    fn remember(
        &self,
        Verified { claims, holder, sign }: Verified,
        evidence: Evidence,
        rivals: Vec<Name>,
        kept_for: Duration,
    ) -> Arc<Claims> {
        let claims = Arc::new(claims);
        self.memo.keep(Memoised { claims: claims.clone(), evidence, holder, sign, rivals, kept_for });
        claims
    }

    /// The providers besides `chosen` that might have been meant as well.
    fn rivals(&self, chosen: &Provider, might: impl Fn(&Provider) -> bool) -> Vec<Name> {
        let others = self.providers.iter().filter(|other| other.config.name != chosen.config.name);
        others.filter(|other| might(other)).map(|other| other.config.name.clone()).collect()
    }
}

/// Whether the route admits the holder of a good token.
fn admits(policy: &Policy, claims: &Claims) -> Result<(), Error> {
    policy::check(policy, claims).map_err(|kind| Error {
        identity_provider: Some(claims.identity_provider.clone()),
        user: Some(claims.user_digest),
        ..kind.into()
    })
}

/// A token that is to be judged: for which route, and who brings it.
#[derive(Clone, Copy)]
struct Asked<'a> {
    digest: Digest,
    policy: &'a Policy,
    certificate: Option<&'a Digest>,
}
