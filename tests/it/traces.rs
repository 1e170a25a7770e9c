//! Traces: what a collector is sent, and that requests do not mind what it does with it.

use std::time::Duration;

use obo_proxy::app::demo::entra::settings::Settings;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::collector::Collector;
use crate::support::collector::Span;
use crate::support::process::Demo;
use crate::support::process::Proxy;
use crate::support::process::config;
use crate::support::process::repository;
use crate::support::process::shell;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A proxy of its own between the demo's Entra and its echo API.
struct Traced {
    demo: Demo,
    proxy: Proxy,
}

impl Traced {
    /// One with those variables, that is ready.
    fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_with("", variables)
    }

    fn start_with(setting: &str, variables: &[(&str, &str)]) -> Self {
        let demo = Demo::start();
        let config = configuration(&demo, setting);
        let secret = Settings::default().client_secret;
        let environment = [&[("SECRET", secret.expose())], variables].concat();
        let proxy = Proxy::start(&config, &environment);
        shell(&format!(
            "curl -sf --retry 100 --retry-all-errors --retry-delay 0 http://{}/readyz",
            proxy.telemetry
        ));
        Self { demo, proxy }
    }

    fn token(&self, user: &str) -> String {
        shell(&format!("curl -sf 'http://{}/demo/token?user={user}'", self.demo.address("idp")))
    }

    fn get(&self, path: &str, token: &str, options: &str) -> String {
        let address = &self.proxy.address;
        shell(&format!("curl -s {options} 'http://{address}{path}' -H 'Authorization: Bearer {token}'"))
    }

    fn metric(&self, name_and_labels: &str) -> Option<f64> {
        let metrics = shell(&format!("curl -sf http://{}/metrics", self.proxy.telemetry));
        metrics.lines().find_map(|line| line.strip_prefix(name_and_labels)?.trim().parse().ok())
    }
}

fn configuration(demo: &Demo, setting: &str) -> String {
    let config = config(&format!("http://{}", demo.address("idp")), demo.address("upstream"), "info");
    config.replace("telemetry: {", &format!("telemetry: {{ {setting}"))
}

/// Off the threads of the collector, as it waits for processes.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn traceparent(flags: &str) -> String {
    format!("-H 'traceparent: 00-{TRACE}-{PARENT}-{flags}' -H 'tracestate: other=1'")
}

fn sole<'s>(spans: &'s [Span], name: &str, parent: &str) -> &'s Span {
    let found: Vec<&Span> =
        spans.iter().filter(|span| span.name() == name && span.text("parentSpanId") == parent).collect();
    assert_eq!(found.len(), 1, "{name} below {parent} in {spans:#?}");
    found[0]
}

