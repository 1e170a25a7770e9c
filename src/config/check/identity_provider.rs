//! `identity_providers`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Algorithm;
use crate::config::AuthMethod;
use crate::config::AuthorizationServer;
use crate::config::ClaimNames;
use crate::config::Credential;
use crate::config::GrantType;
use crate::config::IdentityProvider;
use crate::config::Introspection;
use crate::config::Jwks;
use crate::config::ResourceMetadata;
use crate::config::check::At;
use crate::config::check::entra;
use crate::config::check::items;
use crate::config::check::name;
use crate::config::check::positive;
use crate::config::check::upstream;
use crate::config::tree::closest;
use crate::config::wire;
use crate::domain::name::Name;
use crate::domain::secret::Secret;
use crate::domain::tenant::TenantId;

/// The most that clocks may be said to differ.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Form parameters that the exchange itself sends.
const OWN_PARAMETERS: [&str; 14] = [
    "grant_type",
    "assertion",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "requested_token_use",
    "requested_token_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "claims",
];

/// All providers; one with an error in it is `None`, so that its name still resolves.
pub fn all(
    written: Option<&BTreeMap<String, wire::identity_provider::IdentityProvider>>,
    at: &At<'_>,
) -> BTreeMap<Name, Option<Arc<IdentityProvider>>> {
    let one = |(text, wire): (&String, &wire::identity_provider::IdentityProvider)| {
        let at = at.key(text);
        let name = name(text, &at)?;
        Some((name.clone(), provider(name, wire, &at).map(Arc::new)))
    };
    written.into_iter().flatten().filter_map(one).collect()
}

