//! What the tests of this stage share: keys to sign with, a provider, a policy, a good token's claims.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::EcdsaSigningAlgorithm;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use aws_lc_rs::signature::RsaEncoding;
use aws_lc_rs::signature::RsaKeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;

use crate::config::Algorithm;
use crate::config::AuthMethod;
use crate::config::AuthorizationServer;
use crate::config::Cache;
use crate::config::CacheKeyMode;
use crate::config::ClaimNames;
use crate::config::Credential;
use crate::config::Demand;
use crate::config::Egress;
use crate::config::Entra;
use crate::config::GrantType;
use crate::config::IdentityProvider;
use crate::config::Introspection;
use crate::config::Jwks;
use crate::config::Oidc;
use crate::config::Policy;
use crate::config::Principals;
use crate::config::ResourceMetadata;
use crate::config::Tenancy;
use crate::domain::caller::Claims;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::name::Name;
use crate::domain::secret::Secret;
use crate::domain::tenant::TenantId;
use crate::net::client_authentication::ClientAuthentication;
use crate::net::client_authentication::Proving;
use crate::net::clients::Clients;
use crate::net::metadata::Metadata;
use crate::pipeline::authenticate::Outside;
use crate::pipeline::authenticate::claims::Stated;
use crate::pipeline::authenticate::issuer::Issuer;
use crate::pipeline::authenticate::principal::Form;
use crate::pipeline::authenticate::verify;
use crate::pipeline::authenticate::verify::Expected;
use crate::pipeline::authenticate::verify::TenantRule;
use crate::telemetry::metrics::Metrics;

pub const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
pub const OTHER_TENANT: &str = "26039cce-489d-4002-8293-5b0c5134eacb";
pub const CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
pub const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
pub const KID: &str = "key-1";

pub fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub fn entra(tenancy: Tenancy) -> Entra {
    entra_at("https://login.microsoftonline.com", tenancy)
}

pub fn entra_at(authority: &str, tenancy: Tenancy) -> Entra {
    let v1_issuer_prefix = "https://sts.windows.net/".to_owned();
    Entra { authority: authority.parse().unwrap(), v1_issuer_prefix, tenancy }
}

/// Contoso: one tenant, RS256, defaults.
pub fn provider() -> IdentityProvider {
    IdentityProvider {
        name: name("contoso"),
        server: AuthorizationServer::Entra(entra(Tenancy::Id(tenant(TENANT)))),
        client_id: CLIENT.into(),
        audiences: vec![CLIENT.into(), format!("api://{CLIENT}")],
        credentials: vec![Credential::Secret(Secret::new("secret".into()))],
        auth_method: AuthMethod::ClientSecretPost,
        grant: GrantType::JwtBearer,
        client_capabilities: Vec::new(),
        introspection: Introspection::Off,
        resource_metadata: ResourceMetadata::Hidden,
        clock_skew: Duration::from_secs(60),
        timeout: Duration::from_secs(5),
        jwks: Jwks { refresh: Duration::from_secs(3600), cooldown: Duration::from_secs(30) },
        algorithms: vec![Algorithm::RS256],
        token_types: vec!["JWT".into(), "at+jwt".into()],
        claim_names: ClaimNames { user: None, scopes: "scp".into(), roles: "roles".into() },
        parameters: Vec::new(),
        egress: Egress::Direct,
    }
}

/// A server of that issuer, found by discovery.
pub fn oidc(issuer: &str) -> Oidc {
    Oidc {
        issuer: issuer.into(),
        jwks_uri: None,
        token_endpoint: None,
        introspection_endpoint: None,
        authorization_endpoint: None,
    }
}

pub const PARTNER: &str = "https://id.example/realms/b2b";

