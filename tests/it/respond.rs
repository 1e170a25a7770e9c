//! What a refused caller gets, in the form it can read.

use http::Method;
use http::StatusCode;

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
