use std::collections::BTreeMap;

use super::*;
use crate::config::TokenType;
use crate::domain::secret::Secret;
use crate::pipeline::exchange::tests::sample;

fn decoded(body: &[u8]) -> BTreeMap<String, String> {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let form: BTreeMap<String, String> = pairs.iter().cloned().collect();
    assert_eq!(form.len(), pairs.len(), "a parameter stands twice");
    form
}

fn sent(
    provider: &IdentityProvider,
    exchange: &Exchange,
    token: &str,
    secret: &str,
) -> (BTreeMap<String, String>, Option<HeaderValue>) {
    let caller = sample::caller_of(token, &serde_json::json!({}));
    let proof = Proof::post(&provider.client_id, &Secret::new(secret.into()));
    let grant = Grant::on_behalf_of(provider, exchange, &caller.token, &proof);
    (decoded(&grant.body()), grant.authorization)
}

#[test]
fn the_forms_are_those_of_microsofts_page() {
    for (id, scopes) in [
        ("TV-Q1", &["https://graph.microsoft.com/user.read", "offline_access"][..]),
        ("TV-Q2", &["https://graph.microsoft.com/user.read"]),
    ] {
        let body = sample::seed(id)["body"].as_str().unwrap().to_owned();
        let expected = decoded(body.as_bytes());
        let provider = IdentityProvider {
            client_id: expected["client_id"].clone(),
            ..sample::provider("https://login.example")
        };
        let (form, authorization) =
            sent(&provider, &sample::exchange(scopes), &expected["assertion"], &expected["client_secret"]);
        assert_eq!(form, expected, "{id}");
        assert_eq!(expected["assertion"], sample::seed_token("TV-J1"), "{id}");
        assert!(authorization.is_none());
    }
}

#[test]
fn a_secret_survives_the_encoding_whatever_it_holds() {
    let provider = sample::provider("https://login.example");
    for secret in ["0Y1W+Y3yYb3d9N8vSjvm8WrGzVZaAaHbHHcGbcgG+oI=", "a b&c=d%2B~.é", "\u{1f511}\n"] {
        let (form, _) = sent(&provider, &sample::exchange(&["a"]), "a.b.c", secret);
        assert_eq!(form["client_secret"], secret);
    }
    let proof = Proof::post("us", &Secret::new("a+b".into()));
    let caller = sample::caller("alice", 1);
    let exchange = sample::exchange(&["a"]);
    let body = Grant::on_behalf_of(&provider, &exchange, &caller.token, &proof).body();
    assert!(std::str::from_utf8(&body).unwrap().contains("client_secret=a%2Bb"));
}

#[test]
fn a_proof_in_a_header_takes_nothing_of_the_form() {
    let provider = sample::provider("https://login.example");
    let exchange = sample::exchange(&["a"]);
    let caller = sample::caller("alice", 1);
    let proof = Proof::basic("us", &Secret::new("s3cret".into())).unwrap();
    let grant = Grant::on_behalf_of(&provider, &exchange, &caller.token, &proof);
    let form = decoded(&grant.body());
    assert!(!form.contains_key("client_id") && !form.contains_key("client_secret"));
    assert_eq!(grant.authorization, proof.authorization);
    let proof = proof.naming("us");
    let grant = Grant::on_behalf_of(&provider, &exchange, &caller.token, &proof);
    assert_eq!(decoded(&grant.body())["client_id"], "us");
}

#[test]
fn extra_parameters_are_added_and_never_replace_ours() {
    let extra = |name: &str| (name.to_owned(), "extra".to_owned());
    let provider = IdentityProvider {
        parameters: OURS.iter().map(|name| extra(name)).chain([extra("resource")]).collect(),
        ..sample::provider("https://login.example")
    };
    let exchange = Exchange {
        requested_token_type: Some(TokenType::Saml2),
        ..Exchange::clone(&sample::exchange(&["a"]))
    };
    let (form, _) = sent(&provider, &exchange, "a.b.c", "right");
    let expected = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("client_id", "625391af-c675-43e5-8e44-edd3e30ceb15"),
        ("client_secret", "right"),
        ("assertion", "a.b.c"),
        ("requested_token_use", "on_behalf_of"),
        ("scope", "a"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:saml2"),
        ("resource", "extra"),
    ];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}
