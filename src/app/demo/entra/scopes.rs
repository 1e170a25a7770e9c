//! Which API a token request is about, and what of it.

use crate::app::demo::entra::answers::Refusal;
use crate::app::demo::entra::settings::Downstream;

/// What a `scope` parameter comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Granted {
    /// The API.
    pub resource: String,
    /// Its scopes, without the resource, spelled as registered.
    pub scopes: Vec<String>,
    /// What the answer's `scope` says: fully qualified, `.default` too if it was asked for.
    pub answered: String,
    /// Whether a refresh token was asked for.
    pub refresh: Refresh,
}

/// Whether `offline_access` was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // their names say it
pub enum Refresh {
    Wanted,
    Unwanted,
}

const OPENID: [&str; 4] = ["openid", "profile", "email", "offline_access"];
const DEFAULT: &str = ".default";

/// What `scope` asks of the APIs that are registered.
///
/// # Errors
/// If it asks for nothing, for several APIs at once, or for what is not there.
pub fn grant(scope: &str, registered: &[Downstream]) -> Result<Granted, Refusal> {
    let words: Vec<&str> = scope.split(' ').filter(|word| !word.is_empty()).collect();
    let is_openid = |word: &&&str| OPENID.contains(*word);
    let wanted: Vec<&str> = words.iter().filter(|word| !is_openid(word)).copied().collect();
    let (first, _) = wanted.first().map(|word| split(word)).ok_or_else(|| {
        invalid("The provided request must include a 'scope' input parameter that names a resource.")
    })?;
    if wanted.iter().any(|word| split(word).0 != first) {
        return Err(invalid(
            "The provided value for the input parameter 'scope' is not valid. It contains \
                            more than one resource.",
        ));
    }
    let api = registered.iter().find(|api| api.resource == first).ok_or_else(|| {
        let text = format!("The resource principal named {first} was not found in the tenant.");
        Refusal::new("invalid_resource", 500_011, text)
    })?;
    let names: Vec<&str> = wanted.iter().map(|word| split(word).1).collect();
    let asks_default = names.contains(&DEFAULT);
    if asks_default && names.iter().any(|name| *name != DEFAULT) {
        return Err(invalid(".default scope can't be combined with resource-specific scopes."));
    }
    let scopes = match asks_default {
        true if api.scopes.iter().any(|own| own == DEFAULT) => {
            api.scopes.iter().filter(|own| *own != DEFAULT).cloned().collect()
        }
        true => return Err(unknown(first, DEFAULT)),
        false => explicit(&names, api)?,
    };
    let qualified = scopes.iter().map(String::as_str).chain(asks_default.then_some(DEFAULT));
    let answered = qualified.map(|name| format!("{first}/{name}")).collect::<Vec<_>>().join(" ");
    let refresh = match words.contains(&"offline_access") {
        true => Refresh::Wanted,
        false => Refresh::Unwanted,
    };
    Ok(Granted { resource: first.to_owned(), scopes, answered, refresh })
}

/// Scopes are compared without case, as Entra does, and answered once each.
fn explicit(names: &[&str], api: &Downstream) -> Result<Vec<String>, Refusal> {
    let mut scopes: Vec<String> = Vec::new();
    for name in names {
        let own = api.scopes.iter().find(|own| own.eq_ignore_ascii_case(name));
        let own = own.ok_or_else(|| unknown(&api.resource, name))?;
        if !scopes.contains(own) {
            scopes.push(own.clone());
        }
    }
    Ok(scopes)
}

/// Resource and scope name. A scope without a resource is one of Microsoft Graph.
fn split(scope: &str) -> (&str, &str) {
    match scope.rsplit_once('/') {
        Some((resource, name)) if resource.contains("://") => (resource, name),
        _ => ("https://graph.microsoft.com", scope),
    }
}

fn unknown(resource: &str, name: &str) -> Refusal {
    invalid(&format!(
        "The provided value for the input parameter 'scope' is not valid. The scope {resource}/{name} does \
         not exist."
    ))
}

fn invalid(text: &str) -> Refusal {
    Refusal::new("invalid_scope", 70_011, text)
}
