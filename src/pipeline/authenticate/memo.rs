//! What was found valid, by the digest of the token: a second request with it costs no signature check.
//!
//! **In:** validated claims, and by which keys. **Out:** the same, to whoever brings the very same token. **Never:** a
//! token that was refused; a verdict of its own: what can change is for whoever asks to check again.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde_json::Map;
use serde_json::Value;

use crate::config;
use crate::config::EntraVersion;
use crate::config::Policy;
use crate::domain::caller::Claims;
use crate::domain::capacity::Capacity;
use crate::domain::digest::Digest;
use crate::domain::digest::DigestHashing;
use crate::domain::name::Name;
use crate::pipeline::authenticate::keys::Generation;

/// Bytes an entry takes besides what its claims hold: digests, pointers, the cache's own lists.
const OVERHEAD: usize = 768;

/// The validated tokens. Neither they nor anything that could stand for them is kept: only what they said.
#[derive(Debug)]
pub struct Memo(Cache<Digest, Arc<Memoised>, DigestHashing>);

/// What a validated token said, and what must still be so for it to count.
#[derive(Debug)]
pub struct Memoised {
    /// What it said.
    pub claims: Arc<Claims>,
    /// Whose version's keys verified it.
    pub version: EntraVersion,
    /// Which keys.
    pub generation: Generation,
    /// Other providers that take tokens of its issuer. Where one of them is admitted too, it may be the one that is
    /// meant.
    pub rivals: Vec<Name>,
    /// How long it can count at most.
    pub kept_for: Duration,
}

impl Memo {
    /// An empty memo within the bounds of the token cache.
    pub fn new(cache: &config::Cache) -> Self {
        let capacity = Capacity::new(cache.max_entries, cache.max_bytes);
        let cache = Cache::builder()
            .max_capacity(capacity.total())
            .weigher(move |_: &Digest, value: &Arc<Memoised>| capacity.weight(value.size()))
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Housekeeping)
            .build_with_hasher(DigestHashing::default());
        Self(cache)
    }

    /// What the token of that digest said, if it is known.
    pub fn find(&self, token: &Digest) -> Option<Arc<Memoised>> {
        self.0.get(token)
    }

    /// Remembers what a token said whose signature and claims were verified just now.
    pub fn keep(&self, memoised: Memoised) {
        self.0.insert(memoised.claims.token_digest, Arc::new(memoised));
    }

    /// How many tokens are remembered.
    #[cfg(test)]
    pub fn tokens(&self) -> u64 {
        self.0.run_pending_tasks();
        self.0.entry_count()
    }
}

impl Memoised {
    /// Whether a route with that policy would have had the token verified by the same provider.
    pub fn counts_for(&self, policy: &Policy) -> bool {
        let admitted = &policy.identity_providers;
        admitted.contains(&self.claims.identity_provider)
            && !self.rivals.iter().any(|rival| admitted.contains(rival))
    }

    fn size(&self) -> usize {
        let Claims { issuer, client, roles, all, .. } = &*self.claims;
        let texts = issuer.len() + client.as_ref().map_or(0, String::len);
        let roles: usize = roles.iter().map(|role| size_of::<String>() + role.len()).sum();
        // the scopes and the user's key are further copies of what is among the claims
        OVERHEAD + texts + roles + 2 * members(all)
    }
}

fn members(members: &Map<String, Value>) -> usize {
    members.iter().map(|(name, value)| size_of::<String>() + name.len() + value_size(value)).sum()
}

fn value_size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(value_size).sum(),
            Value::Object(inner) => members(inner),
        }
}

/// Drops what is over, some time. What still counts is decided on every hit, by the proxy's own clock.
struct Housekeeping;

impl Expiry<Digest, Arc<Memoised>> for Housekeeping {
    fn expire_after_create(&self, _: &Digest, value: &Arc<Memoised>, _: Instant) -> Option<Duration> {
        Some(value.kept_for)
    }

    fn expire_after_update(
        &self,
        _: &Digest,
        value: &Arc<Memoised>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        // the new value's time, not what was left of the old one's
        Some(value.kept_for)
    }
}
