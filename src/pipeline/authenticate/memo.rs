//! What was found valid, by the digest of the token: a second request with it costs no signature check.
//!
//! **In:** validated claims, and by which keys. **Out:** the same, to whoever brings the very same token. **Never:** a
//! token that was refused; a verdict of its own: what can change is for whoever asks to check again.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use serde_json::Map;
use serde_json::Value;

use crate::config;
use crate::config::EntraVersion;
use crate::config::Policy;
use crate::domain::bounded::Bounded;
use crate::domain::bounded::Kept;
use crate::domain::caller::Claims;
use crate::domain::capacity::Capacity;
use crate::domain::digest::Digest;
use crate::domain::holdings;
use crate::domain::name::Name;
use crate::pipeline::authenticate::keys::Generation;

/// Bytes an entry takes besides what its claims hold: digests, pointers, the cache's own lists. As measured by
/// `cargo bench --bench memory`.
const OVERHEAD: usize = 1408;

/// The validated tokens. Neither they nor anything that could stand for them is kept: only what they said. Clones share
/// them.
#[derive(Clone, Debug)]
pub struct Memo {
    tokens: Bounded<Digest, Memoised>,
    capacity: Capacity,
}

/// What a validated token said, and what must still be so for it to count.
#[derive(Debug)]
pub struct Memoised {
    /// What it said.
    pub claims: Arc<Claims>,
    /// Why it was believed.
    pub evidence: Evidence,
    /// The certificate whose holder alone may use it.
    pub holder: Option<Digest>,
    /// By what it was told who stands behind it.
    pub sign: &'static str,
    /// Other providers that take tokens of its issuer. Where one of them is admitted too, it may be the one that is
    /// meant.
    pub rivals: Vec<Name>,
    /// How long it can count at most.
    pub kept_for: Duration,
}

/// What a token was believed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A key verified its signature.
    Signature {
        /// Entra's keys for tokens of that version; `None` = another server's.
        version: Option<EntraVersion>,
        /// Which keys.
        generation: Generation,
    },
    /// Its issuer was asked, and may say otherwise from then on.
    Word {
        /// How long the answer stands.
        until: Instant,
    },
}

impl Memo {
    /// An empty memo within the bounds of the token cache.
    pub fn new(cache: &config::Cache) -> Self {
        let capacity = capacity(cache);
        Self { tokens: Bounded::new(capacity, holdings::MOST, |_| {}), capacity }
    }

    /// Whether it is as large as `cache` has it be.
    pub fn fits(&self, cache: &config::Cache) -> bool {
        self.capacity == capacity(cache)
    }

    /// What the token of that digest said, if it is known.
    pub fn find(&self, token: &Digest) -> Option<Arc<Memoised>> {
        self.tokens.get(token)
    }

    /// Remembers what a token said whose signature and claims were verified just now.
    pub fn keep(&self, memoised: Memoised) {
        self.tokens.insert(memoised.claims.token_digest, Arc::new(memoised));
    }

    /// How many tokens are remembered.
    pub fn tokens(&self) -> u64 {
        self.tokens.count()
    }

    /// Bytes that they take, by our reckoning.
    pub fn bytes(&self) -> u64 {
        self.tokens.weight()
    }
}

impl Memoised {
    /// Whether a route with that policy would have had the token verified by the same provider.
    pub fn counts_for(&self, policy: &Policy) -> bool {
        let admitted = &policy.identity_providers;
        admitted.contains(&self.claims.identity_provider)
            && !self.rivals.iter().any(|rival| admitted.contains(rival))
    }
}

impl Kept for Memoised {
    /// Applications too: each can have as many tokens made as it likes.
    fn holder(&self) -> Option<Digest> {
        Some(self.claims.user_digest)
    }

    fn size(&self) -> usize {
        let Claims { issuer, user, client, scopes, roles, all, .. } = &*self.claims;
        let texts = text(issuer.len())
            + text(user.as_bytes().len())
            + client.as_ref().map_or(0, |client| text(client.len()));
        let words = scopes.words().iter().chain(roles);
        let listed: usize = words.map(|word| size_of::<String>() + text(word.len())).sum();
        OVERHEAD + texts + listed + members(all)
    }

    fn kept_for(&self) -> Duration {
        self.kept_for
    }
}

fn capacity(cache: &config::Cache) -> Capacity {
    Capacity::new(cache.max_entries, cache.max_bytes)
}

/// Bytes that so long a text takes: the allocator rounds up.
fn text(length: usize) -> usize {
    length + length / 8 + size_of::<usize>()
}

fn members(members: &Map<String, Value>) -> usize {
    // the nodes of their tree are half full
    let slot = 2 * (size_of::<String>() + size_of::<Value>());
    members.iter().map(|(name, value)| slot + text(name.len()) + value_size(value)).sum()
}

/// What is not in the value itself.
fn value_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(string) => text(string.len()),
        // it grew by doubling
        Value::Array(items) => items.iter().map(|item| size_of::<Value>() * 3 / 2 + value_size(item)).sum(),
        Value::Object(inner) => members(inner),
    }
}
