//! `listeners`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::wire::scalar::OneOrMany;

/// One address callers connect to.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["address"]))]
pub struct Listener {
    /// What it binds, as `host:port`.
    /// No default. `0.0.0.0` takes callers from everywhere, `127.0.0.1` only from this pod or machine. Port 0 is any
    /// free port.
    pub address: Option<String>,
    /// What happens to request headers with `_` in their names: `drop` or `keep`.
    /// Default: `drop`. Many back ends take `x_user` for `x-user`: with `keep`, a caller can imitate headers that a
    /// back end trusts.
    pub underscore_headers: Option<UnderscoreHeaders>,
    /// Networks whose `X-Forwarded-*` and `Forwarded` headers are believed, in CIDR notation.
    /// Default: none. A network too many lets callers choose the address and scheme that back ends and logs see.
    pub trusted_proxies: Option<OneOrMany>,
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