/// The partner: no Entra, every asymmetric algorithm.
pub fn partner() -> IdentityProvider {
    IdentityProvider {
        name: name("partner"),
        server: AuthorizationServer::Oidc(oidc(PARTNER)),
        client_id: "orders-proxy".into(),
        audiences: vec!["orders".into(), "orders-proxy".into()],
        auth_method: AuthMethod::ClientSecretBasic,
        grant: GrantType::TokenExchange,
        algorithms: Algorithm::ALL.to_vec(),
        claim_names: ClaimNames { user: None, scopes: "scope".into(), roles: "roles".into() },
        ..provider()
    }
}

/// The claims of a good user token of the partner's (RFC 9068) with these changes; a null removes.
pub fn partner_claims(changes: Value) -> Value {
    let claims = json!({
        "iss": PARTNER,
        "aud": "orders",
        "sub": "alice",
        "client_id": "spa",
        "scope": "orders.read orders.write",
        "jti": "1",
        "iat": NOW.as_seconds() - 300,
        "exp": NOW.as_seconds() + 3600,
    });
    changed(claims, changes)
}

/// Says who we are to nobody.
#[derive(Debug)]
pub struct Nobody;

impl ClientAuthentication for Nobody {
    fn proof<'a>(&'a self, _: &'a IdentityProvider, _: &'a str, _: usize) -> Proving<'a> {
        Box::pin(async { None })
    }
}

/// A real client and a clock that stands still.
pub fn outside(providers: &[Arc<IdentityProvider>], clock: &Clock) -> Outside {
    let clients = Clients::system().unwrap();
    let metadata = providers.iter().filter_map(|provider| {
        Some((provider.name.clone(), Metadata::of(provider, clients.of(provider), clock.clone())?))
    });
    Outside {
        metadata: metadata.collect(),
        clients: clients.clone(),
        authentication: Arc::new(Nobody),
        clock: clock.clone(),
        metrics: Arc::new(Metrics::new()),
    }
}

/// Room for everything a test has validated.
pub fn cache() -> Cache {
    Cache {
        max_entries: 10_000,
        max_bytes: 64 * 1024 * 1024,
        key: CacheKeyMode::User,
        expiry_margin: Duration::from_secs(300),
        negative_ttl: Duration::from_secs(30),
        redis: None,
    }
}

/// Contoso's users, whatever their tokens hold.
pub fn policy() -> Policy {
    Policy {
        identity_providers: vec![name("contoso")],
        principals: Principals::Users,
        scopes: Demand::All(Vec::new()),
        roles: Demand::All(Vec::new()),
        clients: Vec::new(),
        claims: Vec::new(),
    }
}

/// The claims of a good version 2 user token with these changes; a null removes.
pub fn user_claims(changes: Value) -> Value {
    let claims = json!({
        "aud": CLIENT,
        "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "iat": NOW.as_seconds() - 300,
        "nbf": NOW.as_seconds() - 300,
        "exp": NOW.as_seconds() + 3600,
        "azp": "11111111-2222-3333-4444-555555555555",
        "oid": "d5e979c7-3d2d-42af-8f30-727dd4c2d383",
        "scp": "orders.read orders.write",
        "sub": "gT9kQL7hWEJTPh59be_YyuVMD1NLGbdBEXTalD3SqYc",
        "tid": TENANT,
        "ver": "2.0",
    });
    changed(claims, changes)
}

pub fn changed(mut object: Value, changes: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(name)),
            _ => drop(members.insert(name.clone(), value.clone())),
        }
    }
    object
}

/// [`user_claims`], validated.
pub fn claims(changes: Value) -> Claims {
    let stated = Stated::parse(user_claims(changes).to_string().as_bytes()).ok().unwrap();
    let expected = Expected {
        provider: &provider(),
        issuer: &Issuer::Entra { version: crate::config::EntraVersion::V2, tenant: tenant(TENANT) },
        tenant: TenantRule::Allowed,
        principals: Principals::UsersAndApplications,
        certificate: None,
        now: NOW,
    };
    verify::claims(stated, Form::Jwt(None), Digest::of(b"token"), &expected).unwrap().claims
}

