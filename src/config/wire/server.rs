//! `cache`, `telemetry`, `admin`, `limits` and `shutdown`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::wire::credential::Secret;
use crate::config::wire::redis::Redis;
use crate::config::wire::scalar::DurationText;
use crate::config::wire::scalar::Ratio;
use crate::config::wire::scalar::Size;

/// The cache of exchanged tokens.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// The most tokens kept.
    /// Default: 10000. Too few makes the identity provider slow every request down, and throttle them.
    #[schemars(range(min = 1))]
    pub max_entries: Option<u64>,
    /// The most memory that kept tokens take; this or `max_entries`, whichever comes first.
    /// Default: `64MiB`.
    pub max_bytes: Option<Size>,
    /// What a kept token belongs to: `user` or `assertion`.
    /// Default: `user`, which shares it among a user's tokens that agree in every claim but times and ids.
    /// `assertion` ties it to one token of the caller, for issuers whose tokens do not tell sessions apart.
    pub key: Option<CacheKey>,
    /// How long before a token expires its renewal begins, a quarter of its lifetime at most.
    /// Default: `5m`. Too short lets requests wait for renewals.
    pub expiry_margin: Option<DurationText>,
    /// How long a refusal by the identity provider is remembered for the very token it was about.
    /// Default: `30s`. Too long keeps users out who have just satisfied a demand; too short lets clients that retry
    /// flood the identity provider.
    pub negative_ttl: Option<DurationText>,
    /// A tier that proxies share, asked after memory.
    /// Default: none, each proxy keeps its tokens to itself.
    pub redis: Option<Redis>,
}

/// What a kept token belongs to.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheKey {
    /// User and every non-volatile claim.
    User,
    /// The very token of the caller.
    Assertion,
}

/// Probes, metrics, logs and traces.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Where `/livez`, `/readyz`, `/startupz` and `/metrics` are served. Nothing there is secret.
    /// Default: `0.0.0.0:9902`. A kubelet probes the address of the pod: on `127.0.0.1` its probes fail.
    pub address: Option<String>,
    /// What is logged.
    pub logs: Option<Logs>,
    /// Where traces go.
    /// Default: none are made, unless OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set.
    pub traces: Option<Traces>,
}

/// Where traces go, and of which requests there are any.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// The collector: `http://host:4318` or `https://...`, to which `/v1/traces` is added. It is sent OTLP over HTTP, in JSON.
    /// Default: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or OTEL_EXPORTER_OTLP_ENDPOINT.
    pub otlp: Option<String>,
    /// Which part of the requests is traced whose callers do not say whether they trace them: from 0 to 1. What a caller
    /// says in `traceparent` is followed.
    /// Default: what OTEL_TRACES_SAMPLER says, else 0.1.
    pub sample_ratio: Option<Ratio>,
}

/// What is logged, to stderr.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// The form of a line: `auto`, `human` or `json`.
    /// Default: `auto`, human on a terminal and JSON elsewhere.
    pub format: Option<LogFormat>,
    /// The least important level that is logged: `error`, `warn`, `info`, `debug` or `trace`, or a filter such as
    /// `info,obo_proxy=debug`.
    /// Default: `info`.
    pub level: Option<String>,
    /// Whether each request gets a line.
    /// Default: true.
    pub access: Option<bool>,
}

/// The form of a log line.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Human on a terminal, else JSON.
    Auto,
    /// For a person.
    Human,
    /// One JSON object a line.
    Json,
}

/// A status page and an API for operators.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where they are served.
    /// Default: `127.0.0.1:9901`. Wider than loopback it takes a `token`.
    pub address: Option<String>,
    /// What whoever uses them must show, as a bearer token or as the password of a browser.
    /// Default: none on loopback, where everyone on this machine may use them. The file is read anew each time.
    pub token: Option<Secret>,
}

/// Bounds on connections and request heads.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most connections at a time, over all listeners. Above it, accepting pauses.
    /// Default: 10000. Each takes a file descriptor, and up to three go to upstreams: where too few files may be open, fewer.
    #[schemars(range(min = 1))]
    pub connections: Option<u64>,
    /// The longest head of a request; longer ones are answered with 431.
    /// Default: `64KiB`; from `8KiB` to `1MiB`. Tokens of users in many groups need more than 8 KiB.
    pub header_bytes: Option<Size>,
    /// How long the head of a request may take to arrive.
    /// Default: `10s`. Without such a bound, idle callers could use up all connections.
    pub header_timeout: Option<DurationText>,
    /// How long a connection may rest between two requests.
    /// Default: `90s`. Keep it above that of the load balancer in front, or its requests meet closed connections.
    pub idle_timeout: Option<DurationText>,
}

/// How to stop on SIGTERM.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// How long to go on accepting, while reporting not to be ready.
    /// Default: `5s`. Too short loses requests that a load balancer still sends.
    pub delay: Option<DurationText>,
    /// Then how long requests in flight may take.
    /// Default: `25s`. With `delay`, keep it below `terminationGracePeriodSeconds`.
    pub drain: Option<DurationText>,
}
