//! A token A that is not acceptable is refused for its own reason, before any exchange.

use std::time::Duration;

use http::Method;
use http::StatusCode;
use obo_proxy::app::App;
use obo_proxy::app::demo::entra::keys::OldKey;
use obo_proxy::app::demo::entra::script::KeysEndpoint;
use serde_json::Value;
use serde_json::json;

use crate::support::NOW;
use crate::support::Plan;
use crate::support::World;

#[tokio::test]
async fn every_unacceptable_token_has_its_own_reason_and_costs_no_exchange() {
    let world = World::new().await;
    let good = world.token("alice");
    let bad_signature = {
        let (head, signature) = good.rsplit_once('.').unwrap();
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        format!("{head}.{flipped}{}", &signature[1..])
    };
    let none = json!({});
    let cases = [
        (401, "malformed_token", "abc".to_owned()),
        (401, "malformed_token", format!("{good}.x")),
        (401, "malformed_token", world.altered(none.clone(), json!({"crit": ["exp"]}))),
        (401, "malformed_token", world.altered(json!({"exp": "soon"}), none.clone())),
        (401, "wrong_issuer", world.altered(json!({"iss": "https://evil.example/v2.0"}), none.clone())),
        (401, "unknown_key", world.altered(none.clone(), json!({"kid": "made-up"}))),
        (401, "bad_signature", bad_signature),
        (401, "token_expired", world.altered(json!({"exp": NOW - 61}), none.clone())),
        (401, "token_not_yet_valid", world.altered(json!({"nbf": NOW + 61}), none.clone())),
        (401, "wrong_audience", world.altered(json!({"aud": "api://another"}), none.clone())),
        (
            401,
            "tenant_not_allowed",
            world.altered(json!({"tid": "00000000-2b34-4da1-9baa-8bc8c9d6a490"}), none.clone()),
        ),
        (401, "not_an_access_token", world.altered(json!({"scp": null}), none.clone())),
        (401, "unsupported_cnf", world.altered(json!({"cnf": {"jkt": "x"}}), none.clone())),
        (403, "app_token_not_allowed", world.token_for("user=alice&app_only=true")),
        (403, "insufficient_scope", world.token_for("user=alice&scope=other")),
    ];
    for (status, reason, token) in cases {
        let answer = world.get("/orders", &token).await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (status, reason));
        let challenge = answer.header("www-authenticate");
        match reason {
            "app_token_not_allowed" => assert_eq!(challenge, ""),
            "insufficient_scope" => assert!(
                challenge.ends_with("error=\"insufficient_scope\", scope=\"orders.read\""),
                "{challenge}"
            ),
            _ => assert!(challenge.ends_with("error=\"invalid_token\""), "{challenge}"),
        }
        let metric = format!("obo_refusals_total{{route=\"orders\",reason=\"{reason}\"}} ");
        assert!(world.metric(&metric).await.unwrap() >= 1.0, "{reason}");
    }
    assert_eq!(world.entra().token_requests(), 0);
    assert_eq!(world.echo.requests(), 0);
    assert_eq!(world.get("/orders", &good).await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_token_and_other_schemes_get_a_challenge_without_an_error() {
    let world = World::new().await;
    for request in [
        world.request(Method::GET, "/orders"),
        world.request(Method::GET, "/orders").header("authorization", "Basic YTpi"),
    ] {
        let answer = world.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (401, "missing_token"));
        assert_eq!(
            answer.header("www-authenticate"),
            "Bearer realm=\"8eaef023-2b34-4da1-9baa-8bc8c9d6a490\""
        );
    }
}

#[tokio::test]
async fn garbled_or_double_authorization_is_a_bad_request() {
    let world = World::new().await;
    let token = world.token("alice");
    let get = || world.request(Method::GET, "/orders");
    for request in [
        get().header("authorization", "Bearer"),
        get().header("authorization", format!("Bearer  {token}")),
        get().header("authorization", format!("Bearer {token} x")),
        get()
            .header("authorization", format!("Bearer {token}"))
            .header("authorization", format!("Bearer {token}")),
        get().header("authorization", format!("Bearer {token}")).header("authorization", "Basic YTpi"),
    ] {
        let answer = world.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (400, "invalid_request"));
        assert!(answer.header("www-authenticate").ends_with("error=\"invalid_request\""));
    }
    assert_eq!(world.echo.requests(), 0);
}

#[tokio::test]
async fn a_token_in_the_query_is_refused() {
    let world = World::new().await;
    let token = world.token("alice");
    for path in [format!("/orders?access_token={token}"), "/public?a=1&access%5Ftoken=x".to_owned()] {
        let answer = world.get_anonymously(&path).await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (400, "bad_request"));
    }
}

