//! Every metric, in one struct.

use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::domain::clock::UnixTime;
use crate::domain::name::Name;
use crate::telemetry::ends::Ends;
use crate::telemetry::labels::ByListener;
use crate::telemetry::labels::ByProvider;
use crate::telemetry::labels::ByProviderAndOutcome;
use crate::telemetry::labels::ByProviderAndResult;
use crate::telemetry::labels::ByReason;
use crate::telemetry::labels::ByRouteAndReason;
use crate::telemetry::labels::ByServer;
use crate::telemetry::labels::ByTier;
use crate::telemetry::labels::ByTierAndResult;
use crate::telemetry::labels::Label;
use crate::telemetry::labels::ServerRequest;
use crate::telemetry::labels::known_method;
use crate::telemetry::process;

/// The boundaries OpenTelemetry gives for HTTP durations, in seconds.
const DURATIONS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// So many kinds of answers of one route are found without hashing.
const MOST_FOUND: usize = 16;

/// How a look-up in the cache went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    /// A live token B was there.
    Hit,
    /// Nothing usable was there.
    Miss,
    /// A live token B was there, and its renewal was begun.
    Stale,
    /// A live token B was in the tier that proxies share.
    Shared,
}

impl CacheResult {
    /// The label value and log word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Shared => "shared",
        }
    }
}

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
    server_requests: Family<ServerRequest, Histogram>,
    client_requests: Family<ByServer, Histogram>,
}

fn durations() -> Histogram {
    Histogram::new(DURATIONS)
}

