use serde_json::Value;

use super::*;
use crate::domain::clock::Clock;
use crate::net::client::Client;
use crate::pipeline::exchange::Error;
use crate::pipeline::exchange::Kind;
use crate::pipeline::respond::reason::Reason;
use crate::telemetry::access_log::Fault;

const CLIENT: Fault = Fault::Client;
const IDP: Fault = Fault::Idp;
const UPSTREAM: Fault = Fault::Upstream;
const PROXY: Fault = Fault::Proxy;

const REALM: &str = "realm=\"8eaef023-2b34-4da1-9baa-8bc8c9d6a490\"";

fn responder() -> Responder {
    let loaded = crate::config::load_text(
        "test.yaml",
        "
identity_providers:
  contoso:
    entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }
    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
    credential: { secret: { env: SECRET } }
routes:
  orders: { match: /, upstream: \"http://127.0.0.1:8000\", exchange: { scopes: [api://orders/.default] } }
",
        &[("SECRET".into(), "s".into())],
    );
    Responder::new(&loaded.unwrap().config.identity_providers, HashMap::new())
}

fn refusal(reason: Reason) -> Refusal {
    #[derive(Debug, thiserror::Error)]
    #[error("of a test")]
    struct Cause;
    Refusal {
        reason,
        retry_after: None,
        idp: None,
        correlation_id: None,
        connection: Connection::Keep,
        source: Arc::new(Cause),
    }
}

fn answer(refusal: &Refusal) -> Response<Body> {
    answer_in(Dialect::Http, refusal)
}

fn answer_in(dialect: Dialect, refusal: &Refusal) -> Response<Body> {
    let name = Name::parse("contoso").unwrap();
    let scopes = ["orders.read".to_owned()];
    let identity_provider = Some(&name);
    let context = Context {
        request_id: "r-1",
        identity_provider,
        tenant: None,
        scopes: &scopes,
        resource_metadata: None,
        dialect,
    };
    responder().answer(refusal, context)
}

#[test]
fn every_reason_has_the_status_the_fault_and_the_challenge_of_the_contract() {
    let invalid_token = format!("Bearer {REALM}, error=\"invalid_token\"");
    let unnamed = format!("Bearer {REALM}");
    let invalid_request = format!("Bearer {REALM}, error=\"invalid_request\"");
    let insufficient_scope = format!("Bearer {REALM}, error=\"insufficient_scope\", scope=\"orders.read\"");
    let interaction = format!(
        "Bearer {REALM}, authorization_uri=\"https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/oauth2/v2.0/authorize\", client_id=\"6731de76-14a6-49ae-97bc-6eba6914391e\", error=\"interaction_required\""
    );
    let table = [
        ("access_denied", 403, CLIENT, ""),
        ("alg_not_allowed", 401, CLIENT, &invalid_token),
        ("app_token_not_allowed", 403, CLIENT, ""),
        ("assertion_rejected", 401, CLIENT, &invalid_token),
        ("bad_request", 400, CLIENT, ""),
        ("bad_signature", 401, CLIENT, &invalid_token),
        ("body_too_large", 413, CLIENT, ""),
        ("client_not_allowed", 403, CLIENT, &insufficient_scope),
        ("consent_required", 401, CLIENT, &interaction),
        ("expectation_failed", 417, CLIENT, ""),
        ("headers_too_large", 431, CLIENT, ""),
        ("idp_bad_response", 502, IDP, ""),
        ("idp_throttled", 503, IDP, ""),
        ("idp_unavailable", 503, IDP, ""),
        ("insufficient_scope", 403, CLIENT, &insufficient_scope),
        ("interaction_loop", 401, CLIENT, &interaction),
        ("interaction_required", 401, CLIENT, &interaction),
        ("internal_error", 500, PROXY, ""),
        ("invalid_path", 400, CLIENT, ""),
        ("invalid_request", 400, CLIENT, &invalid_request),
        ("keys_unavailable", 503, IDP, ""),
        ("malformed_token", 401, CLIENT, &invalid_token),
        ("method_not_allowed", 405, CLIENT, ""),
        ("missing_token", 401, CLIENT, &unnamed),
        ("no_route", 404, CLIENT, ""),
        ("not_an_access_token", 401, CLIENT, &invalid_token),
        ("not_implemented", 501, CLIENT, ""),
        ("overloaded", 503, PROXY, ""),
        ("proxy_misconfigured", 502, PROXY, ""),
        ("request_timeout", 408, CLIENT, ""),
        ("tenant_not_allowed", 401, CLIENT, &invalid_token),
        ("token_expired", 401, CLIENT, &invalid_token),
        ("token_not_yet_valid", 401, CLIENT, &invalid_token),
        ("unknown_key", 401, CLIENT, &invalid_token),
        ("unsupported_cnf", 401, CLIENT, &invalid_token),
        ("upstream_timeout", 504, UPSTREAM, ""),
        ("upstream_unreachable", 502, UPSTREAM, ""),
        ("wrong_audience", 401, CLIENT, &invalid_token),
        ("wrong_issuer", 401, CLIENT, &invalid_token),
    ];
    let words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words, table.map(|(word, ..)| word));
    for (reason, (word, status, fault, challenge)) in Reason::ALL.into_iter().zip(table) {
        let response = answer(&refusal(reason));
        assert_eq!(response.status(), status, "{word}");
        assert_eq!(reason.row().fault, fault, "{word}");
        let given = response.headers().get("www-authenticate").map_or("", |value| value.to_str().unwrap());
        assert_eq!(given, challenge, "{word}");
        assert!(status < 500 || given.is_empty(), "{word}: a challenge on a 5xx");
        assert!(status != 401 || !given.is_empty(), "{word}: a 401 without a challenge");
    }
}

