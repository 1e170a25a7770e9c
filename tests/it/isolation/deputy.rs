//! No confused deputy (RFC 8693 section 5, RFC 9700 section 4.10): whatever a request says, and by whatever name, its token is
//! asked for with what the route says, at the caller's own tenant, and goes to the route's own service.

use bytes::Bytes;
use http::Request;
use obo_proxy::net::client::Bounds;
use obo_proxy::net::client::Client;
use serde_json::json;

use crate::isolation::lanes::CONTOSO;
use crate::isolation::wallet::TENANT;
use crate::support::idp::Answer;
use crate::support::idp::Idp;
use crate::support::idp::OTHER_TENANT;
use crate::support::idp::Received;
use crate::support::idp::exchanged;
use crate::support::sidecar::Sidecar;

/// What a token is asked for with, by any name.
const WORDS: [&str; 22] = [
    "scope",
    "scopes",
    "resource",
    "audience",
    "tenant",
    "tid",
    "client_id",
    "client_secret",
    "grant_type",
    "assertion",
    "subject_token",
    "actor_token",
    "requested_token_type",
    "requested_token_use",
    "claims",
    "issuer",
    "authority",
    "token_endpoint",
    "upstream",
    "host",
    "url",
    "redirect_uri",
];

/// How names of fields are spelt that are to steer a gateway.
const SPELLINGS: [&str; 10] = [
    "{}",
    "x-{}",
    "X_{}",
    "x-obo-{}",
    "x-ms-{}",
    "x-ms-client-{}",
    "x-forwarded-{}",
    "x-original-{}",
    "x-auth-request-{}",
    "proxy-{}",
];

const BOUNDS: Bounds = Bounds { timeout: std::time::Duration::from_secs(60), body: 1024 * 1024 };

/// Names with their values, in order.
type Pairs = Vec<(String, String)>;

/// All that was asked but what cannot be the same twice: path, query, form.
fn told(asked: &Received) -> (String, Pairs, Pairs) {
    let form = asked.without(&["assertion", "subject_token"]);
    let form = form.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    (asked.path.clone(), asked.query.clone(), form)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_field_query_body_or_cookie_of_any_name_changes_what_is_asked_for() {
    let idp = Idp::start(|_| Answer::json(200, &exchanged("b"))).await;
    // where nothing must ever go
    let elsewhere = Idp::start(|_| Answer::json(500, &json!({}))).await;
    let authority = idp.authority();
    let providers = format!(
        r#"
  contoso:
    entra: {{ tenant: organizations, allowed_tenants: [{TENANT}, {OTHER_TENANT}], authority: "{authority}" }}
    client_id: {CONTOSO}
    credential: {{ secret: {{ env: SECRET }} }}
  partner:
    oidc: {{ issuer: "{authority}" }}
    client_id: orders-proxy
    audiences: [orders]
    credential: {{ secret: {{ env: SECRET }} }}"#
    );
    let routes = "
  orders: { match: /orders, identity_provider: contoso, exchange: { scopes: [api://orders/read] } }
  stock:
    match: /stock
    identity_provider: partner
    exchange: { audience: stock, resource: urn:stock, scopes: [read], requested_token_type: access_token }
";
    // each token has its own exchange
    let sidecar = Sidecar::start_with(&providers, routes, "cache: { key: assertion }", &[]).await;
    let client = Client::plain().unwrap();
    let evil = format!("{}/{OTHER_TENANT}", elsewhere.authority());
    for route in ["/orders", "/stock"] {
        let token = |name: &str| match route {
            "/orders" => {
                idp.entra_token(TENANT, "a11ce000-5b1e-4c55-8d0a-0a4c3f1e7b01", json!({"jti": name}))
            }
            _ => idp.token("alice", json!({"jti": name})),
        };
        assert_eq!(sidecar.token_b(route, &token("first")).await, "b");
        let expected = told(&idp.last());
        for (at, word) in WORDS.iter().enumerate() {
            for spelling in SPELLINGS {
                let name = spelling.replace("{}", &word.replace('_', if at % 2 == 0 { "-" } else { "_" }));
                if ["host", "proxy-host"].contains(&name.as_str()) {
                    continue; // the one has a meaning, which is not this
                }
                let encoded: String = url::form_urlencoded::byte_serialize(evil.as_bytes()).collect();
                let pair = format!("{word}={encoded}");
                let before = (idp.requests(), sidecar.echo.requests());
                let request =
                    Request::post(format!("http://{}{route}?{pair}&{name}={encoded}", sidecar.proxy.address))
                        .header("authorization", format!("Bearer {}", token(&name)))
                        .header(name.as_str(), &evil)
                        .header("cookie", format!("{word}={evil}"))
                        .header("content-type", "application/x-www-form-urlencoded");
                let request = request.body(http_body_util::Full::new(Bytes::from(pair))).unwrap();
                let answer = client.send(request, BOUNDS).await.unwrap();
                assert_eq!(answer.status(), 200, "{route} {name}: {answer:?}");
                assert_eq!(told(&idp.last()), expected, "{route}: {name} changed what is asked for");
                let after = (idp.requests(), sidecar.echo.requests());
                assert_eq!(after, (before.0 + 1, before.1 + 1), "{route} {name}");
                let seen = sidecar.echo.last_headers().unwrap();
                assert_eq!(seen["authorization"], "Bearer b", "{route} {name}");
            }
        }
    }
    assert_eq!(elsewhere.requests(), 0);
}
