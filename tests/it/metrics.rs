//! Metrics: the page on them, what `promtool` says, and that nothing in a request makes more of them.

use std::fs;
use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use obo_proxy::telemetry::catalogue;
use proptest::strategy::Strategy;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;
use tokio::time::Instant;

use crate::support::World;
use crate::support::process::Demo;
use crate::support::process::repository;
use crate::support::process::shell;
use crate::support::process::text;

#[test]
fn the_page_on_metrics_is_made_of_the_program() {
    let file = repository("docs/metrics.md");
    let page = catalogue::page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == page, "stale: run UPDATE_DOCS=1 cargo test --test it the_page_on_metrics");
}

/// A demo that has served a few.
fn used() -> Demo {
    let demo = Demo::start();
    let (proxy, idp) = (demo.address("proxy"), demo.address("idp"));
    for user in ["alice", "alice", "mfa", "throttled"] {
        shell(&format!(
            "curl -s 'http://{proxy}/orders' -H \"Authorization: Bearer $(curl -sf 'http://{idp}/demo/token?user={user}')\""
        ));
    }
    shell(&format!("curl -s http://{proxy}/nowhere"));
    demo
}

#[test]
fn who_asks_for_openmetrics_gets_it_and_everybody_else_the_older_text() {
    let demo = used();
    let get = |options: &str| {
        shell(&format!("curl -s -D- {options} http://{}/metrics", demo.address("telemetry"))).to_lowercase()
    };
    let plain = get("");
    assert!(plain.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{plain}");
    assert!(plain.contains("# type obo_exchanges_total counter") && !plain.contains("# eof"), "{plain}");
    // what Prometheus sends
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    let openmetrics = get(&format!("-H 'Accept: {accept}'"));
    assert!(
        openmetrics.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{openmetrics}"
    );
    assert!(openmetrics.ends_with("# eof\n"), "{openmetrics}");
}

#[test]
#[ignore = "wants promtool: tests/run.sh --interop installs it"]
fn promtool_has_nothing_to_say() {
    let demo = used();
    let metrics = shell(&format!("curl -sf http://{}/metrics", demo.address("telemetry")));
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "{said}\n{metrics}");
}

#[test]
fn a_caller_who_hangs_up_is_counted_as_499() {
    let demo = Demo::start();
    let (proxy, idp) = (demo.address("proxy"), demo.address("idp"));
    shell(&format!(
        "curl -s -m 0.5 'http://{proxy}/orders' -H \"Authorization: Bearer $(curl -sf 'http://{idp}/demo/token?user=slow')\" || test $? = 28"
    ));
    let expected = "http_server_request_duration_seconds_count{http_route=\"orders\",http_request_method=\"GET\",http_response_status_code=\"499\"} 1";
    let begun = Instant::now();
    loop {
        let metrics = shell(&format!("curl -sf http://{}/metrics", demo.address("telemetry")));
        if metrics.contains(expected) {
            return;
        }
        assert!(begun.elapsed().as_secs() < 20, "{metrics}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A way to send a request, of what a stranger makes up.
type Kind = fn(&World, &mut dyn FnMut(&str) -> String) -> String;

#[tokio::test]
async fn nothing_that_a_request_says_makes_another_series() {
    const KINDS: [Kind; 9] = [
        |_, any| {
            format!("GET /{} HTTP/1.1\r\nhost: {}\r\n", any("[a-z0-9]{1,30}"), any("[a-z]{1,20}\\.example"))
        },
        |_, any| format!("GET /orders/{} HTTP/1.1\r\nhost: x\r\n", any("[a-z0-9]{1,30}")),
        |_, any| {
            format!("GET /public/{} HTTP/1.1\r\nhost: {}\r\n", any("[a-z0-9]{1,30}"), any("[a-z]{1,20}"))
        },
        |_, any| format!("{} /public HTTP/1.1\r\nhost: x\r\n", any("[A-Z]{12,20}")),
        |_, any| {
            format!(
                "GET /orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n",
                any("[A-Za-z0-9._-]{1,200}")
            )
        },
        |world, any| {
            let (tid, oid) = (guid(any), guid(any));
            let issuer = format!("{}/{tid}/v2.0", world.entra().authority());
            let token = world.altered(json!({"tid": tid, "iss": issuer, "oid": oid}), json!({}));
            format!("GET /orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n")
        },
        |world, any| {
            let changes =
                json!({"azp": any("[a-z]{5,20}"), "aud": any("[a-z]{5,20}"), "name": any("[a-z]{5,20}")});
            let token = world.altered(changes, json!({}));
            format!("GET /orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n")
        },
        |world, any| {
            let token = world.altered(json!({"aud": null}), json!({"kid": any("[a-z]{5,20}")}));
            format!("GET /reports HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n")
        },
        |_, any| {
            let field = format!("{}: {}", any("x-[a-z]{5,20}"), any("[a-z]{5,20}"));
            format!("GET /public HTTP/1.1\r\nhost: x\r\nx-request-id: {}\r\n{field}\r\n", any("[a-z]{5,20}"))
        },
    ];
    let world = World::new().await;
    let mut runner = TestRunner::deterministic();
    let mut any = |pattern: &str| {
        let strategy = proptest::string::string_regex(pattern).unwrap();
        strategy.new_tree(&mut runner).unwrap().current()
    };
    let mut counts = Vec::new();
    for _ in 0..20 {
        for kind in KINDS {
            let head = kind(&world, &mut any);
            let answer = world.raw(&format!("{head}connection: close\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 "), "{head}\n{answer}");
        }
        let metrics = world.probe("/metrics").await.body;
        let series = String::from_utf8(metrics.to_vec()).unwrap();
        counts.push(series.lines().filter(|line| !line.starts_with('#')).count());
        for (label, of) in [("http_request_method=\"", "_OTHER"), ("http_route=\"", "public")] {
            assert!(series.contains(&format!("{label}{of}\"")), "{series}");
        }
    }
    // all that there is of each kind came with the first
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

fn guid(any: &mut dyn FnMut(&str) -> String) -> String {
    any("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}")
}
