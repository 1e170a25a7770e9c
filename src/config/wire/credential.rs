//! `identity_providers.*.credential`: how we prove who we are.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use schemars::Schema;
use schemars::SchemaGenerator;
use schemars::json_schema;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde::de::value::MapAccessDeserializer;

use crate::config::wire::scalar::all_items;

/// What a credential looks like, to be read after "is not".
const EXPECTED: &str = "a credential: write { secret: { file: PATH } }, { certificate: { file: PATH, key: PATH } }, \
     { federated_token: { file: PATH } }, workload_identity or managed_identity, or a list of two of them";

/// Credentials: one, or a list of up to two.
#[derive(Default)]
pub struct Credentials(pub Vec<Credential>);

/// One credential: a map, or the word `workload_identity` or `managed_identity`.
#[derive(Default)]
pub struct Credential(pub CredentialParts);

/// One credential: exactly one of these.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct CredentialParts {
    /// A client secret.
    /// No default.
    pub secret: Option<Secret>,
    /// A certificate. Its private key signs a client assertion (`private_key_jwt`) or the TLS handshake
    /// (`tls_client_auth`).
    /// No default.
    pub certificate: Option<Certificate>,
    /// A token that another issuer made for us, such as a projected service account token of Kubernetes.
    /// No default. The identity provider must trust its issuer, subject and audience, to the letter.
    pub federated_token: Option<FederatedToken>,
    /// Workload identity of AKS: AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_AUTHORITY_HOST and AZURE_FEDERATED_TOKEN_FILE
    /// say everything, as its webhook sets them. May be written as the word alone. Only with `entra`.
    /// No default.
    #[serde(default, deserialize_with = "even_empty")]
    pub workload_identity: Option<WorkloadIdentity>,
    /// An Azure managed identity, whose token is our client assertion: from IDENTITY_ENDPOINT with IDENTITY_HEADER where
    /// they are set (App Service, Container Apps), else from the instance metadata service. May be written as the word
    /// alone. Only with `entra`.
    /// No default. Entra takes user-assigned ones of the application's own tenant only.
    #[serde(default, deserialize_with = "even_empty")]
    pub managed_identity: Option<ManagedIdentity>,
}

/// Where a secret is: exactly one of the three.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Secret {
    /// The file that holds it, read anew when it is used: a new secret needs no restart.
    pub file: Option<String>,
    /// The environment variable that holds it.
    pub env: Option<String>,
    /// The secret itself. Whoever can read the configuration has it: a warning is given.
    pub value: Option<String>,
}

/// A certificate and its private key.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["file"]))]
pub struct Certificate {
    /// A PEM file with the certificate, and its chain if it is sent. A changed file is used without restart.
    /// No default.
    pub file: Option<String>,
    /// A PEM file with the private key, PKCS#1, PKCS#8 or SEC1, not encrypted.
    /// Default: the same file. It must belong to the certificate.
    pub key: Option<String>,
    /// What assertions are signed with: `PS256`, `RS256` and so on for RSA keys, `ES256`, `ES384`, `ES512` or `EdDSA` for
    /// others.
    /// Default: `PS256`. Entra takes `PS256` and `RS256`, AD FS `RS256` only.
    pub algorithm: Option<String>,
    /// Whether assertions carry the certificate and its chain, so that a renewed one of the same subject and issuer is
    /// trusted.
    /// Default: false.
    pub send_x5c: Option<bool>,
    /// Whom assertions are addressed to: `token_endpoint`, `issuer`, or any other text, which is sent as written.
    /// Default: `token_endpoint` for `entra`, `issuer` for `oidc`. With the wrong one the identity provider answers
    /// `invalid_client`.
    pub assertion_audience: Option<String>,
}

/// Where a token that stands for us is.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["file"]))]
pub struct FederatedToken {
    /// The file that holds it, read anew for each exchange.
    /// No default.
    pub file: Option<String>,
}

/// Workload identity: there is nothing to set.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadIdentity {}

/// Which managed identity: one of the three at most.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("maxProperties" = 1))]
pub struct ManagedIdentity {
    /// Its client id.
    /// Default: the only user-assigned one of the machine, if it has no other.
    pub client_id: Option<String>,
    /// The object id of its principal.
    pub object_id: Option<String>,
    /// Its resource id, from `/subscriptions/` on.
    pub resource_id: Option<String>,
}

/// What is named without a value is meant all the same.
fn even_empty<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl CredentialParts {
    fn of_word(word: &str) -> Option<Self> {
        match word {
            "workload_identity" => {
                Some(Self { workload_identity: Some(WorkloadIdentity {}), ..Self::default() })
            }
            "managed_identity" => {
                Some(Self { managed_identity: Some(ManagedIdentity::default()), ..Self::default() })
            }
            _ => None,
        }
    }
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
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Credentials, E> {
        CredentialVisitor.visit_str(word).map(|one| Credentials(vec![one]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Credentials, A::Error> {
        CredentialVisitor.visit_map(map).map(|one| Credentials(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Credentials, A::Error> {
        all_items(items).map(Credentials)
    }
}

impl<'de> Deserialize<'de> for Credential {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CredentialVisitor)
    }
}

struct CredentialVisitor;

impl<'de> Visitor<'de> for CredentialVisitor {
    type Value = Credential;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Credential, E> {
        CredentialParts::of_word(word).map(Credential).ok_or_else(|| E::custom(EXPECTED))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Credential, A::Error> {
        CredentialParts::deserialize(MapAccessDeserializer::new(map)).map(Credential)
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

impl JsonSchema for Credential {
    fn schema_name() -> Cow<'static, str> {
        "Credential".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let parts = generator.subschema_for::<CredentialParts>();
        json_schema!({ "oneOf": [{ "enum": ["workload_identity", "managed_identity"] }, parts] })
    }
}