fn provider(
    name: Name,
    wire: &wire::identity_provider::IdentityProvider,
    at: &At<'_>,
) -> Option<IdentityProvider> {
    let entra = match &wire.entra {
        Some(wire) => entra::check(wire, &at.key("entra")),
        None if at.key("entra").is_poisoned() => None,
        None => {
            at.missing("entra", "write entra: { tenant: ID }, or entra: {} to take it from AZURE_TENANT_ID");
            None
        }
    };
    let client_id = client_id(wire, at);
    let audiences_at = at.key("audiences");
    let audiences = items(wire.audiences.as_ref(), &audiences_at).map(|items| {
        let one = |(text, at): (&str, At<'_>)| visible(text, "an audience", &at);
        items.into_iter().filter_map(one).collect::<Vec<_>>()
    });
    let clock_skew = wire.clock_skew.map_or(Duration::from_secs(60), |text| text.0);
    if clock_skew > MAX_CLOCK_SKEW {
        let help = "expired tokens are accepted for that long: fix the clocks instead";
        at.key("clock_skew").error_with("this must be 300s at most", help);
    }
    let credentials = credentials(wire.credential.as_ref(), at);
    let jwks = wire.jwks.as_ref();
    let jwks_at = at.key("jwks");
    let refresh = jwks.and_then(|jwks| jwks.refresh);
    let cooldown = jwks.and_then(|jwks| jwks.cooldown);
    let jwks = Jwks {
        refresh: positive(refresh, Duration::from_secs(3600), &jwks_at.key("refresh")),
        cooldown: positive(cooldown, Duration::from_secs(30), &jwks_at.key("cooldown")),
    };
    let timeout = positive(wire.timeout, Duration::from_secs(5), &at.key("timeout"));
    let algorithms = algorithms(wire, &at.key("algorithms"));
    let token_types = token_types(wire, &at.key("token_types"));
    let claim_names = claim_names(wire.claim_names.as_ref(), &at.key("claim_names"));
    let parameters = parameters(wire.parameters.as_ref(), &at.key("parameters"));
    // the only grant there is: a second one will not compile until it is handled here
    let (None | Some(wire::identity_provider::Grant::JwtBearer)) = wire.grant;
    let client_id = client_id?;
    Some(IdentityProvider {
        name,
        server: AuthorizationServer::Entra(entra?),
        audiences: audiences.unwrap_or_else(|| vec![client_id.clone(), format!("api://{client_id}")]),
        client_id,
        credentials,
        auth_method: match wire.auth_method {
            None | Some(wire::identity_provider::AuthMethod::ClientSecretPost) => {
                AuthMethod::ClientSecretPost
            }
            Some(wire::identity_provider::AuthMethod::ClientSecretBasic) => AuthMethod::ClientSecretBasic,
        },
        grant: GrantType::JwtBearer,
        client_capabilities: Vec::new(),
        introspection: Introspection::Off,
        resource_metadata: ResourceMetadata::Hidden,
        clock_skew,
        timeout,
        jwks,
        algorithms,
        token_types,
        claim_names,
        parameters,
    })
}

fn client_id(wire: &wire::identity_provider::IdentityProvider, at: &At<'_>) -> Option<String> {
    match wire.client_id.as_deref().or_else(|| at.environment("AZURE_CLIENT_ID")) {
        Some(text) => {
            let at = at.key("client_id");
            let client_id = visible(text, "a client id", &at)?;
            if !is_guid(&client_id) {
                // not quoted: it may be the secret, in the wrong place
                at.warning("this is no client id of Entra's", "Entra's client ids are GUIDs");
            }
            Some(client_id)
        }
        None => {
            at.missing("client_id", "write our application (client) id, or set AZURE_CLIENT_ID");
            None
        }
    }
}

fn credentials(written: Option<&wire::identity_provider::Credentials>, at: &At<'_>) -> Vec<Credential> {
    let here = at.key("credential");
    let Some(written) = written else {
        at.missing("credential", "write credential: { secret: { file: PATH } }");
        return Vec::new();
    };
    if written.0.is_empty() && !here.is_poisoned() {
        here.error_with("this list is empty", "write one credential, or two while one replaces the other");
    }
    if written.0.len() > 2 {
        here.error_with("there are more than two credentials", "two are enough to replace one by the other");
    }
    let one = |(item, credential): (usize, &wire::identity_provider::Credential)| {
        let at = here.item(item);
        match &credential.secret {
            Some(secret) => self::secret(secret, &at.key("secret")),
            None => {
                at.missing("secret", "write secret: { file: PATH }");
                None
            }
        }
    };
    written.0.iter().enumerate().filter_map(one).collect()
}

fn secret(written: &wire::identity_provider::Secret, at: &At<'_>) -> Option<Credential> {
    let help = "write exactly one of file, env and value";
    match (&written.file, &written.env, &written.value) {
        (Some(file), None, None) => {
            let at = at.key("file");
            let path = upstream::path(file, &at)?;
            at.look_at(&path, "exchanges that need it are answered with 502 until it can be read");
            Some(Credential::SecretFile(path))
        }
        (None, Some(variable), None) => {
            let at = at.key("env");
            let found = at.environment(variable);
            match found.and_then(Secret::from_line) {
                Some(secret) => Some(Credential::Secret(secret)),
                None => {
                    let state = if found.is_some() { "empty" } else { "not set" };
                    at.error(format!("the environment variable `{}` is {state}", at.shown(variable)));
                    None
                }
            }
        }
        (None, None, Some(secret)) => {
            let at = at.key("value");
            let Some(secret) = Secret::from_line(secret) else {
                at.error("this secret is empty");
                return None;
            };
            let help = "write { file: PATH } or { env: NAME }";
            at.warning("a secret stands in the configuration itself: whoever can read that has it", help);
            Some(Credential::Secret(secret))
        }
        (None, None, None) => {
            if !at.is_poisoned() {
                at.error_with("this says nowhere what the secret is", help);
            }
            None
        }
        _ => {
            at.error_with("this says more than once where the secret is", help);
            None
        }
    }
}

fn algorithms(wire: &wire::identity_provider::IdentityProvider, at: &At<'_>) -> Vec<Algorithm> {
    let Some(items) = items(wire.algorithms.as_ref(), at) else { return vec![Algorithm::RS256] };
    let one = |(text, at): (&str, At<'_>)| {
        let algorithm = Algorithm::parse(text);
        if algorithm.is_none() {
            let names = || Algorithm::ALL.into_iter().map(Algorithm::name);
            let help = if text.eq_ignore_ascii_case("none") || text.to_uppercase().starts_with("HS") {
                "it is never accepted: anybody could forge such tokens".into()
            } else {
                match closest(&text.to_uppercase(), names()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("possible are {}", names().collect::<Vec<_>>().join(", ")),
                }
            };
            at.error_with(format!("`{}` is not an algorithm that can be accepted", at.shown(text)), help);
        }
        algorithm
    };
    items.into_iter().filter_map(one).collect()
}

fn token_types(wire: &wire::identity_provider::IdentityProvider, at: &At<'_>) -> Vec<String> {
    match items(wire.token_types.as_ref(), at) {
        None => vec!["JWT".into(), "at+jwt".into()],
        Some(items) => {
            items.into_iter().filter_map(|(text, at)| visible(text, "a token type", &at)).collect()
        }
    }
}

fn claim_names(written: Option<&wire::identity_provider::ClaimNames>, at: &At<'_>) -> ClaimNames {
    let name = |text: Option<&String>, key: &str| {
        let text = text?;
        let at = at.key(key);
        if text.is_empty() || text.split('.').any(str::is_empty) {
            let message = format!("`{}` is not the name of a claim", at.shown(text));
            at.error_with(message, "write a name, or names joined by dots, as in realm_access.roles");
        }
        Some(text.clone())
    };
    let names = written;
    ClaimNames {
        user: name(names.and_then(|names| names.user.as_ref()), "user"),
        scopes: name(names.and_then(|names| names.scopes.as_ref()), "scopes").unwrap_or_else(|| "scp".into()),
        roles: name(names.and_then(|names| names.roles.as_ref()), "roles").unwrap_or_else(|| "roles".into()),
    }
}

fn parameters(written: Option<&BTreeMap<String, String>>, at: &At<'_>) -> Vec<(String, String)> {
    let one = |(name, value): (&String, &String)| {
        if OWN_PARAMETERS.contains(&name.to_lowercase().as_str()) {
            let message = format!("the parameter `{}` is set by the exchange itself", at.shown(name));
            at.key(name).key_error(message, "leave it out");
        } else if name.is_empty() {
            at.key(name).key_error("a parameter needs a name", "write name: value");
        }
        (name.clone(), value.clone())
    };
    written.into_iter().flatten().map(one).collect()
}

/// Tenants and applications have ids of the same form.
fn is_guid(text: &str) -> bool {
    TenantId::parse(text).is_some()
}

/// A text that is neither empty nor holds white space or anything but ASCII.
fn visible(text: &str, what: &str, at: &At<'_>) -> Option<String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        at.error(format!("`{}` is not {what}", at.shown(text)));
        return None;
    }
    Some(text.into())
}
