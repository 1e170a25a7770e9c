//! `identity_providers`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use schemars::Schema;
use schemars::SchemaGenerator;
use schemars::json_schema;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde::de::value::MapAccessDeserializer;

use crate::config::wire::scalar::DurationText;
use crate::config::wire::scalar::OneOrMany;
use crate::config::wire::scalar::all_items;

/// One identity provider.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["entra", "credential"]))]
pub struct IdentityProvider {
    /// Microsoft Entra: issuers, keys and endpoints follow from the tenant.
    /// No default; `entra: {}` takes the tenant from AZURE_TENANT_ID.
    pub entra: Option<Entra>,
    /// Our application (client) id.
    /// Default: the environment variable AZURE_CLIENT_ID.
    pub client_id: Option<String>,
    /// Which `aud` values are accepted, compared exactly.
    /// Default: the client id and `api://` with the client id. One too many lets in tokens that were meant for another
    /// service.
    pub audiences: Option<OneOrMany>,
    /// How we prove who we are. A list of two while one replaces the other: the first that works is used.
    /// No default.
    pub credential: Option<Credentials>,
    /// How the secret is sent: `client_secret_post` or `client_secret_basic`.
    /// Default: `client_secret_post`, in the form.
    pub auth_method: Option<AuthMethod>,
    /// How the token of a caller is exchanged: `jwt_bearer` (RFC 7523), which Microsoft calls On-Behalf-Of.
    /// Default: `jwt_bearer`.
    pub grant: Option<Grant>,
    /// How far clocks may differ when `exp` and `nbf` are compared.
    /// Default: `60s`; at most `300s`. Expired tokens are accepted for as long.
    pub clock_skew: Option<DurationText>,
    /// Bound on one call to the identity provider, connecting included.
    /// Default: `5s`. Too short answers with 503 while the identity provider is merely slow.
    pub timeout: Option<DurationText>,
    /// When the keys that tokens are signed with are fetched.
    pub jwks: Option<Jwks>,
    /// Which signature algorithms are accepted.
    /// Default: `[RS256]`, all that Entra uses. `none` and HS256 and its kin are never accepted.
    pub algorithms: Option<OneOrMany>,
    /// Which `typ` values of a token's header are accepted, compared without case. A token without `typ` is accepted.
    /// Default: `[JWT, at+jwt]`.
    pub token_types: Option<OneOrMany>,
    /// Which claims say who the user is and what is permitted. A dot reaches into an object.
    pub claim_names: Option<ClaimNames>,
    /// More form parameters of every exchange, by name.
    /// Default: none. Those of the exchange itself, such as `scope`, cannot be set.
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

/// Credentials: one, or a list of up to two.
#[derive(Default)]
pub struct Credentials(pub Vec<Credential>);

/// One credential.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Credential {
    /// A client secret.
    /// No default.
    pub secret: Option<Secret>,
}

/// Where a secret is: exactly one of the three.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Secret {
    /// The file that holds it, read anew for each exchange: a new secret needs no restart.
    pub file: Option<String>,
    /// The environment variable that holds it.
    pub env: Option<String>,
    /// The secret itself. Whoever can read the configuration has it: a warning is given.
    pub value: Option<String>,
}

/// How a client secret is sent (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// In the form.
    ClientSecretPost,
    /// In the `Authorization` header.
    ClientSecretBasic,
}

/// How a token is exchanged.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// RFC 7523, On-Behalf-Of.
    JwtBearer,
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
    /// Default: `oid` within the tenant.
    pub user: Option<String>,
    /// The permissions that the user granted to the client.
    /// Default: `scp`.
    pub scopes: Option<String>,
    /// The roles of the user or the application.
    /// Default: `roles`.
    pub roles: Option<String>,
}

impl<'de> Deserialize<'de> for Credentials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CredentialsVisitor)
    }
}

struct CredentialsVisitor;

impl<'de> Visitor<'de> for CredentialsVisitor {
    type Value = Credentials;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a credential: write { secret: { file: PATH } }, or a list of two such maps")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Credentials, A::Error> {
        Credential::deserialize(MapAccessDeserializer::new(map)).map(|one| Credentials(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Credentials, A::Error> {
        all_items(items).map(Credentials)
    }
}

impl JsonSchema for Credentials {
    fn schema_name() -> Cow<'static, str> {
        "Credentials".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Credential>();
        json_schema!({
            "oneOf": [one, { "type": "array", "items": one, "minItems": 1, "maxItems": 2 }],
        })
    }
}
