//! `identity_providers`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::wire::credential::Credentials;
use crate::config::wire::scalar::DurationText;
use crate::config::wire::scalar::OneOrMany;

/// One identity provider: `entra`, or `oidc` for any other.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["entra"] }, { "required": ["oidc"] }]))]
pub struct IdentityProvider {
    /// Microsoft Entra: issuers, keys and endpoints follow from the tenant.
    /// No default; `entra: {}` takes the tenant from AZURE_TENANT_ID.
    pub entra: Option<Entra>,
    /// Any other identity provider. Keys and endpoints are found by discovery (OpenID Connect Discovery, RFC 8414).
    /// No default.
    pub oidc: Option<Oidc>,
    /// Our application (client) id.
    /// Default: for `entra` the environment variable AZURE_CLIENT_ID; else none, and it can be left out only with
    /// `auth_method: none`.
    pub client_id: Option<String>,
    /// The way that calls to the identity provider take, all of them: `none`, directly; `environment`, as HTTPS_PROXY, ALL_PROXY
    /// and NO_PROXY say; or `http://host:port`, through that proxy always. TLS with the identity provider goes through it
    /// unbroken.
    /// Default: `none`, whatever the environment says. A proxy that is down or refuses is an identity provider that is down.
    pub proxy: Option<String>,
    /// Which `aud` values are accepted, compared exactly.
    /// Default: the client id, and for `entra` also `api://` with the client id. One too many lets in tokens that were
    /// meant for another service.
    pub audiences: Option<OneOrMany>,
    /// How we prove who we are. A list of two while one replaces the other: the first that works is used.
    /// No default; needed unless `auth_method` is `none`.
    pub credential: Option<Credentials>,
    /// How the credential is sent: `client_secret_post`, `client_secret_basic`, `private_key_jwt`, `tls_client_auth` or
    /// `none`.
    /// Default: `client_secret_post` for a secret, `private_key_jwt` for everything else. Entra takes no `tls_client_auth`
    /// and no `none`.
    pub auth_method: Option<AuthMethod>,
    /// How the token of a caller is exchanged: `jwt_bearer` (RFC 7523), which Microsoft calls On-Behalf-Of, or
    /// `token_exchange` (RFC 8693).
    /// Default: `jwt_bearer` for `entra`, which has no other; `token_exchange` for `oidc`.
    pub grant: Option<Grant>,
    /// What is declared to Entra with each exchange: `cp1` = challenges for claims are handled, so tokens may live longer
    /// and be revoked at once (continuous access evaluation).
    /// Default: none. Only with `entra`.
    pub client_capabilities: Option<OneOrMany>,
    /// Whether the identity provider is asked about tokens that are no JWT (RFC 7662). Its answer is kept for a short
    /// time.
    /// Default: false, such tokens are refused. Only with `oidc` and a credential.
    pub introspection: Option<bool>,
    /// Whether metadata of the protected resource (RFC 9728) is served at `/.well-known/oauth-protected-resource`, and
    /// named in challenges.
    /// Default: false.
    pub resource_metadata: Option<bool>,
    /// How far clocks may differ when `exp` and `nbf` are compared.
    /// Default: `60s`; at most `300s`. Expired tokens are accepted for as long.
    pub clock_skew: Option<DurationText>,
    /// Bound on one call to the identity provider, connecting included.
    /// Default: `5s`. Too short answers with 503 while the identity provider is merely slow. A call that fails is made
    /// once more after about a second, so that a caller without a cached token waits for up to twice as long and 1.5 s: 11.5 s by default. With `cache.redis`
    /// it is up to 2 s more, while another proxy that was about to ask is waited for.
    pub timeout: Option<DurationText>,
    /// When the keys that tokens are signed with are fetched.
    pub jwks: Option<Jwks>,
    /// Which signature algorithms are accepted.
    /// Default: `[RS256]` for `entra`, which uses no other; every asymmetric one for `oidc`. `none` and HS256 and its kin
    /// are never accepted. A published RSA key that does not name its algorithm serves the first RSA one in this list
    /// alone: for an `oidc` whose keys are such and which signs with PS256, write `[PS256]`.
    pub algorithms: Option<OneOrMany>,
    /// Which `typ` values of a token's header are accepted, compared without case. A token without `typ` is accepted.
    /// Default: `[JWT, at+jwt]`.
    pub token_types: Option<OneOrMany>,
    /// Which claims say who the user is and what is permitted. A dot reaches into an object.
    pub claim_names: Option<ClaimNames>,
    /// More form parameters of every exchange, by name.
    /// Default: none. Those of the exchange itself, such as `scope`, cannot be set; `subject_token_type`,
    /// `requested_token_type` and `requested_token_use` can, with `oidc`.
    pub parameters: Option<BTreeMap<String, String>>,
}

