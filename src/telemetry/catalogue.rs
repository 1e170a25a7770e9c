//! What each metric is: the text that scrapers get, and the page for operators.

use std::fmt::Write as _;

/// A metric, as operators know it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name where it is scraped; a histogram's without `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    /// What its numbers are.
    pub kind: Kind,
    /// Its labels, each with what it may be.
    pub labels: &'static [(&'static str, Values)],
    /// What it counts, in a sentence without a full stop.
    pub help: &'static str,
    /// When to look closer.
    pub alert: &'static str,
}

/// What the numbers of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// They are spread over buckets.
    Histogram,
    /// It is always 1: its labels tell.
    Info,
}

/// What a label may be. None of it comes from a request.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these words.
    Words(&'static [&'static str]),
    /// A name in this section of the configuration, or nothing where there is none to name.
    Names(&'static str),
    /// `ok`, or the reason of a refusal.
    OkOrReason,
    /// The reason of a refusal.
    Reason,
    /// An HTTP method that is known, or `_OTHER`.
    Method,
    /// The status of an answer.
    Status,
    /// What the text says.
    Other(&'static str),
}

const PROVIDER: (&str, Values) = ("identity_provider", Values::Names("identity_providers"));

/// All of them, in the order of the page.
pub const ALL: &[Metric] = &[
    Metric {
        name: "obo_build_info",
        kind: Kind::Info,
        labels: &[("version", Values::Other("the version"))],
        help: "The running version",
        alert: "more than one version runs for longer than a roll-out takes",
    },
    Metric {
        name: "obo_config_last_reload_successful",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 if the last configuration read is in use, 0 if it was refused",
        alert: "0: the log has every problem; the configuration before goes on",
    },
    Metric {
        name: "obo_config_last_reload_success_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the configuration in use was read, in seconds since 1970",
        alert: "older than a change that should be in use",
    },
    Metric {
        name: "obo_authentications_total",
        kind: Kind::Counter,
        labels: &[PROVIDER, ("result", Values::OkOrReason)],
        help: "Tokens of callers looked at, by result",
        alert: "`unknown_key`, `wrong_audience` or `wrong_issuer` rise: a client or the registration has changed",
    },
    Metric {
        name: "obo_exchanges_total",
        kind: Kind::Counter,
        labels: &[PROVIDER, ("outcome", Values::OkOrReason)],
        help: "Token requests sent to the identity provider, by outcome",
        alert: "`proxy_misconfigured`: our credential or what we ask for is wrong; `idp_unavailable`, `idp_throttled` last",
    },
    Metric {
        name: "obo_exchange_duration_seconds",
        kind: Kind::Histogram,
        labels: &[PROVIDER],
        help: "How long token requests took",
        alert: "the 99th percentile is above 1 s: first requests of users wait for as long",
    },
    Metric {
        name: "obo_exchanges_in_flight",
        kind: Kind::Gauge,
        labels: &[],
        help: "Token requests under way",
        alert: "it stays up: the identity provider is slow",
    },
    Metric {
        name: "obo_exchanges_coalesced_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Requests that waited for another one's token request",
        alert: "it rises faster than `obo_exchanges_total`: many requests of one user come while an exchange takes long",
    },
    Metric {
        name: "obo_cache_requests_total",
        kind: Kind::Counter,
        labels: &[
            ("tier", Values::Words(&["memory", "redis"])),
            ("result", Values::Words(&["hit", "miss", "stale", "error"])),
        ],
        help: "Token cache look-ups, by result; stale is served while it is renewed",
        alert: "of `memory`, hits are below 9 in 10; of `redis`, there is any `error`",
    },
    Metric {
        name: "obo_cache_entries",
        kind: Kind::Gauge,
        labels: &[("tier", Values::Words(&["memory"]))],
        help: "Tokens in the cache",
        alert: "it stands at `cache.max_entries`",
    },
    Metric {
        name: "obo_cache_evictions_total",
        kind: Kind::Counter,
        labels: &[("reason", Values::Words(&["size", "user", "expired", "explicit", "purged"]))],
        help: "Tokens that left the cache before their end, by reason",
        alert: "`size`: raise `cache.max_entries` and `cache.max_bytes`; `user`: one user has more than 64 different tokens",
    },
    Metric {
        name: "obo_refusals_total",
        kind: Kind::Counter,
        labels: &[("route", Values::Names("routes")), ("reason", Values::Reason)],
        help: "Requests the proxy answered itself, by reason",
        alert: "any reason that is not the caller's fault",
    },
    Metric {
        name: "obo_jwks_refreshes_total",
        kind: Kind::Counter,
        labels: &[PROVIDER, ("result", Values::Words(&["ok", "error"]))],
        help: "Fetches of the identity provider's keys, by result",
        alert: "`error` lasts: known keys serve for a day",
    },
    Metric {
        name: "obo_jwks_last_success_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[PROVIDER],
        help: "When the identity provider's keys were last fetched, in seconds since 1970",
        alert: "older than a few `jwks.refresh`",
    },
    Metric {
        name: "obo_credential_expiry_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[PROVIDER],
        help: "When the first of the certificates we show the identity provider ends, in seconds since 1970",
        alert: "three weeks before",
    },
    Metric {
        name: "obo_listener_certificate_expiry_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[("listener", Values::Names("listeners"))],
        help: "When the first of the certificates that callers of the listener are shown ends, in seconds since 1970",
        alert: "three weeks before",
    },
    Metric {
        name: "obo_connections",
        kind: Kind::Gauge,
        labels: &[("listener", Values::Names("listeners"))],
        help: "Open connections of callers",
        alert: "near `obo_connections_limit`: accepting pauses there",
    },
    Metric {
        name: "obo_connections_limit",
        kind: Kind::Gauge,
        labels: &[],
        help: "How many connections of callers there may be: `limits.connections`, or fewer where few files may be open",
        alert: "below `limits.connections`: `process_max_fds` is too low",
    },
    Metric {
        name: "obo_connections_refused_total",
        kind: Kind::Counter,
        labels: &[
            ("listener", Values::Names("listeners")),
            ("reason", Values::Words(&["untrusted_proxy", "no_proxy_header"])),
        ],
        help: "Connections closed before their first request, by what was wrong with their beginning",
        alert: "a load balancer is not among `trusted_proxies`, or does not send the PROXY protocol",
    },
    Metric {
        name: "obo_connections_accepted_total",
        kind: Kind::Counter,
        labels: &[("listener", Values::Names("listeners"))],
        help: "Connections of callers that were accepted",
        alert: "near the rate of requests: callers do not keep their connections, which costs more than what they ask for",
    },
    Metric {
        name: "obo_tls_handshakes_total",
        kind: Kind::Counter,
        labels: &[
            ("listener", Values::Names("listeners")),
            ("result", Values::Words(&["full", "resumed", "error"])),
        ],
        help: "TLS handshakes with callers, by how they ended; resumed ones are cheap",
        alert: "`full` rises with the CPU: callers make new connections, and do not resume; `error` rises: callers do not believe the \
                certificate, or show none (checks that connect and leave count too)",
    },
    Metric {
        name: "obo_trace_spans_total",
        kind: Kind::Counter,
        labels: &[("result", Values::Words(&["ok", "queue_full", "export_failed"]))],
        help: "Spans of traces, by what became of them",
        alert: "anything but `ok` lasts: the collector is away or too slow, or `sample_ratio` too high",
    },
    Metric {
        name: "http_server_request_duration_seconds",
        kind: Kind::Histogram,
        labels: &[
            (
                "http_route",
                Values::Other(
                    "a name under `routes`, or nothing: what the log calls `route`; its `http.route` is the path that the route takes",
                ),
            ),
            ("http_request_method", Values::Method),
            ("http_response_status_code", Values::Status),
        ],
        help: "Requests of callers, until the head of the response was sent; 499 if the caller hung up before",
        alert: "5xx rise; 499 rise: callers give up, as something is slow",
    },
    Metric {
        name: "http_client_request_duration_seconds",
        kind: Kind::Histogram,
        labels: &[("server_address", Values::Other("host and port of an upstream, or `unix`"))],
        help: "Requests to upstreams, until the head of the response came",
        alert: "against the one above: the difference is ours and the exchange's",
    },
    Metric {
        name: "obo_log_lines_lost_total",
        kind: Kind::Counter,
        labels: &[],
        help: "Lines of the log that were lost, as nobody read them in time or there was no room for them",
        alert: "it rises: what reads the log is too slow or hangs, or a disk is full; requests are served all the same",
    },
    Metric {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "CPU time used, in seconds",
        alert: "near what the cgroup allows",
    },
    Metric {
        name: "process_virtual_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Virtual memory",
        alert: "the address space is limited (`ulimit -v`), and it comes near",
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Resident memory",
        alert: "near what the cgroup allows",
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the process started, in seconds since 1970",
        alert: "it changes, and nobody restarted it",
    },
    Metric {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Open file descriptors",
        alert: "near `process_max_fds`",
    },
    Metric {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "The most file descriptors allowed",
        alert: "below `limits.connections` times three and a hundred: fewer connections are let in",
    },
];

/// What the metric of that name counts; the name may lack the ending that its kind gives it.
pub fn help(name: &str) -> &'static str {
    let is_it = |metric: &&Metric| {
        metric.name.strip_prefix(name).is_some_and(|end| ["", "_total", "_info"].contains(&end))
    };
    ALL.iter().find(is_it).map_or("", |metric| metric.help)
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

impl Values {
    fn told(self) -> String {
        match self {
            Self::Words(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            Self::Names(section) => format!("a name under `{section}`, or nothing"),
            Self::OkOrReason => "`ok` or a [reason](../README.md#what-callers-see)".into(),
            Self::Reason => "a [reason](../README.md#what-callers-see)".into(),
            Self::Method => "a method of HTTP, or `_OTHER`".into(),
            Self::Status => "the status".into(),
            Self::Other(text) => text.into(),
        }
    }
}

const HEAD: &str = "\
# Metrics

Made from the program; a test fails when it is stale. `/metrics` on the telemetry address (`telemetry.address`, `0.0.0.0:9902`) has all
of these, in OpenMetrics text for scrapers that ask for it, as Prometheus does, and in Prometheus' own text for everybody else, so that
`curl -s 127.0.0.1:9902/metrics | promtool check metrics` has nothing to say.

No label comes from a token, a path, a user, a tenant or anything else that a request says: how many series there are follows from the
configuration. A metric whose labels have not been seen yet is absent. Rules that alert: [operations](operations.md).

";

/// The page for operators, in Markdown.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for metric in ALL {
        // writing to a String does not fail
        let _ = write!(page, "## `{}`\n\n{}. Type: {}.\n\n", metric.name, metric.help, metric.kind.as_str());
        for (label, values) in metric.labels {
            let _ = writeln!(page, "* `{label}`: {}", values.told());
        }
        if !metric.labels.is_empty() {
            page.push('\n');
        }
        let _ = write!(page, "Look closer when: {}.\n\n", metric.alert);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}
