//! `identity_providers`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Algorithm;
use crate::config::AuthorizationServer;
use crate::config::ClaimNames;
use crate::config::GrantType;
use crate::config::IdentityProvider;
use crate::config::Introspection;
use crate::config::Jwks;
use crate::config::ResourceMetadata;
use crate::config::check::At;
use crate::config::check::algorithm;
use crate::config::check::credential;
use crate::config::check::credential::Verifier;
use crate::config::check::egress;
use crate::config::check::entra;
use crate::config::check::items;
use crate::config::check::name;
use crate::config::check::oidc;
use crate::config::check::positive;
use crate::config::check::visible;
use crate::config::check::words::is_scope;
use crate::config::check::words::words;
use crate::config::wire;
use crate::config::wire::identity_provider::Grant;
use crate::config::wire::scalar::DurationText;
use crate::config::wire::scalar::OneOrMany;
use crate::domain::name::Name;
use crate::domain::tenant::TenantId;

/// The most that clocks may be said to differ.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Form parameters that the exchange itself sends.
const OWN_PARAMETERS: [&str; 13] = [
    "grant_type",
    "assertion",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "resource",
    "audience",
    "subject_token",
    "actor_token",
    "actor_token_type",
    "claims",
];

/// Form parameters whose values differ between other identity providers than Entra.
const VARIED_PARAMETERS: [&str; 3] = ["subject_token_type", "requested_token_type", "requested_token_use"];

/// All providers; one with an error in it is `None`, so that its name still resolves.
pub fn all(
    written: Option<&BTreeMap<String, wire::identity_provider::IdentityProvider>>,
    at: &At<'_>,
) -> BTreeMap<Name, Option<Arc<IdentityProvider>>> {
    let one = |(text, wire): (&String, &wire::identity_provider::IdentityProvider)| {
        let at = at.key(text);
        let name = name(text, &at);
        let provider = provider(name.clone(), wire, &at).map(Arc::new);
        Some((name?, provider))
    };
    written.into_iter().flatten().filter_map(one).collect()
}

/// Whether some issuer is accepted by both.
pub fn share_issuer(one: &IdentityProvider, other: &IdentityProvider) -> bool {
    match (&one.server, &other.server) {
        (AuthorizationServer::Entra(one), AuthorizationServer::Entra(other)) => {
            entra::share_issuer(one, other)
        }
        (AuthorizationServer::Oidc(one), AuthorizationServer::Oidc(other)) => one.issuer == other.issuer,
        (AuthorizationServer::Entra(entra), AuthorizationServer::Oidc(oidc))
        | (AuthorizationServer::Oidc(oidc), AuthorizationServer::Entra(entra)) => {
            entra::accepts(entra, &oidc.issuer)
        }
    }
}

/// What kind of identity provider is written down, right or wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Entra,
    Oidc,
}

fn provider(
    name: Option<Name>,
    wire: &wire::identity_provider::IdentityProvider,
    at: &At<'_>,
) -> Option<IdentityProvider> {
    let family = family(wire, at);
    let clock_skew = clock_skew(wire.clock_skew, &at.key("clock_skew"));
    let jwks = jwks(wire.jwks.as_ref(), &at.key("jwks"));
    let timeout = positive(wire.timeout, Duration::from_secs(5), &at.key("timeout"));
    let token_types = token_types(wire, &at.key("token_types"));
    // what follows depends on whose it is
    let family = family?;
    let introspection = introspection(wire, family, at);
    let server = server(wire, introspection, at);
    let verifier = match &server {
        Some(AuthorizationServer::Entra(entra)) => Verifier::Entra(entra::token_exchange_audience(entra)),
        // no audience is of use while the rest is wrong
        None if family == Family::Entra => Verifier::Entra(""),
        _ => Verifier::Oidc,
    };
    let credentials = credential::check(wire, verifier, at);
    let egress = egress::check(wire.proxy.as_deref(), server.as_ref(), &at.key("proxy"));
    let client_id = client_id(wire, family, at);
    let audiences = audiences(wire, family, client_id.as_deref(), at);
    let algorithms = algorithms(wire.algorithms.as_ref(), family, &at.key("algorithms"));
    let claim_names = claim_names(wire.claim_names.as_ref(), family, &at.key("claim_names"));
    let parameters = parameters(wire.parameters.as_ref(), family, &at.key("parameters"));
    let grant = grant(wire, family, at);
    let client_capabilities = client_capabilities(wire, family, &at.key("client_capabilities"));
    let (credentials, auth_method) = credentials?;
    Some(IdentityProvider {
        name: name?,
        server: server?,
        egress: egress?,
        client_id: client_id?,
        audiences: audiences?,
        credentials,
        auth_method,
        grant,
        client_capabilities,
        introspection,
        resource_metadata: match wire.resource_metadata {
            Some(true) => ResourceMetadata::Served,
            None | Some(false) => ResourceMetadata::Hidden,
        },
        clock_skew,
        timeout,
        jwks,
        algorithms,
        token_types,
        claim_names,
        parameters,
    })
}