#[tokio::test]
async fn the_body_says_what_happened_and_what_the_idp_said() {
    let error = OAuthError {
        error: "invalid_grant".into(),
        suberror: Some("basic_action".into()),
        claims: Some(r#"{"access_token":{}}"#.into()),
        error_codes: vec![50076],
        trace_id: Some("t-1".into()),
        correlation_id: None,
        ..OAuthError::default()
    };
    let refusal = Refusal { idp: Some(Arc::new(error)), ..refusal(Reason::InteractionRequired) };
    let response = answer(&refusal);
    assert!(
        response.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .contains("error=\"insufficient_claims\", claims=\"")
    );
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "type": "urn:obo-proxy:interaction_required",
            "title": "Unauthorized",
            "status": 401,
            "reason": "interaction_required",
            "detail": Reason::InteractionRequired.row().detail,
            "request_id": "r-1",
            "error": "invalid_grant",
            "suberror": "basic_action",
            "claims": "{\"access_token\":{}}",
            "error_codes": [50076],
            "trace_id": "t-1",
        })
    );
}

/// Entra, and a server that is found by discovery; both are described.
const TWO_SERVERS: &str = "
identity_providers:
  contoso:
    entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }
    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
    credential: { secret: { env: SECRET } }
    resource_metadata: true
  partner:
    oidc: { issuer: https://id.example/realms/b2b, authorization_endpoint: https://id.example/authorize }
    client_id: orders-proxy
    credential: { secret: { env: SECRET } }
    resource_metadata: true
  quiet:
    oidc: { issuer: https://quiet.example }
    client_id: orders-proxy
    credential: { secret: { env: SECRET } }
defaults: { identity_provider: [contoso, partner] }
routes:
  orders:
    match: /
    upstream: \"http://127.0.0.1:8000\"
    require: { scopes: [orders.read, orders.write] }
    token: passthrough
  quiet:
    match: /quiet
    identity_provider: quiet
    upstream: \"http://127.0.0.1:8000\"
    token: passthrough
";

fn two_servers() -> (crate::config::Config, Responder) {
    let loaded = crate::config::load_text("test.yaml", TWO_SERVERS, &[("SECRET".into(), "s".into())]);
    let config = loaded.unwrap().config;
    let (client, clock) = (Client::plain().unwrap(), Clock::system());
    let metadata = config.identity_providers.iter().filter_map(|provider| {
        Some((provider.name.clone(), Metadata::of(provider, client.clone(), clock.clone())?))
    });
    let responder = Responder::new(&config.identity_providers, metadata.collect());
    (config, responder)
}

fn policy_of<'c>(config: &'c crate::config::Config, route: &str) -> &'c Policy {
    let route = config.routes.iter().find(|own| own.name.as_str() == route).unwrap();
    match &route.access {
        crate::config::Access::Validated { policy, .. } => policy,
        crate::config::Access::Anonymous(_) => panic!("{route:?}"),
    }
}

#[test]
fn a_server_that_is_not_entra_is_challenged_for_in_its_own_name() {
    let (_, responder) = two_servers();
    let step_up = OAuthError {
        error: "insufficient_user_authentication".into(),
        acr_values: Some("gold silver".into()),
        max_age: Some(300),
        claims: Some("{\"access_token\":{}}".into()),
        ..OAuthError::default()
    };
    let consent = OAuthError { error: "interaction_required".into(), ..OAuthError::default() };
    let realm = "Bearer realm=\"https://id.example/realms/b2b\"";
    let described = "resource_metadata=\"https://api.example/m\"";
    let sign_in = "authorization_uri=\"https://id.example/authorize\", client_id=\"orders-proxy\"";
    for (server, reason, idp, expected) in [
        ("partner", Reason::MissingToken, None, format!("{realm}, {described}")),
        ("partner", Reason::TokenExpired, None, format!("{realm}, error=\"invalid_token\", {described}")),
        (
            "partner",
            Reason::InteractionRequired,
            Some(&step_up),
            format!(
                "{realm}, error=\"insufficient_user_authentication\", acr_values=\"gold silver\", max_age=\"300\", {described}"
            ),
        ),
        (
            "partner",
            Reason::InteractionRequired,
            Some(&consent),
            format!("{realm}, {sign_in}, error=\"interaction_required\", {described}"),
        ),
        // a 403 is not mended by another server
        ("partner", Reason::InsufficientScope, None, format!("{realm}, error=\"insufficient_scope\"")),
        // Entra's clients read claims, and nothing else is said beside them
        (
            "contoso",
            Reason::InteractionRequired,
            Some(&step_up),
            format!(
                "Bearer {REALM}, authorization_uri=\"https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/oauth2/v2.0/authorize\", client_id=\"6731de76-14a6-49ae-97bc-6eba6914391e\", error=\"insufficient_claims\", claims=\"eyJhY2Nlc3NfdG9rZW4iOnt9fQ==\", {described}"
            ),
        ),
    ] {
        let refusal = Refusal { idp: idp.cloned().map(Arc::new), ..refusal(reason) };
        let name = Name::parse(server).unwrap();
        let context = Context {
            request_id: "r-1",
            identity_provider: Some(&name),
            tenant: None,
            scopes: &[],
            resource_metadata: Some("https://api.example/m"),
            dialect: Dialect::Http,
        };
        let response = responder.answer(&refusal, context);
        let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
        assert_eq!(challenges, [expected.as_str()]);
    }
}

