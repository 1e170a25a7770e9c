//! The identity provider over TLS, trusted by the system's roots.

use std::fs;

use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::demo::entra::Entra;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::app::demo::entra::wish::TokenWish;
use obo_proxy::app::server::Transport;
use obo_proxy::domain::clock::Clock;

use crate::support::certificates::Authority;
use crate::support::listen;
use crate::support::process::Proxy;
use crate::support::process::config;
use crate::support::process::shell;

#[tokio::test(flavor = "multi_thread")]
async fn the_identity_provider_is_trusted_by_the_systems_roots_and_by_nothing_else() {
    let authority = Authority::new();
    let listener = listen().await;
    let entra =
        Entra::start_tls(Settings::default(), listener, authority.server(), Clock::system()).await.unwrap();
    let echo = Echo::start(listen().await, Transport::Plain).unwrap();
    let config = config(entra.authority(), &echo.address().to_string(), "info");
    let token = entra.token("alice", &TokenWish::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (ours, other) = (directory.path().join("ours.pem"), directory.path().join("other.pem"));
    fs::write(&ours, authority.pem()).unwrap();
    fs::write(&other, Authority::new().pem()).unwrap();
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