#[tokio::test]
async fn a_request_and_its_steps_are_spans_of_the_callers_trace() {
    let collector = Collector::answering(Some((200, ""))).await;
    let url = collector.url();
    let (answers, log) = aside(move || {
        let traced = Traced::start(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2"),
            ("OTEL_SERVICE_NAME", "orders-proxy"),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
        ]);
        let (alice, mfa) = (traced.token("alice"), traced.token("mfa"));
        let answers = [
            traced.get("/orders/7?q=qu3ry", &alice, &traceparent("01")),
            traced.get("/orders/8", &alice, &traceparent("01")),
            traced.get("/orders/9", &mfa, &traceparent("01")),
            traced.get("/orders/10", &alice, &traceparent("00")),
            traced.get("/orders/11", &alice, ""),
        ];
        let (code, log) = traced.proxy.stop();
        assert_eq!(code, Some(0), "{log}");
        (answers, log)
    })
    .await;

    let exports = collector.exports();
    assert_eq!(exports.len(), 1, "one batch is enough");
    assert_eq!(exports[0].path, "/v1/traces");
    assert_eq!(exports[0].headers["content-type"], "application/json");
    assert_eq!(exports[0].headers["api-key"], "hunter2");
    assert!(!log.contains("hunter2"), "{log}");
    let resource = exports[0].json()["resourceSpans"][0]["resource"]["attributes"].to_string();
    assert!(resource.contains("orders-proxy"), "{resource}");

    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.text("traceId") == TRACE));
    let servers: Vec<&Span> = spans.iter().filter(|span| span.text("parentSpanId") == PARENT).collect();
    let of = |path: &str| *servers.iter().find(|span| span.attribute("url.path") == Some(path)).unwrap();
    assert_eq!(servers.len(), 3, "what a caller does not record is not recorded: {servers:#?}");

    let server = of("/orders/7");
    assert_eq!((server.name(), &server.0["kind"]), ("GET /", &2.into()));
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/"),
        ("http.response.status_code", "200"),
        ("obo.route", "orders"),
        ("obo.identity_provider", "demo"),
    ] {
        assert_eq!(server.attribute(name), Some(value), "{name}");
    }
    let id = server.text("spanId");
    let exchange = sole(&spans, "exchange", id);
    let call = sole(&spans, "POST token", exchange.text("spanId"));
    let upstream = sole(&spans, "GET", id);
    sole(&spans, "authenticate", id);
    assert_eq!(exchange.attribute("obo.cache"), Some("miss"));
    assert_eq!((&call.0["kind"], call.attribute("http.response.status_code")), (&3.into(), Some("200")));
    assert_eq!((&upstream.0["kind"], upstream.attribute("server.address")), (&3.into(), Some("127.0.0.1")));
    for span in &spans {
        let parent = spans.iter().find(|other| other.text("spanId") == span.text("parentSpanId"));
        let (start, end) = (span.time("startTimeUnixNano"), span.time("endTimeUnixNano"));
        assert!(start <= end, "{span:?}");
        if let Some(parent) = parent {
            assert!(
                parent.time("startTimeUnixNano") <= start && end <= parent.time("endTimeUnixNano"),
                "{span:?} lies not within {parent:?}"
            );
        }
    }

    let again = of("/orders/8").text("spanId");
    let hit = sole(&spans, "exchange", again);
    assert_eq!(hit.attribute("obo.cache"), Some("hit"));
    assert!(!spans.iter().any(|span| span.text("parentSpanId") == hit.text("spanId")), "nobody was asked");

    let refused = of("/orders/9");
    assert_eq!(refused.attribute("error.type"), Some("interaction_required"));
    assert_eq!(refused.attribute("http.response.status_code"), Some("401"));
    assert!(!refused.is_error(), "a refusal is no fault of ours");
    let failed = sole(&spans, "exchange", refused.text("spanId"));
    assert!(failed.is_error() && failed.attribute("error.type") == Some("interaction_required"));
    let call = sole(&spans, "POST token", failed.text("spanId"));
    assert_eq!(call.attribute("http.response.status_code"), Some("400"));

    // the upstream is told whose child it is
    let headers = |answer: &str| serde_json::from_str::<Value>(answer).unwrap()["headers"].clone();
    let sent = headers(&answers[0]);
    assert_eq!(sent["traceparent"], format!("00-{TRACE}-{}-01", upstream.text("spanId")));
    assert_eq!(sent["tracestate"], "other=1");
    let passed = headers(&answers[3]);
    assert_eq!(passed["traceparent"], format!("00-{TRACE}-{PARENT}-00"));
    assert!(headers(&answers[4]).get("traceparent").is_none());
    let bodies: String =
        exports.iter().map(|export| String::from_utf8_lossy(&export.body).into_owned()).collect();
    for secret in ["qu3ry", "eyJ", "Alice", "alice@"] {
        assert!(!bodies.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn what_is_kept_of_a_path_is_bounded_and_holds_nothing_that_is_obeyed() {
    let collector = Collector::answering(Some((200, ""))).await;
    let url = collector.url();
    let log = aside(move || {
        let traced = Traced::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]);
        let long = format!("/{}", "a".repeat(40_000));
        traced.get(&long, "none", &traceparent("01"));
        let address = &traced.proxy.address;
        // the introducer of a control sequence in one letter (C1), and one that turns the direction
        shell(&format!("printf 'GET /\\302\\2332J\\342\\200\\256 HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' | timeout 20 curl -s telnet://{address} || true"));
        traced.proxy.stop().1
    })
    .await;
    let spans = collector.spans();
    let kept = spans.iter().find_map(|span| span.attribute("url.path").map(str::len)).unwrap();
    assert!((1_000..1_100).contains(&kept), "{kept}");
    assert!(log.lines().any(|line| line.contains("\"url.path\":\"/aaaa")), "{log}");
    assert!(log.lines().all(|line| line.len() < 2_500), "{log}");
    assert!(log.contains("2J"), "{log}");
    assert!(
        !log.chars().any(|letter| letter != '\n' && (letter.is_control() || letter == '\u{202e}')),
        "{log:?}"
    );
}

