//! Settings that are part of the design but not of this version: refused by name, so that nobody takes them for typing
//! errors, and never ignored.

use crate::config::node::Path;

/// A setting, or one value of a setting, that comes later.
struct Later {
    /// The keys that lead to it; `*` is any name. List positions are not counted.
    path: &'static [&'static str],
    /// The values that come later; empty = the setting itself.
    values: &'static [&'static str],
    /// Keys beside it that it would make unnecessary: they are not reported as missing.
    stands_for: &'static [&'static str],
}

/// A match in the table.
pub struct Found {
    key: String,
    /// The value that is not supported; `None` = no value is.
    pub value: Option<String>,
    /// Keys beside it that are not missing because of it.
    pub stands_for: &'static [&'static str],
}

impl Found {
    /// The key or value, for a message.
    pub fn shown(&self) -> &str {
        self.value.as_deref().unwrap_or(&self.key)
    }
}

const fn setting(path: &'static [&'static str]) -> Later {
    Later { path, values: &[], stands_for: &[] }
}

const fn values(path: &'static [&'static str], values: &'static [&'static str]) -> Later {
    Later { path, values, stands_for: &[] }
}

const LATER: &[Later] = &[
    setting(&["admin"]),
    setting(&["listeners", "*", "tls"]),
    setting(&["listeners", "*", "proxy_protocol"]),
    Later { path: &["identity_providers", "*", "oidc"], values: &[], stands_for: &["entra"] },
    setting(&["identity_providers", "*", "proxy"]),
    setting(&["identity_providers", "*", "client_capabilities"]),
    setting(&["identity_providers", "*", "introspection"]),
    setting(&["identity_providers", "*", "resource_metadata"]),
    values(&["identity_providers", "*", "credential"], &["workload_identity", "managed_identity"]),
    Later {
        path: &["identity_providers", "*", "credential", "certificate"],
        values: &[],
        stands_for: &["secret"],
    },
    Later {
        path: &["identity_providers", "*", "credential", "federated_token"],
        values: &[],
        stands_for: &["secret"],
    },
    Later {
        path: &["identity_providers", "*", "credential", "workload_identity"],
        values: &[],
        stands_for: &["secret"],
    },
    Later {
        path: &["identity_providers", "*", "credential", "managed_identity"],
        values: &[],
        stands_for: &["secret"],
    },
    values(&["identity_providers", "*", "auth_method"], &["private_key_jwt", "tls_client_auth", "none"]),
    values(&["identity_providers", "*", "grant"], &["token_exchange"]),
    setting(&["routes", "*", "headers"]),
    setting(&["routes", "*", "retry"]),
    setting(&["routes", "*", "limits"]),
    setting(&["routes", "*", "cors"]),
    Later { path: &["routes", "*", "exchange", "resource"], values: &[], stands_for: &["scopes"] },
    Later { path: &["routes", "*", "exchange", "audience"], values: &[], stands_for: &["scopes"] },
    setting(&["routes", "*", "exchange", "actor"]),
    values(&["routes", "*", "exchange", "app_tokens"], &["client_credentials"]),
    setting(&["routes", "*", "require", "client_certificate"]),
    setting(&["cache", "redis"]),
    setting(&["telemetry", "traces"]),
];

/// What the table says about the setting at `path`, which has `value` if that is a scalar. `defaults` is looked up as a
/// route.
pub fn find(path: &Path, value: Option<&str>) -> Option<Found> {
    let keys = path.keys();
    let route: Vec<&str> = match keys.split_first() {
        Some((&"defaults", rest)) => ["routes", "*"].into_iter().chain(rest.iter().copied()).collect(),
        _ => keys,
    };
    let fits = |later: &&Later| {
        let path_fits = later.path.len() == route.len()
            && later.path.iter().zip(&route).all(|(pattern, key)| *pattern == "*" || pattern == key);
        path_fits && (later.values.is_empty() || value.is_some_and(|value| later.values.contains(&value)))
    };
    let later = LATER.iter().find(fits)?;
    let value = value.filter(|_| !later.values.is_empty()).map(String::from);
    Some(Found { key: (*route.last()?).to_owned(), value, stands_for: later.stands_for })
}

/// Every entry as keys and values, for the test that writes each of them down.
#[cfg(test)]
pub fn all() -> impl Iterator<Item = (&'static [&'static str], &'static [&'static str])> {
    LATER.iter().map(|later| (later.path, later.values))
}
