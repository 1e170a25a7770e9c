//! `listeners`.

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

use crate::config::wire::scalar::OneOrMany;
use crate::config::wire::scalar::all_items;

/// One address callers connect to.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["address"]))]
pub struct Listener {
    /// What it binds: `host:port`, or `unix:` and the path of a Unix socket.
    /// No default. `0.0.0.0` takes callers from everywhere, `127.0.0.1` only from this pod or machine. Port 0 is any
    /// free port. A Unix socket is open to its owner and group only (0660).
    pub address: Option<String>,
    /// How TLS is spoken: HTTP/2 and HTTP/1.1, as callers like.
    /// Default: not at all. Without TLS, whoever shares the network reads the callers' tokens.
    pub tls: Option<Tls>,
    /// What happens to request headers with `_` in their names: `drop` or `keep`.
    /// Default: `drop`. Many back ends take `x_user` for `x-user`: with `keep`, a caller can imitate headers that a
    /// back end trusts.
    pub underscore_headers: Option<UnderscoreHeaders>,
    /// Networks whose `X-Forwarded-*` and `Forwarded` headers are believed, in CIDR notation; `unix:` is whoever connects
    /// through a Unix socket.
    /// Default: none. A network too many lets callers choose the address and scheme that back ends and logs see.
    pub trusted_proxies: Option<OneOrMany>,
    /// Whether each connection begins with a header of the PROXY protocol, version 1 or 2, which says whom a load balancer
    /// connects for.
    /// Default: false. With true, only `trusted_proxies` may connect, and a connection without the header is closed.
    pub proxy_protocol: Option<bool>,
}

/// How a listener speaks TLS: either `certificate` and `key`, or `certificates`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ListenerTls")]
#[schemars(extend("oneOf" = [{ "required": ["certificate", "key"] }, { "required": ["certificates"] }]))]
pub struct Tls {
    /// A PEM file with the certificate, then its issuers. Its content is looked at every few seconds.
    /// No default.
    pub certificate: Option<String>,
    /// A PEM file with the private key.
    /// No default.
    pub key: Option<String>,
    /// Several certificates: which one a caller sees depends on the host it names (SNI).
    /// No default. Callers who name no host, or one that is in none of them, see the first.
    pub certificates: Option<Certificates>,
    /// The oldest version of TLS that is spoken: `1.2` or `1.3`.
    /// Default: `1.2`.
    pub min_version: Option<TlsVersion>,
    /// A PEM file of authorities: every caller must then show a certificate that one of them issued (mutual TLS).
    /// Default: none, callers are asked for no certificate.
    pub client_ca: Option<String>,
}

/// Certificates: one, or a list.
#[derive(Default)]
pub struct Certificates(pub Vec<Certificate>);

/// A certificate, its key, and the hosts it is for.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ServerCertificate")]
#[schemars(extend("required" = ["certificate", "key"]))]
pub struct Certificate {
    /// A PEM file with the certificate, then its issuers.
    /// No default.
    pub certificate: Option<String>,
    /// A PEM file with the private key.
    /// No default.
    pub key: Option<String>,
    /// The hosts it is for; `*.example.com` is any host with one label before example.com.
    /// Default: the host names in the certificate.
    pub server_names: Option<OneOrMany>,
}

/// A version of TLS.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// What happens to header names with `_`.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnderscoreHeaders {
    /// Remove them from the request.
    Drop,
    /// Let them through.
    Keep,
}

impl<'de> Deserialize<'de> for Certificates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CertificatesVisitor).map(Self)
    }
}

struct CertificatesVisitor;

impl<'de> Visitor<'de> for CertificatesVisitor {
    type Value = Vec<Certificate>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of certificates")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<Certificate>, A::Error> {
        Certificate::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Vec<Certificate>, A::Error> {
        all_items(items)
    }
}

impl JsonSchema for Certificates {
    fn schema_name() -> Cow<'static, str> {
        "ServerCertificates".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Certificate>();
        json_schema!({ "oneOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}