#[tokio::test]
async fn a_resource_is_described_by_the_servers_that_are_to_be_known() {
    let (config, responder) = two_servers();
    let [orders, quiet] = ["orders", "quiet"].map(|route| policy_of(&config, route));
    assert!(responder.is_described(orders) && !responder.is_described(quiet));
    let resource = || "https://api.example/orders".to_owned();
    let response = responder.description(resource(), [orders, quiet, orders]).unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        serde_json::from_slice::<Value>(&body).unwrap(),
        serde_json::json!({
            "resource": "https://api.example/orders",
            "authorization_servers": [
                "https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0",
                "https://id.example/realms/b2b",
            ],
            "scopes_supported": ["orders.read", "orders.write"],
            "bearer_methods_supported": ["header"],
        })
    );
    assert!(responder.description(resource(), [quiet]).is_none());
    assert!(responder.description(resource(), []).is_none());
}

#[test]
fn an_administrator_of_the_user_s_tenant_can_consent() {
    let name = Name::parse("contoso").unwrap();
    let users = TenantId::parse("26039cce-489d-4002-8293-5b0c5134eacb").unwrap();
    for (tenant, id) in [(Some(&users), users.as_str()), (None, "8eaef023-2b34-4da1-9baa-8bc8c9d6a490")] {
        let context = Context {
            request_id: "r-1",
            identity_provider: Some(&name),
            tenant,
            scopes: &[],
            resource_metadata: None,
            dialect: Dialect::Http,
        };
        assert_eq!(
            responder().admin_consent(context).unwrap(),
            format!(
                "https://login.microsoftonline.com/{id}/adminconsent?client_id=6731de76-14a6-49ae-97bc-6eba6914391e"
            )
        );
        assert_eq!(responder().admin_consent(Context { identity_provider: None, ..context }), None);
    }
}

#[tokio::test]
async fn a_grpc_caller_gets_the_same_refusal_as_trailers_only() {
    for reason in Reason::ALL {
        let refusal = Refusal { retry_after: Some(Duration::from_secs(7)), ..refusal(reason) };
        let (plain, grpc) = (answer(&refusal), answer_in(Dialect::Grpc, &refusal));
        assert_eq!(grpc.status(), 200);
        assert_eq!(grpc.headers()["content-type"], "application/grpc");
        assert_eq!(grpc.headers()["grpc-message"], reason.row().detail);
        assert!(grpc.headers().contains_key("grpc-status"));
        for kept in ["www-authenticate", "retry-after", "cache-control"] {
            assert_eq!(grpc.headers().get(kept), plain.headers().get(kept), "{kept}");
        }
        assert!(grpc.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
}

#[test]
fn retry_after_is_rounded_up() {
    let refusal =
        Refusal { retry_after: Some(Duration::from_millis(1_200)), ..refusal(Reason::IdpThrottled) };
    assert_eq!(answer(&refusal).headers()["retry-after"], "2");
}

#[test]
fn the_exchanges_word_for_a_metric_is_the_reason_of_the_answer() {
    let second = Duration::from_secs(1);
    for kind in [
        Kind::BadResponse,
        Kind::Unavailable { retry_after: second },
        Kind::Throttled { retry_after: second },
        Kind::Misconfigured,
        Kind::Denied,
        Kind::ClaimsChallenge,
        Kind::InteractionRequired,
        Kind::UpstreamChallenge,
        Kind::InteractionLoop,
        Kind::ConsentRequired,
        Kind::AssertionRejected,
        Kind::Overloaded { retry_after: second },
        Kind::Internal,
    ] {
        let refusal = Refusal::from(Error::ours(kind));
        assert_eq!(refusal.reason.as_str(), kind.reason(), "{kind:?}");
        // who is told to come back is told when
        let is_later = answer(&refusal).status() == 503;
        assert_eq!(refusal.retry_after, is_later.then_some(second), "{kind:?}");
    }
}

#[test]
fn no_reason_is_left_out_of_all() {
    // they are in order: one that is missing leaves a gap
    for (at, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, at, "{reason:?}");
    }
    let words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert!(words.is_sorted_by(|one, other| one < other), "{words:?}");
}
