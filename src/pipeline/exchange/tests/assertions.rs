//! Our own credential where it is no secret, or changes while it is used.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;

use crate::config::Algorithm;
use crate::config::AssertionAudience;
use crate::config::AuthMethod;
use crate::config::Certificate;
use crate::config::Credential;
use crate::config::IdentityProvider;
use crate::config::ManagedIdentity;
use crate::config::ManagedIdentitySource;
use crate::domain::digest::Digest;
use crate::pipeline::exchange::credential::tests::pair;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::tests::World;
use crate::pipeline::exchange::tests::idp;
use crate::pipeline::exchange::tests::idp::Answer;
use crate::pipeline::exchange::tests::idp::Idp;
use crate::pipeline::exchange::tests::idp::granted;
use crate::pipeline::exchange::tests::sample;
use crate::pipeline::exchange::tests::sample::caller;
use crate::telemetry::metrics::CacheResult;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Where the clock of a world stands.
const NOW: i64 = 1_700_000_000;

fn world(idp: &Idp, credentials: Vec<Credential>) -> World {
    let auth_method = AuthMethod::PrivateKeyJwt;
    let provider = IdentityProvider { credentials, auth_method, ..sample::provider(&idp.authority()) };
    World::new(provider, &sample::cache())
}

fn refused() -> Answer {
    idp::json(401, &json!({"error": "invalid_client"}))
}

