//! Callers who must show a certificate.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use obo_proxy::domain::digest::Digest;
use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::SanType;
use serde_json::Value;
use serde_json::json;

use crate::listeners::Front;
use crate::listeners::curl;
use crate::listeners::files;
use crate::listeners::tls;
use crate::support::Plan;
use crate::support::World;
use crate::support::certificates::Authority;
use crate::support::certificates::Pair;

/// A client certificate of that common name at Example, and perhaps a URI.
fn certificate(authority: &Authority, name: &str, uri: Option<&str>) -> Pair {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names.extend(uri.map(|uri| SanType::URI(uri.try_into().unwrap())));
    authority.issue_for(params)
}

/// The arguments by which curl shows the pair `name`, and takes every certificate for good.
fn showing(directory: &Path, name: &str) -> Vec<String> {
    let path = |extension: &str| directory.join(format!("{name}.{extension}")).to_str().unwrap().to_owned();
    ["-k".into(), "--cert".into(), path("crt"), "--key".into(), path("key")].into()
}

async fn ask(arguments: &[String], more: &[&str]) -> Result<String, i32> {
    let all: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    curl(&all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_certificate_of_the_authority_lets_a_caller_in() {
    let (ours, other) = (Authority::new(), Authority::new());
    let directory = files(&ours);
    certificate(&ours, "gateway", None).write(directory.path(), "good");
    certificate(&other, "gateway", None).write(directory.path(), "foreign");
    let ended = {
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        ours.issue_for(params)
    };
    ended.write(directory.path(), "ended");
    let ca = format!(", client_ca: {}/ca.crt", directory.path().to_str().unwrap());
    let front = Front::start(&tls(directory.path(), &ca), "").await;
    let url = format!("https://localhost:{}/", front.port());
    for version in ["1.2", "1.3"] {
        for http in ["--http1.1", "--http2"] {
            let options = ["--tls-max", version, http, url.as_str()];
            let answer = ask(&showing(directory.path(), "good"), &options).await.unwrap();
            assert!(answer.contains("\"x-forwarded-proto\":\"https\""), "{answer}");
            for who in
                [showing(directory.path(), "foreign"), showing(directory.path(), "ended"), vec!["-k".into()]]
            {
                let refused = ask(&who, &options).await;
                assert!(refused.is_err(), "{version} {http} {who:?}: {refused:?}");
            }
        }
    }
    assert_eq!(front.echo.requests(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_admits_certificates_by_subject_and_name() {
    let authority = Authority::new();
    let directory = files(&authority);
    certificate(&authority, "gateway", None).write(directory.path(), "gateway");
    certificate(&authority, "job", Some("spiffe://example/job")).write(directory.path(), "job");
    certificate(&authority, "gateway,O=Example", None).write(directory.path(), "liar");
    let ca = format!(", client_ca: {}/ca.crt", directory.path().to_str().unwrap());
    let route = |name: &str, demand: &str| {
        format!(
            "{name}: {{ match: /{name}, auth: anonymous, require: {{ client_certificate: {{ {demand} }} }} }}"
        )
    };
    let routes = [
        route("subject", "subjects: ['CN=gateway,O=Example']"),
        route("name", "sans: ['spiffe://example/job']"),
        route(
            "both",
            "subjects: ['CN=gateway,O=Example', 'CN=job,O=Example'], sans: ['spiffe://example/job']",
        ),
        "open: { match: /, auth: anonymous }".to_owned(),
    ];
    let front = Front::with_routes(&tls(directory.path(), &ca), "", &routes.join(", ")).await;
    for (who, admitted) in
        [("gateway", &["/subject", "/"][..]), ("job", &["/name", "/both", "/"]), ("liar", &["/"])]
    {
        for path in ["/subject", "/name", "/both", "/"] {
            let url = format!("https://localhost:{}{path}", front.port());
            let answer = ask(&showing(directory.path(), who), &["-w", "\n%{http_code}", &url]).await.unwrap();
            let (body, code) = answer.rsplit_once('\n').unwrap();
            if admitted.contains(&path) {
                assert_eq!(code, "200", "{who} {path}: {body}");
            } else {
                let problem: Value = serde_json::from_str(body).unwrap();
                assert_eq!((code, &problem["reason"]), ("403", &json!("client_not_allowed")), "{who} {path}");
            }
        }
    }
    let metrics = front.metrics().await;
    let line = "obo_refusals_total{route=\"subject\",reason=\"client_not_allowed\"} 2";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_bound_to_a_certificate_is_accepted_together_with_it_only() {
    let authority = Authority::new();
    let directory = files(&authority);
    let own = certificate(&authority, "own", None);
    own.write(directory.path(), "own");
    certificate(&authority, "thief", None).write(directory.path(), "thief");
    let ca = format!(", client_ca: {}/ca.crt", directory.path().to_str().unwrap());
    let listener = format!(", {}", tls(directory.path(), &ca)).leak();
    let world = World::with(Plan { listener, ..Plan::default() }).await;
    let thumbprint = URL_SAFE_NO_PAD.encode(Digest::of(&own.der).as_bytes());
    let bound = world.altered(json!({"cnf": {"x5t#S256": thumbprint}}), json!({}));
    let free = world.token("alice");
    let url = format!("https://localhost:{}/orders", world.proxy.port());
    // twice: the second time, what the token says is known
    for _ in 0..2 {
        for (who, token, expected) in
            [("own", &bound, "200"), ("thief", &bound, "401"), ("own", &free, "200"), ("thief", &free, "200")]
        {
            let token = format!("authorization: Bearer {token}");
            let arguments = ["-H", &token, "-w", "\n%{http_code}", &url];
            let answer = ask(&showing(directory.path(), who), &arguments).await.unwrap();
            let (body, code) = answer.rsplit_once('\n').unwrap();
            assert_eq!(code, expected, "{who}: {body}");
            assert_eq!(code == "401", body.contains("\"reason\":\"unsupported_cnf\""), "{body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_authorities_count_from_the_next_handshake_on() {
    let (ours, next) = (Authority::new(), Authority::new());
    let directory = files(&ours);
    certificate(&ours, "old", None).write(directory.path(), "old");
    certificate(&next, "new", None).write(directory.path(), "new");
    let authorities = directory.path().join("ca.crt");
    let ca = format!(", client_ca: {}", authorities.to_str().unwrap());
    let front = Front::start(&tls(directory.path(), &ca), "").await;
    let url = format!("https://localhost:{}/", front.port());
    let is_in = async |who: &str| ask(&showing(directory.path(), who), &[&url]).await.is_ok();
    assert!(is_in("old").await && !is_in("new").await);
    fs::write(&authorities, next.pem()).unwrap();
    crate::support::until("the new authority counts", async || is_in("new").await).await;
    assert!(!is_in("old").await);
}
