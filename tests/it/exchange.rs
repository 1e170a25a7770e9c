//! A caller's token becomes the token of the API behind.

use std::time::Duration;

use http::StatusCode;
use http_body_util::Empty;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use obo_proxy::app::demo::entra::script::Script;
use obo_proxy::app::demo::entra::settings::Settings;
use serde_json::Value;
use serde_json::json;

use crate::support::Plan;
use crate::support::World;
use crate::support::process::Demo;
use crate::support::process::Proxy;
use crate::support::process::config;
use crate::support::process::shell;

#[tokio::test]
async fn token_a_goes_in_and_token_b_reaches_the_api() {
    let world = World::new().await;
    let token_a = world.token("alice");
    let answer = world.get("/orders/7?page=2", &token_a).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let seen = answer.json();
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["path"], "/orders/7?page=2");
    assert_eq!(seen["token"]["aud"], "api://orders-backend");
    assert_eq!(seen["token"]["scp"], "orders.read");
    assert_eq!(seen["token"]["name"], "Alice Adams");
    assert!(!seen.to_string().contains(&token_a), "token A reached the API");
    assert_eq!(world.entra().token_requests(), 1);
}

#[tokio::test]
async fn a_second_call_is_served_from_the_cache() {
    let world = World::new().await;
    let token = world.token("alice");
    let first = world.get("/orders/1", &token).await.json();
    let second = world.get("/orders/2", &token).await.json();
    assert_eq!(first["headers"]["authorization"], second["headers"]["authorization"]);
    assert_eq!(world.entra().token_requests(), 1);
    assert_eq!(world.metric("obo_cache_requests_total{tier=\"memory\",result=\"hit\"} ").await, Some(1.0));
    assert_eq!(world.metric("obo_cache_entries{tier=\"memory\"} ").await, Some(1.0));
}

#[tokio::test]
async fn tokens_of_one_session_share_an_entry_and_a_stronger_sign_in_does_not() {
    let world = World::new().await;
    world.get("/orders", &world.token("alice")).await;
    world.get("/orders", &world.token("alice")).await;
    assert_eq!(world.entra().token_requests(), 1);
    world.get("/orders", &world.token_for("user=alice&mfa=true")).await;
    assert_eq!(world.entra().token_requests(), 2);
}

#[tokio::test]
async fn with_the_key_mode_assertion_each_token_has_its_own_entry() {
    let world = World::with(Plan { sections: "cache: { key: assertion }", ..Plan::default() }).await;
    let token = world.token("alice");
    world.get("/orders", &token).await;
    world.get("/orders", &token).await;
    assert_eq!(world.entra().token_requests(), 1);
    world.clock.advance(Duration::from_secs(1));
    world.get("/orders", &world.token("alice")).await;
    assert_eq!(world.entra().token_requests(), 2);
}

#[tokio::test]
async fn users_and_scopes_do_not_share_tokens() {
    let world = World::new().await;
    let scopes = "scope=orders.read%20reports.read";
    for user in ["alice", "bob"] {
        let token = world.token_for(&format!("user={user}&{scopes}"));
        for _ in 0..2 {
            let orders = world.get("/orders", &token).await.json();
            let reports = world.get("/reports", &token).await.json();
            assert_eq!(orders["token"]["aud"], "api://orders-backend");
            assert_eq!(reports["token"]["aud"], "api://reports-backend");
            for seen in [orders, reports] {
                let name = seen["token"]["name"].as_str().unwrap().to_lowercase();
                assert!(name.starts_with(user), "{name}");
            }
        }
    }
    assert_eq!(world.entra().token_requests(), 4);
}

#[tokio::test]
async fn a_version_1_token_is_exchanged_too() {
    let world = World::new().await;
    let answer = world.get("/orders", &world.token_for("user=alice&version=1")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json()["token"]["name"], "Alice Adams");
}

