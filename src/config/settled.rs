//! What holds where nothing was written.

use std::time::Duration;

use crate::config::AccessLog;
use crate::config::CacheKeyMode;
use crate::config::Config;
use crate::config::EncodedSlashes;
use crate::config::GrantType;
use crate::config::HostRewrite;
use crate::config::Http2;
use crate::config::IdentityProvider;
use crate::config::Listener;
use crate::config::LogFormat;
use crate::config::Route;
use crate::config::UnderscoreHeaders;
use crate::config::written::Written;

/// What was written, with the defaults that `config` came to have.
pub fn with_defaults(config: &Config) -> Written {
    let workers = config.workers.map_or_else(|| "auto".to_owned(), |count| count.to_string());
    let mut written = config.written.clone().or(&["version"], "1".into()).or(&["workers"], workers);
    for listener in &config.listeners {
        written = of_listener(written, listener);
    }
    for provider in &config.identity_providers {
        written = of_provider(written, provider);
    }
    for route in &config.routes {
        written = of_route(written, route);
    }
    of_process(written, config)
}

fn of_listener(written: Written, listener: &Listener) -> Written {
    let underscores = match listener.underscore_headers {
        UnderscoreHeaders::Drop => "drop",
        UnderscoreHeaders::Keep => "keep",
    };
    let at = |key| ["listeners", listener.name.as_str(), key];
    written.or(&at("address"), listener.address.to_string()).or(&at("underscore_headers"), underscores.into())
}

fn of_provider(written: Written, provider: &IdentityProvider) -> Written {
    let name = provider.name.as_str();
    let at = |key| ["identity_providers", name, key];
    let grant = match provider.grant {
        GrantType::JwtBearer => "jwt_bearer",
        GrantType::TokenExchange => "token_exchange",
    };
    let algorithms: Vec<String> =
        provider.algorithms.iter().map(|algorithm| algorithm.name().to_owned()).collect();
    written
        .or(&at("client_id"), provider.client_id.clone())
        .or_list(&at("audiences"), &provider.audiences)
        .or(&at("grant"), grant.into())
        .or(&at("clock_skew"), duration(provider.clock_skew))
        .or(&at("timeout"), duration(provider.timeout))
        .or(&["identity_providers", name, "jwks", "refresh"], duration(provider.jwks.refresh))
        .or(&["identity_providers", name, "jwks", "cooldown"], duration(provider.jwks.cooldown))
        .or_list(&at("algorithms"), &algorithms)
        .or_list(&at("token_types"), &provider.token_types)
        .or(&["identity_providers", name, "claim_names", "scopes"], provider.claim_names.scopes.clone())
        .or(&["identity_providers", name, "claim_names", "roles"], provider.claim_names.roles.clone())
}

fn of_route(written: Written, route: &Route) -> Written {
    let name = route.name.as_str();
    let timeout = |key| ["routes", name, "timeouts", key];
    let host = match route.rewrite.host {
        HostRewrite::Preserve => "preserve",
        HostRewrite::Upstream => "upstream",
    };
    let slashes = match route.encoded_slashes {
        EncodedSlashes::Reject => "reject",
        EncodedSlashes::Keep => "keep",
    };
    let http2 = match route.upstream.http2 {
        Http2::Auto => "auto",
        Http2::Always => "always",
        Http2::Never => "never",
    };
    let written = written
        .or(&["routes", name, "rewrite", "host"], host.into())
        .or(&["routes", name, "encoded_slashes"], slashes.into())
        .or(&timeout("connect"), duration(route.upstream.connect_timeout))
        .or(&timeout("response"), duration(route.timeouts.response))
        .or(&timeout("idle"), duration(route.timeouts.idle));
    // where the route names an upstream, the setting is that one's
    match written.upstream_of(name) {
        Some(upstream) => written.or(&["upstreams", &upstream, "http2"], http2.into()),
        None => written,
    }
}

fn of_process(written: Written, config: &Config) -> Written {
    let Config { cache, telemetry, limits, shutdown, .. } = config;
    let key = match cache.key {
        CacheKeyMode::User => "user",
        CacheKeyMode::Assertion => "assertion",
    };
    let format = match telemetry.logs.format {
        LogFormat::Auto => "auto",
        LogFormat::Human => "human",
        LogFormat::Json => "json",
    };
    let access = telemetry.logs.access == AccessLog::On;
    written
        .or(&["cache", "max_entries"], cache.max_entries.to_string())
        .or(&["cache", "max_bytes"], size(cache.max_bytes))
        .or(&["cache", "key"], key.into())
        .or(&["cache", "expiry_margin"], duration(cache.expiry_margin))
        .or(&["cache", "negative_ttl"], duration(cache.negative_ttl))
        .or(&["telemetry", "address"], telemetry.address.to_string())
        .or(&["telemetry", "logs", "format"], format.into())
        .or(&["telemetry", "logs", "level"], telemetry.logs.level.clone())
        .or(&["telemetry", "logs", "access"], access.to_string())
        .or(&["limits", "connections"], limits.connections.to_string())
        .or(&["limits", "header_bytes"], size(limits.header_bytes.try_into().unwrap_or(u64::MAX)))
        .or(&["limits", "header_timeout"], duration(limits.header_timeout))
        .or(&["limits", "idle_timeout"], duration(limits.idle_timeout))
        .or(&["shutdown", "delay"], duration(shutdown.delay))
        .or(&["shutdown", "drain"], duration(shutdown.drain))
}

/// As it would be written: in the largest unit that divides it.
fn duration(duration: Duration) -> String {
    let (seconds, rest) = (duration.as_secs(), duration.subsec_millis());
    match (seconds, rest) {
        (_, 1..) => format!("{}ms", duration.as_millis()),
        (1.., _) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        // 60s, not 1m, as everybody writes it
        (61.., _) if seconds % 60 == 0 && seconds != 90 => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fitting = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    fitting.map_or_else(|| format!("{bytes}B"), |(unit, name)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_written_as_people_do() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1500, "1500ms"),
            (60_000, "60s"),
            (90_000, "90s"),
            (300_000, "5m"),
            (3_600_000, "1h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        for (bytes, text) in
            [(0, "0B"), (1000, "1000B"), (65_536, "64KiB"), (64 << 20, "64MiB"), (1 << 30, "1GiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
