//! Our own credential at Entra: a certificate, its files, and what Entra refuses of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::demo::entra::Entra;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::app::demo::entra::wish::TokenWish;
use obo_proxy::app::server::Transport;
use obo_proxy::domain::clock::Clock;
use rcgen::CertificateParams;
use rcgen::KeyPair;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::Plan;
use crate::support::World;
use crate::support::listen;
use crate::support::process::Proxy;
use crate::support::process::config_with;
use crate::support::process::shell;

/// An RSA key and a certificate for it, good until 2050.
struct Pair {
    certificate: String,
    key: String,
    der: Vec<u8>,
}

/// 2050-01-01.
const END: f64 = 2_524_608_000.0;

impl Pair {
    fn new() -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(2050, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }

    fn write(&self, directory: &Path) {
        fs::write(directory.join("tls.crt"), &self.certificate).unwrap();
        fs::write(directory.join("tls.key"), &self.key).unwrap();
    }
}

fn settings(pairs: &[&Pair]) -> Settings {
    Settings {
        client_certificates: pairs.iter().map(|pair| pair.der.clone()).collect(),
        ..Settings::default()
    }
}

fn credential(directory: &Path, more: &str) -> String {
    let directory = directory.display();
    format!("{{ certificate: {{ file: \"{directory}/tls.crt\", key: \"{directory}/tls.key\"{more} }} }}")
}

/// A world that shows a certificate of which Entra knows `known`.
async fn world(directory: &TempDir, known: &[&Pair], more: &str) -> World {
    let credential = credential(directory.path(), more);
    World::with(Plan { credential, settings: settings(known), ..Plan::default() }).await
}

fn header(world: &World) -> Value {
    let form = world.entra().last_form().unwrap();
    let (_, assertion) = form.iter().find(|(name, _)| name == "client_assertion").unwrap();
    assert!(form.iter().all(|(name, _)| name != "client_secret"));
    let header = URL_SAFE_NO_PAD.decode(assertion.split('.').next().unwrap()).unwrap();
    serde_json::from_slice(&header).unwrap()
}

#[tokio::test]
async fn entra_takes_what_a_certificates_key_signed_in_every_documented_form() {
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair::new();
    pair.write(directory.path());
    for (more, alg, members) in [
        ("", "PS256", &["alg", "typ", "x5t#S256"][..]),
        (", algorithm: RS256", "RS256", &["alg", "typ", "x5t", "x5t#S256"]),
        (", send_x5c: true", "PS256", &["alg", "typ", "x5c", "x5t#S256"]),
        (", assertion_audience: issuer", "PS256", &["alg", "typ", "x5t#S256"]),
    ] {
        let world = world(&directory, &[&pair], more).await;
        // assertions are used once: Entra refuses one it has seen
        for user in ["alice", "bob"] {
            let answer = world.get("/orders", &world.token(user)).await;
            assert_eq!(answer.status, StatusCode::OK, "{more}: {answer:?}");
        }
        let header = header(&world);
        assert_eq!(header["alg"], alg);
        let found: Vec<_> = header.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, members, "{more}");
        let metric = "obo_credential_expiry_timestamp_seconds{identity_provider=\"demo\"} ";
        assert_eq!(world.metric(metric).await, Some(END));
    }
}

#[tokio::test]
async fn a_certificate_entra_does_not_know_is_the_operators_fault() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, known) = (Pair::new(), Pair::new());
    ours.write(directory.path());
    for more in ["", ", assertion_audience: \"https://elsewhere.example\""] {
        let registered = if more.is_empty() { &known } else { &ours };
        let world = world(&directory, &[registered], more).await;
        let answer = world.get("/orders", &world.token("alice")).await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (502, "proxy_misconfigured"));
        let code = if more.is_empty() { 700_027 } else { 700_023 };
        assert_eq!(answer.json()["error_codes"][0], code);
        assert_eq!(world.entra().token_requests(), 1);
    }
}

#[tokio::test]
async fn a_certificate_is_replaced_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (Pair::new(), Pair::new());
    old.write(directory.path());
    let world = world(&directory, &[&new], "").await;
    assert_eq!(world.get("/orders", &world.token("alice")).await.reason(), "proxy_misconfigured");
    new.write(directory.path());
    assert_eq!(world.get("/orders", &world.token("bob")).await.status, StatusCode::OK);
    // half a pair is not used, and the one before is
    fs::write(directory.path().join("tls.key"), &old.key).unwrap();
    assert_eq!(
        world.get("/reports", &world.token_for("user=bob&scope=reports.read")).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn while_two_credentials_are_in_use_the_one_that_entra_knows_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, other) = (Pair::new(), Pair::new());
    ours.write(directory.path());
    let certificate = credential(directory.path(), "");
    for (known, requests) in [(&ours, 1), (&other, 2)] {
        let credential = format!("[{certificate}, {{ secret: {{ env: SECRET }} }}]");
        let world = World::with(Plan { credential, settings: settings(&[known]), ..Plan::default() }).await;
        assert_eq!(world.get("/orders", &world.token("alice")).await.status, StatusCode::OK);
        assert_eq!(world.entra().token_requests(), requests);
    }
}

/// Publishes a pair as the kubelet does: both files change by one rename.
fn publish(mount: &Path, version: &str, pair: &Pair) {
    fs::create_dir(mount.join(version)).unwrap();
    pair.write(&mount.join(version));
    symlink(version, mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_binary_follows_a_secret_that_kubernetes_swaps() {
    let mount = tempfile::tempdir().unwrap();
    let (first, second, retired) = (Pair::new(), Pair::new(), Pair::new());
    publish(mount.path(), "..1", &first);
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), mount.path().join(name)).unwrap();
    }
    let known = settings(&[&first, &second]);
    let entra = Entra::start(known, listen().await, Clock::system()).await.unwrap();
    let echo = Echo::start(listen().await, Transport::Plain).unwrap();
    let credential = credential(mount.path(), "");
    let config = config_with(entra.authority(), &echo.address().to_string(), "info", &credential);
    let proxy = Proxy::start(&config, &[]);
    let call = async |user: &str, flags: &'static str| {
        let token = entra.token(user, &TokenWish::default()).unwrap();
        let line = format!("curl -sS {flags} http://{}/ -H 'Authorization: Bearer {token}'", proxy.address);
        tokio::task::spawn_blocking(move || shell(&line)).await.unwrap()
    };
    for (user, version, pair) in [("alice", "..2", &second), ("bob", "..3", &retired)] {
        let answer = call(user, "-f --retry 50 --retry-all-errors --retry-delay 0").await;
        assert!(answer.contains("\"aud\":\"api://orders-backend\""), "{answer}\n{}", proxy.log());
        publish(mount.path(), version, pair);
    }
    let answer = call("mfa", "").await;
    assert!(answer.contains("proxy_misconfigured"), "{answer}\n{}", proxy.log());
    let log = proxy.log();
    assert!(!log.contains("PRIVATE KEY") && !log.contains("eyJ"), "{log}");
}
