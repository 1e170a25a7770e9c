//! What a configuration file may say, key by key. The comments on the fields are for operators: the JSON Schema shows
//! them in editors.
//!
//! **In:** the merged tree. **Out:** the same as types, every key optional. **Never:** decides anything: what is
//! missing or contradictory is found by `check`, which can say where.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::wire::identity_provider::IdentityProvider;
use crate::config::wire::listener::Listener;
use crate::config::wire::route::Defaults;
use crate::config::wire::route::Route;
use crate::config::wire::scalar::Workers;
use crate::config::wire::server::Admin;
use crate::config::wire::server::Cache;
use crate::config::wire::server::Limits;
use crate::config::wire::server::Shutdown;
use crate::config::wire::server::Telemetry;
use crate::config::wire::upstream::Upstream;

pub mod credential;
pub mod identity_provider;
pub mod listener;
pub mod redis;
pub mod route;
pub mod scalar;
pub mod server;
pub mod treatment;
pub mod upstream;

/// What names of listeners, identity providers, upstreams and routes look like, for editors.
const NAME: &str = "^[a-z][a-z0-9_]*$";

/// The configuration of obo-proxy.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "obo-proxy", extend("required" = ["routes"]))]
pub struct File {
    /// The version of this format.
    /// Default: 1, the only one there is.
    #[schemars(extend("enum" = [1]))]
    pub version: Option<u64>,
    /// How many worker threads serve requests: `auto` or a number.
    /// Default: `auto`, as many as the cores the cgroup allows. More than the cores only costs memory; fewer caps the
    /// throughput. The one setting that takes a restart.
    pub workers: Option<Workers>,
    /// The addresses callers connect to, by name.
    /// Default: one called `default` on 0.0.0.0:8080.
    #[schemars(extend("propertyNames" = { "pattern": NAME }))]
    pub listeners: Option<BTreeMap<String, Listener>>,
    /// Whose tokens are accepted and where they are exchanged, by name.
    /// No default: without one, only `auth: anonymous` routes can be served.
    #[schemars(extend("propertyNames" = { "pattern": NAME }))]
    pub identity_providers: Option<BTreeMap<String, IdentityProvider>>,
    /// Back ends that share settings, by name. A route may name a URL instead.
    /// Default: none.
    #[schemars(extend("propertyNames" = { "pattern": NAME }))]
    pub upstreams: Option<BTreeMap<String, Upstream>>,
    /// Settings of all routes; a route's own win.
    /// Default: none.
    pub defaults: Option<Defaults>,
    /// What is served, by name; the name is a metric label. The most specific route takes a request; order never
    /// matters.
    /// No default: a request that no route takes is answered with 404.
    #[schemars(extend("propertyNames" = { "pattern": NAME }))]
    pub routes: Option<BTreeMap<String, Route>>,
    /// The cache of exchanged tokens.
    pub cache: Option<Cache>,
    /// Probes, metrics and logs.
    pub telemetry: Option<Telemetry>,
    /// A status page, and an API that purges users and changes what is logged.
    /// Default: absent, there is none.
    pub admin: Option<Admin>,
    /// Bounds on connections and request heads.
    pub limits: Option<Limits>,
    /// How to stop on SIGTERM.
    pub shutdown: Option<Shutdown>,
}
