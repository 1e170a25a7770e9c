//! How the real binary proves who it is where the platform says so, and while that changes.

use std::fs;

use obo_proxy::domain::clock::Clock;
use serde_json::json;

use crate::support::idp::Answer;
use crate::support::idp::Idp;
use crate::support::sidecar::Sidecar;

const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
const ROUTES: &str = "\n  orders: { match: /, exchange: { scopes: [api://orders-backend/.default] } }\n";
const CLIENT_JWT: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn user(number: usize) -> String {
    format!("a11ce000-5b1e-4c55-8d0a-{number:012}")
}

#[tokio::test(flavor = "multi_thread")]
async fn workload_identity_follows_from_the_environment_and_its_token_is_read_anew() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("azure-identity-token");
    let idp = Idp::start(|_| Answer::granted("b")).await;
    let authority = format!("{}/", idp.authority());
    let account = |number: usize| {
        let claims = json!({"sub": "system:serviceaccount:orders:proxy", "jti": number.to_string()});
        idp.sign(claims, json!({}))
    };
    fs::write(
        &file,
        account(0)
            + "
",
    )
    .unwrap();
    let environment = [
        ("AZURE_CLIENT_ID", CLIENT),
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_AUTHORITY_HOST", authority.as_str()),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let providers = "\n  contoso: { entra: {}, credential: workload_identity }";
    let sidecar = Sidecar::start(providers, ROUTES, &environment).await;
    for number in 1..=2 {
        let content = account(number);
        // the kubelet puts another file in its place
        let next = directory.path().join("next");
        fs::write(&next, &content).unwrap();
        fs::rename(&next, &file).unwrap();
        let token = idp.entra_token(TENANT, &user(number), json!({}));
        assert_eq!(sidecar.token_b("/", &token).await, "b");
        let asked = idp.last();
        assert_eq!(asked.path, format!("/{TENANT}/oauth2/v2.0/token"));
        assert_eq!(asked.get("client_id"), CLIENT);
        assert_eq!(asked.get("client_assertion"), content);
        assert_eq!(asked.get("client_assertion_type"), CLIENT_JWT);
        assert_eq!(asked.get("client_secret"), "");
    }
    fs::remove_file(&file).unwrap();
    let token = idp.entra_token(TENANT, &user(3), json!({}));
    // while it is away, the one before serves on
    assert_eq!(sidecar.token_b("/", &token).await, "b");
    assert_eq!(idp.last().get("client_assertion"), account(2));
    assert_eq!(idp.requests(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_managed_identitys_token_is_our_assertion_and_is_asked_for_once() {
    let end = Clock::system().now().as_seconds() + 86_400;
    let metadata_service = Idp::start(move |_| {
        Answer::json(200, &json!({"access_token": "b2Y.dGhl.bWFjaGluZQ", "expires_on": end.to_string()}))
    })
    .await;
    let idp = Idp::start(|_| Answer::granted("b")).await;
    let providers = format!(
        r#"
  contoso:
    entra: {{ tenant: {TENANT}, authority: "{}" }}
    client_id: {CLIENT}
    credential: {{ managed_identity: {{ client_id: 7d4c1ce0-5b1e-4c55-8d0a-0a4c3f1e7b12 }} }}"#,
        idp.authority()
    );
    let environment = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata_service.authority())];
    let sidecar = Sidecar::start(&providers, ROUTES, &environment).await;
    for number in 0..2 {
        let token = idp.entra_token(TENANT, &user(number), json!({}));
        assert_eq!(sidecar.token_b("/", &token).await, "b");
        assert_eq!(idp.last().get("client_assertion"), "b2Y.dGhl.bWFjaGluZQ");
        assert_eq!(idp.last().get("client_assertion_type"), CLIENT_JWT);
    }
    assert_eq!((metadata_service.requests(), idp.requests()), (1, 2));
    let asked = metadata_service.last();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/metadata/identity/oauth2/token"));
    assert_eq!(asked.headers["metadata"], "true");
    let query: Vec<_> = asked.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("api-version", "2018-02-01"),
        ("resource", "api://AzureADTokenExchange"),
        ("client_id", "7d4c1ce0-5b1e-4c55-8d0a-0a4c3f1e7b12"),
    ];
    assert_eq!(query, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_replaced_while_it_is_refused_is_tried_once_more() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    fs::write(&file, "0ld-secret\n").unwrap();
    let replaced = file.clone();
    let idp = Idp::start(move |asked| match asked.get("client_secret") {
        "n3w-secret" => Answer::granted("b"),
        _ => {
            // whoever rotates it withdraws the old one first
            fs::write(&replaced, "n3w-secret\n").unwrap();
            Answer::json(401, &json!({"error": "invalid_client", "error_codes": [7000215]}))
        }
    })
    .await;
    let providers = format!(
        r#"
  contoso:
    entra: {{ tenant: {TENANT}, authority: "{}" }}
    client_id: {CLIENT}
    credential: {{ secret: {{ file: "{}" }} }}"#,
        idp.authority(),
        file.display()
    );
    let sidecar = Sidecar::start(&providers, ROUTES, &[]).await;
    assert_eq!(sidecar.token_b("/", &idp.entra_token(TENANT, &user(1), json!({}))).await, "b");
    let sent: Vec<_> = idp.received().iter().map(|asked| asked.get("client_secret").to_owned()).collect();
    assert_eq!(sent, ["0ld-secret", "n3w-secret"]);
    // refused and the same as before: not sent again
    idp.answers(|_| Answer::json(401, &json!({"error": "invalid_client", "error_codes": [7000222]})));
    for _ in 0..2 {
        let token = idp.entra_token(TENANT, &user(2), json!({}));
        assert_eq!(sidecar.refused("/", &token).await, (502, "proxy_misconfigured".into()));
    }
    assert_eq!(idp.requests(), 3);
    let log = sidecar.proxy.log();
    assert!(!log.contains("-secret") && !log.contains("eyJ"), "{log}");
}
