//! What an exchange would send, and where: to be told, not sent. Pure.

use http::HeaderValue;
use zeroize::Zeroizing;

use crate::config::Actor;
use crate::config::AuthMethod;
use crate::config::AuthorizationServer;
use crate::config::Exchange;
use crate::config::IdentityProvider;
use crate::domain::caller::Principal;
use crate::domain::tenant::TenantId;
use crate::domain::token::DownstreamToken;
use crate::domain::token::UserToken;
use crate::pipeline::exchange::credential::Proof;
use crate::pipeline::exchange::errand::Place;
use crate::pipeline::exchange::grant;
use crate::pipeline::exchange::grant::Grant;
use crate::pipeline::exchange::grant::Purpose;
use crate::pipeline::exchange::grant::Terms;

/// An exchange as it would be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The token endpoint; `None` = it is the caller's tenant that decides, or the IdP's metadata say where it is.
    pub endpoint: Option<String>,
    /// The form's parameters in their order, but for the proof that it is us.
    pub parameters: Vec<(String, Shown)>,
}

/// The value of a parameter, as far as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// This.
    Text(String),
    /// The caller's token.
    TokenA,
    /// The token that says who acts.
    ActorToken,
    /// What `parameters` in the configuration says, which may be a secret.
    Configured,
}

/// The exchange at `provider` for a caller of that tenant and kind.
pub fn plan(
    provider: &IdentityProvider,
    exchange: &Exchange,
    tenant: Option<&TenantId>,
    principal: Principal,
) -> Plan {
    let given = match &provider.server {
        AuthorizationServer::Oidc(oidc) => oidc.token_endpoint.as_ref().map(ToString::to_string),
        AuthorizationServer::Entra(_) => None,
    };
    let endpoint = given.or_else(|| Place::of(provider, exchange, tenant)?.url);
    let assertion = UserToken::from_authorization(HeaderValue::from_static("Bearer a"), 7);
    let actor = match exchange.actor {
        Actor::Ourselves => DownstreamToken::bearer(Zeroizing::new("b".into())).ok(),
        Actor::Nobody => None,
    };
    let purpose = match (principal, &assertion) {
        (Principal::User, Some(assertion)) => Purpose::User { exchange, assertion, actor: actor.as_ref() },
        // a route that rejects applications does not get here with one
        (Principal::User | Principal::Application, _) => Purpose::Ourselves { exchange },
    };
    // in the header, the client id is there alone
    let proof = match provider.auth_method {
        AuthMethod::ClientSecretBasic => Proof::none(""),
        _ => Proof::none(&provider.client_id),
    };
    let terms = Terms { provider, purpose, claims: None };
    let parameters = Grant::new(&terms, &proof).parameters;
    let is_extra = |name: &str| grant::extra_parameters(provider).any(|(own, _)| own == name);
    let shown = |(name, value): (&str, std::borrow::Cow<'_, str>)| {
        let value = match name {
            "assertion" | "subject_token" => Shown::TokenA,
            "actor_token" => Shown::ActorToken,
            _ if is_extra(name) => Shown::Configured,
            _ => Shown::Text(value.into_owned()),
        };
        (name.to_owned(), value)
    };
    Plan { endpoint, parameters: parameters.into_iter().map(shown).collect() }
}
