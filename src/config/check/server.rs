//! `cache`, `telemetry`, `limits` and `shutdown`.

use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::AccessLog;
use crate::config::Address;
use crate::config::Cache;
use crate::config::CacheKeyMode;
use crate::config::Limits;
use crate::config::LogFormat;
use crate::config::Logs;
use crate::config::Shutdown;
use crate::config::Telemetry;
use crate::config::check::At;
use crate::config::check::address;
use crate::config::check::positive;
use crate::config::check::redis;
use crate::config::check::traces;
use crate::config::wire;
use crate::config::wire::scalar::DurationText;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The token cache.
pub fn cache(written: Option<&wire::server::Cache>, at: &At<'_>) -> Cache {
    let max_entries = written.and_then(|cache| cache.max_entries).unwrap_or(10_000);
    let max_bytes = written.and_then(|cache| cache.max_bytes).map_or(64 * MIB, |size| size.0);
    if max_entries == 0 {
        at.key("max_entries").error("the cache must hold one entry at least");
    }
    if max_bytes < max_entries || max_bytes == 0 {
        at.key("max_bytes").error("the cache must hold one byte an entry at least");
    }
    Cache {
        max_entries,
        max_bytes,
        key: match written.and_then(|cache| cache.key) {
            None | Some(wire::server::CacheKey::User) => CacheKeyMode::User,
            Some(wire::server::CacheKey::Assertion) => CacheKeyMode::Assertion,
        },
        expiry_margin: or_seconds(written.and_then(|cache| cache.expiry_margin), 300),
        negative_ttl: or_seconds(written.and_then(|cache| cache.negative_ttl), 30),
        redis: written
            .and_then(|cache| cache.redis.as_ref())
            .and_then(|redis| redis::check(redis, &at.key("redis")))
            .map(Arc::new),
    }
}

/// Probes, metrics, logs and traces. `None` if the address cannot be read.
pub fn telemetry(written: Option<&wire::server::Telemetry>, at: &At<'_>) -> Option<Telemetry> {
    let address = match written.and_then(|telemetry| telemetry.address.as_ref()) {
        Some(text) => address::parse(text, &at.key("address")),
        None => Some(Address { host: "0.0.0.0".into(), port: 9902 }),
    };
    let logs = logs(written.and_then(|telemetry| telemetry.logs.as_ref()), &at.key("logs"));
    let traces = traces::traces(written.and_then(|telemetry| telemetry.traces.as_ref()), &at.key("traces"));
    Some(Telemetry { address: address?, logs, traces: traces.map(Arc::new) })
}

fn logs(written: Option<&wire::server::Logs>, at: &At<'_>) -> Logs {
    let level = written.and_then(|logs| logs.level.as_deref()).unwrap_or("info");
    if !is_log_filter(level) {
        let at = at.key("level");
        let help = "write error, warn, info, debug or trace, or a filter such as info,obo_proxy=debug";
        at.error_with(format!("`{}` is not a log level", at.shown(level)), help);
    }
    Logs {
        format: match written.and_then(|logs| logs.format) {
            None | Some(wire::server::LogFormat::Auto) => LogFormat::Auto,
            Some(wire::server::LogFormat::Human) => LogFormat::Human,
            Some(wire::server::LogFormat::Json) => LogFormat::Json,
        },
        level: level.into(),
        access: match written.and_then(|logs| logs.access) {
            None | Some(true) => AccessLog::On,
            Some(false) => AccessLog::Off,
        },
    }
}

/// Whether `level` is a log level, or a filter of several.
pub fn is_log_filter(level: &str) -> bool {
    // the filter takes any other word for the name of a module, and would be silent about all else
    let is_level = |word: &str| word.contains('=') || word.trim().parse::<LevelFilter>().is_ok();
    level.split(',').all(is_level) && EnvFilter::builder().parse(level).is_ok()
}

/// Bounds on connections and request heads.
pub fn limits(written: Option<&wire::server::Limits>, at: &At<'_>) -> Limits {
    let connections = written.and_then(|limits| limits.connections).unwrap_or(10_000);
    // more permits than a semaphore can hold
    let most = u64::try_from(usize::MAX >> 3).unwrap_or(u64::MAX);
    if connections == 0 || connections > most {
        at.key("connections").error("this must be a number of connections, from 1");
    }
    let header_bytes = written.and_then(|limits| limits.header_bytes).map_or(64 * KIB, |size| size.0);
    if !(8 * KIB..=MIB).contains(&header_bytes) {
        at.key("header_bytes").error("this must be from 8KiB to 1MiB");
    }
    let header_timeout = written.and_then(|limits| limits.header_timeout);
    let idle_timeout = written.and_then(|limits| limits.idle_timeout);
    Limits {
        connections: usize::try_from(connections).unwrap_or(usize::MAX),
        header_bytes: usize::try_from(header_bytes).unwrap_or(usize::MAX),
        header_timeout: positive(header_timeout, Duration::from_secs(10), &at.key("header_timeout")),
        idle_timeout: positive(idle_timeout, Duration::from_secs(90), &at.key("idle_timeout")),
    }
}

/// How to stop.
pub fn shutdown(written: Option<&wire::server::Shutdown>) -> Shutdown {
    Shutdown {
        delay: or_seconds(written.and_then(|shutdown| shutdown.delay), 5),
        drain: or_seconds(written.and_then(|shutdown| shutdown.drain), 25),
    }
}

fn or_seconds(text: Option<DurationText>, default: u64) -> Duration {
    text.map_or_else(|| Duration::from_secs(default), |text| text.0)
}