#[tokio::test]
async fn passthrough_validates_the_token_and_sends_it_on() {
    let world = World::new().await;
    let token = world.token("alice");
    let seen = world.get("/raw", &token).await.json();
    assert_eq!(seen["headers"]["authorization"], format!("Bearer {token}"));
    assert_eq!(world.get_anonymously("/raw").await.reason(), "missing_token");
    let expired = world.altered(json!({"exp": NOW - 61}), json!({}));
    assert_eq!(world.get("/raw", &expired).await.reason(), "token_expired");
    // an application may pass where nothing is exchanged
    assert_eq!(world.get("/raw", &world.token_for("user=alice&app_only=true")).await.status, StatusCode::OK);
    assert_eq!(world.entra().token_requests(), 0);
}

#[tokio::test]
async fn an_anonymous_route_removes_an_authorization_header() {
    let world = World::new().await;
    let seen = world.get("/public", "whatever").await.json();
    assert_eq!(seen["headers"]["authorization"], Value::Null);
    assert_eq!(seen["token"], Value::Null);
}

#[tokio::test]
async fn roles_clients_and_claims_are_required_as_configured() {
    const ROUTES: &str = "
  admin: { match: /admin, require: { roles: { any_of: [Clerk, Admin] } }, token: remove }
  client: { match: /client, require: { clients: [11111111-0000-4000-8000-000000000000] }, token: remove }
  claim: { match: /claim, require: { claims: { acr: \"1\" } }, token: remove }
";
    let world = World::with(Plan { routes: ROUTES, ..Plan::default() }).await;
    let clerk = world.altered(json!({"roles": ["Clerk"]}), json!({}));
    let client = world.altered(json!({"azp": "11111111-0000-4000-8000-000000000000"}), json!({}));
    let claim = world.altered(json!({"acr": "1"}), json!({}));
    for (path, good, reason) in [
        ("/admin", &clerk, "insufficient_scope"),
        ("/client", &client, "client_not_allowed"),
        ("/claim", &claim, "insufficient_scope"),
    ] {
        let refused = world.get(path, &world.token("alice")).await;
        assert_eq!((refused.status.as_u16(), refused.reason().as_str()), (403, reason), "{path}");
        let passed = world.get(path, good).await;
        assert_eq!(passed.status, StatusCode::OK, "{path} {passed:?}");
        assert_eq!(passed.json()["token"], Value::Null, "{path}");
    }
}

#[tokio::test]
async fn a_key_rolled_over_is_found_and_a_removed_one_is_forgotten() {
    let world =
        World::with(Plan { provider: "    jwks: { refresh: 1h, cooldown: 1s }", ..Plan::default() }).await;
    let old = world.token("alice");
    assert_eq!(world.get("/raw", &old).await.status, StatusCode::OK);
    world.entra().rotate_keys(OldKey::Dropped).unwrap();
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(world.get("/raw", &world.token("alice")).await.status, StatusCode::OK);
    assert_eq!(world.get("/raw", &old).await.reason(), "unknown_key");
}

#[tokio::test]
async fn a_key_rolled_over_while_the_provider_is_down_is_an_outage_and_no_401() {
    let world =
        World::with(Plan { provider: "    jwks: { refresh: 1h, cooldown: 30s }", ..Plan::default() }).await;
    let old = world.token("alice");
    assert_eq!(world.get("/orders", &old).await.status, StatusCode::OK);
    world.entra().script(|script| script.keys(KeysEndpoint::Failing));
    world.entra().rotate_keys(OldKey::Dropped).unwrap();
    let new = world.token("alice");
    // the first one waits for the fetch, the second comes within the cooldown
    for _ in 0..2 {
        let answer = world.get("/orders", &new).await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (503, "keys_unavailable"));
        assert_eq!(answer.header("retry-after"), "1");
        assert!(answer.headers.get("www-authenticate").is_none());
        assert_eq!(world.get("/orders", &old).await.status, StatusCode::OK);
    }
    // what failed is tried again by itself
    world.entra().script(|script| script.keys(KeysEndpoint::Working));
    let healed = async {
        while world.get("/orders", &new).await.status != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), healed).await.unwrap();
    assert_eq!(world.get("/orders", &old).await.reason(), "unknown_key");
}

#[tokio::test]
async fn without_keys_the_proxy_is_not_ready_and_says_503_until_it_heals() {
    let clock =
        obo_proxy::domain::clock::Clock::manual(obo_proxy::domain::clock::UnixTime::from_seconds(NOW));
    let settings = obo_proxy::app::demo::entra::settings::Settings::default();
    let entra =
        obo_proxy::app::demo::entra::Entra::start(settings, crate::support::listen().await, clock.clone())
            .await
            .unwrap();
    entra.script(|script| script.keys(KeysEndpoint::Failing));
    let world = World::around(Plan::default(), entra, clock).await;
    assert_eq!(world.probe("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.probe("/livez").await.status, StatusCode::OK);
    let answer = world.get("/orders", &world.token("alice")).await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (503, "keys_unavailable"));
    assert_eq!(answer.header("retry-after"), "1");
    assert!(answer.headers.get("www-authenticate").is_none());

    world.entra().script(|script| script.keys(KeysEndpoint::Working));
    assert!(App::until_ready(&world.probes, Duration::from_secs(30)).await);
    assert_eq!(world.get("/orders", &world.token("alice")).await.status, StatusCode::OK);
}
