//! Floor 1: from text to a [`Config`] that cannot be wrong.
//!
//! **In:** files and environment variables. **Out:** a [`Config`], or every [`problem::Problem`] at once.
//! **Never:** opens a socket, reads the process environment itself, or prints a secret.
//!
//! On the way: `yaml` reads a file, `layers` lays files and environment over each other, `tree` reads the result as the
//! types of `wire`, and `check` makes a [`Config`] of them. `mask` says what must not be shown.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::uri::Authority;
use ipnet::IpNet;
use url::Url;

use crate::domain::name::Name;
use crate::domain::secret::Secret;
use crate::domain::tenant::TenantId;

pub mod problem;

mod check;
mod de;
mod layers;
mod load;
mod mask;
mod node;
mod schema;
mod source;
mod tree;
mod unsupported;
mod wire;
mod yaml;

pub use crate::config::load::Loaded;
pub use crate::config::load::load;
pub use crate::config::load::load_text;
pub use crate::config::schema::schema;

/// Everything the proxy was told, checked: names resolve, addresses parse, no two routes tie.
#[derive(Debug)]
pub struct Config {
    /// Worker threads; `None` = as many as the cores the cgroup allows.
    pub workers: Option<usize>,
    /// Where callers connect. Never empty.
    pub listeners: Vec<Listener>,
    /// Where tokens come from and are exchanged.
    pub identity_providers: Vec<Arc<IdentityProvider>>,
    /// What is served. No two of them tie.
    pub routes: Vec<Arc<Route>>,
    /// The token cache's bounds.
    pub cache: Cache,
    /// Probes, metrics and logs.
    pub telemetry: Telemetry,
    /// Bounds on connections and request heads.
    pub limits: Limits,
    /// How to stop.
    pub shutdown: Shutdown,
}

/// `host:port`, to be resolved when it is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// An IP address or host name, without brackets.
    pub host: String,
    /// The port; 0 = any free one.
    pub port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// One address callers connect to.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name, a metric label.
    pub name: Name,
    /// What it binds.
    pub address: Address,
    /// What happens to header names with `_`.
    pub underscore_headers: UnderscoreHeaders,
    /// Whose `X-Forwarded-*` and `Forwarded` are believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Listener {
    /// Whether forwarding headers of a peer at `address` are believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&address.to_canonical()))
    }
}

/// Header names with `_` alias those with `-` in many back ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnderscoreHeaders {
    /// Remove them from the request.
    Drop,
    /// Let them through.
    Keep,
}

/// One identity provider: whose tokens are accepted, and where they are exchanged.
#[derive(Debug)]
pub struct IdentityProvider {
    /// Its name, a metric label.
    pub name: Name,
    /// Issuers, keys and endpoints.
    pub entra: Entra,
    /// Our own client id there.
    pub client_id: String,
    /// Accepted `aud` values, compared exactly. Never empty.
    pub audiences: Vec<String>,
    /// How we prove who we are; tried in order. Never empty.
    pub credentials: Vec<Credential>,
    /// How the credential is sent.
    pub auth_method: AuthMethod,
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
    /// Where `tenant`'s tokens are exchanged (version 2).
    pub fn token_endpoint(&self, tenant: &TenantId) -> String {
        format!("{}/{tenant}/oauth2/v2.0/token", self.origin())
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
}

/// How a client secret travels (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// In the form.
    ClientSecretPost,
    /// In the `Authorization` header.
    ClientSecretBasic,
}

/// When a provider's key set is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Jwks {
    /// Between two scheduled fetches.
    pub refresh: Duration,
    /// Shortest gap between two fetches forced by unknown key ids.
    pub cooldown: Duration,
}

/// A JWS signature algorithm (RFC 7518). No `none`, no HMAC: they cannot be written down.
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
}

impl Algorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
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
    /// The user; `None` = `oid`, unique within `tid`.
    pub user: Option<String>,
    /// Delegated permissions: a space-separated string or a list.
    pub scopes: String,
    /// Roles: a list or a string.
    pub roles: String,
}

/// One route: which requests it takes and what becomes of them.
#[derive(Debug)]
pub struct Route {
    /// Its name, a metric label.
    pub name: Name,
    /// On which listeners; `None` = on all.
    pub listeners: Option<Vec<Name>>,
    /// Which requests.
    pub matches: Match,
    /// Who may pass and what happens to token A.
    pub access: Access,
    /// Where to.
    pub upstream: Arc<Upstream>,
    /// How the request changes on the way.
    pub rewrite: Rewrite,
    /// What to do with `%2F` in the path.
    pub encoded_slashes: EncodedSlashes,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// Which requests a route takes. All given parts must agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Any of these hosts; empty = every host.
    pub hosts: Vec<HostPattern>,
    /// The path, in canonical form.
    pub path: String,
    /// Whether the whole path must be equal.
    pub path_kind: PathKind,
    /// Any of these methods; empty = every method.
    pub methods: Vec<Method>,
    /// All of these headers, by exact value.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// How a route's path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// Byte for byte.
    Exact,
    /// On segment boundaries: `/api` takes `/api` and `/api/x`, not `/apix`.
    Prefix,
}

/// A host name pattern, lower-case, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This host.
    Exact(String),
    /// Any host that ends with this suffix, which begins with a dot: `*.example` is `.example`.
    Wildcard(String),
}

/// Who may pass, and what becomes of token A. Every route says so.
#[derive(Debug)]
pub enum Access {
    /// No token is asked for or looked at.
    Anonymous(UnvalidatedToken),
    /// Token A is validated on every request.
    Validated {
        /// Whose tokens, and what they must hold.
        policy: Policy,
        /// What goes upstream.
        token: ValidatedToken,
    },
}

