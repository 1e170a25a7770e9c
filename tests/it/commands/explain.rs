//! `explain`: what it says, and that it is true.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::app::explain;
use obo_proxy::app::explain::Outcome;
use obo_proxy::app::explain::Question;

use obo_proxy::config;
use obo_proxy::config::Config;
use obo_proxy::domain::clock::UnixTime;
use obo_proxy::domain::paint::Paint;
use obo_proxy::domain::token::UserToken;
use serde_json::Value;
use serde_json::json;

use super::CANARY;
use super::CONFIG;
use super::configured_run;
use super::snapshot::pinned;
use crate::support::NOW;
use crate::support::Plan;
use crate::support::World;

/// A token A, signed by nobody.
fn token(header: Value, changes: Value) -> String {
    let mut claims = json!({
        "aud": "6731de76-14a6-49ae-97bc-6eba6914391e",
        "iss": "https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0",
        "tid": "8eaef023-2b34-4da1-9baa-8bc8c9d6a490",
        "oid": "a11ce000-5b1e-4c55-8d0a-0a4c3f1e7b01", "sub": "canary-7f3a", "name": "canary-7f3a",
        "department": "canary-7f3a", "acr": "0", "azp": "9ada6f8a-6d83-41bc-b169-a306c21527a5",
        "scp": "orders.read", "roles": ["Clerk"], "ver": "2.0", "exp": NOW + 600, "nbf": NOW - 60,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(&header), part(&claims))
}

fn question(method: &str, url: &str, headers: &[(&'static str, &str)], token: Option<&str>) -> Question {
    let mut fields = HeaderMap::new();
    for (name, value) in headers {
        fields.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let bearer = |token: &str| {
        UserToken::from_authorization(HeaderValue::from_str(&format!("Bearer {token}")).unwrap(), 7).unwrap()
    };
    Question {
        method: method.parse().unwrap(),
        url: url.parse().unwrap(),
        headers: fields,
        listener: None,
        peer: "10.1.2.3".parse().unwrap(),
        certificate: None,
        token: token.map(bearer),
        now: UnixTime::from_seconds(NOW),
    }
}

fn told(config: &Config, question: &Question) -> String {
    let text = explain::explain(config, question, None).unwrap().to_text(Paint::Plain);
    assert!(!text.contains(CANARY), "{text}");
    text
}

fn loaded() -> Config {
    let environment = [("PARTNER_SECRET".to_owned(), CANARY.to_owned())];
    config::load_text("config.yaml", CONFIG, &environment).unwrap_or_else(|report| panic!("{report}")).config
}

#[test]
fn who_logs_in_and_what_is_queried_is_not_told() {
    let url = "http://canary-7f3a:canary-7f3a@orders.example:8443/open/7?access_token=canary-7f3a";
    let explanation = explain::explain(&loaded(), &question("GET", url, &[], None), None).unwrap();
    let (text, json) = (explanation.to_text(Paint::Plain), serde_json::to_string(&explanation).unwrap());
    assert!(!text.contains(CANARY) && !json.contains(CANARY), "{text}\n{json}");
    assert!(text.contains("GET http://orders.example:8443/open/7?***\n"), "{text}");
}

#[test]
fn a_request_is_explained_step_by_step() {
    for (name, arguments) in [
        (
            "explain-write",
            &[
                "POST",
                "https://orders.example:8443/api/orders/7?x=1",
                "--header",
                "X-Channel: web",
                "--header",
                "cookie: canary-7f3a",
                "--header",
                "X_User-Id: canary-7f3a",
                "--header",
                "x-user-id: canary-7f3a",
                "--header",
                "x-forwarded-for: 203.0.113.9",
                "--peer",
                "10.1.2.3",
            ][..],
        ),
        ("explain-near-miss", &["DELETE", "http://localhost:8443/api/orders"]),
        ("explain-anonymous", &["GET", "/healthz", "--listener", "egress"]),
        ("explain-open", &["GET", "/open/x", "--listener", "egress"]),
        ("explain-invalid-path", &["GET", "/api/%2e%2e/x", "--listener", "egress"]),
        (
            "explain-preflight",
            &[
                "OPTIONS",
                "https://orders.example:8443/api/orders",
                "--header",
                "origin: https://app.example",
                "--header",
                "access-control-request-method: PUT",
                "--header",
                "access-control-request-headers: authorization, x-channel",
            ],
        ),
        (
            "explain-too-long",
            &[
                "PUT",
                "https://orders.example:8443/api/orders",
                "--header",
                "x-channel: web",
                "--header",
                "content-length: 99999999",
            ],
        ),
        ("explain-json", &["GET", "http://localhost:8081/api/orders", "--json"]),
    ] {
        let (_, out, err) = configured_run(&[&["explain"], arguments].concat());
        assert!(err.is_empty(), "{err}");
        assert!(!out.contains(CANARY), "{out}");
        pinned(name, &out);
    }
}

#[test]
fn a_field_is_told_by_the_claims_that_it_takes_and_not_by_what_they_say() {
    let environment = [("PARTNER_SECRET".to_owned(), CANARY.to_owned())];
    let templates = "x-user-id: \"{claims.oid}\", x-dept: \"{claims.department}/{claims.team}\", x-odd: \"{claims.odd}\", x-deep: \"{claims.a.b}\"";
    let text = CONFIG.replace("x-user-id: \"{claims.oid}\"", templates);
    let config = config::load_text("config.yaml", &text, &environment).unwrap().config;
    // refused: what is missing is told all the same
    let token = token(
        json!({ "alg": "RS256" }),
        json!({ "odd": { "canary-7f3a": 1 }, "a": { "b": CANARY }, "scp": null }),
    );
    let headers = [("x-channel", "web")];
    let question = question("POST", "https://orders.example:8443/api/orders/7", &headers, Some(&token));
    let told = told(&config, &question);
    for line in [
        "fields    ✓ x-deep: a.b is there\n",
        "          ✗ x-dept: department is there, team is not there; it is not sent\n",
        "          ✗ x-odd: odd is no text, number or truth value, and no list of such; it is not sent\n",
        "          ✓ x-user-id: oid is there\n",
        "(the claim scp is not there)",
        "✗ kind: an access token (no scp, and roles of somebody whose oid and sub differ) -> 401 not_an_access_token",
        "(the token is no access token: no scp, and roles of somebody whose oid and sub differ)",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
}

#[test]
fn a_token_is_held_against_each_demand() {
    let config = loaded();
    let rs256 = || json!({ "alg": "RS256", "typ": "JWT", "kid": "k" });
    let write = |token: &str| {
        let url = "https://orders.example:8443/api/orders/7";
        told(&config, &question("PUT", url, &[("x-channel", "web")], Some(token)))
    };
    let meets = json!({ "scp": "orders.write", "acr": "1", "department": "sales" });
    pinned("explain-token-good", &write(&token(rs256(), meets)));
    pinned("explain-token-lacking", &write(&token(rs256(), json!({ "roles": null, "azp": "somebody" }))));
    let spoilt =
        json!({ "exp": NOW - 600, "aud": "00000003-0000-0000-c000-000000000000", "cnf": { "jkt": "x" } });
    pinned("explain-token-spoilt", &write(&token(json!({ "alg": "HS256" }), spoilt)));
    pinned(
        "explain-token-foreign",
        &write(&token(rs256(), json!({ "iss": "https://id.example/realms/b2b" }))),
    );
    pinned("explain-token-garbage", &write("garbage"));
    // here, an opaque token is worth a question
    let partners = question("GET", "http://localhost:8081/partners", &[], Some("opaque"));
    pinned("explain-token-opaque", &told(&config, &partners));
}

#[tokio::test]
async fn what_explain_says_is_what_the_proxy_does() {
    const ROUTES: &str = r#"
  orders: { match: /orders, require: { scopes: [orders.read], claims: { ver: "2.0" } }, exchange: { scopes: [api://orders-backend/orders.read] } }
  reports: { match: { path: /reports, methods: [GET] }, require: { scopes: [reports.read] }, token: remove }
  picky: { match: /picky, require: { clients: [nobody] }, token: passthrough }
  apps: { match: /apps, token: remove }
  small: { match: { path: /small, headers: { x-a: b } }, auth: anonymous, limits: { request_body: 5B } }
  public: { match: { host: public.example, path: /public }, auth: anonymous }
  browser: { match: /browser, token: remove, cors: { origins: [https://app.example] } }
"#;
    let world = World::with(Plan { routes: ROUTES, ..Plan::default() }).await;
    let Settings { tenant, client_id, .. } = Settings::default();
    let text = format!(
        "listeners: {{ default: {{ address: \"127.0.0.1:0\" }} }}
identity_providers: {{ demo: {{ entra: {{ tenant: {tenant}, authority: \"{}\" }}, client_id: {client_id}, credential: {{ secret: {{ env: SECRET }} }} }} }}
upstreams: {{ echo: {{ url: \"http://{}\" }} }}
defaults: {{ upstream: echo }}
routes:{ROUTES}",
        world.entra().authority(),
        world.echo.address(),
    );
    let config = config::load_text("explain.yaml", &text, &[("SECRET".into(), "x".into())]);
    let config = config.unwrap_or_else(|report| panic!("{report}")).config;

    let rs256 = json!({ "alg": "RS256" });
    let altered = |changes: Value| world.altered(changes, json!({}));
    let tokens: Vec<Option<String>> = vec![
        Some(world.token("alice")),
        Some(world.token_for("user=alice&version=1")),
        Some(world.token_for("user=alice&app_only=true")),
        Some("garbage".into()),
        Some(token(json!({ "alg": "none" }), json!({}))),
        Some(token(rs256, json!({ "iss": "https://elsewhere.example" }))),
        Some(altered(json!({ "exp": NOW - 3600 }))),
        Some(altered(json!({ "nbf": NOW + 3600 }))),
        Some(altered(json!({ "aud": "other" }))),
        Some(altered(json!({ "aud": "other", "exp": NOW - 3600 }))),
        Some(altered(json!({ "tid": "26039cce-489d-4002-8293-5b0c5134eacb" }))),
        Some(altered(json!({ "scp": null }))),
        Some(altered(json!({ "scp": 7 }))),
        Some(altered(json!({ "oid": 7 }))),
        Some(altered(json!({ "exp": null }))),
        Some(altered(json!({ "cnf": { "jkt": "x" } }))),
        Some(world.altered(json!({}), json!({ "typ": "dpop+jwt" }))),
        Some(altered(json!({ "scp": "reports.read" }))),
        Some(altered(json!({ "roles": ["A"], "scp": null, "idtyp": "app" }))),
        None,
    ];
    let requests = [
        ("GET", "/orders/7", Vec::<(&'static str, &str)>::new()),
        ("GET", "/reports", vec![]),
        ("POST", "/reports", vec![]),
        ("GET", "/picky", vec![]),
        ("GET", "/apps/x", vec![]),
        ("GET", "/small", vec![("x-a", "b")]),
        ("GET", "/small", vec![("x-a", "c")]),
        ("PUT", "/small", vec![("x-a", "b"), ("content-length", "6")]),
        ("GET", "/public", vec![("host", "public.example")]),
        ("GET", "/public", vec![]),
        ("GET", "/orders/%2e%2e/x", vec![]),
        ("GET", "/orders//x", vec![]),
        ("GET", "/orders/a%2Fb", vec![]),
        ("GET", "/orders?access_token=x", vec![]),
        ("GET", "/orders", vec![("expect", "miracles")]),
        ("TRACE", "/orders", vec![]),
        (
            "OPTIONS",
            "/browser",
            vec![("origin", "https://app.example"), ("access-control-request-method", "PUT")],
        ),
        ("OPTIONS", "/browser", vec![]),
    ];
    let mut refused = std::collections::BTreeSet::new();
    for (method, path, headers) in &requests {
        for token in &tokens {
            let question = question(method, path, headers, token.as_deref());
            let outcome = explain::explain(&config, &question, None).unwrap().outcome;
            let mut request = world.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let is_long = headers.iter().any(|(name, _)| *name == "content-length");
            let answer = if is_long {
                world.send_body(request, "123456".into()).await
            } else {
                world.send(request).await
            };
            let seen = (answer.status.as_u16(), answer.header("content-type") == "application/problem+json");
            let context = format!("{method} {path} {headers:?} {token:?}: {outcome:?}, {answer:?}");
            match outcome {
                Outcome::Refused { status, reason, .. } => {
                    assert_eq!((status, true), seen, "{context}");
                    assert_eq!(reason, answer.reason(), "{context}");
                    refused.insert(reason);
                }
                Outcome::Answered { status, .. } => assert_eq!((status, false), seen, "{context}"),
                Outcome::Forwarded { provided }
                    if provided.iter().any(|one| one.contains("missing_token")) =>
                {
                    assert_eq!(answer.reason(), "missing_token", "{context}");
                }
                Outcome::Forwarded { .. } => assert_eq!((200, false), seen, "{context}"),
            }
        }
    }
    // the table is worth something only if it meets them all
    for reason in [
        "alg_not_allowed",
        "app_token_not_allowed",
        "bad_request",
        "body_too_large",
        "client_not_allowed",
        "expectation_failed",
        "insufficient_scope",
        "invalid_path",
        "malformed_token",
        "method_not_allowed",
        "no_route",
        "not_an_access_token",
        "tenant_not_allowed",
        "token_expired",
        "token_not_yet_valid",
        "unsupported_cnf",
        "wrong_audience",
        "wrong_issuer",
    ] {
        assert!(refused.contains(reason), "{reason} is missing among {refused:?}");
    }
}
