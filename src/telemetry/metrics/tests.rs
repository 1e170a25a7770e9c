use std::collections::BTreeMap;

use super::*;
use crate::telemetry::catalogue::Kind;

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

/// Metrics of which each was counted once.
fn used() -> Metrics {
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
    metrics.spans(SpanResult::Dropped, 3);
    std::mem::forget(metrics.connected(&name));
    metrics.connection_refused(&name, "no_proxy_header");
    metrics.tls_handshake(&name, Handshake::Resumed);
    let requests = metrics.requests(None, Some("127.0.0.1:8000"));
    let brew = http::Method::from_bytes(b"BREW").unwrap();
    requests.answered(Some(&brew), 200, Duration::from_millis(1));
    requests.upstream_answered(Duration::from_millis(1));
    metrics
}

#[test]
fn metrics_have_the_names_of_the_contract() {
    let text = used().encode();
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
        "obo_connections_refused_total{listener=\"contoso\",reason=\"no_proxy_header\"} 1",
        "http_server_request_duration_seconds_count{http_route=\"\",http_request_method=\"_OTHER\",http_response_status_code=\"200\"} 1",
        "http_client_request_duration_seconds_count{server_address=\"127.0.0.1:8000\"} 1",
        "obo_trace_spans_total{result=\"queue_full\"} 3",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_cpu_seconds_total ",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

/// Metrics as a scraper reads them: name, type, help, and the names of the labels of the first sample.
fn scraped(text: &str) -> BTreeMap<String, (String, String, Vec<String>)> {
    let mut metrics = BTreeMap::<String, (String, String, Vec<String>)>::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            metrics.entry(name.into()).or_default().1 = help.trim_end_matches('.').into();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            metrics.entry(name.into()).or_default().0 = kind.into();
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let name = histogram.filter(|name| metrics.contains_key(*name)).unwrap_or(name);
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            let labels = labels.filter(|label| label != "le").collect();
            metrics.get_mut(name).unwrap_or_else(|| panic!("{name} has no type")).2 = labels;
        }
    }
    metrics
}

#[test]
fn the_catalogue_has_every_metric_as_it_is_and_no_other() {
    let scraped = scraped(&used().encode_plain());
    let names: Vec<&str> = scraped.keys().map(String::as_str).collect();
    let mut known: Vec<&str> = catalogue::ALL.iter().map(|metric| metric.name).collect();
    known.sort_unstable();
    assert_eq!(names, known);
    for metric in catalogue::ALL {
        let (kind, help, labels) = &scraped[metric.name];
        let known = if metric.kind == Kind::Info { "gauge" } else { metric.kind.as_str() };
        assert_eq!(kind, known, "{}", metric.name);
        assert_eq!(help, metric.help, "{}", metric.name);
        let names: Vec<&str> = metric.labels.iter().map(|(name, _)| *name).collect();
        assert_eq!(*labels, names, "{}", metric.name);
    }
}

/// What `promtool check metrics` looks for.
#[test]
fn names_and_texts_are_as_prometheus_wants_them() {
    for metric in catalogue::ALL {
        let name = metric.name;
        let is_plain =
            |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(is_plain(name) && !name.contains("__"), "{name}");
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert_eq!(metric.kind == Kind::Info, name.ends_with("_info"), "{name}");
        let is_series_of_histogram = ["_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end));
        assert!(!is_series_of_histogram, "{name}");
        for unit in ["milliseconds", "_ms", "minutes", "hours", "kilobytes", "megabytes", "_mb", "percent"] {
            assert!(!name.contains(unit), "{name}");
        }
        for kind in ["counter", "gauge", "histogram", "summary"] {
            assert!(!name.contains(kind), "{name}");
        }
        assert!(!metric.help.is_empty() && !metric.alert.is_empty(), "{name}");
        assert!(metric.labels.iter().all(|(label, _)| is_plain(label) && *label != "le"), "{name}");
    }
}
