//! `cache.redis`: the tier of the cache that proxies share.

use std::borrow::Cow;
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

use crate::config::wire::credential::Secret;
use crate::config::wire::scalar::DurationText;
use crate::config::wire::scalar::OneOrMany;
use crate::config::wire::scalar::all_items;
use crate::config::wire::upstream::ClientCertificate;

/// Redis, or any server that speaks its protocol.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "required" = ["encryption_keys"],
    "oneOf" = [{ "required": ["url"] }, { "required": ["cluster"] }, { "required": ["sentinel"] }],
))]
pub struct Redis {
    /// One server: `rediss://` or without TLS `redis://`, host, port, and the number of its database as the path.
    /// No default; exactly one of `url`, `cluster` and `sentinel`. The default port is 6379, the default database 0.
    pub url: Option<String>,
    /// Servers of a cluster, as URLs without a path; they are asked who the others are.
    /// No default. One is enough while it is up.
    pub cluster: Option<OneOrMany>,
    /// Sentinels, which know which server is the master.
    /// No default.
    pub sentinel: Option<Sentinel>,
    /// The ACL user.
    /// Default: the user `default`.
    pub username: Option<String>,
    /// The user's password. Its file is read anew for each connection.
    /// Default: none, nobody logs in. Over `redis://` whoever shares the network reads it.
    pub password: Option<Secret>,
    /// How the certificates of the servers are verified; those of sentinels have a `tls` of their own.
    pub tls: Option<Tls>,
    /// Secrets of 32 bytes at least, as `openssl rand -base64 32` makes them: what is stored is sealed with the first,
    /// and opened with any of them. Up to four.
    /// No default. Proxies that share none of them share no tokens; whoever has one and reads Redis has the tokens.
    pub encryption_keys: Option<EncryptionKeys>,
    /// Bound on a whole look-up. What is slower counts as not found.
    /// Default: `50ms`; at most `5s`. Too long delays every request whose token is not in memory while Redis is slow, too
    /// short makes the identity provider exchange what Redis has.
    pub timeout: Option<DurationText>,
}

/// Sentinels, and how they are spoken to.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["urls", "master"]))]
pub struct Sentinel {
    /// The sentinels, as URLs without a path.
    /// No default. The default port is 26379.
    pub urls: Option<OneOrMany>,
    /// What they call the master.
    /// No default. With a name they do not know, no token is shared.
    pub master: Option<String>,
    /// The ACL user at the sentinels.
    /// Default: the user `default`.
    pub username: Option<String>,
    /// The password at the sentinels; that of the servers stands beside `sentinel`.
    /// Default: none, nobody logs in.
    pub password: Option<Secret>,
    /// How the certificates of the sentinels are verified.
    pub tls: Option<Tls>,
    /// The number of the database at the master.
    /// Default: 0.
    pub database: Option<u64>,
    /// Whether the master is spoken to over TLS.
    /// Default: as the URLs of the sentinels say.
    pub master_tls: Option<bool>,
}

/// How servers' certificates are verified, and which one of ours they are shown.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RedisTls")]
pub struct Tls {
    /// Whose certificates are believed: `system`, or a PEM file of roots that replaces the system's.
    /// Default: `system`. With the wrong roots no token is shared.
    pub ca: Option<String>,
    /// Our certificate, for servers that ask for one.
    /// Default: none.
    pub client_certificate: Option<ClientCertificate>,
}

/// Secrets: one, or a list.
#[derive(Default)]
pub struct EncryptionKeys(pub Vec<Secret>);

impl<'de> Deserialize<'de> for EncryptionKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EncryptionKeysVisitor).map(Self)
    }
}

struct EncryptionKeysVisitor;

impl<'de> Visitor<'de> for EncryptionKeysVisitor {
    type Value = Vec<Secret>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of secrets")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<Secret>, A::Error> {
        Secret::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Vec<Secret>, A::Error> {
        all_items(items)
    }
}

impl JsonSchema for EncryptionKeys {
    fn schema_name() -> Cow<'static, str> {
        "EncryptionKeys".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Secret>();
        json_schema!({
            "oneOf": [one, { "type": "array", "items": one, "minItems": 1, "maxItems": 4 }],
        })
    }
}
