//! Identity providers with one fault each.

use std::sync::Arc;
use std::time::Duration;

use obo_proxy::app::server::Transport;
use rcgen::CertificateParams;
use serde_json::json;
use tokio::net::TcpListener;

use crate::doctor::Around;
use crate::doctor::DEMO;
use crate::doctor::GOOD;
use crate::doctor::PARTNER;
use crate::doctor::examined;
use crate::doctor::examined_with;
use crate::doctor::file;
use crate::doctor::oidc;
use crate::doctor::showing;
use crate::support::certificates::Authority;
use crate::support::idp::Answer;
use crate::support::idp::Idp;
use crate::support::idp::Received;
use crate::support::listen;

/// Looks at the provider alone.
const ALONE: [&str; 2] = ["--only", "identity_provider"];

async fn closed() -> String {
    let listener = listen().await;
    listener.local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_an_address_and_a_closed_port_are_out_of_reach() {
    let said = examined_with(&oidc("issuer: \"https://nobody.invalid\""), &ALONE, &[]).await;
    assert_eq!((said.code, said.result(PARTNER, "dns nobody.invalid")), (69, "unreachable"));
    assert!(said.remedy(PARTNER, "dns nobody.invalid").contains("resolv.conf"));
    // nothing else is asked of it, and what is ours is seen all the same
    assert_eq!(said.names(PARTNER), ["dns nobody.invalid", "client secret"]);

    let around = Around::new().await;
    let address = closed().await;
    let config = around.config_at(&format!("http://{address}"), GOOD, "");
    let said = examined_with(&config, &ALONE, &[]).await;
    let name = format!("tcp {address}");
    assert_eq!((said.code, said.result(DEMO, &name)), (69, "unreachable"));
    assert!(said.remedy(DEMO, &name).starts_with("nothing listens there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_holds_nothing_else_up() {
    // connections wait in its queue for ever
    let hanging: TcpListener = listen().await;
    let address = hanging.local_addr().unwrap();
    let around = Around::new().await;
    let more = format!(
        "identity_providers:
  demo: {{ entra: {{ tenant: {} , authority: \"{}\" }}, client_id: {}, credential: {GOOD} }}
  plain: {{ oidc: {{ issuer: \"http://{address}\" }}, client_id: x, audiences: [x], timeout: 30s, credential: {GOOD} }}
  safe: {{ oidc: {{ issuer: \"https://{address}\" }}, client_id: x, audiences: [x], credential: {GOOD} }}
listeners: {{ default: {{ address: \"127.0.0.1:0\" }} }}
telemetry: {{ address: \"127.0.0.1:0\" }}
routes:
  a: {{ match: /, identity_provider: demo, upstream: \"http://{address}\", exchange: {{ scopes: [api://orders-backend/.default] }} }}
",
        around.entra.settings().tenant,
        around.entra.authority(),
        around.entra.settings().client_id,
    );
    let authority = Authority::new();
    let (_directory, roots) = file("roots.pem", &authority.pem());
    let said = examined_with(&more, &[], &[("SSL_CERT_FILE", &roots)]).await;
    assert_eq!(said.code, 69, "{:#}", said.document);
    assert!(said.took < Duration::from_secs(16), "{:?}", said.took);
    assert_eq!(said.result(DEMO, "token endpoint"), "ok");
    assert_eq!(said.result("identity provider plain", "discovery"), "unreachable");
    assert_eq!(said.result("identity provider safe", &format!("tls {address}")), "unreachable");
    assert_eq!(said.result(&format!("upstream http://{address}"), "http HEAD /"), "unreachable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_believed_is_explained() {
    let authority = Authority::new();
    let other = rcgen::generate_simple_self_signed(["stranger.example".to_owned()]).unwrap();
    let (own, other) = (authority.pem(), other.cert.pem());
    let ended = {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
        authority.issue_for(params)
    };
    for (pair, roots, seen, remedy) in [
        (
            authority.issue("elsewhere.example"),
            &own,
            "the certificate is for elsewhere.example, not for 127.0.0.1",
            "somebody else answers",
        ),
        (authority.issue("127.0.0.1"), &other, "the certificate's issuer is not trusted", "SSL_CERT_FILE"),
        (ended, &own, "the certificate ended ", "renew"),
    ] {
        let idp = Idp::start_with(json!({}), showing(&pair), |_| Answer::text(404, "text/plain", "")).await;
        let (_directory, roots) = file("roots.pem", roots);
        let config = oidc(&format!("issuer: \"{}\"", idp.authority()));
        let said = examined_with(&config, &ALONE, &[("SSL_CERT_FILE", &roots)]).await;
        let name = format!("tls {}", idp.authority().trim_start_matches("https://"));
        assert_eq!((said.code, said.result(PARTNER, &name)), (1, "failed"));
        assert!(said.seen(PARTNER, &name).starts_with(seen), "{}", said.seen(PARTNER, &name));
        assert!(said.remedy(PARTNER, &name).contains(remedy), "{}", said.remedy(PARTNER, &name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_all_is_well_and_the_certificate_has_its_days_told() {
    let authority = Authority::new();
    let tls = Transport::Tls(Arc::new(authority.server()));
    let idp = Idp::start_with(json!({}), tls, |asked| match asked.get("client_secret") {
        "" => Answer::json(401, &json!({"error": "invalid_client"})),
        _ => Answer::json(400, &json!({"error": "invalid_grant"})),
    })
    .await;
    let (_directory, roots) = file("roots.pem", &authority.pem());
    let config = oidc(&format!("issuer: \"{}\"", idp.authority()));
    let said = examined_with(&config, &ALONE, &[("SSL_CERT_FILE", &roots)]).await;
    let name = format!("tls {}", idp.authority().trim_start_matches("https://"));
    assert!(
        said.seen(PARTNER, &name).starts_with("TLS 1.3, the certificate ends in "),
        "{:#}",
        said.document
    );
    assert_eq!((said.code, said.seen(PARTNER, "token endpoint")), (0, "it knows us"), "{:#}", said.document);
    // it was asked as callers have it asked
    assert_eq!(idp.last().get("grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
    assert_eq!(idp.last().get("audience"), "inventory");
    let basic = config.replace("timeout: 2s", "timeout: 2s\n    auth_method: client_secret_basic");
    let said = examined_with(&basic, &ALONE, &[("SSL_CERT_FILE", &roots)]).await;
    assert_eq!((said.code, said.seen(PARTNER, "token endpoint")), (1, "invalid_client"));
    assert!(said.remedy(PARTNER, "token endpoint").contains("`auth_method`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_another_issuer_is_shown_beside_the_configured_one() {
    let more = json!({"issuer": "https://elsewhere.example"});
    let idp = Idp::start_with(more, Transport::Plain, |_| Answer::text(404, "text/plain", "")).await;
    let said = examined_with(&oidc(&format!("issuer: \"{}\"", idp.authority())), &ALONE, &[]).await;
    assert_eq!((said.code, said.result(PARTNER, "discovery")), (1, "failed"));
    let expected = format!("it speaks for the issuer https://elsewhere.example, not for {}", idp.authority());
    assert_eq!(said.seen(PARTNER, "discovery"), expected);
    assert!(said.remedy(PARTNER, "discovery").contains("letter by letter"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_for_opaque_tokens_is_asked_with_our_credential() {
    for (status, body, result, seen, remedy) in [
        (200, json!({"active": false}), "ok", "it knows us", None),
        (
            401,
            json!({"error": "invalid_client"}),
            "failed",
            "the introspection endpoint refuses us",
            Some("`credential`"),
        ),
        (
            200,
            json!({"active": true, "exp": 4_000_000_000_u64}),
            "failed",
            "it says that a token is good which nobody has issued",
            Some("`oidc.introspection_endpoint`"),
        ),
        (
            404,
            json!({}),
            "failed",
            "the introspection endpoint does not take the question",
            Some("may introspect"),
        ),
        (
            200,
            json!({}),
            "failed",
            "the introspection endpoint's answer makes no sense",
            Some("something else"),
        ),
        (503, json!({}), "unreachable", "the introspection endpoint does not answer", Some("status page")),
    ] {
        // at another address than the issuer's, so that it has to be reached as well
        let elsewhere = Idp::start(move |_| Answer::json(status, &body)).await;
        let endpoint = format!("{}/introspect", elsewhere.authority());
        let idp = Idp::start_with(json!({"introspection_endpoint": endpoint}), Transport::Plain, |_| {
            Answer::json(400, &json!({"error": "invalid_grant"}))
        })
        .await;
        let config = oidc(&format!("issuer: \"{}\"", idp.authority()))
            .replace("timeout: 2s", "timeout: 2s\n    introspection: true");
        let said = examined_with(&config, &ALONE, &[]).await;
        let name = "introspection endpoint";
        assert_eq!(said.result(PARTNER, name), result, "{:#}", said.document);
        assert!(said.seen(PARTNER, name).starts_with(seen), "{}", said.seen(PARTNER, name));
        if let Some(remedy) = remedy {
            assert!(said.remedy(PARTNER, name).contains(remedy), "{}", said.remedy(PARTNER, name));
        }
        assert_eq!(said.result(PARTNER, "token endpoint"), "ok");
        let reached = format!("tcp {}", elsewhere.authority().trim_start_matches("http://"));
        assert_eq!(said.result(PARTNER, &reached), "ok");
        let asked = elsewhere.last();
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/introspect"));
        assert_eq!(asked.get("client_id"), "orders-proxy");
    }
    let unnamed = json!({"introspection_endpoint": null});
    let invalid = |_: &Received| Answer::json(400, &json!({"error": "invalid_grant"}));
    let idp = Idp::start_with(unnamed, Transport::Plain, invalid).await;
    let config = oidc(&format!("issuer: \"{}\"", idp.authority()))
        .replace("timeout: 2s", "timeout: 2s\n    introspection: true");
    let said = examined_with(&config, &ALONE, &[]).await;
    assert_eq!((said.code, said.failed()), (1, vec!["introspection endpoint"]));
    let remedy = said.remedy(PARTNER, "introspection endpoint");
    assert_eq!(remedy, "set `oidc.introspection_endpoint` by hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_not_there_is_explained_by_entras_own_number() {
    let around = Around::new().await;
    let config = around.config(GOOD, "").replace("8eaef023", "00000000");
    let said = examined_with(&config, &ALONE, &[]).await;
    assert_eq!((said.code, said.result(DEMO, "discovery v2.0")), (1, "failed"));
    assert!(said.seen(DEMO, "discovery v2.0").contains("AADSTS90002: there is no such tenant"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_without_keys_and_a_clock_that_is_wrong_are_seen() {
    let keys = Idp::start(|asked| {
        let mut answer = match asked.path.as_str() {
            "/none" => Answer::json(200, &json!({"keys": []})),
            _ => Answer::json(400, &json!({"error": "invalid_grant"})),
        };
        answer.headers.push(("date", "Fri, 01 Jan 2021 00:00:00 GMT".to_owned()));
        answer
    })
    .await;
    let place = format!("{}/none", keys.authority());
    let idp = Idp::start_with(json!({"jwks_uri": place}), Transport::Plain, |_| Answer::granted("x")).await;
    let said = examined_with(&oidc(&format!("issuer: \"{}\"", idp.authority())), &ALONE, &[]).await;
    assert_eq!((said.code, said.result(PARTNER, "keys")), (1, "failed"));
    assert_eq!(said.seen(PARTNER, "keys"), "the key set holds no usable key");
    assert_eq!(said.result(PARTNER, "clock"), "ok");

    let token = format!("{}/token-endpoint", keys.authority());
    let named = format!("issuer: orders-issuer, jwks_uri: \"{place}\", token_endpoint: \"{token}\"");
    let said = examined_with(&oidc(&named), &ALONE, &[]).await;
    assert_eq!(said.result(PARTNER, "clock"), "failed");
    assert!(said.seen(PARTNER, "clock").starts_with("ahead of the identity provider's by "));
    assert!(said.remedy(PARTNER, "clock").contains("NTP"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_in_trouble_is_out_of_reach_and_not_wrong() {
    let idp = Idp::start(|_| Answer::json(503, &json!({"error": "temporarily_unavailable"}))).await;
    let said = examined_with(&oidc(&format!("issuer: \"{}\"", idp.authority())), &ALONE, &[]).await;
    assert_eq!((said.code, said.failed()), (69, vec!["token endpoint"]));
    idp.close();
    let said = examined(&oidc(&format!("issuer: \"{}\"", idp.authority()))).await;
    assert_eq!(said.result(PARTNER, "discovery"), "unreachable");
}