fn clock_skew(written: Option<DurationText>, at: &At<'_>) -> Duration {
    let clock_skew = written.map_or(Duration::from_secs(60), |text| text.0);
    if clock_skew > MAX_CLOCK_SKEW {
        let help = "expired tokens are accepted for that long: fix the clocks instead";
        at.error_with("this must be 300s at most", help);
    }
    clock_skew
}

fn jwks(written: Option<&wire::identity_provider::Jwks>, at: &At<'_>) -> Jwks {
    let refresh = written.and_then(|jwks| jwks.refresh);
    let cooldown = written.and_then(|jwks| jwks.cooldown);
    Jwks {
        refresh: positive(refresh, Duration::from_secs(3600), &at.key("refresh")),
        cooldown: positive(cooldown, Duration::from_secs(30), &at.key("cooldown")),
    }
}

fn family(wire: &wire::identity_provider::IdentityProvider, at: &At<'_>) -> Option<Family> {
    match (&wire.entra, &wire.oidc) {
        (Some(_), None) => Some(Family::Entra),
        (None, Some(_)) => Some(Family::Oidc),
        (Some(_), Some(_)) => {
            let help = "each identity provider has a name of its own: leave one of them out";
            at.key("oidc").key_error("`oidc` and `entra` exclude each other", help);
            None
        }
        (None, None) => {
            if !at.key("oidc").is_poisoned() {
                let help = "write entra: { tenant: ID }, entra: {} to take it from AZURE_TENANT_ID, or oidc: { issuer: URL }";
                at.missing("entra", help);
            }
            None
        }
    }
}

fn server(
    wire: &wire::identity_provider::IdentityProvider,
    introspection: Introspection,
    at: &At<'_>,
) -> Option<AuthorizationServer> {
    if let Some(oidc) = &wire.oidc {
        return oidc::check(oidc, introspection, &at.key("oidc")).map(AuthorizationServer::Oidc);
    }
    let credentials = wire.credential.iter().flat_map(|written| &written.0);
    let by_workload_identity = credentials.into_iter().any(|one| one.0.workload_identity.is_some());
    let authority_host = at.environment("AZURE_AUTHORITY_HOST").filter(|_| by_workload_identity);
    let entra = entra::check(wire.entra.as_ref()?, authority_host, &at.key("entra"));
    entra.map(AuthorizationServer::Entra)
}

fn introspection(
    wire: &wire::identity_provider::IdentityProvider,
    family: Family,
    at: &At<'_>,
) -> Introspection {
    if wire.introspection != Some(true) {
        return Introspection::Off;
    }
    let at = at.key("introspection");
    if family == Family::Entra {
        let help = "leave it out: all its access tokens for us are JWTs";
        at.error_with("Entra cannot be asked about tokens", help);
    } else if matches!(wire.auth_method, Some(wire::identity_provider::AuthMethod::None)) {
        let help = "nobody is told about tokens without authentication: write a credential";
        at.error_with("`introspection` and `auth_method: none` exclude each other", help);
    }
    Introspection::On
}

fn grant(wire: &wire::identity_provider::IdentityProvider, family: Family, at: &At<'_>) -> GrantType {
    match (wire.grant, family) {
        (Some(Grant::TokenExchange), Family::Entra) => {
            let help = "leave it out: Entra exchanges by jwt_bearer, On-Behalf-Of";
            at.key("grant").error_with("Entra knows no `token_exchange`", help);
            GrantType::JwtBearer
        }
        (None, Family::Entra) | (Some(Grant::JwtBearer), _) => GrantType::JwtBearer,
        (None | Some(Grant::TokenExchange), Family::Oidc) => GrantType::TokenExchange,
    }
}

fn client_capabilities(
    wire: &wire::identity_provider::IdentityProvider,
    family: Family,
    at: &At<'_>,
) -> Vec<String> {
    let Some(items) = items(wire.client_capabilities.as_ref(), at) else { return Vec::new() };
    if family == Family::Oidc {
        let help = "leave it out: only Entra asks for claims";
        at.key_error("`client_capabilities` has a meaning only with `entra`", help);
    }
    words(items, "a capability", is_scope).unwrap_or_default()
}

