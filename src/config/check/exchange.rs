//! `exchange`: the token that an upstream wants, and whether the identity providers of the route can give it.

use url::Url;

use crate::config::Actor;
use crate::config::AppTokens;
use crate::config::AuthorizationServer;
use crate::config::Exchange;
use crate::config::GrantType;
use crate::config::IdentityProvider;
use crate::config::Policy;
use crate::config::TokenType;
use crate::config::check::At;
use crate::config::check::items;
use crate::config::check::layered::Layered;
use crate::config::check::words::is_scope;
use crate::config::check::words::is_visible;
use crate::config::check::words::words;
use crate::config::wire;
use crate::config::wire::scalar::OneOrMany;

/// Scopes that ask for facts about the user, and for no API (OpenID Connect Core 1.0 sections 5.4 and 11).
const SIGN_IN_SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// What becomes of a caller that is no user.
pub fn app_tokens(layered: &Layered<'_, '_>) -> AppTokens {
    let picked = layered.pick(&["exchange", "app_tokens"], |settings| settings.exchange?.app_tokens);
    match picked {
        Some((wire::route::AppTokens::ClientCredentials, _)) => AppTokens::ClientCredentials,
        Some((wire::route::AppTokens::Reject, _)) | None => AppTokens::Reject,
    }
}

/// The exchange of a route that has one, for callers of `providers` whom `policy` lets in.
pub fn check(
    layered: &Layered<'_, '_>,
    providers: &[&IdentityProvider],
    policy: Option<&Policy>,
) -> Option<Exchange> {
    let target = target(layered)?;
    let scopes = list(target.said.scopes.as_ref(), "a scope", is_scope, &target.at.key("scopes"));
    let resources = list(target.said.resource.as_ref(), "a resource", is_visible, &target.at.key("resource"));
    let audiences =
        list(target.said.audience.as_ref(), "an audience", is_visible, &target.at.key("audience"));
    let actor = layered.pick(&["exchange", "actor"], |settings| settings.exchange?.actor);
    let kind = layered
        .pick(&["exchange", "requested_token_type"], |settings| settings.exchange?.requested_token_type);
    let is_complete = scopes.is_some() && resources.is_some() && audiences.is_some();
    let exchange = Exchange {
        scopes: scopes.unwrap_or_default(),
        resources: resources.unwrap_or_default(),
        audiences: audiences.unwrap_or_default(),
        actor: match actor {
            Some((wire::route::Actor::Ourselves, _)) => Actor::Ourselves,
            None => Actor::Nobody,
        },
        requested_token_type: kind.as_ref().map(|(wanted, _)| token_type(*wanted)),
        app_tokens: app_tokens(layered),
    };
    let request = Request {
        exchange: &exchange,
        providers,
        target: &target.at,
        actor: actor.map(|(_, at)| at),
        kind: kind.map(|(_, at)| at),
        app_tokens: layered
            .pick(&["exchange", "app_tokens"], |settings| settings.exchange?.app_tokens)
            .map(|(_, at)| at),
    };
    request.names_a_target();
    request.suits_entra();
    request.suits_the_grant();
    request.can_be_sent();
    request.suits_applications(policy);
    is_complete.then_some(exchange)
}

/// What the token is for, and where that is said: the route's own words, or else the defaults'. They are one statement:
/// a route that says any of it takes nothing of it from the defaults.
struct Target<'w, 'a> {
    said: &'w wire::route::Exchange,
    at: At<'a>,
}

fn target<'w, 'a>(layered: &Layered<'w, 'a>) -> Option<Target<'w, 'a>> {
    let names_one = |said: &&wire::route::Exchange| {
        said.scopes.is_some() || said.resource.is_some() || said.audience.is_some()
    };
    let own = layered.own.exchange.map(|said| Target { said, at: layered.at.key("exchange") });
    let base = layered.base.exchange.map(|said| Target { said, at: layered.base_at.key("exchange") });
    match (own, base) {
        (Some(own), Some(base)) => {
            Some(if names_one(&own.said) || !names_one(&base.said) { own } else { base })
        }
        (own, base) => own.or(base),
    }
}

fn list(
    written: Option<&OneOrMany>,
    what: &str,
    is_valid: fn(&str) -> bool,
    at: &At<'_>,
) -> Option<Vec<String>> {
    match items(written, at) {
        Some(items) => words(items, what, is_valid),
        None => Some(Vec::new()),
    }
}