#[tokio::test]
async fn an_mfa_demand_comes_back_as_401_with_the_claims() {
    let world = World::new().await;
    let answer = world.get("/orders", &world.token("mfa")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let challenge = answer.header("www-authenticate");
    let authority = world.entra().authority();
    let (before, claims) = challenge.split_once(", claims=\"").unwrap();
    assert_eq!(
        before,
        format!(
            "Bearer realm=\"8eaef023-2b34-4da1-9baa-8bc8c9d6a490\", authorization_uri=\"{authority}/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/oauth2/v2.0/authorize\", client_id=\"6731de76-14a6-49ae-97bc-6eba6914391e\", error=\"insufficient_claims\""
        )
    );
    let body = answer.json();
    assert_eq!(body["reason"], "interaction_required");
    assert_eq!(body["error"], "invalid_grant");
    assert_eq!(body["suberror"], "basic_action");
    assert_eq!(body["error_codes"][0], 50076);
    let decoded =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, claims.trim_end_matches('"'))
            .unwrap();
    assert_eq!(body["claims"].as_str().unwrap().as_bytes(), decoded);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("cache-control"), "no-store");

    // the user signs in again, with the second factor
    let answer = world.get("/orders", &world.token_for("user=mfa&mfa=true")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

#[tokio::test]
async fn the_example_error_of_the_documentation_is_surfaced_byte_for_byte() {
    let world = World::new().await;
    let answer = world.get("/orders", &world.token("legacy")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let challenge = answer.header("www-authenticate");
    assert!(challenge.ends_with(concat!(
        "error=\"insufficient_claims\", claims=\"eyJhY2Nlc3NfdG9rZW4iOnsicG9saWRzIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWVzIjpb",
        "IjlhYjAzZTE5LWVkNDItNDE2OC1iNmI3LTcwMDFmYjNlOTMzYSJdfX19\""
    )), "{challenge}");
    let body = answer.json();
    assert_eq!(body["error"], "interaction_required");
    assert_eq!(
        body["claims"],
        r#"{"access_token":{"polids":{"essential":true,"values":["9ab03e19-ed42-4168-b6b7-7001fb3e933a"]}}}"#
    );
    assert_eq!(body["error_codes"][0], 50079);
    assert_eq!(body["trace_id"], "b72a68c3-0926-4b8e-bc35-3150069c2800");
    assert_eq!(body["correlation_id"], "73d656cf-54b1-4eb2-b429-26d8165a52d7");
    assert!(!body.to_string().contains("AADSTS"), "the IdP's prose was passed on");
}

#[tokio::test]
async fn each_demo_user_gets_what_the_table_says() {
    let world = World::with(Plan { provider: "    timeout: 200ms", ..Plan::default() }).await;
    for (user, status, reason, retry_after, error) in [
        ("mfa", 401, "interaction_required", "", "insufficient_claims"),
        ("legacy", 401, "interaction_required", "", "insufficient_claims"),
        ("noconsent", 401, "consent_required", "", "interaction_required"),
        ("blocked", 403, "access_denied", "", ""),
        ("slow", 503, "idp_unavailable", "1", ""),
        ("down", 503, "idp_unavailable", "1", ""),
        ("throttled", 503, "idp_throttled", "2", ""),
    ] {
        let answer = world.get("/orders", &world.token(user)).await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (status, reason), "{user}");
        assert_eq!(answer.header("retry-after"), retry_after, "{user}");
        let challenges = answer.headers.get_all("www-authenticate").iter().count();
        assert_eq!(challenges, usize::from(status == 401), "{user}");
        let expected = if error.is_empty() { String::new() } else { format!("error=\"{error}\"") };
        assert!(answer.header("www-authenticate").contains(&expected), "{user}: {answer:?}");
        assert_eq!(world.echo.requests(), 0, "{user} reached the API");
    }
}

#[tokio::test]
async fn a_refusal_is_remembered_for_its_token_and_for_a_while() {
    let world = World::new().await;
    let token = world.token("mfa");
    let first = world.get("/orders", &token).await;
    let again = world.get("/orders", &token).await;
    assert_eq!(world.entra().token_requests(), 1);
    assert_eq!(first.header("www-authenticate"), again.header("www-authenticate"));
    world.clock.advance(Duration::from_secs(31));
    world.get("/orders", &token).await;
    assert_eq!(world.entra().token_requests(), 2);
}

#[tokio::test]
async fn throttling_blocks_its_own_key_until_it_is_over() {
    let world = World::new().await;
    let token = world.token("throttled");
    for _ in 0..3 {
        assert_eq!(world.get("/orders", &token).await.reason(), "idp_throttled");
    }
    assert_eq!(world.entra().token_requests(), 1);
    assert_eq!(world.get("/orders", &world.token("alice")).await.status, StatusCode::OK);
    world.clock.advance(Duration::from_secs(3));
    world.get("/orders", &token).await;
    assert_eq!(world.entra().token_requests(), 3);
}

#[tokio::test]
async fn token_b_is_never_used_past_its_end() {
    let world = World::new().await;
    let first = world.get("/orders", &world.token("alice")).await.json();
    let expires = first["token"]["exp"].as_i64().unwrap();
    world.clock.advance(Duration::from_secs(2 * 3600));
    let second = world.get("/orders", &world.token("alice")).await.json();
    assert_eq!(world.entra().token_requests(), 2);
    assert!(second["token"]["exp"].as_i64().unwrap() > expires);
}

#[tokio::test]
async fn a_cached_token_b_does_not_make_an_expired_token_a_work() {
    let world = World::new().await;
    let token = world.token_for("user=alice&lifetime=60");
    assert_eq!(world.get("/orders", &token).await.status, StatusCode::OK);
    world.clock.advance(Duration::from_secs(60 + 61));
    let answer = world.get("/orders", &token).await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (401, "token_expired"));
}

