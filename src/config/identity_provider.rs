//! An identity provider, checked: who issues tokens, how they are validated, and how we exchange them.

use std::time::Duration;

use url::Url;

use crate::config::algorithm::Algorithm;
use crate::config::credential::AuthMethod;
use crate::config::credential::Credential;
use crate::config::egress::Egress;
use crate::config::loopback::is_loopback;
use crate::domain::name::Name;
use crate::domain::tenant::TenantId;

/// One identity provider: whose tokens are accepted, and where they are exchanged.
#[derive(Debug, PartialEq, Eq)]
pub struct IdentityProvider {
    /// Its name, a metric label.
    pub name: Name,
    /// Issuers, keys and endpoints.
    pub server: AuthorizationServer,
    /// The way that calls to it take.
    pub egress: Egress,
    /// Our own client id there. Empty only with [`AuthMethod::None`]: then none is sent.
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

    /// How `credential`, one of its own, is sent. While one kind of credential replaces another, the configured method is
    /// that of the one, and the other is sent in its natural way.
    pub fn method_of(&self, credential: &Credential) -> AuthMethod {
        match (credential, self.auth_method) {
            (Credential::Secret(_) | Credential::SecretFile(_), AuthMethod::ClientSecretBasic) => {
                AuthMethod::ClientSecretBasic
            }
            (Credential::Secret(_) | Credential::SecretFile(_), _) => AuthMethod::ClientSecretPost,
            (Credential::Certificate(_), AuthMethod::TlsClientAuth) => AuthMethod::TlsClientAuth,
            _ => AuthMethod::PrivateKeyJwt,
        }
    }
}

/// Who issues the tokens and exchanges them (RFC 6749 section 1.1).
#[derive(Debug, PartialEq, Eq)]
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
        self.speaks("https")
    }

    /// Whether it is spoken with in the clear, as far as the configuration tells.
    pub fn speaks_plain(&self) -> bool {
        self.speaks("http")
    }

    fn speaks(&self, scheme: &str) -> bool {
        match self {
            Self::Entra(entra) => entra.authority.scheme() == scheme,
            Self::Oidc(oidc) => {
                let asked = [&oidc.jwks_uri, &oidc.token_endpoint, &oidc.introspection_endpoint];
                let discovery = oidc.discovery();
                asked.into_iter().flatten().chain(&discovery).any(|url| url.scheme() == scheme)
            }
        }
    }
}

/// Any other server, found by discovery (OpenID Connect Discovery 1.0, RFC 8414) unless endpoints are given. Every URL
/// is https; plain http only on loopback.
#[derive(Debug, PartialEq, Eq)]
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

impl Oidc {
    /// Where discovery begins: the issuer, if it is a URL that may be asked. `None` = whatever is needed is given.
    pub fn discovery(&self) -> Option<Url> {
        let url = Url::parse(&self.issuer).ok()?;
        let is_plain = url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let is_private = match url.scheme() {
            "https" => url.has_host(),
            "http" => is_loopback(&url),
            _ => false,
        };
        (is_plain && is_private).then_some(url)
    }
}

/// Microsoft Entra: everything follows from authority and tenant.
#[derive(Debug, PartialEq, Eq)]
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
#[derive(Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jwks {
    /// Between two scheduled fetches.
    pub refresh: Duration,
    /// Shortest gap between two fetches forced by unknown key ids.
    pub cooldown: Duration,
}

/// Which claims say what; a dotted path reaches into objects.
#[derive(Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// The user; `None` = what names one for good: `oid` within `tid` at Entra, `sub` within `iss` elsewhere.
    pub user: Option<String>,
    /// Delegated permissions: a space-separated string or a list.
    pub scopes: String,
    /// Roles: a list or a string.
    pub roles: String,
}
