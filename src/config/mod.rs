//! Floor 1: from text to a [`Config`] that cannot be wrong.
//!
//! **In:** files and environment variables. **Out:** a [`Config`], or every [`problem::Problem`] at once.
//! **Never:** opens a socket, reads the process environment itself, or prints a secret.
//!
//! On the way: `yaml` reads a file, `layers` lays files and environment over each other, `tree` reads the result as the
//! types of `wire`, and `check` makes a [`Config`] of them. `mask` says what must not be shown.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::uri::Authority;

use crate::domain::name::Name;

pub mod file;
pub mod problem;

mod admin;
mod algorithm;
mod check;
mod credential;
mod de;
mod egress;
mod environment;
mod identity_provider;
mod layers;
mod listener;
mod load;
mod loopback;
mod mask;
mod node;
mod outline;
mod places;
mod redis;
mod schema;
mod settled;
mod sharing;
mod source;
mod traces;
mod treatment;
mod tree;
mod wire;
mod written;
mod yaml;

pub use crate::config::admin::Admin;
pub use crate::config::algorithm::Algorithm;
pub use crate::config::check::Look;
pub use crate::config::check::is_log_filter;
pub use crate::config::credential::AssertionAudience;
pub use crate::config::credential::AuthMethod;
pub use crate::config::credential::Certificate;
pub use crate::config::credential::Credential;
pub use crate::config::credential::ManagedIdentity;
pub use crate::config::credential::ManagedIdentityId;
pub use crate::config::credential::ManagedIdentitySource;
pub use crate::config::credential::SendChain;
pub use crate::config::egress::Egress;
pub use crate::config::egress::Exception;
pub use crate::config::egress::ForwardProxy;
pub use crate::config::environment::Environment;
pub use crate::config::environment::Variable;
pub use crate::config::identity_provider::AuthorizationServer;
pub use crate::config::identity_provider::ClaimNames;
pub use crate::config::identity_provider::Entra;
pub use crate::config::identity_provider::EntraVersion;
pub use crate::config::identity_provider::GrantType;
pub use crate::config::identity_provider::IdentityProvider;
pub use crate::config::identity_provider::Introspection;
pub use crate::config::identity_provider::Jwks;
pub use crate::config::identity_provider::Oidc;
pub use crate::config::identity_provider::ResourceMetadata;
pub use crate::config::identity_provider::Tenancy;
pub use crate::config::listener::Listener;
pub use crate::config::listener::ListenerAddress;
pub use crate::config::listener::ListenerTls;
pub use crate::config::listener::ProxyProtocol;
pub use crate::config::listener::RequiredCertificate;
pub use crate::config::listener::ServerCertificate;
pub use crate::config::listener::TlsVersion;
pub use crate::config::listener::TrustedProxies;
pub use crate::config::listener::UnderscoreHeaders;
pub use crate::config::load::Loaded;
pub use crate::config::load::load;
pub use crate::config::load::load_text;
pub use crate::config::loopback::is_loopback;
pub use crate::config::loopback::is_loopback_host;
pub use crate::config::outline::Changes;
pub use crate::config::outline::Outline;
pub use crate::config::redis::Login;
pub use crate::config::redis::Redis;
pub use crate::config::redis::RedisServer;
pub use crate::config::redis::SecretSource;
pub use crate::config::redis::Topology;
pub use crate::config::redis::Transport;
pub use crate::config::schema::schema;
pub use crate::config::settled::with_defaults;
pub use crate::config::traces::OnParent;
pub use crate::config::traces::Sampler;
pub use crate::config::traces::Traces;
pub use crate::config::treatment::Cors;
pub use crate::config::treatment::FieldRules;
pub use crate::config::treatment::HOP_BY_HOP;
pub use crate::config::treatment::Piece;
pub use crate::config::treatment::Retry;
pub use crate::config::treatment::RouteLimits;
pub use crate::config::treatment::Setback;
pub use crate::config::treatment::Template;
pub use crate::config::treatment::Treatment;
pub use crate::config::treatment::is_spelling_of;
pub use crate::config::wire::scalar::duration;
pub use crate::config::written::Written;

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
    /// Where operators look and steer; `None` = nowhere.
    pub admin: Option<Admin>,
    /// Bounds on connections and request heads.
    pub limits: Limits,
    /// How to stop.
    pub shutdown: Shutdown,
    /// What was written, to be shown: without its secrets.
    pub written: Written,
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

/// One route: which requests it takes and what becomes of them.
#[derive(Debug)]
pub struct Route {
    /// Its name, a metric label.
    pub name: Name,
    /// On which listeners; `None` = on all.
    pub listeners: Option<Vec<Name>>,
    /// Which requests.
    pub matches: Match,
    /// Which client certificates are admitted; `None` = whether one was shown makes no difference.
    pub client_certificate: Option<RequiredCertificate>,
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
    /// What else becomes of its requests.
    pub treatment: Treatment,
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

/// The token a route's upstream wants. At Entra it is named by scopes or by exactly one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Scopes, sent as written.
    pub scopes: Vec<String>,
    /// Resources: of Entra's version 1, of AD FS, or of RFC 8693 section 2.1.
    pub resources: Vec<String>,
    /// Audiences (RFC 8693 section 2.1).
    pub audiences: Vec<String>,
    /// Who acts for the user, as far as the IdP is told.
    pub actor: Actor,
    /// `requested_token_type`, if the upstream wants another kind than the IdP's default.
    pub requested_token_type: Option<TokenType>,
    /// What becomes of a caller that is no user.
    pub app_tokens: AppTokens,
}

impl Exchange {
    /// Which of Entra's token endpoints knows what is wanted: a resource is of version 1, scopes are of version 2.
    pub fn entra_version(&self) -> EntraVersion {
        if self.resources.is_empty() { EntraVersion::V2 } else { EntraVersion::V1 }
    }
}

/// Who acts for the user, as far as the IdP is told (RFC 8693 section 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Nobody: no actor token is sent.
    Nobody,
    /// We do: the actor token is one that our own client credentials got.
    Ourselves,
}

/// What becomes of a caller that is no user on a route that exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppTokens {
    /// It is refused: there is nobody to act on behalf of.
    Reject,
    /// It gets the token that our own client credentials are worth (RFC 6749 section 4.4). Its route always requires
    /// a role or a client.
    ClientCredentials,
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
    /// Host and port as written.
    pub authority: Authority,
    /// The Unix socket it is behind, whatever the authority says.
    pub socket: Option<PathBuf>,
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

impl Upstream {
    /// Where it is, as metrics and logs say it.
    pub fn address(&self) -> &str {
        if self.socket.is_some() { "unix" } else { self.authority.as_str() }
    }
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The tier that proxies share.
    pub redis: Option<Arc<Redis>>,
}

/// What a cache entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKeyMode {
    /// User and every non-volatile claim.
    User,
    /// The very token A.
    Assertion,
}

/// Probes, metrics, logs and traces.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Where probes and metrics are served.
    pub address: Address,
    /// What is logged.
    pub logs: Logs,
    /// Where traces go, if there are any.
    pub traces: Option<Arc<Traces>>,
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
