//! An identity provider, checked: who issues tokens, how they are validated, and how we exchange them.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::domain::name::Name;
use crate::domain::secret::Secret;
use crate::domain::tenant::TenantId;

/// One identity provider: whose tokens are accepted, and where they are exchanged.
#[derive(Debug)]
pub struct IdentityProvider {
    /// Its name, a metric label.
    pub name: Name,
    /// Issuers, keys and endpoints.
    pub server: AuthorizationServer,
    /// Our own client id there.
    pub client_id: String,
    /// Accepted `aud` values, compared exactly. Never empty.
    pub audiences: Vec<String>,
    /// How we prove who we are; tried in order. Empty only with [`AuthMethod::None`].
    pub credentials: Vec<Credential>,
    /// How the credential is sent.
    pub auth_method: AuthMethod,
    /// How tokens are exchanged. Always [`GrantType::JwtBearer`] at Entra.
    pub grant: GrantType,
    /// What clients of ours can handle, declared with each exchange: `cp1` = claims challenges.
    pub client_capabilities: Vec<String>,
    /// Whether tokens that are no JWT are asked about.
    pub introspection: Introspection,
    /// Whether the metadata of the protected resource is served.
    pub resource_metadata: ResourceMetadata,
    /// Tolerance for `exp` and `nbf`.
    pub clock_skew: Duration,
    /// Bound on one call, connect included.
    pub timeout: Duration,
    /// When keys are fetched.
    pub jwks: Jwks,
    /// Accepted signature algorithms. Never empty.
    pub algorithms: Vec<Algorithm>,
    /// Accepted `typ` values, compared without case.
    pub token_types: Vec<String>,
    /// Which claims say what.
    pub claim_names: ClaimNames,
    /// Extra form parameters of every exchange.
    pub parameters: Vec<(String, String)>,
}

impl IdentityProvider {
    /// Microsoft Entra, if that is what it is.
    pub fn entra(&self) -> Option<&Entra> {
        match &self.server {
            AuthorizationServer::Entra(entra) => Some(entra),
            AuthorizationServer::Oidc(_) => None,
        }
    }
}

/// Who issues the tokens and exchanges them (RFC 6749 section 1.1).
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // there are as few of them as providers
pub enum AuthorizationServer {
    /// Microsoft Entra.
    Entra(Entra),
    /// Any other.
    Oidc(Oidc),
}

impl AuthorizationServer {
    /// Whether TLS is spoken with it, as far as the configuration tells.
    pub fn speaks_tls(&self) -> bool {
        match self {
            Self::Entra(entra) => entra.authority.scheme() == "https",
            Self::Oidc(oidc) => {
                let given = [
                    &oidc.jwks_uri,
                    &oidc.token_endpoint,
                    &oidc.introspection_endpoint,
                    &oidc.authorization_endpoint,
                ];
                oidc.issuer.starts_with("https:")
                    || given.into_iter().flatten().any(|url| url.scheme() == "https")
            }
        }
    }
}

/// Any other server, found by discovery (OpenID Connect Discovery 1.0, RFC 8414) unless endpoints are given. Every URL
/// is https; plain http only on loopback.
#[derive(Debug)]
pub struct Oidc {
    /// Who issues the tokens, compared exactly. Where it is no URL that discovery could begin at, the endpoints that
    /// are needed are given.
    pub issuer: String,
    /// Where its keys are.
    pub jwks_uri: Option<Url>,
    /// Where its tokens are exchanged.
    pub token_endpoint: Option<Url>,
    /// Where it is asked about opaque tokens (RFC 7662).
    pub introspection_endpoint: Option<Url>,
    /// Where its users sign in.
    pub authorization_endpoint: Option<Url>,
}

/// Microsoft Entra: everything follows from authority and tenant.
#[derive(Debug)]
pub struct Entra {
    /// `https://host` without a path; plain http only on loopback.
    pub authority: Url,
    /// Issuer prefix of version 1 tokens, e.g. `https://sts.windows.net/`.
    pub v1_issuer_prefix: String,
    /// Whose users may enter.
    pub tenancy: Tenancy,
}

impl Entra {
    /// Where `tenant`'s tokens are exchanged.
    pub fn token_endpoint(&self, version: EntraVersion, tenant: &TenantId) -> String {
        match version {
            EntraVersion::V1 => format!("{}/{tenant}/oauth2/token", self.origin()),
            EntraVersion::V2 => format!("{}/{tenant}/oauth2/v2.0/token", self.origin()),
        }
    }

    /// Where users of `tenant` (an id, a domain or a shared endpoint) sign in (version 2).
    pub fn authorization_endpoint(&self, tenant: &str) -> String {
        format!("{}/{tenant}/oauth2/v2.0/authorize", self.origin())
    }

    /// The metadata document of version 1 or 2 tokens.
    pub fn metadata(&self, version: EntraVersion) -> String {
        let version = match version {
            EntraVersion::V1 => "",
            EntraVersion::V2 => "/v2.0",
        };
        format!("{}/{}{version}/.well-known/openid-configuration", self.origin(), self.tenancy.segment())
    }

    /// The issuer of `tenant`'s tokens of that version.
    pub fn issuer(&self, version: EntraVersion, tenant: &str) -> String {
        match version {
            EntraVersion::V1 => format!("{}{tenant}/", self.v1_issuer_prefix),
            EntraVersion::V2 => format!("{}/{tenant}/v2.0", self.origin()),
        }
    }

    /// The authority without a trailing slash.
    pub fn origin(&self) -> &str {
        self.authority.as_str().trim_end_matches('/')
    }
}

