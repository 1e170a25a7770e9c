//! Who may pass a route and what happens to the caller's token: `auth`, `token`, `require` and `identity_provider`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Access;
use crate::config::AppTokens;
use crate::config::Demand;
use crate::config::IdentityProvider;
use crate::config::Introspection;
use crate::config::Policy;
use crate::config::Principals;
use crate::config::UnvalidatedToken;
use crate::config::ValidatedToken;
use crate::config::check::At;
use crate::config::check::exchange;
use crate::config::check::identity_provider::share_issuer;
use crate::config::check::items;
use crate::config::check::layered::Layered;
use crate::config::check::lookup;
use crate::config::check::words::is_scope;
use crate::config::check::words::is_word;
use crate::config::check::words::words;
use crate::config::wire;
use crate::config::wire::route::Settings;
use crate::config::wire::route::Token;
use crate::domain::name::Name;

/// What a route says about its callers.
pub fn check(
    layered: &Layered<'_, '_>,
    providers: &BTreeMap<Name, Option<Arc<IdentityProvider>>>,
    root: &At<'_>,
) -> Option<Access> {
    let at = &layered.at;
    let own = &layered.own;
    let is_own = own.auth.is_some() || own.exchange.is_some() || own.token.is_some();
    // a route that says anything about its callers' tokens takes none of that from the defaults
    let said = if is_own { own } else { &layered.base };
    let place = if is_own { at } else { &layered.base_at };
    if said.exchange.is_some() && said.token.is_some() {
        let help = "a token is exchanged or passed on, not both: leave one of them out";
        place.key("token").key_error("`token` and `exchange` exclude each other", help);
    }
    if said.exchange.is_some() && said.auth.is_some() {
        let help = "without a validated token there is nothing to exchange: leave one of them out";
        place.key("exchange").key_error("`exchange` and `auth: anonymous` exclude each other", help);
    }
    // where it says too much, the rest is looked at as that of a route that exchanges
    let is_clear = said.exchange.is_none() || (said.token.is_none() && said.auth.is_none());
    if said.auth.is_some() && said.exchange.is_none() {
        return anonymous(said, layered);
    }
    let principals = match (said.exchange, exchange::app_tokens(layered)) {
        (Some(_), AppTokens::Reject) => Principals::Users,
        (Some(_), AppTokens::ClientCredentials) | (None, _) => Principals::UsersAndApplications,
    };
    let identity_providers = identity_providers(layered, providers, root);
    let names = identity_providers.clone().unwrap_or_default();
    let policy = policy(layered, principals, identity_providers);
    let token = match (said.exchange, said.token) {
        (Some(_), _) => {
            let asked: Vec<&IdentityProvider> =
                names.iter().filter_map(|name| providers.get(name)?.as_deref()).collect();
            exchange::check(layered, &asked, policy.as_ref())
                .map(|exchange| ValidatedToken::Exchange(Arc::new(exchange)))
        }
        (None, Some(Token::Passthrough)) => Some(ValidatedToken::Passthrough),
        (None, Some(Token::Remove)) => Some(ValidatedToken::Remove),
        (None, None) => {
            let unclear = ["auth", "exchange", "token"]
                .iter()
                .any(|key| at.key(key).is_poisoned() || layered.base_at.key(key).is_poisoned());
            if !unclear {
                let help =
                    "add exchange: { scopes: [...] }, token: passthrough, token: remove or auth: anonymous";
                at.key_error("this route does not say what happens to the caller's token", help);
            }
            None
        }
    };
    let access = Access::Validated { policy: policy?, token: token? };
    is_clear.then_some(access)
}

/// Whether tokens are exchanged.
pub fn exchanges(access: &Access) -> bool {
    matches!(access, Access::Validated { token: ValidatedToken::Exchange(_), .. })
}

fn anonymous(said: &Settings<'_>, layered: &Layered<'_, '_>) -> Option<Access> {
    let at = &layered.at;
    let demands = layered.own.require.is_some_and(demands_a_token);
    if demands {
        let help =
            "without a validated token only a client certificate can be required: leave one of them out";
        at.key("require").key_error("`require` and `auth: anonymous` exclude each other", help);
    }
    if layered.own.identity_provider.is_some() {
        let help = "leave it out: no token is validated on an anonymous route";
        at.key("identity_provider").warning("`identity_provider` has no effect with `auth: anonymous`", help);
    }
    (!demands).then_some(Access::Anonymous(match said.token {
        Some(Token::Passthrough) => UnvalidatedToken::Passthrough,
        None | Some(Token::Remove) => UnvalidatedToken::Remove,
    }))
}

/// Whether a token is needed to satisfy it. The certificate is the connection's, not the token's.
fn demands_a_token(require: &wire::route::Require) -> bool {
    let wire::route::Require { scopes, roles, clients, claims, client_certificate } = require;
    let words = scopes.is_some() || roles.is_some() || clients.is_some() || claims.is_some();
    words || client_certificate.is_none()
}

