//! `telemetry.traces` and OpenTelemetry's variables.

use std::time::Duration;

use crate::config::OnParent;
use crate::config::Sampler;
use crate::config::Traces;
use crate::config::load_text;
use crate::config::tests::FINE;
use crate::config::tests::env;
use crate::config::tests::lines;
use crate::config::tests::told;

const COLLECTOR: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

fn traces(setting: &str, environment: &[(&str, &str)]) -> Option<Traces> {
    let text = format!("{FINE}telemetry: {{ {setting} }}\n");
    let loaded = load_text("config.yaml", &text, &env(environment)).unwrap();
    loaded.config.telemetry.traces.map(|traces| (*traces).clone())
}

#[test]
fn there_are_no_traces_unless_they_are_asked_for() {
    assert_eq!(traces("", &[]), None);
    assert_eq!(traces("", &[("OTEL_SERVICE_NAME", "orders")]), None);
    for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
        assert_eq!(traces("", &[COLLECTOR, off]), None);
        assert_eq!(traces("traces: { otlp: http://c:4318 }", &[off]), None);
    }
    assert!(traces("", &[COLLECTOR, ("OTEL_SDK_DISABLED", "false")]).is_some());
}

#[test]
fn the_collector_is_that_of_the_file_then_that_of_the_environment() {
    const OF_TRACES: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/in");
    for (setting, environment, expected) in [
        ("traces: { otlp: http://c:4318 }", &[COLLECTOR, OF_TRACES][..], "http://c:4318/v1/traces"),
        ("traces: { otlp: https://c/base/ }", &[], "https://c/base/v1/traces"),
        ("", &[COLLECTOR, OF_TRACES], "https://traces.example/in"),
        ("traces: { sample_ratio: 1 }", &[COLLECTOR], "http://collector:4318/v1/traces"),
        ("", &[COLLECTOR, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", " ")], "http://collector:4318/v1/traces"),
    ] {
        let traces = traces(setting, environment).unwrap();
        assert_eq!(traces.endpoint, expected, "{setting} {environment:?}");
    }
}

#[test]
fn which_requests_are_traced_is_said_by_the_file_then_by_the_environment() {
    let follow = |ratio| Sampler { on_parent: OnParent::Follow, ratio };
    let ignore = |ratio| Sampler { on_parent: OnParent::Ignore, ratio };
    let half = ("OTEL_TRACES_SAMPLER_ARG", "0.5");
    for (setting, variables, expected) in [
        ("", &[][..], follow(0.1)),
        ("traces: { sample_ratio: 0.25 }", &[("OTEL_TRACES_SAMPLER", "always_on")], follow(0.25)),
        ("", &[("OTEL_TRACES_SAMPLER", "always_on")], ignore(1.0)),
        ("", &[("OTEL_TRACES_SAMPLER", "always_off")], ignore(0.0)),
        ("", &[("OTEL_TRACES_SAMPLER", "traceidratio"), half], ignore(0.5)),
        ("", &[("OTEL_TRACES_SAMPLER", "traceidratio")], ignore(1.0)),
        ("", &[("OTEL_TRACES_SAMPLER", "parentbased_always_on"), half], follow(1.0)),
        ("", &[("OTEL_TRACES_SAMPLER", "parentbased_always_off")], follow(0.0)),
        ("", &[("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), half], follow(0.5)),
        ("", &[("OTEL_TRACES_SAMPLER", "jaeger_remote")], follow(0.1)),
    ] {
        let environment = [&[COLLECTOR], variables].concat();
        assert_eq!(traces(setting, &environment).unwrap().sampler, expected, "{setting} {variables:?}");
    }
}

#[test]
fn the_variables_of_opentelemetry_say_the_rest() {
    let traces = traces(
        "",
        &[
            COLLECTOR,
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k%20ey%2C, x-tenant=one"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_SERVICE_NAME", "orders-proxy"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,k8s.pod.name=orders-1,team=a%2Cb"),
        ],
    )
    .unwrap();
    let headers: Vec<(&str, &str)> =
        traces.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("api-key", "k ey,"), ("x-tenant", "one")]);
    assert!(!format!("{traces:?}").contains("k ey"), "{traces:?}");
    assert_eq!(traces.timeout, Duration::from_millis(1_500));
    let resource: Vec<(&str, &str)> =
        traces.resource.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        resource,
        [
            ("k8s.pod.name", "orders-1"),
            ("team", "a,b"),
            ("service.name", "orders-proxy"),
            ("service.version", env!("CARGO_PKG_VERSION")),
        ]
    );
}

#[test]
fn wrong_settings_are_told_with_position_and_advice() {
    let top = |text: &str| format!("{FINE}telemetry: {{ traces: {text} }}\n");
    for (text, expected) in [
        (
            "{ sample_ratio: 0.5 }",
            "11:14 error: `otlp` is missing in `telemetry.traces` [write the URL of a collector, or set OTEL_EXPORTER_OTLP_ENDPOINT]",
        ),
        (
            "{ otlp: 'http://c:4318', sample_ratio: 10% }",
            "11:61 error: `10%` is not a number from 0 to 1, as in 0.1",
        ),
        (
            "{ otlp: 'collector:4318' }",
            "11:30 error: `collector:4318` is not a URL [write it as https://host, https://host:port or https://host/path]",
        ),
        (
            "{ otlp: 'http://c:4317' }",
            "11:30 warning: 4317 is where collectors take traces over gRPC [traces are sent over HTTP, which collectors take at port 4318: write that]",
        ),
    ] {
        assert_eq!(lines(&top(text)), [expected]);
    }
}

#[test]
fn a_variable_that_cannot_be_understood_is_told_by_name_alone_and_ignored() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://hunter2"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "hunter2=%zz"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "hunter 2=a"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "hunter2"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
        ("OTEL_RESOURCE_ATTRIBUTES", "hunter2"),
        ("OTEL_TRACES_SAMPLER", "hunter2"),
    ] {
        let said = told(FINE, &[COLLECTOR, (name, value)]);
        let expected = format!("warning: the environment variable `{name}` cannot be used and is ignored");
        assert!(said.starts_with(&expected) && !said.contains("hunter"), "{name}={value}: {said}");
    }
    let sampler = ("OTEL_TRACES_SAMPLER", "traceidratio");
    let said = told(FINE, &[COLLECTOR, sampler, ("OTEL_TRACES_SAMPLER_ARG", "2")]);
    assert!(said.contains("`OTEL_TRACES_SAMPLER_ARG` cannot be used"), "{said}");
    for header in [
        "content-length=5",
        "Host=hunter",
        "transfer-encoding=chunked",
        "connection=a",
        "upgrade=b",
        "te=c",
        "trailer=d",
    ] {
        let headers = format!("api-key=hunter2,{header}");
        let variable = ("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str());
        let said = told(FINE, &[COLLECTOR, variable]);
        let name = header.split('=').next().unwrap().to_lowercase();
        assert!(said.contains(&format!("take `{name}` out of it")) && !said.contains("hunter"), "{said}");
        assert_eq!(traces("", &[COLLECTOR, variable]).unwrap().headers, []);
    }
    // a process without traces need not be told how they would be
    assert_eq!(told(FINE, &[("OTEL_EXPORTER_OTLP_HEADERS", "x")]), "");
}
