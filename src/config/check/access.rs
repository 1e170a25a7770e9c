//! Who may pass a route and what happens to the caller's token: `auth`, `exchange`, `token`, `require` and
//! `identity_provider`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::Access;
use crate::config::Actor;
use crate::config::AppTokens;
use crate::config::Demand;
use crate::config::Exchange;
use crate::config::IdentityProvider;
use crate::config::Policy;
use crate::config::Principals;
use crate::config::TokenType;
use crate::config::UnvalidatedToken;
use crate::config::ValidatedToken;
use crate::config::check::At;
use crate::config::check::entra;
use crate::config::check::items;
use crate::config::check::layered::Layered;
use crate::config::check::lookup;
use crate::config::wire;
use crate::config::wire::route::Settings;
use crate::config::wire::route::Token;
use crate::domain::name::Name;

/// Scopes that ask for facts about the user, and for no API (OpenID Connect Core 1.0 sections 5.4 and 11).
const SIGN_IN_SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

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
        return None;
    }
    if said.exchange.is_some() && said.auth.is_some() {
        let help = "without a validated token there is nothing to exchange: leave one of them out";
        place.key("exchange").key_error("`exchange` and `auth: anonymous` exclude each other", help);
        return None;
    }
    if said.auth.is_some() {
        return anonymous(said, layered);
    }
    let token = match (said.exchange, said.token) {
        (Some(_), _) => exchange(layered).map(|exchange| ValidatedToken::Exchange(Arc::new(exchange))),
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
    let principals = match said.exchange {
        Some(_) => Principals::Users,
        None => Principals::UsersAndApplications,
    };
    let policy = policy(layered, principals, providers, root);
    Some(Access::Validated { policy: policy?, token: token? })
}

/// Whether tokens are exchanged.
pub fn exchanges(access: &Access) -> bool {
    matches!(access, Access::Validated { token: ValidatedToken::Exchange(_), .. })
}

fn anonymous(said: &Settings<'_>, layered: &Layered<'_, '_>) -> Option<Access> {
    let at = &layered.at;
    if layered.own.require.is_some() {
        let help = "without a validated token nothing can be required: leave one of them out";
        at.key("require").key_error("`require` and `auth: anonymous` exclude each other", help);
        return None;
    }
    if layered.own.identity_provider.is_some() {
        let help = "leave it out: no token is validated on an anonymous route";
        at.key("identity_provider").warning("`identity_provider` has no effect with `auth: anonymous`", help);
    }
    Some(Access::Anonymous(match said.token {
        Some(Token::Passthrough) => UnvalidatedToken::Passthrough,
        None | Some(Token::Remove) => UnvalidatedToken::Remove,
    }))
}

fn policy(
    layered: &Layered<'_, '_>,
    principals: Principals,
    providers: &BTreeMap<Name, Option<Arc<IdentityProvider>>>,
    root: &At<'_>,
) -> Option<Policy> {
    let identity_providers = identity_providers(layered, providers, root);
    let scopes = layered.pick(&["require", "scopes"], |settings| settings.require?.scopes.as_ref());
    let scopes = demand(scopes, "a scope", is_scope);
    let roles = layered.pick(&["require", "roles"], |settings| settings.require?.roles.as_ref());
    let roles = demand(roles, "a role", is_word);
    let clients = layered.pick(&["require", "clients"], |settings| settings.require?.clients.as_ref());
    let clients = match clients {
        Some((list, at)) => words(items(Some(list), &at)?, "a client id", is_scope),
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
    for (text, at) in items(Some(written), &at)? {
        if root.key("identity_providers").key(text).is_poisoned() && !providers.contains_key(text) {
            return None;
        }
        let (name, provider) = lookup(providers, text, "identity provider", &at)?;
        if names.contains(name) {
            continue;
        }
        let same = names.iter().find(|other| {
            let other = providers.get(*other).and_then(Option::as_ref);
            provider
                .as_ref()
                .zip(other)
                .and_then(|(one, other)| one.entra().zip(other.entra()))
                .is_some_and(|(one, other)| entra::share_issuer(one, other))
        });
        if let Some(other) = same {
            let help = "a token's issuer tells which one it belongs to: name only one of them";
            at.error_with(format!("`{name}` and `{other}` accept tokens of the same issuer"), help);
            return None;
        }
        names.push(name.clone());
    }
    (!names.is_empty()).then_some(names)
}

fn demand(
    picked: Option<(&wire::route::Demand, At<'_>)>,
    what: &str,
    is_valid: fn(&str) -> bool,
) -> Option<Demand> {
    let Some((written, at)) = picked else { return Some(Demand::All(Vec::new())) };
    match written {
        wire::route::Demand::List(list) => words(items(Some(list), &at)?, what, is_valid).map(Demand::All),
        wire::route::Demand::Map(parts) => match (&parts.any_of, &parts.all_of) {
            (Some(list), None) => {
                words(items(Some(list), &at.key("any_of"))?, what, is_valid).map(Demand::Any)
            }
            (None, Some(list)) => {
                words(items(Some(list), &at.key("all_of"))?, what, is_valid).map(Demand::All)
            }
            _ => {
                if !at.is_poisoned() {
                    at.error_with(
                        "this must hold exactly one of any_of and all_of",
                        "write [a, b] for all of them",
                    );
                }
                None
            }
        },
    }
}

fn exchange(layered: &Layered<'_, '_>) -> Option<Exchange> {
    let (said, at) = match layered.own.exchange {
        Some(own) => (own, layered.at.key("exchange")),
        None => (layered.base.exchange?, layered.base_at.key("exchange")),
    };
    let scopes = layered.pick(&["exchange", "scopes"], |settings| settings.exchange?.scopes.as_ref());
    let Some((written, scopes_at)) = scopes else {
        at.missing("scopes", "write what the upstream wants, as in scopes: [api://orders-backend/.default]");
        return None;
    };
    let scopes = words(items(Some(written), &scopes_at)?, "a scope", is_scope)?;
    warn_of_mixed(&scopes, &scopes_at);
    warn_of_resources(&scopes, &scopes_at);
    // the only choice there is: a second one will not compile until it is handled here
    let (None | Some(wire::route::AppTokens::Reject)) = said.app_tokens;
    let wanted = layered
        .pick(&["exchange", "requested_token_type"], |settings| settings.exchange?.requested_token_type);
    let requested_token_type = wanted.map(|(wanted, _)| match wanted {
        wire::route::TokenType::Saml1 => TokenType::Saml1,
        wire::route::TokenType::Saml2 => TokenType::Saml2,
        wire::route::TokenType::Jwt => TokenType::Jwt,
        wire::route::TokenType::AccessToken => TokenType::AccessToken,
    });
    (!scopes.is_empty()).then_some(Exchange {
        scopes,
        resources: Vec::new(),
        audiences: Vec::new(),
        actor: Actor::Nobody,
        requested_token_type,
        app_tokens: AppTokens::Reject,
    })
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
    if !scopes.is_empty() && scopes.iter().all(|scope| SIGN_IN_SCOPES.contains(&scope.as_str())) {
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

fn words(items: Vec<(&str, At<'_>)>, what: &str, is_valid: fn(&str) -> bool) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut complete = true;
    for (text, at) in items {
        if is_valid(text) {
            words.push(text.to_owned());
        } else {
            let message = format!("`{}` is not {what}", at.shown(text));
            match text.contains(' ') {
                true => at.error_with(message, at.list_form()),
                false => at.error(message),
            }
            complete = false;
        }
    }
    complete.then_some(words)
}

/// `scope-token` of RFC 6749 section 3.3.
fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

fn is_word(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}