fn token_type(written: wire::route::TokenType) -> TokenType {
    match written {
        wire::route::TokenType::Saml1 => TokenType::Saml1,
        wire::route::TokenType::Saml2 => TokenType::Saml2,
        wire::route::TokenType::Jwt => TokenType::Jwt,
        wire::route::TokenType::AccessToken => TokenType::AccessToken,
    }
}

/// An exchange, whom it is asked of, and where its parts stand.
struct Request<'r, 'a> {
    exchange: &'r Exchange,
    providers: &'r [&'r IdentityProvider],
    target: &'r At<'a>,
    actor: Option<At<'a>>,
    kind: Option<At<'a>>,
    app_tokens: Option<At<'a>>,
}

impl Request<'_, '_> {
    fn provider(&self, is_meant: impl Fn(&IdentityProvider) -> bool) -> Option<&IdentityProvider> {
        self.providers.iter().copied().find(|provider| is_meant(provider))
    }

    fn wants_saml(&self) -> bool {
        matches!(self.exchange.requested_token_type, Some(TokenType::Saml1 | TokenType::Saml2))
    }

    fn names_a_target(&self) {
        let Exchange { scopes, resources, audiences, .. } = self.exchange;
        if !(scopes.is_empty() && resources.is_empty() && audiences.is_empty()) {
            return;
        }
        let unclear = ["scopes", "resource", "audience"].iter().any(|key| self.target.key(key).is_poisoned());
        if !unclear && !["scopes", "resource", "audience"].iter().any(|key| self.target.key(key).is_written())
        {
            let help = match self.provider(|provider| provider.entra().is_none()) {
                None => "write what the upstream wants, as in scopes: [api://orders-backend/.default]",
                Some(_) => "write what the upstream wants: scopes, resource or audience",
            };
            self.target.missing("scopes", help);
        }
    }

    fn suits_entra(&self) {
        let Some(entra) = self.provider(|provider| provider.entra().is_some()) else { return };
        let Exchange { scopes, resources, audiences, .. } = self.exchange;
        if !audiences.is_empty() {
            let help = "name the API by its scopes or its resource";
            let message = format!("`{}` is Entra, which knows no `audience`", entra.name);
            self.target.key("audience").key_error(message, help);
        }
        if !scopes.is_empty() && !resources.is_empty() {
            let help = "leave one of them out: with `resource` the token is one of version 1, with `scopes` of version 2";
            let message = format!("`{}` is Entra, which takes `resource` or `scopes`, not both", entra.name);
            self.target.key("resource").key_error(message, help);
        } else if resources.len() > 1 {
            let message = format!("`{}` is Entra, whose tokens are for one resource", entra.name);
            self.target.key("resource").key_error(message, "write one; another needs another route");
        }
        warn_of_mixed(scopes, &self.target.key("scopes"));
        warn_of_resources(scopes, &self.target.key("scopes"));
    }

    fn suits_the_grant(&self) {
        let plain = self.provider(|provider| provider.grant == GrantType::JwtBearer);
        if let Some((provider, at)) = plain.zip(self.actor.as_ref()) {
            let message = format!("`{}` is not told of actors by its grant, jwt_bearer", provider.name);
            at.key_error(message, "leave it out, or write grant: token_exchange there, if it knows that");
        }
        let other =
            self.provider(|provider| provider.grant == GrantType::JwtBearer && provider.entra().is_none());
        if let Some(provider) = other {
            if !self.exchange.audiences.is_empty() {
                let message = format!("`{}` takes no `audience` with its grant, jwt_bearer", provider.name);
                let help = "write scopes or resource, or grant: token_exchange there, if it knows that";
                self.target.key("audience").key_error(message, help);
            }
            if let Some(at) = self.kind.as_ref().filter(|_| self.wants_saml()) {
                let message = format!("`{}` gives no SAML assertion by its grant, jwt_bearer", provider.name);
                at.error_with(
                    message,
                    "only Entra does: write grant: token_exchange there, if it knows that",
                );
            }
        }
        let named = |provider: &IdentityProvider| {
            provider.parameters.iter().any(|(name, _)| name.eq_ignore_ascii_case("requested_token_type"))
        };
        if let Some((provider, at)) = self.provider(named).zip(self.kind.as_ref()) {
            let message = format!("`requested_token_type` is among the `parameters` of `{}`", provider.name);
            at.key_error(message, "leave one of them out");
        }
        let exchanging = self.provider(|provider| provider.grant == GrantType::TokenExchange);
        let is_no_uri = |text: &&String| !Url::parse(text).is_ok_and(|url| url.fragment().is_none());
        if let Some(text) = exchanging.and_then(|_| self.exchange.resources.iter().find(is_no_uri)) {
            let at = self.target.key("resource");
            let message = format!("`{}` is no absolute URI without a fragment", at.shown(text));
            at.warning(message, "RFC 8693 wants one here; names are written as audience");
        }
    }

