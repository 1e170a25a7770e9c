//! What a refused caller gets, in the form it can read.

use http::Method;
use http::StatusCode;

use crate::support::Plan;
use crate::support::World;

#[tokio::test]
async fn a_grpc_caller_is_refused_in_its_own_terms_and_the_metrics_keep_the_reason() {
    let world = World::new().await;
    let call = |path: &str, token: Option<String>| {
        let request = world
            .request(Method::POST, path)
            .header("content-type", "application/grpc+proto")
            .header("x-request-id", "call-1");
        match token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    };
    for (path, token, status, challenge) in [
        ("/orders", None, "16", "realm="),
        ("/orders", Some(world.token_for("user=alice&scope=other")), "7", "error=\"insufficient_scope\""),
        ("/orders", Some(world.token("mfa")), "16", "claims=\""),
        ("/nowhere", None, "12", ""),
        ("/a//b", None, "3", ""),
    ] {
        let answer = world.send(call(path, token)).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (StatusCode::OK, status), "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/grpc");
        assert!(!answer.header("grpc-message").is_empty());
        assert!(answer.header("www-authenticate").contains(challenge), "{answer:?}");
        assert_eq!(answer.headers.contains_key("www-authenticate"), !challenge.is_empty());
        assert_eq!((answer.header("x-request-id"), answer.header("cache-control")), ("call-1", "no-store"));
        assert!(answer.body.is_empty());
    }
    for (metric, value) in [
        ("obo_refusals_total{route=\"orders\",reason=\"missing_token\"} ", 1.0),
        ("obo_refusals_total{route=\"orders\",reason=\"insufficient_scope\"} ", 1.0),
        ("obo_refusals_total{route=\"orders\",reason=\"interaction_required\"} ", 1.0),
        (
            "http_server_request_duration_seconds_count{http_route=\"orders\",http_request_method=\"POST\",http_response_status_code=\"200\"} ",
            3.0,
        ),
    ] {
        assert_eq!(world.metric(metric).await, Some(value), "{metric}");
    }
    assert_eq!(world.echo.requests(), 0);
    // what the upstream answers is its own affair
    assert_eq!(world.send(call("/orders", Some(world.token("alice")))).await.status, StatusCode::OK);
    assert_eq!(world.echo.requests(), 1);
}

#[tokio::test]
async fn a_refusal_before_any_route_is_told_to_a_grpc_caller_too() {
    let world = World::new().await;
    let answer = world
        .raw("POST /orders HTTP/1.1\r\nhost: a\r\nhost: b\r\ncontent-type: application/grpc\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for line in ["content-type: application/grpc", "grpc-status: 3", "connection: close"] {
        assert!(answer.contains(&format!("\r\n{line}\r\n")), "{line} is missing in {answer}");
    }
}

#[tokio::test]
async fn a_caller_is_led_from_its_challenge_to_the_servers_that_issue_tokens() {
    let plan = Plan {
        provider: "    resource_metadata: true",
        listener: ", trusted_proxies: [127.0.0.0/8]",
        routes: "
  orders_read: { match: { path: /orders, methods: [GET] }, require: { scopes: [orders.read] }, token: remove }
  orders_write: { match: { path: /orders, methods: [POST] }, require: { scopes: [orders.write] }, token: remove }
  public: { match: /public, auth: anonymous }
  well_known: { match: /.well-known, auth: anonymous }
",
        ..Plan::default()
    };
    let world = World::with(plan).await;
    let behind = |method, path: &str| {
        let request = world.request(method, path).header("x-forwarded-proto", "https");
        request.header("x-forwarded-host", "api.example")
    };
    let refused = world.send(behind(Method::POST, "/orders/42?x=1")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let metadata = "https://api.example/.well-known/oauth-protected-resource/orders/42";
    let challenge = format!(", resource_metadata=\"{metadata}\"");
    assert!(refused.header("www-authenticate").ends_with(&challenge), "{refused:?}");

    let path = metadata.strip_prefix("https://api.example").unwrap();
    let described = world.send(behind(Method::GET, path)).await;
    assert_eq!((described.status, described.header("content-type")), (StatusCode::OK, "application/json"));
    let description = described.json();
    assert_eq!(description["resource"], "https://api.example/orders/42");
    assert_eq!(description["scopes_supported"], serde_json::json!(["orders.read", "orders.write"]));
    assert_eq!(description["bearer_methods_supported"], serde_json::json!(["header"]));
    let servers = description["authorization_servers"].as_array().unwrap();
    assert!(servers.len() == 1 && servers[0].as_str().unwrap().ends_with("/v2.0"), "{servers:?}");
    let head = world.send(behind(Method::HEAD, path)).await;
    assert_eq!((head.status, head.body.is_empty()), (StatusCode::OK, true));
    assert_eq!(world.echo.requests(), 0);

    // what is not described is for its own route to answer
    for (method, path) in [
        (Method::GET, "/.well-known/oauth-protected-resource/public"),
        (Method::GET, "/.well-known/oauth-protected-resource/elsewhere"),
        (Method::GET, "/.well-known/oauth-protected-resource"),
        (Method::POST, path),
    ] {
        let requests = world.echo.requests();
        assert_eq!(world.send(behind(method, path)).await.status, StatusCode::OK, "{path}");
        assert_eq!(world.echo.requests(), requests + 1, "{path}");
    }
    let odd = world.send(behind(Method::GET, "/.well-known/oauth-protected-resource/orders/..;/x")).await;
    assert_eq!(odd.reason(), "invalid_path");
}

#[tokio::test]
async fn without_a_word_in_the_configuration_nothing_is_described() {
    let world = World::new().await;
    let refused = world.send(world.request(Method::GET, "/orders")).await;
    assert!(!refused.header("www-authenticate").contains("resource_metadata"), "{refused:?}");
    let path = "/.well-known/oauth-protected-resource/orders";
    let answer = world.send(world.request(Method::GET, path)).await;
    assert_eq!(answer.reason(), "no_route");
}