/// Our client id; empty if there is none and none is needed.
fn client_id(
    wire: &wire::identity_provider::IdentityProvider,
    family: Family,
    at: &At<'_>,
) -> Option<String> {
    let surrounding = at.environment("AZURE_CLIENT_ID").filter(|_| family == Family::Entra);
    let Some(text) = wire.client_id.as_deref().or(surrounding) else {
        let is_needless = matches!(wire.auth_method, Some(wire::identity_provider::AuthMethod::None));
        if is_needless && family == Family::Oidc && !at.key("client_id").is_poisoned() {
            return Some(String::new());
        }
        let help = match family {
            Family::Entra => "write our application (client) id, or set AZURE_CLIENT_ID",
            Family::Oidc => "write the id of our client there",
        };
        at.missing("client_id", help);
        return None;
    };
    let at = at.key("client_id");
    let client_id = visible(text, "a client id", &at)?;
    if family == Family::Entra && !is_guid(&client_id) {
        // not quoted: it may be the secret, in the wrong place
        at.warning("this is no client id of Entra's", "Entra's client ids are GUIDs");
    }
    Some(client_id)
}

fn audiences(
    wire: &wire::identity_provider::IdentityProvider,
    family: Family,
    client_id: Option<&str>,
    at: &At<'_>,
) -> Option<Vec<String>> {
    if let Some(items) = items(wire.audiences.as_ref(), &at.key("audiences")) {
        let one = |(text, at): (&str, At<'_>)| visible(text, "an audience", &at);
        return Some(items.into_iter().filter_map(one).collect());
    }
    match (client_id?, family) {
        ("", _) => {
            let help = "write which `aud` is meant for us: without a client id there is no default";
            at.missing("audiences", help);
            None
        }
        (client_id, Family::Entra) => Some(vec![client_id.into(), format!("api://{client_id}")]),
        (client_id, Family::Oidc) => Some(vec![client_id.into()]),
    }
}

fn algorithms(written: Option<&OneOrMany>, family: Family, at: &At<'_>) -> Vec<Algorithm> {
    match (items(written, at), family) {
        (Some(items), _) => {
            items.into_iter().filter_map(|(text, at)| algorithm::accepted(text, &at)).collect()
        }
        (None, Family::Entra) => vec![Algorithm::RS256],
        (None, Family::Oidc) => Algorithm::ALL.to_vec(),
    }
}

fn token_types(wire: &wire::identity_provider::IdentityProvider, at: &At<'_>) -> Vec<String> {
    match items(wire.token_types.as_ref(), at) {
        None => vec!["JWT".into(), "at+jwt".into()],
        Some(items) => {
            items.into_iter().filter_map(|(text, at)| visible(text, "a token type", &at)).collect()
        }
    }
}

fn claim_names(
    written: Option<&wire::identity_provider::ClaimNames>,
    family: Family,
    at: &At<'_>,
) -> ClaimNames {
    let name = |text: Option<&String>, key: &str| {
        let text = text?;
        let at = at.key(key);
        if text.is_empty() || text.split('.').any(str::is_empty) {
            let message = format!("`{}` is not the name of a claim", at.shown(text));
            at.error_with(message, "write a name, or names joined by dots, as in realm_access.roles");
        }
        Some(text.clone())
    };
    let scopes = match family {
        Family::Entra => "scp",
        Family::Oidc => "scope",
    };
    ClaimNames {
        user: name(written.and_then(|names| names.user.as_ref()), "user"),
        scopes: name(written.and_then(|names| names.scopes.as_ref()), "scopes")
            .unwrap_or_else(|| scopes.into()),
        roles: name(written.and_then(|names| names.roles.as_ref()), "roles")
            .unwrap_or_else(|| "roles".into()),
    }
}

fn parameters(
    written: Option<&BTreeMap<String, String>>,
    family: Family,
    at: &At<'_>,
) -> Vec<(String, String)> {
    let is_own = |name: &str| {
        OWN_PARAMETERS.contains(&name) || (family == Family::Entra && VARIED_PARAMETERS.contains(&name))
    };
    let one = |(name, value): (&String, &String)| {
        if is_own(name.to_lowercase().as_str()) {
            let message = format!("the parameter `{}` is set by the exchange itself", at.shown_name(name));
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
