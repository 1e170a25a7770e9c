//! Upstreams that refuse token B: what the proxy mends itself, and what it tells the caller.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
use obo_proxy::app::demo::entra::settings::Settings;
use serde_json::Value;
use serde_json::json;

use crate::support::Answer;
use crate::support::NOW;
use crate::support::Plan;
use crate::support::World;
use crate::support::process::Demo;
use crate::support::process::Proxy;
use crate::support::process::config;
use crate::support::process::shell;

const ROUTES: &str = "
  api: { match: /, exchange: { scopes: [api://orders-backend/orders.read] } }
  raw: { match: /raw, token: passthrough, rewrite: { strip_prefix: /raw } }
";
const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const C1: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

async fn world() -> World {
    World::with(Plan { routes: ROUTES, ..Plan::default() }).await
}

async fn post(world: &World, path: &str, body: Bytes) -> Answer {
    let bearer = format!("Bearer {}", world.token("alice"));
    world.send_body(world.request(Method::POST, path).header("authorization", bearer), body).await
}

/// The claims in a challenge of the proxy's own, and nothing of the upstream's.
#[track_caller]
fn claims(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
    assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 1);
    let challenge = answer.header("www-authenticate");
    let (before, encoded) = challenge.split_once(", error=\"insufficient_claims\", claims=\"").unwrap();
    assert!(before.starts_with(&format!("Bearer realm=\"{TENANT}\", authorization_uri=")), "{challenge}");
    assert!(before.ends_with("client_id=\"6731de76-14a6-49ae-97bc-6eba6914391e\""), "{challenge}");
    String::from_utf8(STANDARD.decode(encoded.trim_end_matches('"')).unwrap()).unwrap()
}

fn form_claims(world: &World) -> Option<String> {
    let form = world.entra().last_form().unwrap();
    form.into_iter().find(|(name, _)| name == "claims").map(|(_, value)| value)
}

/// Entra demands a sign-in, and says with which claims or not.
fn refuse(world: &World, times: usize, claims: Option<&str>) {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let mut body = json!({"error": "interaction_required", "error_codes": [50076]});
    if let Some(claims) = claims {
        body["claims"] = claims.into();
    }
    world.entra().script(|script| script.answer(times, StatusCode::BAD_REQUEST, headers, body.to_string()));
}

#[tokio::test]
async fn claims_that_an_upstream_demands_are_asked_of_the_idp_and_the_request_is_sent_again() {
    let world = world().await;
    let answer = world.get("/demo/challenge/c1", &world.token("alice")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json()["token"]["acrs"], json!(["c1"]));
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (2, 2));
    assert_eq!(form_claims(&world).as_deref(), Some(C1));
    // what satisfies the upstream is what is remembered
    let answer = world.get("/demo/challenge/c1", &world.token("alice")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (2, 3));
    assert_eq!(world.metric("obo_cache_entries{tier=\"memory\"} ").await, Some(1.0));
}

#[tokio::test]
async fn a_small_body_is_sent_again_and_a_large_one_is_not() {
    let world = world().await;
    let answer = post(&world, "/demo/challenge/c1", vec![7; 64 * 1024].into()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json()["body_bytes"], 64 * 1024);
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (2, 2));

    let answer = post(&world, "/demo/challenge/c2", vec![7; 64 * 1024 + 1].into()).await;
    assert_eq!(claims(&answer), C1.replace("c1", "c2"));
    assert_eq!(answer.reason(), "interaction_required");
    assert_eq!(answer.json()["claims"], C1.replace("c1", "c2"));
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (2, 3));
    // its token is gone all the same
    world.get("/orders", &world.token("alice")).await;
    assert_eq!(world.entra().token_requests(), 3);
}

#[tokio::test]
async fn claims_that_the_idp_demands_win_over_the_upstream_s() {
    let world = world().await;
    let token = world.token("alice");
    world.get("/orders", &token).await;
    let its_own = r#"{"access_token":{"polids":{"essential":true,"values":["p"]}}}"#;
    refuse(&world, 1, Some(its_own));
    let answer = world.get("/demo/challenge/c1", &token).await;
    assert_eq!(claims(&answer), its_own);
    assert_eq!(answer.reason(), "interaction_required");
    assert_eq!(answer.json()["error"], "interaction_required");
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (2, 2));
}

