//! What the emulated Entra publishes besides tokens: metadata, keys, and what there is at all.

use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header;
use serde_json::Value;
use serde_json::json;

use crate::app::demo::entra::answers::Refusal;
use crate::app::demo::entra::keys::KeyRing;
use crate::app::demo::entra::settings::Realm;
use crate::app::demo::entra::settings::Segment;
use crate::app::demo::entra::users::USERS;
use crate::config::EntraVersion;

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// The list of what there is.
    Index,
    /// That it serves, for `obo-proxy health`.
    Ready,
    /// A token A.
    DemoToken,
    /// The metadata of a tenant.
    Metadata(EntraVersion, &'a str),
    /// The keys of a tenant.
    Keys(EntraVersion, &'a str),
    /// The exchange at a tenant.
    Token(&'a str),
}

impl<'a> Endpoint<'a> {
    /// The endpoint at `path`.
    pub fn at(path: &'a str) -> Option<Self> {
        let (first, rest) = path.strip_prefix('/')?.split_once('/').unwrap_or(("", ""));
        Some(match (first, rest) {
            _ if path == "/" => Self::Index,
            _ if path == "/readyz" => Self::Ready,
            ("demo", "token") => Self::DemoToken,
            ("", _) => return None,
            (tenant, "v2.0/.well-known/openid-configuration") => Self::Metadata(EntraVersion::V2, tenant),
            (tenant, ".well-known/openid-configuration") => Self::Metadata(EntraVersion::V1, tenant),
            (tenant, "discovery/v2.0/keys") => Self::Keys(EntraVersion::V2, tenant),
            (tenant, "discovery/keys") => Self::Keys(EntraVersion::V1, tenant),
            (tenant, "oauth2/v2.0/token") => Self::Token(tenant),
            _ => return None,
        })
    }
}

/// The metadata document (OpenID Connect Discovery 1.0 section 3). That of a shared endpoint has a template where a
/// tenant's id would be.
pub fn metadata(realm: &Realm, version: EntraVersion, segment: Segment<'_>) -> Value {
    let authority = &realm.authority;
    let (id, at) = names(segment);
    let prefix = match version {
        EntraVersion::V1 => "",
        EntraVersion::V2 => "v2.0/",
    };
    json!({
        "issuer": realm.issuer(version, id),
        "authorization_endpoint": format!("{authority}/{at}/oauth2/{prefix}authorize"),
        "token_endpoint": format!("{authority}/{at}/oauth2/{prefix}token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{authority}/{at}/discovery/{prefix}keys"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "tenant_region_scope": "EU",
        "cloud_instance_name": "microsoftonline.com",
    })
}

/// The key set of a tenant, or the shared one.
pub fn keys(realm: &Realm, ring: &KeyRing, version: EntraVersion, segment: Segment<'_>) -> Value {
    let (id, _) = names(segment);
    ring.key_set(&realm.issuer(version, id))
}

/// How a tenant is named in issuers and in URLs.
fn names(segment: Segment<'_>) -> (&str, &str) {
    match segment {
        Segment::Tenant(tenant) => (tenant, tenant),
        Segment::Shared => ("{tenantid}", "common"),
    }
}

/// The refusal of a tenant that is not served.
pub fn unknown_tenant(tenant: &str) -> Refusal {
    let text = format!(
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the \
         correct cloud."
    );
    Refusal::new("invalid_request", 90_002, text)
}

/// What there is, for people.
pub fn index(realm: &Realm) -> String {
    let tenant = &realm.settings.tenant;
    let users = USERS.map(|user| user.name).join(" ");
    format!(
        "An emulated Microsoft Entra, for demonstration and tests.\n\n\
         GET  /demo/token?user=NAME[&scope=orders.read][&lifetime=60][&mfa=true][&app_only=true][&version=1]\n\
         \x20    users: {users}\n\
         GET  /{tenant}/v2.0/.well-known/openid-configuration\n\
         GET  /{tenant}/.well-known/openid-configuration\n\
         GET  /{tenant}/discovery/v2.0/keys\n\
         GET  /{tenant}/discovery/keys\n\
         POST /{tenant}/oauth2/v2.0/token\n"
    )
}

/// A JSON answer.
pub fn json_answer(body: &Value) -> Response<String> {
    let mut response = Response::new(body.to_string());
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// An answer in plain text, not to be stored.
pub fn text_answer(status: StatusCode, text: impl Into<String>) -> Response<String> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
