//! The cache key: a digest of everything that decides which token B is the right one.
//!
//! **In:** what a caller may have and what a route wants. **Out:** one digest. **Never:** two requests under one key
//! whose tokens B may not be exchanged for one another.

use std::collections::BTreeSet;

use url::form_urlencoded;

use crate::config::CacheKeyMode;
use crate::config::Exchange;
use crate::config::IdentityProvider;
use crate::domain::caller::Claims;
use crate::domain::digest::Digest;
use crate::domain::digest::Hasher;
use crate::domain::tenant::TenantId;

/// What a token B is filed under. Two requests share it only when one's token B is right for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(Digest);

/// The fields of a key. Each is hashed with its length in front, so that no two lists of fields run together.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    /// The kind of exchange.
    pub profile: &'a str,
    /// Where the exchange is made.
    pub token_endpoint: &'a str,
    /// The tenant of token A.
    pub tenant: &'a str,
    /// The user of token A.
    pub subject: &'a [u8],
    /// What of token A must agree.
    pub binding: Digest,
    /// Our client id.
    pub client_id: &'a str,
    /// The resource or audience asked for, and whatever else the form adds.
    pub target: &'a str,
    /// The kind of token asked for.
    pub requested_token_type: &'a str,
    /// Whom token B is bound to.
    pub holder: &'a str,
    /// The scopes asked for, canonical.
    pub scopes: &'a str,
    /// The capabilities declared.
    pub capabilities: &'a str,
}

impl CacheKey {
    /// The key of the token B that `exchange` at `provider` gives the caller with these `claims` of `tenant`.
    pub fn new(
        mode: CacheKeyMode,
        provider: &IdentityProvider,
        exchange: &Exchange,
        claims: &Claims,
        tenant: &TenantId,
    ) -> Self {
        Self::of(&Fields {
            profile: "entra-v2",
            // its host is lower-case: the URL parser saw to that
            token_endpoint: &provider
                .entra()
                .map(|entra| entra.token_endpoint(exchange.entra_version(), tenant))
                .unwrap_or_default(),
            tenant: tenant.as_str(),
            subject: claims.user.as_bytes(),
            binding: match mode {
                CacheKeyMode::User => claims.claims_digest,
                CacheKeyMode::Assertion => claims.token_digest,
            },
            client_id: &provider.client_id.to_ascii_lowercase(),
            target: &extra_parameters(&provider.parameters),
            requested_token_type: exchange.requested_token_type.map_or("", |kind| kind.uri()),
            holder: "",
            scopes: &canonical_scopes(&exchange.scopes),
            capabilities: "",
        })
    }

    /// The key of these fields.
    pub fn of(fields: &Fields<'_>) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(b"obo-cache-key/v1\0");
        for field in [
            fields.profile.as_bytes(),
            fields.token_endpoint.as_bytes(),
            fields.tenant.as_bytes(),
            fields.subject,
            fields.binding.as_bytes(),
            fields.client_id.as_bytes(),
            fields.target.as_bytes(),
            fields.requested_token_type.as_bytes(),
            fields.holder.as_bytes(),
            fields.scopes.as_bytes(),
            fields.capabilities.as_bytes(),
        ] {
            // no field comes near 4 GiB; one that did would still be told from every shorter one
            hasher.update(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            hasher.update(field);
        }
        Self(hasher.finish())
    }

    /// The digest itself.
    pub fn digest(&self) -> Digest {
        self.0
    }
}

/// A key by the digest that was made for it before.
impl From<Digest> for CacheKey {
    fn from(digest: Digest) -> Self {
        Self(digest)
    }
}

/// Scopes as Entra compares them: without case, order and repetition, and without those that ask for no access.
/// For the key only: what is sent is what was configured.
pub fn canonical_scopes(scopes: &[String]) -> String {
    let set: BTreeSet<String> = scopes
        .iter()
        .flat_map(|scopes| scopes.split(' '))
        .map(str::to_ascii_lowercase)
        .filter(|scope| !matches!(scope.as_str(), "" | "openid" | "profile" | "offline_access"))
        .collect();
    Vec::from_iter(set).join(" ")
}

/// Extra form parameters may change what token B is for, so they are part of what it is filed under.
fn extra_parameters(parameters: &[(String, String)]) -> String {
    let sorted: BTreeSet<&(String, String)> = parameters.iter().collect();
    form_urlencoded::Serializer::new(String::new()).extend_pairs(sorted).finish()
}

#[cfg(test)]
mod tests;