#[tokio::test]
async fn the_upstream_s_claims_are_the_caller_s_where_the_idp_demands_none() {
    let world = world().await;
    let token = world.token("alice");
    world.get("/orders", &token).await;
    refuse(&world, 1, None);
    let answer = world.get("/demo/challenge/c1", &token).await;
    assert_eq!(claims(&answer), C1);
    assert_eq!(answer.json()["error_codes"], json!([50076]));
}

#[tokio::test]
async fn an_idp_that_is_down_is_not_the_caller_s_fault() {
    let world = world().await;
    let token = world.token("alice");
    world.get("/orders", &token).await;
    world.entra().script(|script| script.answer(9, StatusCode::SERVICE_UNAVAILABLE, HeaderMap::new(), ""));
    let answer = world.get("/demo/challenge/c1", &token).await;
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "idp_unavailable")
    );
    assert_eq!(answer.header("www-authenticate"), "");
}

#[tokio::test]
async fn a_request_is_sent_again_once_only_and_the_third_challenge_spares_the_idp() {
    let world = world().await;
    let token = world.token("alice");
    let mut before = (0, 0);
    for (round, (reason, exchanges, requests)) in [
        ("interaction_required", 2, 2), // a token, and one with the claims
        ("interaction_required", 1, 2),
        ("interaction_loop", 0, 1),
        ("interaction_loop", 0, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = world.get("/demo/challenge/c1?endless=1", &token).await;
        assert_eq!((claims(&answer).as_str(), answer.reason().as_str()), (C1, reason), "{round}");
        let now = (world.entra().token_requests(), world.echo.requests());
        assert_eq!((now.0 - before.0, now.1 - before.1), (exchanges, requests), "{round}");
        before = now;
    }
    // other claims are another matter
    let answer = world.get("/demo/challenge/c2?endless=1", &token).await;
    assert_eq!(answer.reason(), "interaction_required");
    let refusals = "obo_refusals_total{route=\"api\",reason=\"interaction_loop\"} ";
    assert_eq!(world.metric(refusals).await, Some(2.0));
    // and after a minute the user may have signed in
    world.clock.advance(Duration::from_secs(61));
    let answer = world.get("/demo/challenge/c1?endless=1", &token).await;
    assert_eq!(answer.reason(), "interaction_required");
}

#[tokio::test]
async fn claims_are_merged_with_what_we_declare() {
    let provider = "    client_capabilities: [cp1]";
    let world = World::with(Plan { routes: ROUTES, provider, ..Plan::default() }).await;
    let token = world.token("alice");
    let seen = world.get("/orders", &token).await.json();
    assert_eq!(seen["token"]["xms_cc"], json!(["cp1"]));
    let seen = world.get("/demo/challenge/c1", &token).await.json();
    assert_eq!((&seen["token"]["xms_cc"], &seen["token"]["acrs"]), (&json!(["cp1"]), &json!(["c1"])));
}

#[tokio::test]
async fn a_plain_401_gets_an_old_token_replaced_and_no_young_one() {
    let world = world().await;
    let token = world.token("alice");
    world.get("/orders", &token).await;
    // tokens are dated back by five minutes
    let since = NOW - 300 + 31;
    let path = format!("/demo/issued-since/{since}");
    world.clock.advance(Duration::from_secs(30));
    let answer = world.get(&path, &token).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{TENANT}\""));
    assert_eq!(answer.body, "another token is needed\n");
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (1, 2));
    world.clock.advance(Duration::from_secs(1));
    let answer = world.get(&path, &token).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (2, 4));
    // the next one is young
    let answer = world.get(&format!("/demo/issued-since/{}", i64::MAX), &token).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (2, 5));
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_again_leaves_a_fresh_token_for_the_next() {
    let world = world().await;
    post(&world, "/orders", Bytes::new()).await;
    world.clock.advance(Duration::from_secs(31));
    let path = format!("/demo/issued-since/{}", NOW - 300 + 31);
    let large = Bytes::from(vec![7; 100_000]);
    assert_eq!(post(&world, &path, large.clone()).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (1, 2));
    assert_eq!(post(&world, &path, large).await.status, StatusCode::OK);
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (2, 3));
}

