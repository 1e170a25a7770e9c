#!/usr/bin/env python3
"""Prints dashboard.json, for Grafana: python3 dashboard.py > dashboard.json"""

import json

JOB = 'job=~"$job",instance=~"$instance"'
RATE = "$__rate_interval"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
REQUESTS = "http_server_request_duration_seconds"
UPSTREAM = "http_client_request_duration_seconds"
EXCHANGE = "obo_exchange_duration_seconds"

# Each row: its title, and its panels: title, what it says, unit, and expressions with their legends.
# In an expression {} stands for the proxies that are chosen, {,…} for them and more.


def rate(metric, by, more=""):
    return f"sum by ({by}) (rate({metric}{{{more}}}[{RATE}]))"


def quantile(of, metric, by="le"):
    return f"histogram_quantile({of}, sum by ({by}) (rate({metric}_bucket{{}}[{RATE}])))"


def quantiles(metric):
    return [(quantile(of, metric), name) for of, name in ((0.5, "median"), (0.95, "95 %"), (0.99, "99 %"))]


def share(part, whole):
    return f"{part} / {whole}"


ROWS = [
    ("Traffic", [
        ("Requests by route", "Of callers, answered by whomever.", "reqps",
         [(rate(f"{REQUESTS}_count", "http_route"), "{{http_route}}")]),
        ("Requests by status", "499: the caller hung up before.", "reqps",
         [(rate(f"{REQUESTS}_count", "http_response_status_code"), "{{http_response_status_code}}")]),
        ("Answers of 5xx", "The share of each route.", "percentunit",
         [(share(rate(f"{REQUESTS}_count", "http_route", ',http_response_status_code=~"5.."'),
                 rate(f"{REQUESTS}_count", "http_route")), "{{http_route}}")]),
        ("What callers wait", "Until the head of the answer. Beside the next: the difference is ours and the exchange's.", "s",
         quantiles(REQUESTS)),
        ("What upstreams take", "Until the head of their answer: 99 of 100.", "s",
         [(quantile(0.99, UPSTREAM, "server_address, le"), "{{server_address}}")]),
        ("Connections", "Of callers. Near limits.connections accepting pauses.", "short",
         [("sum by (listener) (obo_connections{})", "{{listener}}")]),
    ]),
    ("Refusals", [
        ("Refusals by reason", "What the proxy answered itself.", "reqps",
         [(rate("obo_refusals_total", "reason"), "{{reason}}")]),
        ("Refusals by route", "", "reqps", [(rate("obo_refusals_total", "route"), "{{route}}")]),
        ("Tokens by result", "unknown_key, wrong_audience, wrong_issuer: a client or the registration has changed.", "reqps",
         [(rate("obo_authentications_total", "result"), "{{result}}")]),
    ]),
    ("Exchanges", [
        ("Exchanges by outcome", "proxy_misconfigured: the identity provider refuses us.", "reqps",
         [(rate("obo_exchanges_total", "outcome"), "{{outcome}}")]),
        ("What exchanges take", "First requests of users wait for as long.", "s", quantiles(EXCHANGE)),
        ("Exchanges for each request", "Not far below 1: the cache does not help.", "percentunit",
         [(share(f"sum(rate(obo_exchanges_total{{}}[{RATE}]))", f"sum(rate({REQUESTS}_count{{}}[{RATE}]))"), "share")]),
        ("Under way, and waited for", "Token requests now; requests that waited for another one's.", "short",
         [("sum(obo_exchanges_in_flight{})", "under way"),
          (f"sum(rate(obo_exchanges_coalesced_total{{}}[{RATE}]))", "waited, a second")]),
    ]),
    ("Cache", [
        ("Look-ups by result", "stale: served, and renewed.", "reqps",
         [(rate("obo_cache_requests_total", "result", ',tier="memory"'), "{{result}}")]),
        ("Hits", "Of look-ups in memory; 9 in 10 are usual.", "percentunit",
         [(share(f'sum(rate(obo_cache_requests_total{{,tier="memory",result=~"hit|stale"}}[{RATE}]))',
                 f'sum(rate(obo_cache_requests_total{{,tier="memory"}}[{RATE}]))'), "hits")]),
        ("Tokens held", "", "short", [("sum by (instance) (obo_cache_entries{})", "{{instance}}")]),
        ("Tokens that left early", "size: the cache is too small. user: one user has very many.", "ops",
         [(rate("obo_cache_evictions_total", "reason"), "{{reason}}")]),
        ("Redis by result", "Empty without cache.redis. Errors fail no request.", "ops",
         [(rate("obo_cache_requests_total", "result", ',tier="redis"'), "{{result}}")]),
    ]),
    ("Identity providers", [
        ("Exchanges that fail", "It is down, throttles or answers nonsense: the share of each provider.", "percentunit",
         [(share(rate("obo_exchanges_total", "identity_provider", ',outcome=~"idp_.*"'),
                 rate("obo_exchanges_total", "identity_provider")), "{{identity_provider}}")]),
        ("What exchanges take, 99 of 100", "", "s",
         [(quantile(0.99, EXCHANGE, "identity_provider, le"), "{{identity_provider}}")]),
        ("Fetches of keys", "", "ops",
         [(rate("obo_jwks_refreshes_total", "identity_provider, result"), "{{identity_provider}}: {{result}}")]),
        ("Age of the keys", "They serve for a day.", "s",
         [("time() - min by (identity_provider) (obo_jwks_last_success_timestamp_seconds{})", "{{identity_provider}}")]),
    ]),
    ("Credentials and configuration", [
        ("Our certificates end in", "Towards identity providers. When a secret ends only they know.", "s",
         [("min by (identity_provider) (obo_credential_expiry_timestamp_seconds{}) - time()", "{{identity_provider}}")]),
        ("Certificates of listeners end in", "", "s",
         [("min by (listener) (obo_listener_certificate_expiry_timestamp_seconds{}) - time()", "{{listener}}")]),
        ("Configuration in use", "1: the one that was read last. 0: that one is refused.", "short",
         [("min by (instance) (obo_config_last_reload_successful{})", "{{instance}}")]),
        ("Age of the configuration", "", "s",
         [("time() - max by (instance) (obo_config_last_reload_success_timestamp_seconds{})", "{{instance}}")]),
    ]),
    ("Process", [
        ("CPU", "Cores.", "short", [(rate("process_cpu_seconds_total", "instance"), "{{instance}}")]),
        ("Memory", "Resident.", "bytes", [("sum by (instance) (process_resident_memory_bytes{})", "{{instance}}")]),
        ("Descriptors in use", "Of those allowed.", "percentunit",
         [("max by (instance) (process_open_fds{} / process_max_fds{})", "{{instance}}")]),
        ("Running for", "", "s", [("time() - max by (instance) (process_start_time_seconds{})", "{{instance}}")]),
        ("Versions", "", "short", [("count by (version) (obo_build_info{})", "{{version}}")]),
        ("Spans of traces", "Empty without telemetry.traces.", "ops",
         [(rate("obo_trace_spans_total", "result"), "{{result}}")]),
    ]),
]


