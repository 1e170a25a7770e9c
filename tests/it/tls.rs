//! The identity provider over TLS, trusted by the system's roots.

use std::fs;
use std::sync::Arc;

use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::demo::entra::Entra;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::app::demo::entra::wish::TokenWish;
use obo_proxy::app::server::Transport;
use obo_proxy::domain::clock::Clock;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::IsCa;
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::support::listen;
use crate::support::process::Proxy;
use crate::support::process::config;
use crate::support::process::shell;

/// A server certificate for 127.0.0.1, and the CA that signed it as PEM.
fn certificate() -> (ServerConfig, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(leaf)], key)
        .unwrap();
    (config, authority.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identity_provider_is_trusted_by_the_systems_roots_and_by_nothing_else() {
    let (tls, ca) = certificate();
    let entra = Entra::start_tls(Settings::default(), listen().await, tls, Clock::system()).await.unwrap();
    let echo = Echo::start(listen().await, Transport::Plain).unwrap();
    let config = config(entra.authority(), &echo.address().to_string(), "info");
    let token = entra.token("alice", &TokenWish::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (ours, other) = (directory.path().join("ours.pem"), directory.path().join("other.pem"));
    fs::write(&ours, ca).unwrap();
    fs::write(&other, certificate().1).unwrap();
    for (roots, trusted) in [(&ours, true), (&other, false)] {
        let secret = entra.settings().client_secret.expose();
        let environment = [("SECRET", secret), ("SSL_CERT_FILE", roots.to_str().unwrap())];
        let proxy = Proxy::start(&config, &environment);
        let retries = if trusted { "--retry 50 --retry-all-errors --retry-delay 0 -f" } else { "" };
        let call = format!("curl -sS {retries} http://{}/ -H 'Authorization: Bearer {token}'", proxy.address);
        let answer = tokio::task::spawn_blocking(move || shell(&call)).await.unwrap();
        let expected =
            if trusted { "\"aud\":\"api://orders-backend\"" } else { "\"reason\":\"keys_unavailable\"" };
        assert!(answer.contains(expected), "{answer}\n{}", proxy.log());
    }
    assert_eq!(entra.token_requests(), 1);
}