/// A private key and the algorithm it signs with.
#[derive(Clone)]
pub struct Signer {
    algorithm: Algorithm,
    key: SigningKey,
}

#[derive(Clone)]
enum SigningKey {
    Rsa(Arc<RsaKeyPair>),
    Ec(Arc<EcdsaKeyPair>),
    Ed(Arc<Ed25519KeyPair>),
}

impl Signer {
    /// Signs RS256.
    pub fn rsa() -> Self {
        Self::of(Algorithm::RS256)
    }

    /// Signs RS256 with another key than the other's.
    pub fn other_rsa() -> Self {
        static OTHER: OnceLock<Arc<RsaKeyPair>> = OnceLock::new();
        Self { algorithm: Algorithm::RS256, key: SigningKey::Rsa(rsa_key(&OTHER)) }
    }

    /// Signs `algorithm`. The keys are made once a process.
    pub fn of(algorithm: Algorithm) -> Self {
        static RSA: OnceLock<Arc<RsaKeyPair>> = OnceLock::new();
        static ED: OnceLock<Arc<Ed25519KeyPair>> = OnceLock::new();
        static EC: [OnceLock<Arc<EcdsaKeyPair>>; 3] = [const { OnceLock::new() }; 3];
        let ec = |at: usize, signing: &'static EcdsaSigningAlgorithm| {
            SigningKey::Ec(EC[at].get_or_init(|| Arc::new(EcdsaKeyPair::generate(signing).unwrap())).clone())
        };
        let key = match algorithm {
            Algorithm::ES256 => ec(0, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => ec(1, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::ES512 => ec(2, &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            Algorithm::EdDSA => {
                SigningKey::Ed(ED.get_or_init(|| Arc::new(Ed25519KeyPair::generate().unwrap())).clone())
            }
            _ => SigningKey::Rsa(rsa_key(&RSA)),
        };
        Self { algorithm, key }
    }

    /// The public key as Entra publishes keys: without `alg`.
    pub fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.key {
            // RSAPublicKey in DER: for 2048 bits and e = 65537 the modulus stands at a fixed place
            SigningKey::Rsa(pair) => {
                let n = &pair.public_key().as_ref()[9..265];
                json!({"kty": "RSA", "use": "sig", "kid": kid, "n": text(n), "e": "AQAB"})
            }
            SigningKey::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                let curve = match self.algorithm {
                    Algorithm::ES256 => "P-256",
                    Algorithm::ES384 => "P-384",
                    _ => "P-521",
                };
                json!({"kty": "EC", "use": "sig", "kid": kid, "crv": curve, "x": text(x), "y": text(y)})
            }
            SigningKey::Ed(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({"kty": "OKP", "use": "sig", "kid": kid, "crv": "Ed25519", "x": x})
            }
        }
    }

    /// A token of these claims, in the form Entra gives it.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(json!({}), &claims.to_string())
    }

    /// A JWS of that payload, Entra's header changed as told; a null removes.
    pub fn sign(&self, header: Value, payload: &str) -> String {
        let entra = json!({"typ": "JWT", "alg": self.algorithm.name(), "kid": KID});
        let header = changed(entra, header).to_string();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.signature(signed.as_bytes())))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            SigningKey::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            SigningKey::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            SigningKey::Rsa(pair) => {
                let padding: &'static dyn RsaEncoding = match self.algorithm {
                    Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
                    Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
                    Algorithm::PS256 => &signature::RSA_PSS_SHA256,
                    Algorithm::PS384 => &signature::RSA_PSS_SHA384,
                    Algorithm::PS512 => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut bytes).unwrap();
                bytes
            }
        }
    }
}

fn rsa_key(cell: &'static OnceLock<Arc<RsaKeyPair>>) -> Arc<RsaKeyPair> {
    cell.get_or_init(|| Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())).clone()
}
