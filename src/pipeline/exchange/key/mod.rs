//! The cache key: a digest of everything that decides which token B is the right one.
//!
//! **In:** what a caller may have and what a route wants. **Out:** one digest. **Never:** two requests under one key
//! whose tokens B may not be exchanged for one another.

use std::borrow::Cow;
use std::collections::BTreeSet;

use url::form_urlencoded;

use crate::config::Actor;
use crate::config::AuthorizationServer;
use crate::config::CacheKeyMode;
use crate::config::EntraVersion;
use crate::config::Exchange;
use crate::config::GrantType;
use crate::config::IdentityProvider;
use crate::domain::caller::Claims;
use crate::domain::caller::Principal;
use crate::domain::digest::Digest;
use crate::domain::digest::Hasher;
use crate::domain::tenant::TenantId;
use crate::pipeline::exchange::grant;
use crate::pipeline::exchange::grant::claims::declaring;

/// The profile of tokens that are our own, given to callers that are no users.
const APPLICATIONS: &str = "client-credentials";

/// The profile of tokens that are our own, to say that it is we who act for a user.
const ACTOR: &str = "actor";

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
    /// The SHA-256 of the claims that declare our capabilities; nothing if none are.
    pub capabilities: &'a [u8],
}

impl CacheKey {
    /// The key of the token B that `exchange` at `provider` gives the caller with these `claims`; `None` if Entra is to
    /// give it and the caller is of no tenant.
    pub fn new(
        mode: CacheKeyMode,
        provider: &IdentityProvider,
        exchange: &Exchange,
        claims: &Claims,
    ) -> Option<Self> {
        let tenant = match provider.entra() {
            Some(_) => claims.tenant.as_ref()?.as_str(),
            None => "",
        };
        let (profile, subject, binding) = match claims.principal {
            Principal::User => {
                let binding = match mode {
                    CacheKeyMode::User => claims.claims_digest,
                    CacheKeyMode::Assertion => claims.token_digest,
                };
                (profile(provider, exchange), claims.user.as_bytes(), binding)
            }
            // the token is our own, whichever application it is asked for
            Principal::Application => (APPLICATIONS, &b""[..], Digest::of(b"")),
        };
        Some(Self::of(&Fields {
            profile,
            token_endpoint: &token_endpoint(provider, exchange, claims.tenant.as_ref()),
            tenant,
            subject,
            binding,
            client_id: &client_id(provider),
            target: &target(provider, exchange),
            requested_token_type: grant::requested_token_type(provider, exchange).unwrap_or_default(),
            holder: "",
            scopes: &match provider.entra() {
                Some(_) => canonical_scopes(&exchange.scopes),
                None => case_sensitive_scopes(&exchange.scopes),
            },
            capabilities: &capabilities(provider),
        }))
    }

    /// The key of the token that says at `provider` that it is we who act for a user.
    pub fn of_actor(provider: &IdentityProvider) -> Self {
        Self::of(&Fields {
            profile: ACTOR,
            token_endpoint: &server(provider),
            tenant: "",
            subject: b"",
            binding: Digest::of(b""),
            client_id: &client_id(provider),
            target: &form(grant::extra_parameters(provider).map(pair)),
            requested_token_type: "",
            holder: "",
            scopes: "",
            capabilities: b"",
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
            fields.capabilities,
        ] {
            // no field comes near 4 GiB; one that did would still be told from every shorter one
            hasher.update(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            hasher.update(field);
        }
        Self(hasher.finish())
    }

    /// The key of what is known of this token where it must satisfy claims of that digest.
    pub fn demanding(&self, claims: Digest) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(b"obo-cache-key/claims/v1\0");
        hasher.update(self.0.as_bytes());
        hasher.update(claims.as_bytes());
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

/// Scopes as RFC 6749 section 3.3 compares them: with case, whatever they are.
fn case_sensitive_scopes(scopes: &[String]) -> String {
    let set: BTreeSet<&str> =
        scopes.iter().flat_map(|scopes| scopes.split(' ')).filter(|scope| !scope.is_empty()).collect();
    Vec::from_iter(set).join(" ")
}

fn profile(provider: &IdentityProvider, exchange: &Exchange) -> &'static str {
    match (provider.entra(), exchange.entra_version(), provider.grant) {
        (Some(_), EntraVersion::V1, _) => "entra-v1",
        (Some(_), EntraVersion::V2, _) => "entra-v2",
        (None, _, GrantType::JwtBearer) => "jwt-bearer",
        (None, _, GrantType::TokenExchange) => "rfc8693",
    }
}

fn token_endpoint(provider: &IdentityProvider, exchange: &Exchange, tenant: Option<&TenantId>) -> String {
    match (provider.entra(), tenant) {
        // its host is lower-case: the URL parser saw to that
        (Some(entra), Some(tenant)) => entra.token_endpoint(exchange.entra_version(), tenant),
        _ => server(provider),
    }
}

/// The token endpoint as configured, or else whose it is: where a server's endpoints are may change, and its tokens do
/// not.
fn server(provider: &IdentityProvider) -> String {
    match &provider.server {
        AuthorizationServer::Entra(entra) => entra.origin().to_owned(),
        AuthorizationServer::Oidc(oidc) => match &oidc.token_endpoint {
            Some(url) => url.as_str().to_owned(),
            None => format!("issuer:{}", oidc.issuer),
        },
    }
}

/// Entra compares client ids without case; of others nothing is known.
fn client_id(provider: &IdentityProvider) -> Cow<'_, str> {
    match provider.entra() {
        Some(_) => provider.client_id.to_ascii_lowercase().into(),
        None => provider.client_id.as_str().into(),
    }
}

/// What a token is for, besides its scopes. Extra form parameters may change that, so they count.
fn target(provider: &IdentityProvider, exchange: &Exchange) -> String {
    let actor = (exchange.actor == Actor::Ourselves).then_some(("actor_token", "self"));
    let extra = grant::extra_parameters(provider).map(pair).chain(actor);
    if let (Some(_), [resource], []) = (provider.entra(), &*exchange.resources, &*exchange.audiences) {
        let extra = form(extra);
        return match extra.is_empty() {
            true => resource.clone(),
            // a form holds no line break
            false => format!("{resource}\n{extra}"),
        };
    }
    let audiences = exchange.audiences.iter().map(|audience| ("audience", audience.as_str()));
    let resources = exchange.resources.iter().map(|resource| ("resource", resource.as_str()));
    form(audiences.chain(resources).chain(extra))
}

fn pair((name, value): &(String, String)) -> (&str, &str) {
    (name, value)
}

fn form<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let sorted: BTreeSet<(&str, &str)> = parameters.collect();
    form_urlencoded::Serializer::new(String::new()).extend_pairs(sorted).finish()
}

fn capabilities(provider: &IdentityProvider) -> Vec<u8> {
    let declared = declaring(&provider.client_capabilities);
    declared.map(|claims| Digest::of(claims.as_bytes()).as_bytes().to_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
