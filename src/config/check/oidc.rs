//! `identity_providers.*.oidc`: any other identity provider than Entra.

use crate::config::Introspection;
use crate::config::Oidc;
use crate::config::check::At;
use crate::config::check::endpoint;
use crate::config::check::visible;
use crate::config::wire;

/// What an `oidc` map says.
pub fn check(
    wire: &wire::identity_provider::Oidc,
    introspection: Introspection,
    at: &At<'_>,
) -> Option<Oidc> {
    let endpoint = |text: Option<&String>, key: &str| match text {
        Some(text) => endpoint::of_identity_provider(text, &at.key(key)).map(Some),
        None => Some(None),
    };
    let jwks_uri = endpoint(wire.jwks_uri.as_ref(), "jwks_uri");
    let token_endpoint = endpoint(wire.token_endpoint.as_ref(), "token_endpoint");
    let introspection_endpoint = endpoint(wire.introspection_endpoint.as_ref(), "introspection_endpoint");
    let authorization_endpoint = endpoint(wire.authorization_endpoint.as_ref(), "authorization_endpoint");
    if introspection == Introspection::Off && wire.introspection_endpoint.is_some() {
        at.key("introspection_endpoint").warning(
            "`introspection_endpoint` has no effect without `introspection: true`",
            "add that beside `oidc`, or leave this out",
        );
    }
    let Some(issuer) = &wire.issuer else {
        at.missing("issuer", "write the `iss` of its tokens, as in issuer: https://id.example/realms/b2b");
        return None;
    };
    let oidc = Oidc {
        issuer: visible(issuer, "an issuer", &at.key("issuer"))?,
        jwks_uri: jwks_uri?,
        token_endpoint: token_endpoint?,
        introspection_endpoint: introspection_endpoint?,
        authorization_endpoint: authorization_endpoint?,
    };
    can_be_asked(&oidc, introspection, at).then_some(oidc)
}

/// Whether what validation needs is given, where discovery has nowhere to begin. What exchanges need is asked for where
/// a route wants one.
fn can_be_asked(oidc: &Oidc, introspection: Introspection, at: &At<'_>) -> bool {
    if oidc.discovery().is_some() {
        return true;
    }
    let is_unclear = |key: &str| at.key(key).is_poisoned();
    let (given, key, help) = match introspection {
        Introspection::Off => {
            let help = "if its tokens name an https:// issuer, write that; if not, write jwks_uri, and token_endpoint if a route exchanges";
            (oidc.jwks_uri.is_some(), "jwks_uri", help)
        }
        Introspection::On => {
            let help = "if its tokens name an https:// issuer, write that; if not, write introspection_endpoint, and token_endpoint if a route exchanges";
            (oidc.introspection_endpoint.is_some(), "introspection_endpoint", help)
        }
    };
    if !given && !is_unclear(key) {
        let at = at.key("issuer");
        let issuer = at.shown(&oidc.issuer);
        at.error_with(format!("discovery cannot begin at `{issuer}`: it is not a plain https:// URL"), help);
    }
    given
}