/// A part of the client assertion in a request.
fn part(received: &idp::Received, index: usize) -> Value {
    assert_eq!(received.form["client_assertion_type"], JWT_BEARER);
    assert!(!received.form.contains_key("client_secret"));
    let part = received.form["client_assertion"].split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn is_by(received: &idp::Received, pair: &pair::Pair) -> bool {
    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(Digest::of(&pair.der).as_bytes());
    part(received, 0)["x5t#S256"] == thumbprint
}

/// Grants what comes with the right credential, and calls `meanwhile` before it refuses the first other one.
fn granting(
    is_right: impl Fn(&idp::Received) -> bool + Send + Sync,
    meanwhile: impl Fn() + Send + Sync,
) -> impl Fn(&idp::Received) -> Answer + Send + Sync {
    let refusals = AtomicUsize::new(0);
    move |received| {
        if is_right(received) {
            return granted(received);
        }
        if refusals.fetch_add(1, Ordering::SeqCst) == 0 {
            meanwhile();
        }
        refused()
    }
}

#[tokio::test]
async fn each_request_carries_an_assertion_of_its_own() {
    let idp = Idp::open(granted).await;
    let directory = tempfile::tempdir().unwrap();
    let settings = pair::settings(directory.path(), Algorithm::PS256);
    pair::write(&settings, &pair::rsa().certificate, &pair::rsa().key);
    let world = world(&idp, vec![Credential::Certificate(settings)]);
    let mut ids = BTreeSet::new();
    for user in ["alice", "bob", "carol"] {
        assert_eq!(world.fetch(&caller(user, 1)).await.1, CacheResult::Miss);
        let received = idp.received().pop().unwrap();
        let claims = part(&received, 1);
        let client = &received.form["client_id"];
        assert_eq!(claims["aud"], format!("{}{}", idp.authority(), received.path));
        assert_eq!(
            (claims["iss"].as_str(), claims["sub"].as_str()),
            (Some(client.as_str()), Some(client.as_str()))
        );
        assert_eq!((claims["nbf"].as_i64(), claims["iat"].as_i64()), (Some(NOW), Some(NOW)));
        assert_eq!(claims["exp"], NOW + 300);
        ids.insert(claims["jti"].as_str().unwrap().to_owned());
        assert!(is_by(&received, pair::rsa()));
    }
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn an_assertion_is_addressed_to_whom_the_idp_says_it_is() {
    let idp = Idp::open(granted).await;
    let directory = tempfile::tempdir().unwrap();
    let settings = pair::settings(directory.path(), Algorithm::PS256);
    pair::write(&settings, &pair::rsa().certificate, &pair::rsa().key);
    let (authority, tenant) = (idp.authority(), sample::TENANT);
    for (audience, expected) in [
        (AssertionAudience::TokenEndpoint, format!("{authority}/{tenant}/oauth2/v2.0/token")),
        (AssertionAudience::Issuer, format!("{authority}/{tenant}/v2.0")),
        (AssertionAudience::Other("urn:sts".into()), "urn:sts".into()),
    ] {
        let settings = Certificate { audience, ..settings.clone() };
        world(&idp, vec![Credential::Certificate(settings)]).fetch(&caller("alice", 1)).await;
        assert_eq!(part(&idp.received().pop().unwrap(), 1)["aud"], expected);
    }
}

#[tokio::test]
async fn a_refused_credential_is_read_again_and_sent_again_only_if_it_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    for (change, requests, works) in [("right", 2, true), ("wrong", 1, false), ("wrong too", 2, false)] {
        std::fs::write(&path, "wrong").unwrap();
        let changed = path.clone();
        let is_right = |received: &idp::Received| received.form["client_secret"] == "right";
        let idp = Idp::open(granting(is_right, move || std::fs::write(&changed, change).unwrap())).await;
        let world = world(&idp, vec![Credential::SecretFile(path.clone())]);
        let got = world.get(&caller("alice", 1)).await;
        assert_eq!((got.is_ok(), idp.requests()), (works, requests), "{change}");
        if let Err(error) = got {
            assert_eq!(error.kind, Kind::Misconfigured);
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_replaced_while_it_is_refused_is_used_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let settings = pair::settings(directory.path(), Algorithm::PS256);
    pair::write(&settings, &pair::rsa().certificate, &pair::rsa().key);
    let changed = settings.clone();
    let meanwhile = move || pair::write(&changed, &pair::other_rsa().certificate, &pair::other_rsa().key);
    let idp = Idp::open(granting(|received| is_by(received, pair::other_rsa()), meanwhile)).await;
    let world = world(&idp, vec![Credential::Certificate(settings)]);
    assert_eq!(world.fetch(&caller("alice", 1)).await.1, CacheResult::Miss);
    assert_eq!(idp.requests(), 2);
    let end = pair::END - 365 * 86_400;
    let line = format!("obo_credential_expiry_timestamp_seconds{{identity_provider=\"contoso\"}} {end}\n");
    assert!(world.metrics.encode().contains(&line));
}

#[tokio::test]
async fn the_end_of_a_certificate_is_known_before_it_is_used() {
    let idp = Idp::open(granted).await;
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Vec::new();
    for (name, pair) in [("new", pair::rsa()), ("old", pair::other_rsa())] {
        let directory = directory.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        let certificate = pair::settings(&directory, Algorithm::PS256);
        pair::write(&certificate, &pair.certificate, &pair.key);
        settings.push(Credential::Certificate(certificate));
    }
    let world = world(&idp, settings);
    world.exchanger.start();
    let end = pair::END - 365 * 86_400;
    world
        .until(&format!("obo_credential_expiry_timestamp_seconds{{identity_provider=\"contoso\"}} {end}"))
        .await;
    assert_eq!(idp.requests(), 0);
}

#[tokio::test]
async fn a_certificate_without_its_key_is_our_own_fault_and_nobody_is_asked() {
    let idp = Idp::open(granted).await;
    let directory = tempfile::tempdir().unwrap();
    let settings = pair::settings(directory.path(), Algorithm::PS256);
    pair::write(&settings, &pair::rsa().certificate, &pair::other_rsa().key);
    let credential = || Credential::Certificate(settings.clone());
    let error = world(&idp, vec![credential()]).get(&caller("alice", 1)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Misconfigured);
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("tls.key does not belong to") && cause.contains("tls.crt"), "{cause}");
    assert_eq!(idp.requests(), 0);
    // the other credential is tried
    world(&idp, vec![credential(), sample::secret("right")]).fetch(&caller("alice", 1)).await;
    assert_eq!(idp.received().pop().unwrap().form["client_secret"], "right");
}

fn federated(path: &Path, expires_on: i64) -> String {
    let claims =
        json!({"iss": "https://cluster.example/", "sub": "system:serviceaccount:a:b", "exp": expires_on});
    let token = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
    std::fs::write(path, format!("{token}\n")).unwrap();
    token
}

#[tokio::test]
async fn a_federated_token_is_read_anew_and_sent_as_it_is() {
    let idp = Idp::open(granted).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("azure-identity-token");
    let world = world(&idp, vec![Credential::FederatedToken(path.clone())]);
    for (user, end) in [("alice", NOW + 3600), ("bob", NOW + 7200)] {
        let token = federated(&path, end);
        world.fetch(&caller(user, 1)).await;
        let form = idp.received().pop().unwrap().form;
        assert_eq!((&form["client_assertion"], form["client_assertion_type"].as_str()), (&token, JWT_BEARER));
        assert_eq!(form["client_id"], "625391af-c675-43e5-8e44-edd3e30ceb15");
    }
    federated(&path, NOW);
    let error = world.get(&caller("carol", 1)).await.unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(cause.contains("azure-identity-token has expired"), "{cause}");
    assert_eq!((error.kind, idp.requests()), (Kind::Misconfigured, 2));
}

/// Answers the metadata service's requests with one token after another.
fn with_metadata(
    exchange: impl Fn(&idp::Received) -> Answer + Send + Sync,
) -> impl Fn(&idp::Received) -> Answer + Send + Sync {
    let turn = AtomicUsize::new(0);
    move |received| match received.path.as_str() {
        "/metadata/identity/oauth2/token" => {
            let token = format!("mi-{}", turn.fetch_add(1, Ordering::SeqCst));
            idp::json(200, &json!({"access_token": token, "expires_on": (NOW + 86_400).to_string()}))
        }
        _ => exchange(received),
    }
}

fn managed(idp: &Idp) -> Credential {
    Credential::ManagedIdentity(ManagedIdentity {
        identity: None,
        source: ManagedIdentitySource::Imds(idp.authority().parse().unwrap()),
        audience: "api://AzureADTokenExchange".into(),
    })
}

#[tokio::test]
async fn a_managed_identitys_token_is_our_assertion_for_many_exchanges() {
    let idp = Idp::open(with_metadata(granted)).await;
    let world = world(&idp, vec![managed(&idp)]);
    for user in ["alice", "bob"] {
        world.fetch(&caller(user, 1)).await;
        assert_eq!(idp.received().pop().unwrap().form["client_assertion"], "mi-0");
    }
    assert_eq!(idp.requests(), 3);
}

#[tokio::test]
async fn a_managed_identitys_token_that_is_refused_is_fetched_anew_once() {
    let is_right = |received: &idp::Received| received.form["client_assertion"] == "mi-1";
    let idp = Idp::open(with_metadata(granting(is_right, || ()))).await;
    let world = world(&idp, vec![managed(&idp)]);
    // a token that is seconds old is not fetched again
    assert_eq!(world.kind(&caller("alice", 1)).await, Kind::Misconfigured);
    assert_eq!(idp.requests(), 2);
    world.pass(5);
    assert_eq!(world.fetch(&caller("bob", 1)).await.1, CacheResult::Miss);
}

#[tokio::test]
async fn without_authentication_the_client_id_goes_alone_if_there_is_one() {
    let idp = Idp::open(granted).await;
    for client_id in ["us", ""] {
        let provider = IdentityProvider {
            client_id: client_id.into(),
            credentials: vec![],
            auth_method: AuthMethod::None,
            ..sample::provider(&idp.authority())
        };
        World::new(provider, &sample::cache()).fetch(&caller("alice", 1)).await;
        let received = idp.received().pop().unwrap();
        let named = received.form.get("client_id").map(String::as_str);
        assert_eq!(named.unwrap_or_default(), client_id);
        assert!(received.form.keys().all(|name| !name.starts_with("client_") || name == "client_id"));
        assert!(!received.headers.contains_key("authorization"));
    }
}
