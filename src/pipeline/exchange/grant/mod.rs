//! The form that is sent to the token endpoint, by the kind of grant:
//!
//! * the JWT bearer grant (RFC 7523), at Entra On-Behalf-Of a user:
//!   <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow>,
//! * the token exchange (RFC 8693),
//! * our own client credentials (RFC 6749 section 4.4).
//!
//! **In:** provider, what is wanted and for whom, the proof that it is us. **Out:** parameters, and the encoded form. **Never:** a
//! parameter twice but those that may be, a user's token in a request of our own, a secret unencoded, I/O.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::config::EntraVersion;
use crate::config::Exchange;
use crate::config::GrantType;
use crate::config::IdentityProvider;
use crate::config::TokenType;
use crate::domain::token::DownstreamToken;
use crate::domain::token::UserToken;
use crate::pipeline::exchange::credential::Proof;

pub mod claims;

/// Parameters that the configuration's own never replace.
const OURS: [&str; 13] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion_type",
    "client_assertion",
    "assertion",
    "subject_token",
    "actor_token",
    "actor_token_type",
    "scope",
    "resource",
    "audience",
    "claims",
];

/// Parameters that speak of a user's token: the configuration's own replace them, and they are not sent without one.
const OF_THE_USER: [&str; 3] = ["requested_token_use", "requested_token_type", "subject_token_type"];

/// What a token is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Of whom.
    pub provider: &'a IdentityProvider,
    /// For whom.
    pub purpose: Purpose<'a>,
    /// The claims of a challenge that the token must satisfy: a JSON object as text.
    pub claims: Option<&'a str>,
}

/// For whom a token is asked.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// For a user.
    User {
        /// What the route wants.
        exchange: &'a Exchange,
        /// The user's token A.
        assertion: &'a UserToken,
        /// The token that says who acts for the user, where that is said.
        actor: Option<&'a DownstreamToken>,
    },
    /// For ourselves, in the place of a caller that is no user.
    Ourselves {
        /// What the route wants.
        exchange: &'a Exchange,
    },
    /// For ourselves, to say that it is we who act for a user.
    Actor,
}

/// What a token request says. It has no `Debug`: it holds token A and our secret.
pub struct Grant<'a> {
    /// The form's parameters.
    pub parameters: Vec<(&'a str, Cow<'a, str>)>,
    /// The proof that it is us, where it is not in the form.
    pub authorization: Option<HeaderValue>,
}

impl<'a> Grant<'a> {
    /// The request on these terms, of the client that `proof` shows us to be.
    pub fn new(terms: &Terms<'a>, proof: &'a Proof) -> Self {
        let Terms { provider, purpose, .. } = *terms;
        let extra = provider.parameters.iter().filter(|(name, _)| purpose.admits(name));
        let parameters = extra.map(|(name, value)| (name.as_str(), value.as_str().into())).collect();
        let mut grant = Self { parameters, authorization: proof.authorization.clone() };
        for (name, value) in &proof.parameters {
            grant.put(name, value.expose());
        }
        match purpose {
            Purpose::User { exchange, assertion, actor } => {
                match provider.grant {
                    GrantType::JwtBearer => grant.jwt_bearer(provider, assertion),
                    GrantType::TokenExchange => grant.token_exchange(assertion, actor),
                }
                grant.target(provider, exchange);
                if let Some(kind) = exchange.requested_token_type {
                    grant.put_unless_set("requested_token_type", kind.uri());
                }
                if is_version_1(provider, exchange) && !wants_saml(terms.requested_token_type()) {
                    // https://learn.microsoft.com/previous-versions/azure/active-directory/azuread-dev/v1-oauth2-on-behalf-of-flow
                    grant.put("scope", "openid");
                }
            }
            Purpose::Ourselves { exchange } => {
                grant.put("grant_type", "client_credentials");
                grant.target(provider, exchange);
            }
            Purpose::Actor => grant.put("grant_type", "client_credentials"),
        }
        if let Some(claims) = terms.claims() {
            grant.put("claims", claims);
        }
        grant
    }

