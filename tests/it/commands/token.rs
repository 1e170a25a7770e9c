//! `token`: decoded, verified and exchanged, beside the emulated Entra.

use std::fs;

use obo_proxy::app::demo::entra::settings::Settings;
use serde_json::Value;

use super::snapshot::pinned;
use crate::support::process::Demo;
use crate::support::process::obo_proxy;
use crate::support::process::run;
use crate::support::process::shell;
use crate::support::process::text;

/// A demo whose tokens are looked at, and a configuration that knows its Entra.
struct Place {
    demo: Option<Demo>,
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let (demo, directory) = (Demo::start(), tempfile::tempdir().unwrap());
        let Settings { tenant, client_id, .. } = Settings::default();
        let (idp, upstream) = (demo.address("idp"), demo.address("upstream"));
        let config = format!(
            r#"
identity_providers:
  demo:
    entra: {{ tenant: {tenant}, authority: "http://{idp}" }}
    client_id: {client_id}
    credential: {{ secret: {{ env: SECRET }} }}
  stranger:
    oidc: {{ issuer: "http://{idp}/stranger", jwks_uri: "http://{idp}/{tenant}/discovery/v2.0/keys", token_endpoint: "http://127.0.0.1:1/token" }}
    client_id: stranger
    credential: {{ secret: {{ env: SECRET }} }}
defaults: {{ upstream: "http://{upstream}", identity_provider: demo }}
routes:
  orders: {{ match: /orders, require: {{ scopes: [orders.read] }}, exchange: {{ scopes: [api://orders-backend/orders.read] }} }}
  reports: {{ match: /reports, require: {{ scopes: [reports.read] }}, exchange: {{ scopes: [api://reports-backend/.default] }} }}
  elsewhere: {{ match: /elsewhere, identity_provider: stranger, exchange: {{ scopes: [a] }} }}
"#
        );
        fs::write(directory.path().join("config.yaml"), config).unwrap();
        Self { demo: Some(demo), directory }
    }

    /// A token of the demo's, in a file.
    fn token(&self, query: &str) -> String {
        let token = shell(&format!(
            "curl -sf 'http://{}/demo/token?{query}'",
            self.demo.as_ref().unwrap().address("idp")
        ));
        self.keep(&token)
    }

    fn keep(&self, token: &str) -> String {
        let file = self.directory.path().join("token");
        fs::write(&file, token).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// Exit code, stdout and stderr of a command, in which there is neither our secret nor token A.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        self.run_with(Settings::default().client_secret.expose(), arguments)
    }

    fn run_with(&self, secret: &str, arguments: &[&str]) -> (i32, String, String) {
        let config = self.directory.path().join("config.yaml");
        let mut command = obo_proxy(arguments);
        let output = command.env("OBO_CONFIG", config).env("SECRET", secret).output().unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let token = fs::read_to_string(self.directory.path().join("token")).unwrap_or_default();
        let signature = token.rsplit('.').next().filter(|part| part.len() > 20).unwrap_or("no signature");
        for told in [&out, &err] {
            assert!(!told.contains(secret) && !told.contains(signature), "{told}");
        }
        (output.status.code().unwrap(), out, err)
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

#[test]
fn a_token_is_decoded_from_a_file_or_a_pipe() {
    // signed by nobody, expired in 2017
    let token = "eyJhbGciOiJSUzI1NiIsIm5vbmNlIjoibiJ9.eyJhdWQiOiJodHRwczovL2dyYXBoLm1pY3Jvc29mdC5jb20iLCJ2ZXIiOiIxLjAiLCJleHAiOjE1MDAwMDAwMDB9.c2ln";
    let line = format!(
        "echo 'Authorization: Bearer {token}' | {} token decode --json",
        env!("CARGO_BIN_EXE_obo-proxy")
    );
    let told = json(&shell(&line));
    assert_eq!(told["verified"], false);
    assert_eq!((&told["header"]["nonce"], &told["claims"]["exp"]), (&"n".into(), &1_500_000_000.into()));
    assert!(told["times"]["exp"].as_str().unwrap().starts_with("2017-07-14T02:40:00Z, "), "{told}");
    let remarks = told["remarks"].to_string();
    for part in ["has expired", "Microsoft Graph", "a nonce in its header"] {
        assert!(remarks.contains(part), "{part}: {remarks}");
    }
    let output = run(&["token", "decode", "--token-file", "Cargo.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: this is no JWT"), "{output:?}");
}

#[test]
fn a_token_is_verified_as_a_request_that_brings_it() {
    let place = Place::new();
    let verify = |more: &[&str]| place.run(&[&["token", "verify", "--token-file"], more].concat());
    let alice = place.token("user=alice");
    let (code, out, err) = verify(&[&alice, "--route", "orders"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.starts_with("good (route orders)\n"), "{out}");
    assert!(out.contains("✓ signature: by a key that the issuer publishes"), "{out}");
    let (code, out, _) = verify(&[&alice, "--route", "reports", "--json"]);
    let told = json(&out);
    assert_eq!((code, &told["valid"], &told["status"]), (1, &false.into(), &403.into()), "{out}");
    assert_eq!((&told["reason"], &told["for"]), (&"insufficient_scope".into(), &"route reports".into()));
    assert_eq!(verify(&[&alice, "--identity-provider", "demo"]).0, 0);
    // another provider's
    let (code, out, _) = verify(&[&alice, "--identity-provider", "stranger", "--json"]);
    assert_eq!((code, json(&out)["reason"].as_str()), (1, Some("wrong_issuer")), "{out}");
    let spoilt = fs::read_to_string(&alice).unwrap();
    let (signed, signature) = spoilt.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    for (token, reason) in [
        (format!("{signed}.{other}{}", &signature[1..]), "bad_signature"),
        ("garbage".to_owned(), "malformed_token"),
        ("ga r".to_owned(), "invalid_request"),
    ] {
        let file = place.keep(&token);
        let (code, out, _) = verify(&[&file, "--route", "orders", "--json"]);
        assert_eq!((code, json(&out)["reason"].as_str()), (1, Some(reason)), "{out}");
    }
    let app = place.token("user=alice&app_only=true");
    let (_, out, _) = verify(&[&app, "--route", "orders", "--json"]);
    assert_eq!(json(&out)["reason"], "app_token_not_allowed", "{out}");
    let told = json(&out);
    let cause = "the token is an application's, and the route wants a user's: idtyp is app";
    assert_eq!((&told["cause"], told["demands"].to_string().contains("idtyp is app")), (&cause.into(), true));
    let (_, out, _) = verify(&[&app, "--route", "orders"]);
    assert!(out.contains("✗ caller: a user; it has an application (idtyp is app) -> 403"), "{out}");
    let (code, out, _) =
        place.run(&["explain", "GET", "/orders", "--token-file", &app, "--verify", "--json"]);
    assert_eq!((code, &json(&out)["outcome"]["reason"]), (1, &"app_token_not_allowed".into()));
}

#[test]
fn a_silent_identity_provider_is_69() {
    let mut place = Place::new();
    let alice = place.token("user=alice");
    // the demo is gone, and its tokens are still its own
    let demo = place.demo.take().unwrap();
    demo.signal("KILL");
    demo.wait();
    for arguments in [
        &["token", "verify", "--identity-provider", "demo", "--token-file", &alice][..],
        &["token", "exchange", "--route", "orders", "--token-file", &alice],
        &["explain", "GET", "/orders", "--verify", "--token-file", &alice],
    ] {
        let (code, out, err) = place.run(arguments);
        assert_eq!(code, 69, "{arguments:?}\n{out}\n{err}");
        assert!(out.contains("keys_unavailable"), "{out}");
        assert!(err.contains("keys cannot be fetched"), "{err}");
    }
}

#[test]
fn an_exchange_is_tried_and_told_in_full() {
    let place = Place::new();
    let exchange = |token: &str, more: &[&str]| {
        place.run(&[&["token", "exchange", "--route", "orders", "--token-file", token], more].concat())
    };
    let alice = place.token("user=alice");
    let (code, out, err) = exchange(&alice, &[]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(!out.contains("eyJ"), "{out}");
    for part in [
        "outcome           ok\n",
        "scope             api://orders-backend/orders.read\n",
        "expires ",
        "correlation id ",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let (code, out, _) = exchange(&alice, &["--json"]);
    assert_eq!((code, &json(&out)["granted"]), (0, &true.into()));
    // token B, and nothing else
    let (code, out, err) = exchange(&alice, &["--print-token"]);
    assert_eq!((code, out.lines().count(), out.split('.').count()), (0, 1, 3), "{err}");
    assert!(err.contains("outcome           ok"), "{err}");
    let token_b = place.keep(out.trim());
    let decoded = text(&run(&["token", "decode", "--token-file", &token_b, "--json"]).stdout);
    assert_eq!(json(&decoded)["claims"]["aud"], "api://orders-backend");

    for (user, reason, part) in [
        ("mfa", "interaction_required", "AADSTS50076: "),
        ("noconsent", "consent_required", "AADSTS65001: "),
        ("blocked", "access_denied", "AADSTS53002: "),
    ] {
        let token = place.token(&format!("user={user}"));
        let (code, out, _) = exchange(&token, &["--json"]);
        let told = json(&out);
        assert_eq!((code, &told["granted"]), (1, &false.into()), "{out}");
        assert!(told["outcome"].as_str().unwrap().ends_with(reason), "{out}");
        let said = told["said"].as_str().unwrap();
        assert!(said.starts_with(part) && said.contains(told["correlation_id"].as_str().unwrap()), "{out}");
    }
    // our own fault
    let alice = place.token("user=alice");
    let wrong = ["token", "exchange", "--route", "orders", "--token-file", &alice];
    let (code, out, _) = place.run_with("wr0ng-canary", &wrong);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("502 proxy_misconfigured") && out.contains("AADSTS7000215: "), "{out}");
    // token A is refused before any exchange
    let (code, out, _) = place.run(&["token", "exchange", "--route", "reports", "--token-file", &alice]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("403 insufficient_scope") && out.contains("see token verify"), "{out}");
}

#[test]
fn a_decoded_token_is_told_to_a_person() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJhdWQiOiJvcmRlcnMiLCJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJzdWIiOiJhIn0.c2ln").unwrap();
    let output = run(&["token", "decode", "--token-file", file.to_str().unwrap()]);
    pinned("token-decode", &text(&output.stdout));
}
