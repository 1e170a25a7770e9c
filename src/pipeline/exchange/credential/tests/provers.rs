//! What differs between Entra and others.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::config::Algorithm;
use crate::config::AssertionAudience;
use crate::config::AuthMethod;
use crate::config::AuthorizationServer;
use crate::config::Certificate;
use crate::config::Credential;
use crate::config::IdentityProvider;
use crate::config::Oidc;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::net::client::Client;
use crate::pipeline::exchange::credential::Audience;
use crate::pipeline::exchange::credential::Proof;
use crate::pipeline::exchange::credential::Provers;
use crate::pipeline::exchange::credential::tests::pair;
use crate::pipeline::exchange::tests::sample;
use crate::telemetry::metrics::Metrics;

const AUDIENCE: Audience<'_> =
    Audience { endpoint: "https://id.example/token", issuer: "https://id.example" };

fn oidc(auth_method: AuthMethod, credential: Credential) -> IdentityProvider {
    let server = AuthorizationServer::Oidc(Oidc {
        issuer: AUDIENCE.issuer.into(),
        jwks_uri: None,
        token_endpoint: None,
        introspection_endpoint: None,
        authorization_endpoint: None,
    });
    let credentials = vec![credential];
    IdentityProvider { server, auth_method, credentials, ..sample::provider("https://login.example") }
}

fn provers(provider: IdentityProvider) -> Provers {
    let clock = Clock::manual(UnixTime::from_seconds(1_700_000_000));
    let client = Client::plain().unwrap();
    Provers::new(&[provider.into()], &client, &clock, &Arc::new(Metrics::new()))
}

async fn prove(provider: IdentityProvider) -> Proof {
    let name = provider.name.clone();
    let provers = provers(provider);
    let prover = provers.of(&name).unwrap();
    prover.prove(&prover.means()[0], AUDIENCE).await.unwrap()
}

/// A provider to which a key proves it, whose files are there.
fn with_a_key(directory: &Path) -> IdentityProvider {
    let settings = pair::settings(directory, Algorithm::ES256);
    let settings = Certificate { audience: AssertionAudience::Issuer, ..settings };
    let p256 = pair::p256();
    pair::write(&settings, &p256.certificate, &p256.traditional);
    oidc(AuthMethod::PrivateKeyJwt, Credential::Certificate(settings))
}

fn names(proof: &Proof) -> Vec<&str> {
    proof.parameters.iter().map(|(name, _)| *name).collect()
}

#[tokio::test]
async fn the_header_alone_names_us_where_the_client_id_is_not_asked_for_beside_it() {
    let basic = AuthMethod::ClientSecretBasic;
    let entra = IdentityProvider { auth_method: basic, ..sample::provider("https://login.example") };
    for (provider, expected) in [(entra, &["client_id"][..]), (oidc(basic, sample::secret("right")), &[])] {
        let proof = prove(provider).await;
        assert_eq!(names(&proof), expected);
        assert!(proof.authorization.is_some());
    }
}

#[tokio::test]
async fn elsewhere_an_assertion_lives_for_two_minutes_and_any_key_may_sign_it() {
    let directory = tempfile::tempdir().unwrap();
    let proof = prove(with_a_key(directory.path())).await;
    let (_, assertion) = proof.parameters.iter().find(|(name, _)| *name == "client_assertion").unwrap();
    let payload = BASE64_URL_SAFE_NO_PAD.decode(assertion.expose().split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims["aud"], AUDIENCE.issuer);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 120);
}

#[tokio::test]
async fn a_certificate_shown_in_tls_needs_the_client_id_in_the_form_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let settings = pair::settings(directory.path(), Algorithm::PS256);
    let p256 = pair::p256();
    pair::write(&settings, &p256.certificate, &p256.key);
    let proof = prove(oidc(AuthMethod::TlsClientAuth, Credential::Certificate(settings))).await;
    assert_eq!(names(&proof), ["client_id"]);
    assert!(proof.client.is_some() && proof.authorization.is_none());
}

#[tokio::test]
async fn no_more_sign_at_a_time_than_there_are_cores_and_the_others_wait() {
    let directory = tempfile::tempdir().unwrap();
    let provider = with_a_key(directory.path());
    let name = provider.name.clone();
    let provers = provers(with_a_key(directory.path()));
    let cores = provers.signing.available_permits();
    let others = provers.signing.clone().acquire_many_owned(cores as u32).await.unwrap();
    // the turns are the same for those whose settings have changed
    let (client, clock) = (Client::plain().unwrap(), Clock::system());
    let changed = IdentityProvider { timeout: Duration::from_secs(30), ..provider };
    let provers = provers.succeeding(&[changed.into()], &client, &clock, &Arc::new(Metrics::new()));
    let prover = provers.of(&name).unwrap();
    let mut proof = std::pin::pin!(prover.prove(&prover.means()[0], AUDIENCE));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut proof).await.is_err());
    drop(others);
    assert!(proof.await.is_ok());
    assert_eq!(provers.signing.available_permits(), cores);
}