#[tokio::test]
async fn a_route_that_exchanges_nothing_passes_the_challenge_as_it_is() {
    let world = world().await;
    let answer = world.get("/raw/demo/challenge/c1", &world.token("alice")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.header("www-authenticate").starts_with("Bearer realm=\"\", authorization_uri="));
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (0, 1));
}

#[tokio::test]
async fn entra_is_not_asked_for_another_kind_of_sign_in() {
    let world = world().await;
    let answer = world.get("/demo/step-up", &world.token("alice")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("www-authenticate"), format!("Bearer realm=\"{TENANT}\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_are_challenged_at_once_make_one_exchange() {
    let world = std::sync::Arc::new(world().await);
    let token = world.token("alice");
    world.get("/orders", &token).await;
    let hold = world.entra().script(|script| script.hold());
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (world, token) = (world.clone(), token.clone());
            tokio::spawn(async move { world.get("/demo/challenge/c1", &token).await.status })
        })
        .collect();
    while world.echo.requests() < 101 {
        tokio::task::yield_now().await;
    }
    drop(hold);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), StatusCode::OK);
    }
    assert_eq!((world.entra().token_requests(), world.echo.requests()), (2, 201));
}

#[test]
fn the_binary_mends_what_it_can_and_logs_what_an_administrator_must_do() {
    let demo = Demo::start();
    let (idp, upstream) = (demo.address("idp"), demo.address("upstream"));
    let secret = Settings::default().client_secret;
    let config = config(&format!("http://{idp}"), upstream, "info");
    let proxy = Proxy::start(&config, &[("SECRET", secret.expose())]);
    let call = |user: &str, path: &str, options: &str| {
        let token = shell(&format!("curl -sf 'http://{idp}/demo/token?user={user}'"));
        let address = &proxy.address;
        shell(&format!("curl -sS {options} 'http://{address}{path}' -H 'Authorization: Bearer {token}'"))
    };
    // the keys may not be there yet
    call("alice", "/orders", "--retry 50 --retry-all-errors --retry-delay 0 -f");
    let seen: Value =
        serde_json::from_str(&call("alice", "/demo/challenge/c1", "--data 'two words'")).unwrap();
    assert_eq!((&seen["token"]["acrs"], &seen["body_bytes"]), (&json!(["c1"]), &json!(9)));
    for reason in ["interaction_required", "interaction_required", "interaction_loop"] {
        let answer: Value = serde_json::from_str(&call("bob", "/demo/challenge/c9?endless=1", "")).unwrap();
        assert_eq!(answer["reason"], reason);
    }
    call("noconsent", "/orders", "");
    let (code, log) = proxy.stop();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |path: &str| lines.iter().filter(|line| line["url.path"] == path).collect::<Vec<_>>();
    let mended = of("/demo/challenge/c1")[0];
    assert_eq!((&mended["http.response.status_code"], &mended["cache"]), (&json!(200), &json!("miss")));
    assert!(mended["exchange_ms"].is_number() && mended["reason"].is_null(), "{mended}");
    let looping = of("/demo/challenge/c9")[2];
    assert_eq!((&looping["reason"], &looping["level"]), (&json!("interaction_loop"), &json!("info")));
    let consent = lines.iter().find(|line| line["msg"] == "consent is missing").unwrap();
    assert_eq!(
        consent["admin_consent"],
        format!("http://{idp}/{TENANT}/adminconsent?client_id=6731de76-14a6-49ae-97bc-6eba6914391e")
    );
    assert!(!log.contains("acrs") && !log.contains("eyJ"), "{log}");
}
