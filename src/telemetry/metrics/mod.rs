//! Every metric, in one struct.

use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Metric;
use prometheus_client::registry::Registry;

use crate::domain::clock::UnixTime;
use crate::domain::name::Name;
use crate::telemetry::catalogue;
use crate::telemetry::ends::Ends;
use crate::telemetry::exposition;
use crate::telemetry::labels::ByListener;
use crate::telemetry::labels::ByListenerAndReason;
use crate::telemetry::labels::ByListenerAndResult;
use crate::telemetry::labels::ByProvider;
use crate::telemetry::labels::ByProviderAndOutcome;
use crate::telemetry::labels::ByProviderAndResult;
use crate::telemetry::labels::ByReason;
use crate::telemetry::labels::ByResult;
use crate::telemetry::labels::ByRouteAndReason;
use crate::telemetry::labels::ByServer;
use crate::telemetry::labels::ByTier;
use crate::telemetry::labels::ByTierAndResult;
use crate::telemetry::labels::Label;
use crate::telemetry::labels::ServerRequest;
use crate::telemetry::labels::known_method;
use crate::telemetry::outlet;
use crate::telemetry::process;

mod results;

pub use results::CacheResult;
pub use results::Handshake;
pub use results::SpanResult;

/// The boundaries OpenTelemetry gives for HTTP durations, in seconds.
const DURATIONS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// So many kinds of answers of one route are found without hashing.
const MOST_FOUND: usize = 16;

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reload_successful: Gauge,
    reload_timestamp: Gauge,
    authentications: Family<ByProviderAndResult, Counter>,
    exchanges: Family<ByProviderAndOutcome, Counter>,
    exchange_duration: Family<ByProvider, Histogram>,
    exchanges_in_flight: Gauge,
    exchanges_coalesced: Counter,
    cache_requests: Family<ByTierAndResult, Counter>,
    /// Those of `cache_requests` that every exchanged request counts in, in the order of the results: found once.
    memory_requests: [Counter; 3],
    cache_entries: Family<ByTier, Gauge>,
    cache_evictions: Family<ByReason, Counter>,
    refusals: Family<ByRouteAndReason, Counter>,
    jwks_refreshes: Family<ByProviderAndResult, Counter>,
    jwks_last_success: Family<ByProvider, Gauge>,
    ends: Ends,
    connections: Family<ByListener, Gauge>,
    connections_limit: Gauge,
    connections_refused: Family<ByListenerAndReason, Counter>,
    connections_accepted: Family<ByListener, Counter>,
    tls_handshakes: Family<ByListenerAndResult, Counter>,
    server_requests: Family<ServerRequest, Histogram>,
    client_requests: Family<ByServer, Histogram>,
    spans: Family<ByResult, Counter>,
}

fn add(registry: &mut Registry, name: &'static str, metric: &(impl Metric + Clone)) {
    registry.register(name, catalogue::help(name), metric.clone());
}

fn durations() -> Histogram {
    Histogram::new(DURATIONS)
}

impl Metrics {
    /// All metrics, registered, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("obo_build", catalogue::help("obo_build"), version);
        registry.register_collector(Box::new(process::Process));
        let cache_requests = Family::<ByTierAndResult, Counter>::default();
        let memory_requests = [CacheResult::Hit, CacheResult::Miss, CacheResult::Stale].map(|result| {
            cache_requests.get_or_create_owned(&ByTierAndResult { tier: "memory", result: result.as_str() })
        });
        let mut metrics = Self {
            registry,
            reload_successful: Gauge::default(),
            reload_timestamp: Gauge::default(),
            authentications: Family::default(),
            exchanges: Family::default(),
            exchange_duration: Family::new_with_constructor(durations),
            exchanges_in_flight: Gauge::default(),
            exchanges_coalesced: Counter::default(),
            cache_requests,
            memory_requests,
            cache_entries: Family::default(),
            cache_evictions: Family::default(),
            refusals: Family::default(),
            jwks_refreshes: Family::default(),
            jwks_last_success: Family::default(),
            ends: Ends::default(),
            connections: Family::default(),
            connections_limit: Gauge::default(),
            connections_refused: Family::default(),
            connections_accepted: Family::default(),
            tls_handshakes: Family::default(),
            server_requests: Family::new_with_constructor(durations),
            client_requests: Family::new_with_constructor(durations),
            spans: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        add(r, "obo_config_last_reload_successful", &self.reload_successful);
        add(r, "obo_config_last_reload_success_timestamp_seconds", &self.reload_timestamp);
        add(r, "obo_authentications", &self.authentications);
        add(r, "obo_exchanges", &self.exchanges);
        add(r, "obo_exchange_duration_seconds", &self.exchange_duration);
        add(r, "obo_exchanges_in_flight", &self.exchanges_in_flight);
        add(r, "obo_exchanges_coalesced", &self.exchanges_coalesced);
        add(r, "obo_cache_requests", &self.cache_requests);
        add(r, "obo_cache_entries", &self.cache_entries);
        add(r, "obo_cache_evictions", &self.cache_evictions);
        add(r, "obo_refusals", &self.refusals);
        add(r, "obo_jwks_refreshes", &self.jwks_refreshes);
        add(r, "obo_jwks_last_success_timestamp_seconds", &self.jwks_last_success);
        self.ends.register(r);
        add(r, "obo_connections", &self.connections);
        add(r, "obo_connections_limit", &self.connections_limit);
        add(r, "obo_connections_refused", &self.connections_refused);
        add(r, "obo_connections_accepted", &self.connections_accepted);
        add(r, "obo_tls_handshakes", &self.tls_handshakes);
        add(r, "http_server_request_duration_seconds", &self.server_requests);
        add(r, "http_client_request_duration_seconds", &self.client_requests);
        add(r, "obo_trace_spans", &self.spans);
        add(r, "obo_log_lines_lost", outlet::lost());
    }