impl Metrics {
    /// All metrics, registered, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("obo_build", "The running version", version);
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
            server_requests: Family::new_with_constructor(durations),
            client_requests: Family::new_with_constructor(durations),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register(
            "obo_config_last_reload_successful",
            "1 if the last configuration read is in use, 0 if it was refused",
            self.reload_successful.clone(),
        );
        r.register(
            "obo_config_last_reload_success_timestamp_seconds",
            "When the configuration in use was read",
            self.reload_timestamp.clone(),
        );
        r.register(
            "obo_authentications",
            "Tokens looked at, by result: ok or the reason of the refusal",
            self.authentications.clone(),
        );
        r.register(
            "obo_exchanges",
            "Token requests sent to the identity provider, by outcome: ok or the reason of the refusal",
            self.exchanges.clone(),
        );
        r.register(
            "obo_exchange_duration_seconds",
            "How long token requests took",
            self.exchange_duration.clone(),
        );
        r.register("obo_exchanges_in_flight", "Token requests under way", self.exchanges_in_flight.clone());
        r.register(
            "obo_exchanges_coalesced",
            "Requests that waited for another one's token request",
            self.exchanges_coalesced.clone(),
        );
        r.register("obo_cache_requests", "Token cache look-ups, by result", self.cache_requests.clone());
        r.register("obo_cache_entries", "Tokens in the cache", self.cache_entries.clone());
        r.register(
            "obo_cache_evictions",
            "Tokens that left the cache before their end, by reason",
            self.cache_evictions.clone(),
        );
        r.register("obo_refusals", "Requests the proxy answered itself, by reason", self.refusals.clone());
        r.register(
            "obo_jwks_refreshes",
            "Key set fetches, by result: ok or error",
            self.jwks_refreshes.clone(),
        );
        r.register(
            "obo_jwks_last_success_timestamp_seconds",
            "When the key set was last fetched",
            self.jwks_last_success.clone(),
        );
        self.ends.register(r);
        r.register("obo_connections", "Open connections of callers", self.connections.clone());
        r.register(
            "http_server_request_duration_seconds",
            "Requests of callers, until the response head was sent",
            self.server_requests.clone(),
        );
        r.register(
            "http_client_request_duration_seconds",
            "Requests to upstreams, until the response head came",
            self.client_requests.clone(),
        );
    }

    /// The metrics in OpenMetrics text form.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // writing to a String does not fail; were it to, a cut text would lack its `# EOF` and be refused by the scraper
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
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
        let gauge = self.connections.get_or_create_owned(&ByListener { listener: listener.into() });
        gauge.inc();
        InFlight(gauge)
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
    /// A caller was answered, whose method may not have been understood.
    pub fn answered(&self, method: Option<&http::Method>, status: http::StatusCode, took: Duration) {
        let answer = Answer { method: known_method(method), status: status.as_u16() };
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
mod tests {
    use super::*;

    #[test]
    fn each_result_of_a_look_up_has_its_own_count() {
        let metrics = Metrics::new();
        let results = [CacheResult::Hit, CacheResult::Miss, CacheResult::Stale, CacheResult::Shared];
        for (result, times) in results.into_iter().zip(1..) {
            for _ in 0..times {
                metrics.cache_request(result);
            }
        }
        let text = metrics.encode();
        for (result, times) in [("hit", 1), ("miss", 2 + 4), ("stale", 3)] {
            let line = format!("obo_cache_requests_total{{tier=\"memory\",result=\"{result}\"}} {times}\n");
            assert!(text.contains(&line), "{line} in {text}");
        }
    }

    #[test]
    fn metrics_have_the_names_of_the_contract() {
        let metrics = Metrics::new();
        let name = Name::parse("contoso").unwrap();
        metrics.config_loaded(UnixTime::from_seconds(5));
        metrics.authentication(None, "missing_token");
        metrics.exchange(&name, "ok", Duration::from_millis(20));
        metrics.exchange_coalesced();
        metrics.cache_request(CacheResult::Hit);
        metrics.cache_entries(1);
        metrics.cache_eviction("size");
        metrics.refusal(Some(&name), "no_route");
        metrics.jwks_refreshed(&name, UnixTime::from_seconds(5));
        metrics.ends().credential(&name, UnixTime::from_seconds(7));
        metrics.ends().listener(&name, UnixTime::from_seconds(8));
        let _open = metrics.connected(&name);
        let requests = metrics.requests(None, Some("127.0.0.1:8000"));
        let brew = http::Method::from_bytes(b"BREW").unwrap();
        requests.answered(Some(&brew), http::StatusCode::OK, Duration::from_millis(1));
        requests.upstream_answered(Duration::from_millis(1));
        let text = metrics.encode();
        for line in [
            "obo_build_info{version=",
            "obo_config_last_reload_successful 1",
            "obo_config_last_reload_success_timestamp_seconds 5",
            "obo_authentications_total{identity_provider=\"\",result=\"missing_token\"} 1",
            "obo_exchanges_total{identity_provider=\"contoso\",outcome=\"ok\"} 1",
            "obo_exchange_duration_seconds_count{identity_provider=\"contoso\"} 1",
            "obo_exchanges_in_flight 0",
            "obo_exchanges_coalesced_total 1",
            "obo_cache_requests_total{tier=\"memory\",result=\"hit\"} 1",
            "obo_cache_entries{tier=\"memory\"} 1",
            "obo_cache_evictions_total{reason=\"size\"} 1",
            "obo_refusals_total{route=\"contoso\",reason=\"no_route\"} 1",
            "obo_jwks_refreshes_total{identity_provider=\"contoso\",result=\"ok\"} 1",
            "obo_jwks_last_success_timestamp_seconds{identity_provider=\"contoso\"} 5",
            "obo_credential_expiry_timestamp_seconds{identity_provider=\"contoso\"} 7",
            "obo_listener_certificate_expiry_timestamp_seconds{listener=\"contoso\"} 8",
            "obo_connections{listener=\"contoso\"} 1",
            "http_server_request_duration_seconds_count{http_route=\"\",http_request_method=\"_OTHER\",http_response_status_code=\"200\"} 1",
            "http_client_request_duration_seconds_count{server_address=\"127.0.0.1:8000\"} 1",
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_cpu_seconds_total ",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