/// What becomes of an `Authorization` header nobody looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnvalidatedToken {
    /// It is removed.
    Remove,
    /// It goes upstream as it came.
    Passthrough,
}

/// What becomes of a validated token A.
#[derive(Debug)]
pub enum ValidatedToken {
    /// It is exchanged for a token B.
    Exchange(Arc<Exchange>),
    /// It goes upstream as it came.
    Passthrough,
    /// It is removed.
    Remove,
}

/// What a token A must hold to pass a route.
#[derive(Debug)]
pub struct Policy {
    /// Whose tokens; the token's `iss` picks among them. Never empty.
    pub identity_providers: Vec<Name>,
    /// Whether an application without a user may pass.
    pub principals: Principals,
    /// Delegated permissions.
    pub scopes: Demand,
    /// Application roles.
    pub roles: Demand,
    /// Any of these clients (`azp`, `appid`); empty = every client.
    pub clients: Vec<String>,
    /// Claims with exactly these values; of a list, one item must be equal.
    pub claims: Vec<(String, String)>,
}

/// Who may stand behind a token A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principals {
    /// Users only: a route that exchanges On-Behalf-Of one.
    Users,
    /// Users and applications.
    UsersAndApplications,
}

/// Words a token must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// All of these; empty = nothing is demanded.
    All(Vec<String>),
    /// One of these at least.
    Any(Vec<String>),
}

impl Demand {
    /// The words, however they are combined.
    pub fn words(&self) -> &[String] {
        match self {
            Self::All(words) | Self::Any(words) => words,
        }
    }
}

/// The token a route's upstream wants.
#[derive(Debug)]
pub struct Exchange {
    /// Scopes, sent as written.
    pub scopes: Vec<String>,
    /// `requested_token_type`, if the upstream wants another kind than the IdP's default.
    pub requested_token_type: Option<TokenType>,
}

/// A token type of RFC 8693 section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TokenType {
    Saml1,
    Saml2,
    Jwt,
    AccessToken,
}

impl TokenType {
    /// Its URI.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Saml1 => "urn:ietf:params:oauth:token-type:saml1",
            Self::Saml2 => "urn:ietf:params:oauth:token-type:saml2",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
        }
    }
}

/// Where requests go.
#[derive(Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Host and port as written: the `server_address` label.
    pub authority: Authority,
    /// Plain or TLS.
    pub scheme: Scheme,
    /// The path every forwarded path is appended to; no trailing slash, empty for the root.
    pub base_path: String,
    /// Which HTTP version.
    pub http2: Http2,
    /// How TLS is verified; without meaning for plain http.
    pub tls: UpstreamTls,
    /// Bound on connecting. Part of the upstream, as a pooled connection is shared by routes.
    pub connect_timeout: Duration,
}

/// Plain or TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Scheme {
    Http,
    Https,
}

/// Which HTTP version an upstream is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2 {
    /// By ALPN over TLS; HTTP/1.1 without.
    Auto,
    /// HTTP/2 only, by prior knowledge without TLS.
    Always,
    /// HTTP/1.1 only.
    Never,
}

/// How an upstream's certificate is verified, and which one of ours it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// A PEM file of roots; `None` = the system's.
    pub ca: Option<PathBuf>,
    /// The name to expect in place of the URL's host.
    pub server_name: Option<String>,
    /// PEM files of our certificate and key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// How the request changes on the way.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// Removed from the front of the path; no trailing slash. Always a prefix of the route's own path.
    pub strip_prefix: Option<String>,
    /// Which `Host` goes upstream.
    pub host: HostRewrite,
}

/// Which `Host` goes upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostRewrite {
    /// The caller's.
    Preserve,
    /// The upstream's own.
    Upstream,
}

/// What to do with `%2F` in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodedSlashes {
    /// 400.
    Reject,
    /// Let it through, undecoded.
    Keep,
}

/// How long to wait for an upstream, besides connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until its response head.
    pub response: Duration,
    /// Without a byte either way.
    pub idle: Duration,
}

/// The token cache.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Most entries.
    pub max_entries: u64,
    /// Most bytes.
    pub max_bytes: u64,
    /// What an entry belongs to.
    pub key: CacheKeyMode,
    /// How long before `expires_on` renewal starts, a quarter of the lifetime at most.
    pub expiry_margin: Duration,
    /// How long a refusal is remembered.
    pub negative_ttl: Duration,
}

/// What a cache entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKeyMode {
    /// User and every non-volatile claim.
    User,
    /// The very token A.
    Assertion,
}

/// Probes, metrics and logs.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Where probes and metrics are served.
    pub address: Address,
    /// What is logged.
    pub logs: Logs,
}

/// What is logged.
#[derive(Clone, Debug)]
pub struct Logs {
    /// Its form.
    pub format: LogFormat,
    /// A level, or a `tracing` filter.
    pub level: String,
    /// Whether there is a line per request.
    pub access: AccessLog,
}

/// Whether there is an access-log line per request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// One line per request.
    On,
    /// None.
    Off,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, else JSON.
    Auto,
    /// For a person.
    Human,
    /// One JSON object a line.
    Json,
}

/// Bounds on connections and request heads.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at a time, over all listeners.
    pub connections: usize,
    /// Longest request head in bytes.
    pub header_bytes: usize,
    /// Until a request head is complete.
    pub header_timeout: Duration,
    /// How long a connection may rest between requests.
    pub idle_timeout: Duration,
}

/// How to stop.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// Not ready, but still accepting: time for load balancers to notice.
    pub delay: Duration,
    /// Then time for requests in flight.
    pub drain: Duration,
}

#[cfg(test)]
mod tests;