/// Microsoft Entra.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entra {
    /// The tenant: its id, one of its verified domains, `common` or `organizations`.
    /// Default: the environment variable AZURE_TENANT_ID. `common` and `organizations` need `allowed_tenants`.
    pub tenant: Option<String>,
    /// The cloud: `public`, `us_government` or `china`.
    /// Default: `public`. Tokens of another cloud are refused.
    pub cloud: Option<Cloud>,
    /// The authority, in place of `cloud`: `https://` and a host.
    /// Default: that of the cloud. Secrets and tokens are sent there.
    pub authority: Option<String>,
    /// The ids of the tenants whose users may enter, with `common` or `organizations`.
    /// No default. Without such a list, every organization's users could.
    pub allowed_tenants: Option<OneOrMany>,
}

/// Any other identity provider. Every URL is https, or http on this machine.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["issuer"]))]
pub struct Oidc {
    /// Who issues the tokens: their `iss`, compared exactly, a / at its end included. Discovery begins there, if it is an
    /// https URL.
    /// No default.
    pub issuer: Option<String>,
    /// Where the keys are.
    /// Default: discovered. Needed if discovery cannot begin at the issuer.
    pub jwks_uri: Option<String>,
    /// Where tokens are exchanged. Secrets and tokens are sent there.
    /// Default: discovered. Needed if discovery cannot begin at the issuer and a route exchanges.
    pub token_endpoint: Option<String>,
    /// Where it is asked about tokens that are no JWT, with `introspection: true`.
    /// Default: discovered.
    pub introspection_endpoint: Option<String>,
    /// Where users sign in, named in challenges.
    /// Default: discovered.
    pub authorization_endpoint: Option<String>,
}

/// A cloud of Microsoft's.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// login.microsoftonline.com
    Public,
    /// login.microsoftonline.us
    UsGovernment,
    /// login.partner.microsoftonline.cn
    China,
}

/// How a credential is sent.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// A secret in the form (RFC 6749 section 2.3.1).
    ClientSecretPost,
    /// A secret in the `Authorization` header (RFC 6749 section 2.3.1).
    ClientSecretBasic,
    /// A signed assertion in the form (RFC 7523 section 2.2).
    PrivateKeyJwt,
    /// A certificate in the TLS handshake (RFC 8705).
    TlsClientAuth,
    /// Not at all.
    None,
}

/// How a token is exchanged.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// RFC 7523, On-Behalf-Of.
    JwtBearer,
    /// RFC 8693.
    TokenExchange,
}

/// When keys are fetched.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// The time between two fetches.
    /// Default: `1h`. Too long keeps a withdrawn key accepted for as long.
    pub refresh: Option<DurationText>,
    /// The shortest time between two fetches that tokens with unknown keys cause.
    /// Default: `30s`. Too short lets callers make us flood the identity provider; too long refuses new keys.
    pub cooldown: Option<DurationText>,
}

/// Which claims say what.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimNames {
    /// The user. The claim must name exactly one user for good: it identifies the user in the cache, in its bounds and in
    /// the hash that is logged.
    /// Default: for `entra` the `oid` within the tenant, else the `sub` of the issuer.
    pub user: Option<String>,
    /// The permissions that the user granted to the client: a list, or a text with spaces between.
    /// Default: `scp` for `entra`, `scope` for `oidc`.
    pub scopes: Option<String>,
    /// The roles of the user or the application.
    /// Default: `roles`.
    pub roles: Option<String>,
}
