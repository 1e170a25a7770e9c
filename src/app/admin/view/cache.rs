//! What is kept, and how often it serves.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::app::admin::view::Sources;
use crate::pipeline::exchange::survey::SharedTier;

/// The token cache.
#[derive(Debug, Serialize)]
pub struct Cache {
    /// Exchanged tokens in memory.
    pub memory: Memory,
    /// Caller's tokens that need no second look.
    pub validated: Amount,
    /// The tier that proxies share; absent = there is none.
    pub redis: Option<Redis>,
    /// Tokens that left memory before their end, by reason.
    pub evictions: BTreeMap<String, u64>,
    /// Exchanges under way.
    pub exchanges_in_flight: u64,
    /// Requests that waited for another one's exchange.
    pub exchanges_coalesced: u64,
}

/// Exchanged tokens in memory.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// How many there are.
    pub entries: u64,
    /// How many there may be.
    pub max_entries: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Bytes that they may take.
    pub max_bytes: u64,
    /// Look-ups since the start.
    pub lookups: Lookups,
}

/// How much is remembered.
#[derive(Debug, Serialize)]
pub struct Amount {
    /// How many there are.
    pub entries: u64,
    /// Bytes that they take.
    pub bytes: u64,
}

/// The tier that proxies share.
#[derive(Debug, Serialize)]
pub struct Redis {
    /// The servers that are configured, by host and port.
    pub server: String,
    /// `connected`, `resting`: there is no connection at the moment, or `troubled`.
    pub state: &'static str,
    /// The trouble.
    pub cause: Option<String>,
    /// Look-ups since the start.
    pub lookups: Lookups,
}

/// Look-ups in one tier.
#[derive(Debug, Serialize)]
pub struct Lookups {
    /// By result: `hit`, `stale` (still valid, but due for renewal), `miss`, `error`.
    pub by_result: BTreeMap<String, u64>,
    /// The part that was served, from 0 to 1; absent = nothing was looked up.
    pub hit_ratio: Option<f64>,
}

impl Cache {
    /// As it is.
    pub(super) fn of(sources: &Sources<'_>) -> Self {
        let Sources { config, figures, survey, .. } = sources;
        let redis = survey.cache.shared.as_ref().map(|tier| {
            let (state, cause) = match tier {
                SharedTier::Connected => ("connected", None),
                SharedTier::Resting => ("resting", None),
                SharedTier::Troubled(cause) => ("troubled", Some(cause.clone())),
            };
            let server = config.cache.redis.as_ref().map(|redis| redis.servers()).unwrap_or_default();
            Redis { server, state, cause, lookups: Lookups::of("redis", sources) }
        });
        Self {
            memory: Memory {
                entries: survey.cache.tokens,
                max_entries: config.cache.max_entries,
                bytes: survey.cache.bytes,
                max_bytes: config.cache.max_bytes,
                lookups: Lookups::of("memory", sources),
            },
            validated: Amount { entries: survey.validated.tokens, bytes: survey.validated.bytes },
            redis,
            evictions: figures.by("obo_cache_evictions_total", &[], "reason"),
            exchanges_in_flight: figures.count("obo_exchanges_in_flight", &[]),
            exchanges_coalesced: figures.count("obo_exchanges_coalesced_total", &[]),
        }
    }
}

impl Lookups {
    fn of(tier: &str, sources: &Sources<'_>) -> Self {
        let by_result = sources.figures.by("obo_cache_requests_total", &[("tier", tier)], "result");
        let count = |result| by_result.get(result).copied().unwrap_or_default();
        let (served, all) = (count("hit") + count("stale"), by_result.values().sum::<u64>());
        let hit_ratio = (all > 0).then(|| (served as f64 / all as f64 * 10_000.0).round() / 10_000.0);
        Self { by_result, hit_ratio }
    }
}