    /// The metrics in OpenMetrics text form.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // writing to a String does not fail; were it to, a cut text would lack its `# EOF` and be refused by the scraper
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// The metrics in Prometheus' own text form.
    pub fn encode_plain(&self) -> String {
        exposition::plain(&self.encode())
    }

    /// A configuration came into use.
    pub fn config_loaded(&self, now: UnixTime) {
        self.reload_successful.set(1);
        self.reload_timestamp.set(now.as_seconds());
    }

    /// A configuration was refused, and the one before it goes on.
    pub fn config_refused(&self) {
        self.reload_successful.set(0);
    }

    /// A token A was accepted (`ok`) or refused (its reason).
    pub fn authentication(&self, identity_provider: Option<&Name>, result: &'static str) {
        self.authentications
            .get_or_create(&ByProviderAndResult { identity_provider: identity_provider.into(), result })
            .inc();
    }

    /// A token request is on its way; the guard counts it until dropped.
    pub fn exchange_started(&self) -> InFlight {
        self.exchanges_in_flight.inc();
        InFlight(self.exchanges_in_flight.clone())
    }

    /// A token request ended: `ok` or the reason of the refusal.
    pub fn exchange(&self, identity_provider: &Name, outcome: &'static str, took: Duration) {
        let identity_provider = Label::from(identity_provider);
        self.exchange_duration
            .get_or_create(&ByProvider { identity_provider: identity_provider.clone() })
            .observe(took.as_secs_f64());
        self.exchanges.get_or_create(&ByProviderAndOutcome { identity_provider, outcome }).inc();
    }

    /// A request waited for another one's token request.
    pub fn exchange_coalesced(&self) {
        self.exchanges_coalesced.inc();
    }

    /// A look-up in the memory tier, which missed what only another tier had.
    pub fn cache_request(&self, result: CacheResult) {
        let result = if result == CacheResult::Shared { CacheResult::Miss } else { result };
        if let Some(counter) = self.memory_requests.get(result as usize) {
            counter.inc();
        }
    }

    /// There is a tier that proxies share, of which nothing was asked yet.
    pub fn has_shared_cache(&self) {
        for result in ["hit", "miss", "error"] {
            drop(self.cache_requests.get_or_create(&ByTierAndResult { tier: "redis", result }));
        }
    }

    /// A look-up in the tier that proxies share: `hit`, `miss` or `error`.
    pub fn shared_cache_request(&self, result: &'static str) {
        self.cache_requests.get_or_create(&ByTierAndResult { tier: "redis", result }).inc();
    }

