//! How the stages stand at a moment, for operators.
//!
//! **In:** the stages. **Out:** numbers and states. **Never:** a token, a key, a claim; a change of anything.

use crate::domain::caller::UserKey;
use crate::domain::caller::user_digest;
use crate::domain::tenant::TenantId;
use crate::pipeline::Pipeline;
use crate::pipeline::authenticate::survey::KeysInUse;
use crate::pipeline::authenticate::survey::Remembered;
use crate::pipeline::exchange::survey::Holdings;
use crate::pipeline::exchange::survey::TokenEndpointState;
use crate::telemetry::events::Events;

/// How the stages stand.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Every set of keys, of every identity provider.
    pub keys: Vec<KeysInUse>,
    /// The token endpoints that were asked so far.
    pub token_endpoints: Vec<TokenEndpointState>,
    /// The token cache.
    pub cache: Holdings,
    /// The tokens that need no second look.
    pub validated: Remembered,
}

/// A user, as an operator may know one.
#[derive(Clone, Debug)]
pub enum KnownUser<'a> {
    /// Of Entra: tenant and object id.
    Entra(&'a TenantId, &'a str),
    /// Of any other: issuer and subject.
    Subject(&'a str, &'a str),
}

impl Pipeline {
    /// How the stages stand now.
    pub fn survey(&self) -> Survey {
        let (cache, token_endpoints) = self.stages.exchanger.survey();
        let (keys, validated) = self.stages.authenticator.survey();
        Survey { keys, token_endpoints, cache, validated }
    }

    /// What was refused lately.
    pub fn events(&self) -> &Events {
        self.stages.observer.events()
    }

    /// What the log calls a user (its field `user`).
    pub fn word_for(&self, user: &KnownUser<'_>) -> String {
        let digest = match user {
            KnownUser::Entra(tenant, oid) => user_digest(Some(tenant), &UserKey::entra(oid)),
            KnownUser::Subject(issuer, subject) => user_digest(None, &UserKey::subject(issuer, subject)),
        };
        self.stages.observer.user_hash().word(digest)
    }
}
