//! Credentials with one fault each, at the emulated Entra.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::HeaderValue;
use http::StatusCode;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::domain::clock::Clock;
use rcgen::CertificateParams;
use rcgen::KeyPair;
use serde_json::json;
use tempfile::TempDir;

use crate::doctor::Around;
use crate::doctor::DEMO;
use crate::doctor::GOOD;
use crate::doctor::Said;
use crate::doctor::examined_with;
use crate::doctor::file;

async fn seen_alone(around: &Around, credential: &str) -> Said {
    examined_with(&around.config(credential, ""), &["--only", "demo"], &[("WRONG", "hunter2-is-wrong")]).await
}

/// An RSA pair that ends in that year, in a directory of its own, and its DER form.
fn pair(year: i32) -> (TempDir, Vec<u8>) {
    let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tls.crt"), certificate.pem()).unwrap();
    fs::write(directory.path().join("tls.key"), key.serialize_pem()).unwrap();
    (directory, certificate.der().to_vec())
}

fn certificate(directory: &Path) -> String {
    let path = directory.display();
    format!("{{ certificate: {{ file: {path}/tls.crt, key: {path}/tls.key }} }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_wrong_or_has_expired_has_its_cure() {
    let around = Around::new().await;
    let said = seen_alone(&around, "{ secret: { env: WRONG } }").await;
    assert_eq!((said.code, said.failed()), (1, vec!["token endpoint"]));
    assert!(
        said.seen(DEMO, "token endpoint")
            .starts_with("invalid_client, AADSTS7000215: the client secret is wrong (trace "),
        "{:#}",
        said.document
    );
    assert!(said.remedy(DEMO, "token endpoint").contains("Value, not its Secret ID"));

    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let body = json!({"error": "invalid_client", "error_codes": [7_000_222]}).to_string();
    around.entra.script(|script| script.answer(1, StatusCode::UNAUTHORIZED, headers, body));
    let said = seen_alone(&around, GOOD).await;
    assert_eq!(
        said.seen(DEMO, "token endpoint"),
        "invalid_client, AADSTS7000222: the client secret has expired"
    );

    let (_directory, path) = file("secret", "8eaef023-2b34-4da1-9baa-8bc8c9d6a490\n");
    let said = seen_alone(&around, &format!("{{ secret: {{ file: {path} }} }}")).await;
    assert_eq!(said.result(DEMO, "client secret"), "warning");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_is_not_in_the_tenant_is_not_blamed_on_the_credential() {
    let around = Around::new().await;
    let config = around.config(GOOD, "").replace("6731de76", "00000000");
    let said = examined_with(&config, &["--only", "demo"], &[]).await;
    assert!(
        said.seen(DEMO, "token endpoint").contains("AADSTS700016: the application is not in this tenant")
    );
    assert!(said.remedy(DEMO, "token endpoint").contains("`client_id`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_shows_its_thumbprint_and_its_days() {
    let (directory, der) = pair(2050);
    let settings = Settings { client_certificates: vec![der], ..Settings::default() };
    let around = Around::with(settings).await;
    let credential = certificate(directory.path());
    let said = seen_alone(&around, &credential).await;
    assert_eq!((said.code, said.result(DEMO, "token endpoint")), (0, "ok"), "{:#}", said.document);
    let openssl = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha1", "-in"])
        .arg(directory.path().join("tls.crt"))
        .output()
        .unwrap();
    let printed = String::from_utf8(openssl.stdout).unwrap();
    let thumbprint = printed.trim().split('=').nth(1).unwrap().replace(':', "");
    assert!(said.seen(DEMO, "certificate").contains(&format!("thumbprint {thumbprint}, x5t#S256 ")));

    // one that the application does not know
    let stranger = Around::new().await;
    let said = seen_alone(&stranger, &credential).await;
    assert!(said.seen(DEMO, "token endpoint").contains("AADSTS700027"), "{:#}", said.document);
    assert!(said.remedy(DEMO, "token endpoint").contains("upload the certificate"));

    // a key of another certificate
    let (other, _) = pair(2050);
    fs::copy(other.path().join("tls.key"), directory.path().join("tls.key")).unwrap();
    let said = seen_alone(&around, &credential).await;
    assert_eq!((said.code, said.failed()), (1, vec!["certificate"]));
    assert!(said.seen(DEMO, "certificate").contains("does not belong to the first certificate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_ended_is_not_shown_to_anybody() {
    let (directory, der) = pair(2021);
    let around = Around::with(Settings { client_certificates: vec![der], ..Settings::default() }).await;
    let said = seen_alone(&around, &certificate(directory.path())).await;
    assert_eq!((said.code, said.failed()), (1, vec!["certificate"]));
    assert!(said.seen(DEMO, "certificate").starts_with("it ended "), "{:#}", said.document);
    assert_eq!(around.entra.token_requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_credentials_one_that_is_refused_is_a_warning() {
    let around = Around::new().await;
    let said = seen_alone(&around, "[{ secret: { env: WRONG } }, { secret: { env: SECRET } }]").await;
    assert_eq!(said.code, 0, "{:#}", said.document);
    assert_eq!(said.result(DEMO, "credential 1: token endpoint"), "warning");
    assert_eq!(said.result(DEMO, "credential 2: token endpoint"), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federated_token_says_what_must_match_and_is_not_shown() {
    let around = Around::new().await;
    let now = Clock::system().now().as_seconds();
    let token = |end: i64| {
        let claims = json!({"iss": "https://oidc.example/", "sub": "system:serviceaccount:a:b", "aud": ["api://AzureADTokenExchange"], "exp": end});
        format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(claims.to_string()))
    };
    let (_directory, path) = file("token", &token(now + 3600));
    let credential = format!("{{ federated_token: {{ file: {path} }} }}");
    let said = seen_alone(&around, &credential).await;
    let seen = said.seen(DEMO, "federated token");
    assert!(
        seen.starts_with("iss https://oidc.example/, sub system:serviceaccount:a:b, aud api://AzureADTokenExchange, ends in "),
        "{seen}"
    );
    fs::write(&path, token(now - 1)).unwrap();
    let said = seen_alone(&around, &credential).await;
    assert!(said.seen(DEMO, "federated token").contains("has expired"));
    assert!(said.remedy(DEMO, "federated token").contains("azure.workload.identity/use"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_our_own_are_really_fetched() {
    let around = Around::new().await;
    let apps = |scope: &str| {
        let route = format!(
            "routes:\n  apps: {{ match: /apps, require: {{ roles: [Reader] }}, upstream: \"http://{}\", exchange: {{ scopes: [{scope}], app_tokens: client_credentials }} }}",
            around.echo.address()
        );
        around.config(GOOD, "").replacen("routes:", &route, 1)
    };
    let said = examined_with(&apps("api://orders-backend/.default"), &["--only", "demo"], &[]).await;
    assert_eq!(said.result(DEMO, "own token for apps"), "ok", "{:#}", said.document);
    let said = examined_with(&apps("api://nobody/.default"), &["--only", "demo"], &[]).await;
    assert_eq!((said.code, said.failed()), (1, vec!["own token for apps"]));
    assert!(said.seen(DEMO, "own token for apps").contains("AADSTS500011"));
}