#[tokio::test]
async fn a_trace_may_begin_here_and_the_log_has_its_id() {
    let collector = Collector::answering(Some((200, ""))).await;
    let url = collector.url();
    let (answer, log) = aside(move || {
        let setting = format!("traces: {{ otlp: \"{url}\", sample_ratio: 1 }}, ");
        let traced = Traced::start_with(&setting, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")]);
        let answer = traced.get("/orders", &traced.token("alice"), "-H 'tracestate: other=1'");
        (answer, traced.proxy.stop().1)
    })
    .await;
    let spans = collector.spans();
    let server = spans.iter().find(|span| span.text("parentSpanId").is_empty()).unwrap();
    let trace = server.text("traceId");
    assert!(spans.len() == 5 && spans.iter().all(|span| span.text("traceId") == trace), "{spans:#?}");
    let headers = &serde_json::from_str::<Value>(&answer).unwrap()["headers"];
    assert!(headers["traceparent"].as_str().unwrap().starts_with(&format!("00-{trace}-")), "{headers}");
    assert!(headers.get("tracestate").is_none(), "it told of another trace");
    let logged = |message: &str| {
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.into_iter().find(|line| line["msg"] == message).unwrap()
    };
    assert_eq!(
        (&logged("request")["trace_id"], &logged("exchange")["trace_id"]),
        (&trace.into(), &trace.into())
    );
}

#[tokio::test]
async fn spans_go_in_batches_of_512_at_most_and_a_full_one_at_once() {
    let collector = Collector::answering(Some((200, ""))).await;
    let url = collector.url();
    let (traced, before) = aside(move || {
        let traced =
            Traced::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("OTEL_TRACES_SAMPLER", "always_on")]);
        let token = traced.token("alice");
        traced.get("/orders/[1-300]", &token, "-o /dev/null");
        let before = Instant::now();
        (traced, before)
    })
    .await;
    // four spans a request, and one more where it was asked
    while collector.exports().len() < 2 {
        assert!(before.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let sizes: Vec<usize> = collector.exports().iter().map(|export| export.spans().len()).collect();
    assert_eq!(sizes[..2], [512, 512], "{sizes:?}");
    let (metric, log) = aside(move || {
        let metric = traced.metric("obo_trace_spans_total{result=\"ok\"} ");
        (metric, traced.proxy.stop().1)
    })
    .await;
    assert!(metric.unwrap() >= 1_024.0, "{metric:?}");
    assert_eq!(collector.spans().len(), 4 * 300 + 1, "{log}");
}

#[tokio::test]
async fn requests_go_on_whatever_becomes_of_the_collector() {
    for (answer, expected) in [
        (None, "the collector of traces did not take the last of them in time"),
        (Some((500, "")), "the collector does not take traces; requests go on, and spans are lost"),
        (Some((503, "60")), "the collector does not take traces; requests go on, and spans are lost"),
        (Some((301, "")), "the collector does not take traces; requests go on, and spans are lost"),
    ] {
        let collector = Collector::answering(answer).await;
        let url = collector.url();
        let (spans, code, log) = aside(move || {
            let environment =
                [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_TRACES_SAMPLER", "always_on")];
            let traced = Traced::start(&environment);
            let token = traced.token("alice");
            let statuses = traced.get("/orders/[1-800]", &token, "-o /dev/null -w '%{http_code}\\n'");
            assert_eq!(statuses.lines().filter(|status| *status == "200").count(), 800);
            let metrics = shell(&format!("curl -sf http://{}/metrics", traced.proxy.telemetry));
            let count = |result: &str| {
                let name = format!("obo_trace_spans_total{{result=\"{result}\"}} ");
                metrics
                    .lines()
                    .find_map(|line| line.strip_prefix(name.as_str())?.parse::<u64>().ok())
                    .unwrap()
            };
            let spans = ["ok", "queue_full", "export_failed"].map(count);
            let (code, log) = traced.proxy.stop();
            (spans, code, log)
        })
        .await;
        assert_eq!(code, Some(0), "{log}");
        let told = log.lines().filter(|line| line.contains(expected)).count();
        assert_eq!(told, 1, "{answer:?}: {log}");
        let [taken, dropped, _] = spans;
        assert_eq!(taken, 0, "{answer:?}");
        if matches!(answer, None | Some((503, _))) {
            // a batch on its way, and the queue: the rest is dropped
            assert!(dropped > 0, "{answer:?}: {spans:?}");
            assert!(collector.exports().len() <= 8, "{answer:?}: {}", collector.exports().len());
        }
    }
}

#[test]
fn requests_go_on_where_there_is_no_collector() {
    let environment =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"), ("OTEL_TRACES_SAMPLER", "always_on")];
    let traced = Traced::start(&environment);
    let answer = traced.get("/orders", &traced.token("alice"), "-w '%{http_code}' -o /dev/null");
    assert_eq!(answer, "200");
    let (code, log) = traced.proxy.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("the collector does not take traces"), "{log}");
}

#[tokio::test]
async fn traces_come_and_go_with_a_reload() {
    let [one, two] =
        [Collector::answering(Some((200, ""))).await, Collector::answering(Some((200, ""))).await];
    let urls = [one.url(), two.url()];
    aside(move || {
        let traced = Traced::start(&[]);
        let token = traced.token("alice");
        let get = |path: &str| traced.get(path, &token, "-o /dev/null");
        get("/none");
        for (url, path) in [(&urls[0], "/one"), (&urls[1], "/two")] {
            let setting = format!("traces: {{ otlp: \"{url}\", sample_ratio: 1 }}, ");
            let said = traced.proxy.reload(&configuration(&traced.demo, &setting));
            assert_eq!(said["msg"], "another configuration is in use", "{said}");
            get(path);
        }
        let said = traced.proxy.reload(&configuration(&traced.demo, ""));
        assert_eq!(said["msg"], "another configuration is in use", "{said}");
        get("/none");
        assert_eq!(traced.proxy.stop().0, Some(0));
    })
    .await;
    for (collector, path) in [(one, "/one"), (two, "/two")] {
        let spans = collector.spans();
        let paths: Vec<&str> = spans.iter().filter_map(|span| span.attribute("url.path")).collect();
        assert_eq!(paths, [path]);
    }
}

#[tokio::test]
#[ignore = "wants a Python package: tests/run.sh --interop"]
async fn opentelemetrys_own_schema_reads_what_is_sent() {
    let collector = Collector::answering(Some((200, ""))).await;
    let url = collector.url();
    aside(move || {
        let environment =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_TRACES_SAMPLER", "always_on")];
        let traced = Traced::start(&environment);
        for user in ["alice", "mfa"] {
            traced.get("/orders", &traced.token(user), "-o /dev/null");
        }
        assert_eq!(traced.proxy.stop().0, Some(0));
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let body = directory.path().join("body.json");
    std::fs::write(&body, &collector.exports()[0].body).unwrap();
    let script = repository("tests/interop/otlp.py");
    let (directory, body) = (directory.path().display(), body.display());
    let printed = shell(&format!(
        "python3 -m venv {directory}/venv && {directory}/venv/bin/pip install -q -r {}/requirements.txt && {directory}/venv/bin/python {} {body}",
        script.parent().unwrap().display(),
        script.display(),
    ));
    let mut spans: Vec<&str> = printed.lines().collect();
    spans.sort_unstable();
    assert_eq!(
        spans,
        [
            "SPAN_KIND_CLIENT GET STATUS_CODE_UNSET",
            "SPAN_KIND_CLIENT POST token STATUS_CODE_ERROR",
            "SPAN_KIND_CLIENT POST token STATUS_CODE_UNSET",
            "SPAN_KIND_INTERNAL authenticate STATUS_CODE_UNSET",
            "SPAN_KIND_INTERNAL authenticate STATUS_CODE_UNSET",
            "SPAN_KIND_INTERNAL exchange STATUS_CODE_ERROR",
            "SPAN_KIND_INTERNAL exchange STATUS_CODE_UNSET",
            "SPAN_KIND_SERVER GET / STATUS_CODE_UNSET",
            "SPAN_KIND_SERVER GET / STATUS_CODE_UNSET",
        ]
    );
}