    /// Whether each provider's token endpoint can be found, and a credential is there where one is needed.
    fn can_be_sent(&self) {
        let is_lost = |provider: &IdentityProvider| match &provider.server {
            AuthorizationServer::Entra(_) => false,
            AuthorizationServer::Oidc(oidc) => oidc.token_endpoint.is_none() && oidc.discovery().is_none(),
        };
        if let Some(provider) = self.provider(is_lost) {
            let message =
                format!("the token endpoint of `{}` is not given, and cannot be discovered", provider.name);
            self.target.key_error(message, "write token_endpoint in its `oidc`");
        }
        let bare = self.provider(|provider| provider.credentials.is_empty());
        if let Some((provider, at)) = bare.zip(self.actor.as_ref()) {
            let message =
                format!("`{}` gives us no token of our own: we have no credential there", provider.name);
            at.key_error(message, "write a credential there, or leave this out");
        }
    }

    fn suits_applications(&self, policy: Option<&Policy>) {
        let Some(at) = self.app_tokens.as_ref() else { return };
        if self.exchange.app_tokens == AppTokens::Reject {
            return;
        }
        if policy.is_some_and(|policy| policy.roles.words().is_empty() && policy.clients.is_empty()) {
            let help = "add require: { roles: [...] } or require: { clients: [...] }";
            at.error_with("`client_credentials` lets every application in that has a token for us", help);
        }
        if let Some(provider) = self.provider(|provider| provider.credentials.is_empty()) {
            let message =
                format!("`{}` gives us no token of our own: we have no credential there", provider.name);
            at.error_with(message, "write a credential there, or app_tokens: reject");
        }
        if self.wants_saml() {
            let help = "SAML assertions are about users: write app_tokens: reject, or another kind of token";
            at.error_with("`client_credentials` gets no SAML assertion", help);
        }
        let single = |scope: &&String| !scope.ends_with("/.default") && !is_sign_in(scope);
        let entra = self.provider(|provider| provider.entra().is_some());
        if let Some(scope) = entra.and_then(|_| self.exchange.scopes.iter().find(single)) {
            let scopes = self.target.key("scopes");
            let message = format!("`{}` is a permission of users", scopes.shown(scope));
            let help = "Entra gives applications tokens for .default alone, else it answers AADSTS1002012";
            scopes.warning(message, help);
        }
    }
}

/// `.default` stands for all permissions that were granted; Entra refuses it beside named ones of the same resource.
fn warn_of_mixed(scopes: &[String], at: &At<'_>) {
    let resource = |scope: &String| {
        scope.rsplit_once('/').map(|(resource, name)| (resource.to_owned(), name == ".default"))
    };
    let split: Vec<(String, bool)> = scopes.iter().filter_map(resource).collect();
    let mixed = split.iter().find(|(resource, whole)| *whole && split.contains(&(resource.clone(), false)));
    if let Some((resource, _)) = mixed {
        let message =
            format!("`{}/.default` stands beside single scopes of the same resource", at.shown(resource));
        at.warning(message, "Entra refuses the mix: ask for .default, or for the single scopes");
    }
}

/// An access token is for one resource, which its scopes name.
fn warn_of_resources(scopes: &[String], at: &At<'_>) {
    if !scopes.is_empty() && scopes.iter().all(|scope| is_sign_in(scope)) {
        let help = "name one of the API behind the upstream, as in api://orders-backend/.default";
        at.warning("none of these scopes belongs to an API", help);
    }
    let mut resources = scopes.iter().filter_map(|scope| Some(scope.rsplit_once('/')?.0));
    let Some(first) = resources.next() else { return };
    if let Some(other) = resources.find(|resource| *resource != first) {
        let message = format!("`{}` and `{}` are two resources", at.shown(first), at.shown(other));
        at.warning(message, "Entra answers AADSTS28000 or AADSTS70011: one resource per exchange");
    }
}

fn is_sign_in(scope: &str) -> bool {
    SIGN_IN_SCOPES.contains(&scope)
}