fn policy(
    layered: &Layered<'_, '_>,
    principals: Principals,
    identity_providers: Option<Vec<Name>>,
) -> Option<Policy> {
    let scopes = layered.pick(&["require", "scopes"], |settings| settings.require?.scopes.as_ref());
    let scopes = demand(scopes, "a scope", is_scope);
    let roles = layered.pick(&["require", "roles"], |settings| settings.require?.roles.as_ref());
    let roles = demand(roles, "a role", is_word);
    let clients = layered.pick(&["require", "clients"], |settings| settings.require?.clients.as_ref());
    let clients = match clients {
        Some((list, at)) => items(Some(list), &at).and_then(|items| words(items, "a client id", is_scope)),
        None => Some(Vec::new()),
    };
    let claims = layered.pick(&["require", "claims"], |settings| settings.require?.claims.as_ref());
    let mut pairs = Vec::new();
    if let Some((written, at)) = claims {
        if written.is_empty() && !at.is_poisoned() {
            at.error_with("this map is empty", "leave it out for the default");
        }
        for (claim, value) in written {
            if claim.is_empty() {
                at.key_error("a claim needs a name", "write name: value");
            }
            pairs.push((claim.clone(), value.clone()));
        }
    }
    Some(Policy {
        identity_providers: identity_providers?,
        principals,
        scopes: scopes?,
        roles: roles?,
        clients: clients?,
        claims: pairs,
    })
}

fn identity_providers(
    layered: &Layered<'_, '_>,
    providers: &BTreeMap<Name, Option<Arc<IdentityProvider>>>,
    root: &At<'_>,
) -> Option<Vec<Name>> {
    let picked = layered.pick(&["identity_provider"], |settings| settings.identity_provider);
    let Some((written, at)) = picked else {
        let mut names = providers.keys();
        return match (names.next(), names.next()) {
            (Some(only), None) => Some(vec![only.clone()]),
            (None, _) => {
                let help = "write whose tokens are accepted, or make every route auth: anonymous";
                root.missing("identity_providers", help);
                None
            }
            (Some(_), Some(_)) => {
                let all: Vec<&str> = providers.keys().map(Name::as_str).collect();
                let help = format!("there are several: name one or more of {}", all.join(", "));
                layered.at.missing("identity_provider", help);
                None
            }
        };
    };
    let mut names: Vec<Name> = Vec::new();
    let mut complete = true;
    for (text, at) in items(Some(written), &at)? {
        let is_broken =
            root.key("identity_providers").key(text).is_poisoned() && !providers.contains_key(text);
        let found = if is_broken { None } else { lookup(providers, text, "identity provider", &at) };
        let Some((name, provider)) = found else {
            complete = false;
            continue;
        };
        if names.contains(name) {
            continue;
        }
        let together = |suits: fn(&IdentityProvider, &IdentityProvider) -> bool| {
            names.iter().find(|other| {
                let other = providers.get(*other).and_then(Option::as_deref);
                provider.as_deref().zip(other).is_some_and(|(one, other)| suits(one, other))
            })
        };
        if let Some(other) = together(share_issuer) {
            let help = "a token's issuer tells which one it belongs to: name only one of them";
            at.error_with(format!("`{name}` and `{other}` accept tokens of the same issuer"), help);
            complete = false;
        }
        if let Some(other) = together(both_introspect) {
            let help = "a token that is no JWT does not say whose it is, and is shown to nobody else: name only one of them";
            at.error_with(format!("`{name}` and `{other}` are both asked about tokens"), help);
            complete = false;
        }
        names.push(name.clone());
    }
    (complete && !names.is_empty()).then_some(names)
}

fn both_introspect(one: &IdentityProvider, other: &IdentityProvider) -> bool {
    one.introspection == Introspection::On && other.introspection == Introspection::On
}

fn demand(
    picked: Option<(&wire::route::Demand, At<'_>)>,
    what: &str,
    is_valid: fn(&str) -> bool,
) -> Option<Demand> {
    let Some((written, at)) = picked else { return Some(Demand::All(Vec::new())) };
    match written {
        wire::route::Demand::List(list) => words(items(Some(list), &at)?, what, is_valid).map(Demand::All),
        wire::route::Demand::Map(parts) => {
            let part = |list, key| Some(words(items(list, &at.key(key))?, what, is_valid));
            match (part(parts.any_of.as_ref(), "any_of"), part(parts.all_of.as_ref(), "all_of")) {
                (Some(words), None) => words.map(Demand::Any),
                (None, Some(words)) => words.map(Demand::All),
                _ => {
                    if !at.is_poisoned() {
                        let help = "write [a, b] for all of them";
                        at.error_with("this must hold exactly one of any_of and all_of", help);
                    }
                    None
                }
            }
        }
    }
}