/// The two token versions of Entra: each has its own issuer, metadata and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntraVersion {
    /// `ver` 1.0.
    V1,
    /// `ver` 2.0.
    V2,
}

/// Which tenants' tokens are accepted.
#[derive(Debug)]
pub enum Tenancy {
    /// One tenant, named by its id.
    Id(TenantId),
    /// One tenant, named by a verified domain; its id is learnt from discovery.
    Domain(String),
    /// Several, through a shared endpoint (`common` or `organizations`).
    Shared {
        /// `common` or `organizations`.
        endpoint: String,
        /// Whose tokens may enter. Never empty.
        allowed: Vec<TenantId>,
    },
}

impl Tenancy {
    /// The path segment under which the provider publishes its metadata.
    pub fn segment(&self) -> &str {
        match self {
            Self::Id(id) => id.as_str(),
            Self::Domain(domain) => domain,
            Self::Shared { endpoint, .. } => endpoint,
        }
    }
}

/// A credential of ours.
#[derive(Debug)]
pub enum Credential {
    /// A client secret in a file, read anew for each exchange.
    SecretFile(PathBuf),
    /// A client secret from the environment or the configuration itself.
    Secret(Secret),
    /// A certificate, whose key signs assertions or the TLS handshake.
    Certificate(Certificate),
    /// A token another issuer made for us, in a file, read anew for each exchange: it is the client assertion (RFC 7523
    /// section 2.2).
    FederatedToken(PathBuf),
    /// The token of an Azure managed identity: it is the client assertion.
    ManagedIdentity(ManagedIdentity),
}

/// A certificate of ours and its private key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// A PEM file: the certificate, and maybe its chain after it.
    pub file: PathBuf,
    /// A PEM file with the private key; may be the same.
    pub key: PathBuf,
    /// What the key signs assertions with.
    pub algorithm: Algorithm,
    /// Whether assertions carry the certificate itself.
    pub chain: SendChain,
    /// Whom assertions are addressed to.
    pub audience: AssertionAudience,
}

/// Whether an assertion carries the certificate and its chain (`x5c`, RFC 7515 section 4.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendChain {
    /// The thumbprint alone: the IdP knows the certificate.
    Omit,
    /// The chain too: the IdP knows subject and issuer.
    Send,
}

/// Whom a client assertion is addressed to (RFC 7523 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssertionAudience {
    /// The token endpoint's URL.
    TokenEndpoint,
    /// The issuer.
    Issuer,
    /// This.
    Other(String),
}

/// An Azure managed identity, whose token stands for us.
#[derive(Clone, Debug)]
pub struct ManagedIdentity {
    /// Which of those assigned to this machine; `None` = the system's own.
    pub identity: Option<ManagedIdentityId>,
    /// Where its tokens come from.
    pub source: ManagedIdentitySource,
    /// Whom they are addressed to: the token exchange of the cloud.
    pub audience: String,
}

/// Names a user-assigned managed identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagedIdentityId {
    /// By its client id.
    ClientId(String),
    /// By its principal's object id.
    ObjectId(String),
    /// By its resource id in Azure Resource Manager.
    ResourceId(String),
}

/// Where a managed identity's tokens come from.
#[derive(Clone, Debug)]
pub enum ManagedIdentitySource {
    /// The instance metadata service of a virtual machine or a node: `http://169.254.169.254`, or what stands in its place.
    Imds(Url),
    /// The endpoint that App Service, Functions and Container Apps give a process.
    AppService {
        /// Its URL.
        endpoint: Url,
        /// What the header `X-IDENTITY-HEADER` must hold.
        header: Secret,
    },
}

/// How a client authenticates at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// A secret in the form (RFC 6749 section 2.3.1).
    ClientSecretPost,
    /// A secret in the `Authorization` header (RFC 6749 section 2.3.1).
    ClientSecretBasic,
    /// A signed assertion (RFC 7523 section 2.2): of our own key, or of somebody who vouches for us.
    PrivateKeyJwt,
    /// The certificate of the TLS connection (RFC 8705 section 2).
    TlsClientAuth,
    /// Not at all.
    None,
}

/// How tokens are exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantType {
    /// Token A is an authorization grant (RFC 7523 section 2.1), as in Entra's On-Behalf-Of flow.
    JwtBearer,
    /// Token A is the subject of a token exchange (RFC 8693).
    TokenExchange,
}

/// Whether the IdP is asked about tokens that are no JWT (RFC 7662).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introspection {
    /// They are refused.
    Off,
    /// It is asked.
    On,
}

/// Whether the metadata of the protected resource is served (RFC 9728).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceMetadata {
    /// It is not.
    Hidden,
    /// It is, and challenges point to it.
    Served,
}

/// When a provider's key set is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Jwks {
    /// Between two scheduled fetches.
    pub refresh: Duration,
    /// Shortest gap between two fetches forced by unknown key ids.
    pub cooldown: Duration,
}

/// A JWS signature algorithm (RFC 7518, RFC 8037). No `none`, no HMAC: they cannot be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

impl Algorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 10] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
    ];

    /// Its name in a JOSE header.
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of that exact name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Which claims say what; a dotted path reaches into objects.
#[derive(Debug)]
pub struct ClaimNames {
    /// The user; `None` = what names one for good: `oid` within `tid` at Entra, `sub` within `iss` elsewhere.
    pub user: Option<String>,
    /// Delegated permissions: a space-separated string or a list.
    pub scopes: String,
    /// Roles: a list or a string.
    pub roles: String,
}