    /// How many tokens the memory tier holds.
    pub fn cache_entries(&self, entries: u64) {
        self.cache_entries
            .get_or_create(&ByTier { tier: "memory" })
            .set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// A token left the cache before its end.
    pub fn cache_eviction(&self, reason: &'static str) {
        self.cache_evictions.get_or_create(&ByReason { reason }).inc();
    }

    /// The proxy answered a request itself.
    pub fn refusal(&self, route: Option<&Name>, reason: &'static str) {
        self.refusals.get_or_create(&ByRouteAndReason { route: route.into(), reason }).inc();
    }

    /// A key set fetch succeeded.
    pub fn jwks_refreshed(&self, identity_provider: &Name, now: UnixTime) {
        let identity_provider = Label::from(identity_provider);
        self.jwks_last_success
            .get_or_create(&ByProvider { identity_provider: identity_provider.clone() })
            .set(now.as_seconds());
        self.jwks_refreshes.get_or_create(&ByProviderAndResult { identity_provider, result: "ok" }).inc();
    }

    /// A key set fetch failed.
    pub fn jwks_failed(&self, identity_provider: &Name) {
        self.jwks_refreshes
            .get_or_create(&ByProviderAndResult {
                identity_provider: identity_provider.into(),
                result: "error",
            })
            .inc();
    }

    /// When certificates end.
    pub fn ends(&self) -> &Ends {
        &self.ends
    }

    /// An identity provider is not used any more: nothing of it grows old that anyone should worry about.
    pub fn forget(&self, identity_provider: &Name) {
        let gone = ByProvider { identity_provider: identity_provider.into() };
        self.jwks_last_success.remove(&gone);
        self.ends.forget_credential(identity_provider);
    }

    /// A caller connected; the guard counts the connection until dropped.
    pub fn connected(&self, listener: &Name) -> InFlight {
        let labels = ByListener { listener: listener.into() };
        self.connections_accepted.get_or_create(&labels).inc();
        let gauge = self.connections.get_or_create_owned(&labels);
        gauge.inc();
        InFlight(gauge)
    }

    /// So many callers may be connected at a time.
    pub fn connections_limited(&self, most: usize) {
        self.connections_limit.set(i64::try_from(most).unwrap_or(i64::MAX));
    }

    /// A caller's connection was closed before its first request.
    pub fn connection_refused(&self, listener: &Name, reason: &'static str) {
        let labels = ByListenerAndReason { listener: listener.into(), reason };
        self.connections_refused.get_or_create(&labels).inc();
    }

    /// A TLS handshake with a caller ended so.
    pub fn tls_handshake(&self, listener: &Name, result: Handshake) {
        let labels = ByListenerAndResult { listener: listener.into(), result: result.as_str() };
        self.tls_handshakes.get_or_create(&labels).inc();
    }

    /// That became of so many spans.
    pub fn spans(&self, result: SpanResult, count: usize) {
        let spans = self.spans.get_or_create(&ByResult { result: result.as_str() });
        spans.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// There are traces, of which nothing was lost yet.
    pub fn has_traces(&self) {
        for result in [SpanResult::Exported, SpanResult::Dropped, SpanResult::Failed] {
            self.spans(result, 0);
        }
    }

    /// Of the requests that no route takes, or of those of `route`, which go to `server_address`.
    pub fn requests(&self, route: Option<&Name>, server_address: Option<&str>) -> Requests {
        let upstream =
            server_address.map(|server_address| ByServer { server_address: server_address.into() });
        Requests {
            route: route.into(),
            answered: self.server_requests.clone(),
            found: RwLock::default(),
            upstream: upstream.map(|server| self.client_requests.get_or_create_owned(&server)),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The metrics of one route's requests, each found once.
#[derive(Debug)]
pub struct Requests {
    route: Label,
    answered: Family<ServerRequest, Histogram>,
    found: RwLock<Vec<(Answer, Histogram)>>,
    upstream: Option<Histogram>,
}

/// What tells apart the answers that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    method: &'static str,
    status: u16,
}

impl Requests {
    /// A caller was answered, whose method may not have been understood; or hung up: 499.
    pub fn answered(&self, method: Option<&http::Method>, status: u16, took: Duration) {
        let answer = Answer { method: known_method(method), status };
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        match found.iter().find(|(known, _)| *known == answer) {
            Some((_, histogram)) => histogram.observe(took.as_secs_f64()),
            None => {
                drop(found);
                self.find(answer).observe(took.as_secs_f64());
            }
        }
    }

    /// The upstream answered, or failed to.
    pub fn upstream_answered(&self, took: Duration) {
        if let Some(histogram) = &self.upstream {
            histogram.observe(took.as_secs_f64());
        }
    }

    fn find(&self, answer: Answer) -> Histogram {
        let Answer { method: http_request_method, status: http_response_status_code } = answer;
        let http_route = self.route.clone();
        let labels = ServerRequest { http_route, http_request_method, http_response_status_code };
        let histogram = self.answered.get_or_create_owned(&labels);
        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
        // an upstream may make up hundreds of statuses: a list of the first is enough, and quick to search
        if found.len() < MOST_FOUND && found.iter().all(|(known, _)| *known != answer) {
            found.push((answer, histogram.clone()));
        }
        histogram
    }
}

/// Counts something as under way until it is dropped.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