#[tokio::test]
async fn callers_of_one_cold_key_make_one_token_request() {
    let world = std::sync::Arc::new(World::new().await);
    let token = world.token("alice");
    let calls = (0..100).map(|_| {
        let (world, token) = (world.clone(), token.clone());
        tokio::spawn(async move { world.get("/orders", &token).await.status })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(world.entra().token_requests(), 1);
}

#[tokio::test]
async fn a_wrong_secret_is_the_operators_fault_and_not_the_callers() {
    let world = World::with(Plan { secret: Some("wrong"), ..Plan::default() }).await;
    let answer = world.get("/orders", &world.token("alice")).await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (502, "proxy_misconfigured"));
    assert!(answer.headers.get("www-authenticate").is_none());
    assert_eq!(answer.json()["error_codes"][0], 7_000_215);
}

#[tokio::test]
async fn the_secret_may_travel_in_the_header() {
    let world =
        World::with(Plan { provider: "    auth_method: client_secret_basic", ..Plan::default() }).await;
    let answer = world.get("/orders", &world.token("alice")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let form = world.entra().last_form().unwrap();
    assert!(form.iter().all(|(name, _)| name != "client_secret"));
}

#[tokio::test]
async fn without_the_idp_cached_users_go_on_and_others_are_told_to_come_back() {
    let mut world = World::new().await;
    let (alice, bob) = (world.token("alice"), world.token("bob"));
    world.get("/orders", &alice).await;
    world.entra = None;
    assert_eq!(world.get("/orders", &alice).await.status, StatusCode::OK);
    let answer = world.get("/orders", &bob).await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (503, "idp_unavailable"));
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn nothing_a_caller_sends_chooses_scope_tenant_or_resource() {
    let world = World::new().await;
    let token = world.token("alice");
    world.get("/orders", &token).await;
    let expected = world.entra().last_form().unwrap();
    for name in ["scope", "resource", "audience", "tenant", "requested_token_use", "client_id"] {
        world.clock.advance(Duration::from_secs(2 * 3600));
        let token = world.token("alice");
        let request = world
            .request(http::Method::POST, &format!("/orders?{name}=api://evil"))
            .header(name, "api://evil");
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        world.send_body(request, format!("{name}=api://evil").into()).await;
        let form = world.entra().last_form().unwrap();
        let same =
            |(a, b): (&(String, String), &(String, String))| a.0 == b.0 && (a.1 == b.1 || a.0 == "assertion");
        assert!(
            form.len() == expected.len() && form.iter().zip(&expected).all(same),
            "{name} changed {form:?}"
        );
    }
    assert_eq!(world.entra().token_requests(), 7);
}

/// Sends a request with each of `tokens` over one HTTP/2 connection at once: how many came past the exchange, to an
/// upstream that is not there.
async fn exchanged_over_http2(proxy: std::net::SocketAddr, tokens: Vec<String>) -> usize {
    let socket = tokio::net::TcpStream::connect(proxy).await.unwrap();
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let calls = tokens.into_iter().map(|token| {
        let mut sender = sender.clone();
        let request = http::Request::get(format!("http://{proxy}/orders"))
            .header("authorization", format!("Bearer {token}"))
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        tokio::spawn(async move { sender.send_request(request).await.map(|answer| answer.status()) })
    });
    let mut good = 0;
    for call in calls.collect::<Vec<_>>() {
        good += usize::from(matches!(call.await, Ok(Ok(StatusCode::BAD_GATEWAY))));
    }
    good
}

/// Many callers over HTTP/2 while the IdP lets all of them wait: how many token requests `tokens` cost.
async fn token_requests_of_a_herd(world: &World, tokens: &[String]) -> u64 {
    let coalesced = async || world.metric("obo_exchanges_coalesced_total ").await.unwrap();
    let (asked_before, coalesced_before) = (world.entra().token_requests(), coalesced().await);
    let hold = world.entra().script(Script::hold);
    let herd: Vec<_> = (0..100)
        .map(|_| {
            let tokens = tokens.iter().cycle().take(100).cloned().collect();
            tokio::spawn(exchanged_over_http2(world.proxy, tokens))
        })
        .collect();
    let waiting = 10_000.0 - tokens.len() as f64;
    while coalesced().await - coalesced_before < waiting {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(hold);
    for connection in herd {
        assert_eq!(connection.await.unwrap(), 100);
    }
    world.entra().token_requests() - asked_before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_of_one_cold_key_make_one_token_request_and_of_100_keys_100() {
    // ten thousand connections to an API would only show the API's limits
    const ROUTES: &str = "
  orders: { match: /orders, upstream: \"http://127.0.0.1:1\", exchange: { scopes: [api://orders-backend/orders.read] } }
";
    let world = World::with(Plan { routes: ROUTES, provider: "    timeout: 60s", ..Plan::default() }).await;
    assert_eq!(token_requests_of_a_herd(&world, &[world.token("bob")]).await, 1);
    let keys = (0..100).map(|key| world.altered(json!({"acr": format!("key-{key}")}), json!({})));
    assert_eq!(token_requests_of_a_herd(&world, &keys.collect::<Vec<_>>()).await, 100);
}

#[test]
fn the_binary_weathers_an_idp_that_is_slow_down_and_throttling() {
    let demo = Demo::start();
    let config = config(&format!("http://{}", demo.address("idp")), demo.address("upstream"), "info")
        .replace("    credential:", "    timeout: 500ms\n    credential:");
    let proxy = Proxy::start(&config, &[("SECRET", Settings::default().client_secret.expose())]);
    let token =
        |user: &str| shell(&format!("curl -sf 'http://{}/demo/token?user={user}'", demo.address("idp")));
    // what each of `urls` came to: status and Retry-After
    let call = |urls: &str, token: &str| {
        shell(&format!(
            "curl -s -o /dev/null -w '%{{http_code}} %header{{retry-after}}\\n' 'http://{}/{urls}' -H 'Authorization: Bearer {token}'",
            proxy.address
        ))
    };
    let is_served_by_and_by = |token: &str| (0..500).any(|_| call("", token) == "200 \n");
    let [alice, bob, slow, down, throttled] = ["alice", "bob", "slow", "down", "throttled"].map(token);
    // the keys may not be there yet
    assert!(is_served_by_and_by(&alice));
    assert_eq!(call("", &slow), "503 1\n");
    assert_eq!(call("", &down), "503 1\n");
    assert_eq!(call("", &throttled), "503 2\n"); // the fifth failure: from now on the IdP is spared
    assert_eq!(call("[1-30]", &alice), "200 \n".repeat(30));
    let refused = call("[1-100]", &down);
    assert!(refused.lines().all(|line| line == "503 1"), "{refused}");
    // a probe finds that it answers again
    assert!(is_served_by_and_by(&bob));
    let (code, log) = proxy.stop();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |message: &str| lines.iter().filter(|line| line["msg"] == message).count();
    assert!(
        told("the token endpoint keeps failing; it is asked once a second until it answers") >= 1,
        "{log}"
    );
    assert!(told("the token endpoint answers again") >= 1, "{log}");
    assert!(told("request") >= 134, "{log}");
    let refused = lines.iter().filter(|line| line["msg"] == "refused" && line["level"] == "warn").count();
    assert!(refused < 50, "{log}");
    assert!(lines.iter().any(|line| line["suppressed"].as_u64().is_some_and(|lines| lines > 0)), "{log}");
}
