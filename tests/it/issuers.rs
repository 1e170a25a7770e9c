//! Tokens of any issuer at the real binary: opaque ones, of which their issuer is asked (RFC 7662), and what callers learn of
//! who issues tokens (RFC 9728).

use serde_json::Value;
use serde_json::json;

use crate::support::idp::Answer;
use crate::support::idp::Idp;
use crate::support::idp::Received;
use crate::support::sidecar::Sidecar;

const ROUTES: &str = "
  inventory:
    match: /inventory
    require: { scopes: [orders.read] }
    exchange: { audience: inventory }
";

fn provider(idp: &Idp, more: &str) -> String {
    format!(
        r#"
  partner:
    oidc: {{ issuer: "{}" }}
    client_id: orders-proxy
    credential: {{ secret: {{ env: SECRET }} }}
    auth_method: client_secret_basic
    audiences: [orders]
    {more}"#,
        idp.authority()
    )
}

/// What is said of a good token.
fn active(changes: Value) -> Answer {
    let mut said = json!({
        "active": true, "sub": "alice", "aud": "orders", "client_id": "spa", "scope": "orders.read", "exp": 4_000_000_000_i64,
    });
    said.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    Answer::json(200, &said)
}

fn questions(idp: &Idp) -> Vec<Received> {
    idp.received().into_iter().filter(|asked| asked.path == "/introspect").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_opaque_token_its_issuer_is_asked_once_and_then_it_is_exchanged() {
    let idp = Idp::start(|asked| match (asked.path.as_str(), asked.get("token")) {
        ("/introspect", "opaque-of-alice") => active(json!({})),
        ("/introspect", "opaque-of-another-api") => active(json!({"aud": "another"})),
        ("/introspect", "opaque-without-scope") => active(json!({"scope": "orders.list"})),
        ("/introspect", "opaque-of-the-client") => active(json!({"sub": "spa"})),
        ("/introspect", "opaque-expired") => active(json!({"exp": 1_700_000_000})),
        ("/introspect", _) => Answer::json(200, &json!({"active": false})),
        _ => Answer::exchanged("b"),
    })
    .await;
    let sidecar = Sidecar::start(&provider(&idp, "introspection: true"), ROUTES, &[]).await;
    for _ in 0..3 {
        assert_eq!(sidecar.token_b("/inventory", "opaque-of-alice").await, "b");
    }
    let asked = questions(&idp);
    assert_eq!(asked.len(), 1, "its word is relied on for a while");
    let form = [("token", "opaque-of-alice"), ("token_type_hint", "access_token")];
    assert_eq!(asked[0].without(&[]), form);
    assert_eq!(asked[0].headers["authorization"], "Basic b3JkZXJzLXByb3h5OnMzY3JldCUyQiUyRiUzRA==");
    assert_eq!(idp.last().get("subject_token"), "opaque-of-alice");
    assert_eq!(idp.requests(), 2);
    for (token, status, reason) in [
        ("opaque-revoked", 401, "token_expired"),
        ("opaque-expired", 401, "token_expired"),
        ("opaque-of-another-api", 401, "wrong_audience"),
        ("opaque-of-the-client", 403, "app_token_not_allowed"),
        ("opaque-without-scope", 403, "insufficient_scope"),
    ] {
        for _ in 0..2 {
            assert_eq!(sidecar.refused("/inventory", token).await, (status, reason.into()), "{token}");
        }
        let about = questions(&idp).into_iter().filter(|asked| asked.get("token") == token);
        assert_eq!(about.count(), 1, "{token}: a refusal is remembered too");
    }
    // a JWT is judged by its signature, and nobody is asked
    let before = questions(&idp).len();
    assert_eq!(sidecar.token_b("/inventory", &idp.token("bob", json!({}))).await, "b");
    assert_eq!(questions(&idp).len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_can_be_asked_opaque_tokens_are_not_blamed_and_then_it_heals() {
    let idp = Idp::start(|_| Answer::text(503, "text/html", "<h1>down</h1>")).await;
    let sidecar = Sidecar::start(&provider(&idp, "introspection: true"), ROUTES, &[]).await;
    let answer = sidecar.until("/inventory", "opaque", |answer| answer.status == 503).await;
    assert_eq!(answer.reason(), "idp_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!answer.headers.contains_key("www-authenticate"));
    idp.answers(|asked| match asked.path.as_str() {
        "/introspect" => active(json!({})),
        _ => Answer::exchanged("b"),
    });
    sidecar.until("/inventory", "opaque", |answer| answer.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_introspection_an_opaque_token_is_malformed() {
    let idp = Idp::start(|_| Answer::exchanged("b")).await;
    let sidecar = Sidecar::start(&provider(&idp, ""), ROUTES, &[]).await;
    assert_eq!(sidecar.refused("/inventory", "opaque").await, (401, "malformed_token".into()));
    assert_eq!(idp.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_leads_to_the_metadata_of_the_resource_which_names_the_issuer() {
    let idp = Idp::start(|_| Answer::exchanged("b")).await;
    let sidecar = Sidecar::start(&provider(&idp, "resource_metadata: true"), ROUTES, &[]).await;
    let own = format!("http://{}", sidecar.proxy.address);
    let url = format!("{own}/.well-known/oauth-protected-resource/inventory/7");
    for token in [None, Some("opaque")] {
        let answer = sidecar.ask("/inventory/7", token).await;
        assert_eq!(answer.status, 401);
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains(&format!("resource_metadata=\"{url}\"")), "{challenge}");
        assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 1);
    }
    let answer = sidecar.ask("/.well-known/oauth-protected-resource/inventory/7", None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = json!({
        "resource": format!("{own}/inventory/7"),
        "authorization_servers": [idp.authority()],
        "scopes_supported": ["orders.read"],
        "bearer_methods_supported": ["header"],
    });
    assert_eq!(answer.json(), expected);
    let nowhere = sidecar.ask("/.well-known/oauth-protected-resource/elsewhere", None).await;
    assert_eq!(nowhere.status, 404);
    assert_eq!((idp.requests(), sidecar.echo.requests()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_comes_up_late_is_found_and_nobody_is_blamed_before() {
    let idp = Idp::start(|_| Answer::exchanged("b")).await;
    idp.close();
    let sidecar = Sidecar::start(&provider(&idp, ""), ROUTES, &[]).await;
    let token = idp.token("alice", json!({}));
    for _ in 0..3 {
        let answer = sidecar.ask("/inventory", Some(&token)).await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (503, "keys_unavailable"));
        assert_eq!(answer.header("retry-after"), "1");
        assert!(!answer.headers.contains_key("www-authenticate"));
    }
    idp.open();
    assert_eq!(sidecar.token_b("/inventory", &token).await, "b");
    // what is known serves on
    idp.close();
    assert_eq!(sidecar.token_b("/inventory", &idp.token("bob", json!({}))).await, "b");
}
