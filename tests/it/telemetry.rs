//! What operators see: probes, metrics, log lines.

use http::StatusCode;
use obo_proxy::app::demo::entra::settings::Settings;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpSocket;

use crate::support::World;
use crate::support::process::Demo;
use crate::support::process::Proxy;
use crate::support::process::config;
use crate::support::process::shell;

#[tokio::test]
async fn probes_answer_and_nothing_else_is_there() {
    let world = World::new().await;
    for path in ["/livez", "/readyz", "/startupz"] {
        let answer = world.probe(path).await;
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"ok\n"[..]), "{path}");
    }
    assert_eq!(world.probe("/").await.status, StatusCode::NOT_FOUND);
    world.probes.drain();
    assert_eq!(world.probe("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.probe("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn each_part_feeds_its_metrics() {
    let world = World::new().await;
    world.get("/orders", &world.token("alice")).await;
    world.get("/orders", &world.token("mfa")).await;
    world.get_anonymously("/public").await;
    for (metric, value) in [
        ("obo_authentications_total{identity_provider=\"demo\",result=\"ok\"} ", 2.0),
        ("obo_exchanges_total{identity_provider=\"demo\",outcome=\"ok\"} ", 1.0),
        ("obo_exchanges_total{identity_provider=\"demo\",outcome=\"interaction_required\"} ", 1.0),
        ("obo_exchange_duration_seconds_count{identity_provider=\"demo\"} ", 2.0),
        ("obo_exchanges_in_flight ", 0.0),
        ("obo_cache_requests_total{tier=\"memory\",result=\"miss\"} ", 2.0),
        ("obo_refusals_total{route=\"orders\",reason=\"interaction_required\"} ", 1.0),
        (
            "http_server_request_duration_seconds_count{http_route=\"orders\",http_request_method=\"GET\",http_response_status_code=\"401\"} ",
            1.0,
        ),
        ("obo_config_last_reload_successful ", 1.0),
    ] {
        assert_eq!(world.metric(metric).await, Some(value), "{metric}");
    }
    let upstream =
        format!("http_client_request_duration_seconds_count{{server_address=\"{}\"}} ", world.echo.address());
    assert_eq!(world.metric(&upstream).await, Some(2.0));
}

#[test]
fn each_request_has_one_line_with_the_fields_of_the_contract_and_no_token() {
    let demo = Demo::start();
    let (proxy, idp) = (demo.address("proxy").to_owned(), demo.address("idp").to_owned());
    let mut tokens = Vec::new();
    for (user, path) in [
        ("alice", "/orders/7?secret=s3cr3t"),
        ("alice", "/orders/7"),
        ("mfa", "/orders"),
        ("alice", "/reports"),
        ("throttled", "/orders"),
    ] {
        let token = shell(&format!("curl -sf 'http://{idp}/demo/token?user={user}'"));
        shell(&format!(
            "curl -s 'http://{proxy}{path}' -H 'Authorization: Bearer {token}' -H 'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'"
        ));
        tokens.push(token);
    }
    demo.signal("TERM");
    let (code, log) = demo.wait();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let requests: Vec<&Value> = lines.iter().filter(|line| line["msg"] == "request").collect();
    assert_eq!(requests.len(), 5, "{log}");
    let first = requests[0];
    for field in [
        "ts",
        "level",
        "msg",
        "request_id",
        "trace_id",
        "http.request.method",
        "http.route",
        "http.response.status_code",
        "url.path",
        "client.address",
        "route",
        "identity_provider",
        "cache",
        "duration_ms",
        "upstream_ms",
        "exchange_ms",
        "user",
        "correlation_id",
    ] {
        assert!(!first[field].is_null(), "{field} is missing: {first}");
    }
    assert_eq!(first["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((&first["cache"], &requests[1]["cache"]), (&"miss".into(), &"hit".into()));
    assert_eq!(first["user"], requests[1]["user"]);
    assert_ne!(first["user"], requests[2]["user"]);
    assert_eq!(requests[2]["reason"], "interaction_required");
    assert!(!requests[2]["correlation_id"].is_null());
    assert_eq!(requests[3]["reason"], "insufficient_scope");
    assert_eq!((&requests[3]["user"], &requests[3]["client.address"]), (&first["user"], &"127.0.0.1".into()));
    assert_eq!(requests[4]["cause"], "the identity provider asks to wait");
    assert!(requests[2]["cause"].is_null() && requests[3]["error_codes"].is_null(), "{log}");
    assert!(requests[1]["correlation_id"].is_null() && requests[3]["correlation_id"].is_null(), "{log}");
    // an answer that is no JSON names no id: ours is the one the IdP logged
    assert_eq!(requests[4]["reason"], "idp_throttled");
    assert!(!requests[4]["correlation_id"].is_null());
    for token in tokens {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!log.contains(signature), "a token is in the log");
    }
    for word in ["s3cr3t", "Alice", "eyJ"] {
        assert!(!log.contains(word), "{word} is in the log:\n{log}");
    }
}

#[test]
fn each_exchange_has_one_audit_line_that_says_for_whom_and_what_came_of_it() {
    let demo = Demo::start();
    let config = config(&format!("http://{}", demo.address("idp")), demo.address("upstream"), "info");
    let secret = Settings::default().client_secret;
    let proxy = Proxy::start(&config, &[("SECRET", secret.expose())]);
    shell(&format!(
        "curl -sf --retry 100 --retry-all-errors --retry-delay 0 http://{}/readyz",
        proxy.telemetry
    ));
    for (user, id) in [("alice", "one"), ("alice", "two"), ("mfa", "three")] {
        let token = shell(&format!("curl -sf 'http://{}/demo/token?user={user}'", demo.address("idp")));
        shell(&format!(
            "curl -s 'http://{}/orders' -H 'Authorization: Bearer {token}' -H 'x-request-id: {id}'",
            proxy.address
        ));
    }
    let (code, log) = proxy.stop();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: &str| lines.iter().filter(|line| line["msg"] == message).cloned().collect::<Vec<_>>();
    let (audit, requests) = (of("exchange"), of("request"));
    assert_eq!((audit.len(), requests.len()), (2, 3), "{log}");
    let Settings { tenant, .. } = Settings::default();
    for (line, request, id, outcome) in
        [(&audit[0], &requests[0], "one", "ok"), (&audit[1], &requests[2], "three", "interaction_required")]
    {
        for (field, value) in [
            ("target", "audit"),
            ("level", "info"),
            ("request_id", id),
            ("trigger", "request"),
            ("identity_provider", "demo"),
            ("tenant", tenant.as_str()),
            ("grant", "on_behalf_of"),
            ("scopes", "api://orders-backend/orders.read"),
            ("outcome", outcome),
        ] {
            assert_eq!(line[field], value, "{field}: {line}");
        }
        for field in ["user", "correlation_id"] {
            assert!(line[field].is_string() && line[field] == request[field], "{field}: {line} {request}");
        }
        assert!(line["duration_ms"].is_number() && line["client"].is_string(), "{line}");
    }
    assert!((3_000..=5_400).contains(&audit[0]["lifetime_s"].as_u64().unwrap()), "{}", audit[0]);
    assert_eq!(audit[1]["error"], "invalid_grant");
    assert_eq!((&audit[1]["error_codes"], &requests[2]["error_codes"]), (&json!([50076]), &json!([50076])));
    assert!(audit[1]["lifetime_s"].is_null(), "{}", audit[1]);
    for line in audit.iter().chain(&requests) {
        let printed = line["duration_ms"].to_string();
        assert!(printed.split_once('.').is_none_or(|(_, decimals)| decimals.len() <= 3), "{line}");
    }
}

#[tokio::test]
async fn a_proxy_whose_routes_are_all_anonymous_is_ready_at_once() {
    let config = "
listeners: { default: { address: \"127.0.0.1:0\" } }
routes: { all: { match: /, auth: anonymous, upstream: \"http://127.0.0.1:1\" } }
telemetry: { address: \"127.0.0.1:0\" }
";
    let loaded = obo_proxy::config::load_text("test.yaml", config, &[]).unwrap();
    let app =
        obo_proxy::app::App::bind(loaded.config, obo_proxy::domain::clock::Clock::system()).await.unwrap();
    assert!(app.probes().is_ready());
}

#[test]
fn the_operator_is_told_why_the_identity_provider_refuses_us() {
    let demo = Demo::start();
    let config = config(&format!("http://{}", demo.address("idp")), "127.0.0.1:1", "info");
    let proxy = Proxy::start(&config, &[("SECRET", "wrong")]);
    let token = shell(&format!("curl -sf 'http://{}/demo/token?user=alice'", demo.address("idp")));
    let call = format!("curl -sS 'http://{}/orders' -H 'Authorization: Bearer {token}'", proxy.address);
    while !shell(&call).contains("proxy_misconfigured") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let (code, log) = proxy.stop();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let refused = lines
        .iter()
        .find(|line| line["msg"] == "refused" && line["reason"] == "proxy_misconfigured")
        .unwrap();
    assert_eq!(refused["level"], "error");
    assert_eq!(refused["error"], "invalid_client");
    assert_eq!(refused["error_codes"], json!([7_000_215]));
    // and so does the line of each request, also of those whose second line is held back
    for line in
        lines.iter().filter(|line| line["reason"] == "proxy_misconfigured" && line["msg"] == "request")
    {
        assert_eq!((&line["cause"], &line["error_codes"]), (&refused["cause"], &refused["error_codes"]));
        let cause = line["cause"].as_str().unwrap();
        assert!(cause.contains("the client secret is wrong; use the secret's Value"), "{cause}");
    }
    assert_eq!((&refused["route"], &refused["identity_provider"]), (&"orders".into(), &"demo".into()));
    assert!(refused["correlation_id"].is_string() && refused["trace_id"].is_string(), "{refused}");
}

#[test]
fn at_trace_level_no_token_secret_or_claims_reach_the_log() {
    // the library's own lines, and those of the HTTP and TLS crates below it
    let demo = Demo::start();
    let config = config(&format!("http://{}", demo.address("idp")), demo.address("upstream"), "trace");
    let secret = Settings::default().client_secret;
    let proxy = Proxy::start(&config, &[("SECRET", secret.expose())]);
    let token =
        |user: &str| shell(&format!("curl -sf 'http://{}/demo/token?user={user}'", demo.address("idp")));
    let call = |options: &str, token: &str| {
        shell(&format!(
            "curl -sS {options} 'http://{}/orders?q=qu3ry' -H 'Authorization: Bearer {token}'",
            proxy.address
        ))
    };
    let alice = token("alice");
    // the keys may not be there yet
    let seen = call("--retry 50 --retry-all-errors --retry-delay 0 -f", &alice);
    call("", &token("mfa"));
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let token_b = seen["headers"]["authorization"].as_str().unwrap().trim_start_matches("Bearer ").to_owned();
    let (code, log) = proxy.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("\"level\":\"trace\"") || log.contains("\"level\":\"debug\""),
        "there is nothing to look at: {log}"
    );
    for (what, secret) in [
        ("token A", alice.rsplit('.').next().unwrap()),
        ("token B", token_b.rsplit('.').next().unwrap()),
        ("a JWT", "eyJ"),
        ("the client secret", secret.expose()),
        ("the encoded client secret", "dEm0%7E8Q%2Bnot"),
        ("the query", "qu3ry"),
        ("the user", "alice@"),
        ("the claims", "capolids"),
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{what} is in the log: {line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_never_reads_keeps_no_probe_out() {
    let proxy = tokio::task::block_in_place(|| {
        Proxy::start(
            "listeners: { default: { address: \"127.0.0.1:0\" } }\nroutes: { all: { match: /, auth: anonymous, upstream: \"http://127.0.0.1:1\" } }\ntelemetry: { address: \"127.0.0.1:0\", logs: { format: json } }\nshutdown: { delay: 0s, drain: 2s }",
            &[],
        )
    });
    let address = proxy.telemetry.parse().unwrap();
    let asked = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400);
    let mut stalled = Vec::new();
    for _ in 0..600 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        let connection = socket.connect(address).await.unwrap();
        // as much as it takes: it may be gone already, for others
        let _ = connection.try_write(asked.as_bytes());
        stalled.push(connection);
    }
    tokio::task::block_in_place(|| {
        for _ in 0..3 {
            assert_eq!(shell(&format!("curl -sf -m 10 http://{}/livez", proxy.telemetry)), "ok\n");
        }
    });
    drop(stalled);
}