    /// The form, encoded. Its memory is wiped when the last clone is dropped.
    pub fn body(&self) -> Bytes {
        // a byte becomes three at most: with this much room no copy is left behind by growing
        let room = self.parameters.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
        let mut form = form_urlencoded::Serializer::new(String::with_capacity(room));
        form.extend_pairs(&self.parameters);
        Bytes::from_owner(Zeroizing::new(form.finish().into_bytes()))
    }

    /// RFC 7523 section 2.1. Entra wants to hear that the token is of a user on whose behalf we act; others hear it
    /// only if the configuration says so.
    fn jwt_bearer(&mut self, provider: &IdentityProvider, assertion: &'a UserToken) {
        self.put("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
        self.put("assertion", assertion.expose());
        if provider.entra().is_some() {
            self.put_unless_set("requested_token_use", "on_behalf_of");
        }
    }

    /// RFC 8693 section 2.1.
    fn token_exchange(&mut self, assertion: &'a UserToken, actor: Option<&'a DownstreamToken>) {
        self.put("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
        self.put("subject_token", assertion.expose());
        self.put_unless_set("subject_token_type", TokenType::AccessToken.uri());
        if let Some(actor) = actor {
            self.put("actor_token", actor.expose());
            self.put("actor_token_type", TokenType::AccessToken.uri());
        }
    }

    /// Where the token is to be used. Entra's second version takes scopes alone, its first one resource alone.
    fn target(&mut self, provider: &IdentityProvider, exchange: &'a Exchange) {
        if !is_version_1(provider, exchange) && !exchange.scopes.is_empty() {
            self.put("scope", exchange.scopes.join(" "));
        }
        for resource in &exchange.resources {
            self.put("resource", resource.as_str());
        }
        for audience in &exchange.audiences {
            self.put("audience", audience.as_str());
        }
    }

    fn put(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        self.parameters.push((name, value.into()));
    }

    fn put_unless_set(&mut self, name: &'a str, value: &'a str) {
        if !self.parameters.iter().any(|(set, _)| *set == name) {
            self.put(name, value);
        }
    }
}

impl Terms<'_> {
    /// The kind of token that is asked for, if one is: what the configuration adds to every exchange comes before what
    /// the route says, as some IdPs have words of their own for it.
    pub fn requested_token_type(&self) -> Option<&str> {
        match self.purpose {
            Purpose::User { exchange, .. } => requested_token_type(self.provider, exchange),
            Purpose::Ourselves { .. } | Purpose::Actor => None,
        }
    }

    /// The claims that are asked for: the capabilities we declare, and those of the challenge.
    fn claims(&self) -> Option<String> {
        let declared = claims::declaring(&self.provider.client_capabilities);
        match (declared, self.claims) {
            (Some(declared), Some(demanded)) => Some(claims::merged(&declared, demanded)),
            (declared, demanded) => declared.or_else(|| demanded.map(str::to_owned)),
        }
    }
}

impl Purpose<'_> {
    /// Whether an extra parameter of that name is sent for this purpose.
    fn admits(&self, name: &str) -> bool {
        let is_sent = match self {
            Self::User { .. } => true,
            Self::Ourselves { .. } | Self::Actor => !OF_THE_USER.contains(&name),
        };
        is_sent && !OURS.contains(&name)
    }
}

/// The kind of token that is asked for on behalf of a user, if one is.
pub fn requested_token_type<'a>(provider: &'a IdentityProvider, exchange: &Exchange) -> Option<&'a str> {
    parameter(provider, "requested_token_type").or_else(|| exchange.requested_token_type.map(TokenType::uri))
}

/// Whether that token type is a SAML assertion.
pub fn wants_saml(requested: Option<&str>) -> bool {
    [TokenType::Saml1, TokenType::Saml2].iter().any(|saml| requested == Some(saml.uri()))
}

fn is_version_1(provider: &IdentityProvider, exchange: &Exchange) -> bool {
    provider.entra().is_some() && exchange.entra_version() == EntraVersion::V1
}

fn parameter<'a>(provider: &'a IdentityProvider, wanted: &str) -> Option<&'a str> {
    provider.parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests;