def chosen(expression):
    return expression.replace("{,", "{" + JOB + ",").replace("{}", "{" + JOB + "}")


def panel(title, description, unit, expressions):
    # what has ended is below nought
    lowest = {} if title.lower().endswith("end in") else {"min": 0}
    return {
        "type": "timeseries",
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "fieldConfig": {
            "defaults": {"unit": unit, **lowest, "custom": {"fillOpacity": 10, "showPoints": "never"}},
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": chosen(expression), "legendFormat": legend}
            for at, (expression, legend) in enumerate(expressions)
        ],
    }


def panels():
    height = 8
    top = 0
    for title, of_row in ROWS:
        yield {"type": "row", "title": title, "collapsed": False, "panels": []}, {"x": 0, "y": top, "w": 24, "h": 1}
        top += 1
        for at, one in enumerate(of_row):
            yield panel(*one), {"x": at % 3 * 8, "y": top + at // 3 * height, "w": 8, "h": height}
        top += (len(of_row) + 2) // 3 * height


def variable(name, label):
    narrower = "" if name == "job" else '{job=~"$job"}'
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": {"query": f"label_values(obo_build_info{narrower}, {name})", "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


DASHBOARD = {
    "uid": "obo-proxy",
    "title": "obo-proxy",
    "tags": ["obo-proxy"],
    "schemaVersion": 39,
    "editable": True,
    "graphTooltip": 1,
    "refresh": "30s",
    "time": {"from": "now-3h", "to": "now"},
    "templating": {
        "list": [
            {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"},
            variable("job", "Job"),
            variable("instance", "Proxy"),
        ]
    },
    "panels": [
        dict(one, id=number, gridPos=place) for number, (one, place) in enumerate(panels(), start=1)
    ],
}

if __name__ == "__main__":
    print(json.dumps(DASHBOARD, indent=1))
