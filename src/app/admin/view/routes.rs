//! What is served, and how that goes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::app::admin::view::Sources;
use crate::config;
use crate::config::Access;
use crate::config::HostPattern;
use crate::config::PathKind;
use crate::config::Scheme;
use crate::config::UnvalidatedToken;
use crate::config::ValidatedToken;
use crate::telemetry::rates::LONGEST;
use crate::telemetry::rates::Span;

const MINUTE: Duration = Duration::from_secs(60);

/// Every route, and the requests that none takes.
#[derive(Debug, Serialize)]
pub struct Routes {
    /// The routes, by name.
    pub routes: Vec<Route>,
    /// Requests that no route takes.
    pub unrouted: Traffic,
}

/// One route.
#[derive(Debug, Serialize)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Which requests it takes.
    pub matches: Matches,
    /// On which listeners; empty = on all.
    pub listeners: Vec<String>,
    /// Where they go.
    pub upstream: String,
    /// What becomes of the caller's token: `exchange`, `passthrough`, `remove`, `anonymous` or `anonymous_passthrough`.
    pub token: &'static str,
    /// What the exchanged token is for: scopes, resources, audiences.
    pub wants: Vec<String>,
    /// Whose tokens are taken.
    pub identity_providers: Vec<String>,
    /// Scopes that callers must have, all or any.
    pub scopes: Vec<String>,
    /// Roles that callers must have, all or any.
    pub roles: Vec<String>,
    /// How it goes.
    pub traffic: Traffic,
}

/// Which requests a route takes.
#[derive(Debug, Serialize)]
pub struct Matches {
    /// Any of these; empty = every host.
    pub hosts: Vec<String>,
    /// The path.
    pub path: String,
    /// Whether it must be the whole path.
    pub exact: bool,
    /// Any of these; empty = every method.
    pub methods: Vec<String>,
    /// All of these must have a certain value.
    pub headers: Vec<String>,
}

/// How requests go.
#[derive(Debug, Serialize)]
pub struct Traffic {
    /// Requests since the start.
    pub requests: u64,
    /// Those of them that the proxy refused.
    pub refusals: u64,
    /// Why.
    pub refusals_by_reason: BTreeMap<String, u64>,
    /// Their answers, by status.
    pub statuses: BTreeMap<String, u64>,
    /// In the last minute.
    pub last_minute: Option<Lately>,
    /// In the last five.
    pub last_five_minutes: Option<Lately>,
}

/// How requests went lately.
#[derive(Debug, Serialize)]
pub struct Lately {
    /// The span in fact: shorter after the start.
    pub seconds: u64,
    /// Requests a second.
    pub requests_per_second: f64,
    /// Refusals a second.
    pub refusals_per_second: f64,
    /// Half of them took no longer than so many milliseconds; absent = there were none.
    pub p50_ms: Option<f64>,
    /// The same of 95 in a hundred.
    pub p95_ms: Option<f64>,
}

impl Routes {
    /// As they are.
    pub(super) fn of(sources: &Sources<'_>) -> Self {
        let mut routes: Vec<Route> =
            sources.config.routes.iter().map(|route| Route::of(route, sources)).collect();
        routes.sort_by(|one, other| one.name.cmp(&other.name));
        Self { routes, unrouted: Traffic::of("", sources) }
    }
}

impl Route {
    fn of(route: &config::Route, sources: &Sources<'_>) -> Self {
        let (policy, token, wants) = match &route.access {
            Access::Anonymous(UnvalidatedToken::Remove) => (None, "anonymous", Vec::new()),
            Access::Anonymous(UnvalidatedToken::Passthrough) => (None, "anonymous_passthrough", Vec::new()),
            Access::Validated { policy, token } => match token {
                ValidatedToken::Exchange(exchange) => {
                    let config::Exchange { scopes, resources, audiences, .. } = &**exchange;
                    let wants = scopes.iter().chain(resources).chain(audiences).cloned().collect();
                    (Some(policy), "exchange", wants)
                }
                ValidatedToken::Passthrough => (Some(policy), "passthrough", Vec::new()),
                ValidatedToken::Remove => (Some(policy), "remove", Vec::new()),
            },
        };
        let texts = |names: &[HostPattern]| names.iter().map(host).collect();
        let matches = &route.matches;
        Self {
            name: route.name.to_string(),
            matches: Matches {
                hosts: texts(&matches.hosts),
                path: matches.path.clone(),
                exact: matches.path_kind == PathKind::Exact,
                methods: matches.methods.iter().map(ToString::to_string).collect(),
                headers: matches.headers.iter().map(|(name, _)| name.to_string()).collect(),
            },
            listeners: route.listeners.iter().flatten().map(ToString::to_string).collect(),
            upstream: upstream(&route.upstream),
            token,
            wants,
            identity_providers: policy
                .map(|policy| policy.identity_providers.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            scopes: policy.map(|policy| policy.scopes.words().to_vec()).unwrap_or_default(),
            roles: policy.map(|policy| policy.roles.words().to_vec()).unwrap_or_default(),
            traffic: Traffic::of(route.name.as_str(), sources),
        }
    }
}

impl Traffic {
    fn of(route: &str, sources: &Sources<'_>) -> Self {
        let total = sources.totals.route(route);
        let requests = "http_server_request_duration_seconds_count";
        let (of_route, of_requests) = ([("route", route)], [("http_route", route)]);
        let lately = |span| {
            let span = sources.rates.lately(route, span, sources.monotonic, &sources.totals);
            span.as_ref().map(Lately::of)
        };
        Self {
            requests: total.requests,
            refusals: total.refusals,
            refusals_by_reason: sources.figures.by("obo_refusals_total", &of_route, "reason"),
            statuses: sources.figures.by(requests, &of_requests, "http_response_status_code"),
            last_minute: lately(MINUTE),
            last_five_minutes: lately(LONGEST),
        }
    }
}

impl Lately {
    fn of(span: &Span) -> Self {
        let quantile = |share| span.total.quantile(share).map(|took| rounded(took.as_secs_f64() * 1_000.0));
        Self {
            seconds: span.length.as_secs(),
            requests_per_second: rounded(span.per_second(span.total.requests)),
            refusals_per_second: rounded(span.per_second(span.total.refusals)),
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
        }
    }
}

/// To three decimals: more would be said than is known.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Wildcard(suffix) => format!("*{suffix}"),
    }
}

fn upstream(upstream: &config::Upstream) -> String {
    match (&upstream.socket, upstream.scheme) {
        (Some(path), _) => format!("unix:{}", path.display()),
        (None, Scheme::Http) => format!("http://{}{}", upstream.address(), upstream.base_path),
        (None, Scheme::Https) => format!("https://{}{}", upstream.address(), upstream.base_path),
    }
}
