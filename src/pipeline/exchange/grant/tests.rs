use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::config::Actor;
use crate::domain::caller::Caller;
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
    let purpose = Purpose::User { exchange, assertion: &caller.token, actor: None };
    let grant = Grant::new(&Terms { provider, purpose, claims: None }, &proof);
    (decoded(&grant.body()), grant.authorization)
}

/// The parameters for a user, sorted, without a credential.
fn asked(provider: &IdentityProvider, exchange: &Exchange, actor: Option<&str>) -> Vec<(String, String)> {
    let caller = sample::caller_of("a.b.c", &serde_json::json!({}));
    let actor = actor.map(|text| DownstreamToken::bearer(Zeroizing::new(text.into())).unwrap());
    let purpose = Purpose::User { exchange, assertion: &caller.token, actor: actor.as_ref() };
    sorted(&Terms { provider, purpose, claims: None })
}

fn sorted(terms: &Terms<'_>) -> Vec<(String, String)> {
    let proof = Proof::none(&terms.provider.client_id);
    let body = Grant::new(terms, &proof).body();
    let mut form: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    form.sort();
    form
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut all: Vec<_> =
        expected.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect();
    all.sort();
    all
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn of_resource(resource: &str) -> Exchange {
    Exchange { resources: texts(&[resource]), ..Exchange::clone(&sample::exchange(&[])) }
}

#[test]
fn the_forms_are_those_of_microsofts_pages() {
    let scopes = |scopes: &[&str]| Exchange::clone(&sample::exchange(scopes));
    for (id, exchange) in [
        ("TV-Q1", scopes(&["https://graph.microsoft.com/user.read", "offline_access"])),
        ("TV-Q2", scopes(&["https://graph.microsoft.com/user.read"])),
        ("TV-Q4", of_resource("https://graph.windows.net")),
        ("TV-Q6", of_resource("https://graph.microsoft.com")),
    ] {
        let body = sample::seed(id)["body"].as_str().unwrap().to_owned();
        let expected = decoded(body.as_bytes());
        let provider = IdentityProvider {
            client_id: expected["client_id"].clone(),
            ..sample::provider("https://login.example")
        };
        let (form, authorization) =
            sent(&provider, &exchange, &expected["assertion"], &expected["client_secret"]);
        assert_eq!(form, expected, "{id}");
        assert!(authorization.is_none());
    }
}

#[test]
fn with_a_certificate_the_forms_differ_in_the_credential_alone() {
    for (id, exchange) in [
        ("TV-Q3", Exchange::clone(&sample::exchange(&["https://graph.microsoft.com/user.read"]))),
        ("TV-Q5", of_resource("https://graph.windows.net")),
        ("TV-Q7", of_resource("https://graph.microsoft.com")),
    ] {
        let body = sample::seed(id)["body"].as_str().unwrap().to_owned();
        let mut expected = decoded(body.as_bytes());
        let provider = IdentityProvider {
            client_id: expected["client_id"].clone(),
            ..sample::provider("https://login.example")
        };
        let (mut form, _) = sent(&provider, &exchange, &expected["assertion"], "unused");
        form.remove("client_secret");
        for name in ["client_assertion", "client_assertion_type"] {
            assert!(expected.remove(name).is_some(), "{id} {name}");
        }
        if id == "TV-Q3" {
            // the page repeats the example of another API there
            expected.insert("scope".into(), form["scope"].clone());
        }
        assert_eq!(form, expected, "{id}");
    }
}

#[test]
fn the_forms_are_those_of_microsofts_libraries() {
    for recorded in [
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/msal-python-1.39.0.json")),
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/msal-node-7.2.1.json")),
    ] {
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        let vectors = recorded["vectors"].as_array().unwrap();
        assert!(vectors.len() > 10);
        for vector in vectors {
            let label = vector["label"].as_str().unwrap();
            let theirs: BTreeMap<String, String> = vector["params"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| (pair[0].as_str().unwrap().into(), pair[1].as_str().unwrap().into()))
                .collect();
            assert_eq!(comparable(ours(&theirs)), comparable(theirs), "{label}");
        }
    }
}

/// The form we send where a library sent `theirs`.
fn ours(theirs: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let claims: Option<Value> = theirs.get("claims").map(|claims| serde_json::from_str(claims).unwrap());
    let access = claims.as_ref().map(|claims| &claims["access_token"]);
    let declares = access.is_some_and(|access| access.get("xms_cc").is_some());
    // what they were told to ask for besides what they declare
    let challenge = access
        .and_then(|access| access.get("nbf").map(|nbf| serde_json::json!({"access_token": {"nbf": nbf}})));
    let provider = IdentityProvider {
        client_id: theirs["client_id"].clone(),
        client_capabilities: if declares { texts(&["cp1"]) } else { vec![] },
        ..sample::provider("https://login.example")
    };
    let caller = sample::caller_of(&theirs["assertion"], &serde_json::json!({}));
    let exchange = sample::exchange(&theirs["scope"].split(' ').collect::<Vec<_>>());
    let proof = match theirs.get("client_secret") {
        Some(secret) => Proof::post(&provider.client_id, &Secret::new(secret.clone())),
        None => Proof::none(&provider.client_id),
    };
    let challenge = challenge.map(|claims| claims.to_string());
    let purpose = Purpose::User { exchange: &exchange, assertion: &caller.token, actor: None };
    let terms = Terms { provider: &provider, purpose, claims: challenge.as_deref() };
    decoded(&Grant::new(&terms, &proof).body())
}

/// A form without what says nothing about the token: telemetry, ids, the credential of a certificate, and the scopes and
/// claims that the libraries add for caches of their own.
fn comparable(mut form: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_telemetry = |name: &str| {
        name.starts_with("x-")
            || ["client_info", "client-request-id", "client_assertion", "client_assertion_type"]
                .contains(&name)
    };
    form.retain(|name, _| !is_telemetry(name));
    let added = ["openid", "profile", "offline_access"];
    let scopes: BTreeSet<&str> = form["scope"].split(' ').filter(|scope| !added.contains(scope)).collect();
    let scopes = Vec::from_iter(scopes).join(" ");
    form.insert("scope".into(), scopes);
    if let Some(claims) = form.remove("claims") {
        let claims: Value = serde_json::from_str(&claims).unwrap();
        if claims.get("access_token").is_some() {
            form.insert("claims".into(), claims["access_token"].to_string());
        }
    }
    form
}

#[test]
fn a_secret_survives_the_encoding_whatever_it_holds() {
    let provider = sample::provider("https://login.example");
    for secret in ["0Y1W+Y3yYb3d9N8vSjvm8WrGzVZaAaHbHHcGbcgG+oI=", "a b&c=d%2B~.é", "\u{1f511}\n"] {
        let (form, _) = sent(&provider, &sample::exchange(&["a"]), "a.b.c", secret);
        assert_eq!(form["client_secret"], secret);
    }
    let grant = Grant { parameters: vec![("client_secret", "a+b".into())], authorization: None };
    assert_eq!(grant.body(), "client_secret=a%2Bb");
}

#[test]
fn a_proof_in_the_header_stands_in_no_form() {
    let provider = sample::provider("https://login.example");
    let proof = Proof::basic(&provider.client_id, &Secret::new("right".into())).unwrap();
    let grant = Grant::new(&Terms { provider: &provider, purpose: Purpose::Actor, claims: None }, &proof);
    assert_eq!(grant.body(), "grant_type=client_credentials");
    assert_eq!(grant.authorization, proof.authorization);
}

#[test]
fn extra_parameters_are_added_and_never_replace_ours() {
    let extra = |name: &str| (name.to_owned(), "extra".to_owned());
    let provider = IdentityProvider {
        parameters: OURS.iter().map(|name| extra(name)).chain([extra("x")]).collect(),
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
        ("x", "extra"),
    ];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn a_saml_assertion_is_asked_for_in_both_versions_of_entra() {
    let provider = sample::provider("https://login.example");
    let common = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("client_id", "625391af-c675-43e5-8e44-edd3e30ceb15"),
        ("assertion", "a.b.c"),
        ("requested_token_use", "on_behalf_of"),
    ];
    for (kind, uri) in [
        (TokenType::Saml1, "urn:ietf:params:oauth:token-type:saml1"),
        (TokenType::Saml2, "urn:ietf:params:oauth:token-type:saml2"),
    ] {
        let v1 = Exchange { requested_token_type: Some(kind), ..of_resource("https://api.contoso.com") };
        let more = [("resource", "https://api.contoso.com"), ("requested_token_type", uri)];
        assert_eq!(asked(&provider, &v1, None), pairs(&[&common[..], &more].concat()));
        let v2 = Exchange {
            requested_token_type: Some(kind),
            ..Exchange::clone(&sample::exchange(&["https://api.contoso.com/.default"]))
        };
        let more = [("scope", "https://api.contoso.com/.default"), ("requested_token_type", uri)];
        assert_eq!(asked(&provider, &v2, None), pairs(&[&common[..], &more].concat()));
    }
}

#[test]
fn a_token_exchange_names_every_target_and_who_acts() {
    let provider = sample::oidc("https://id.example", None, GrantType::TokenExchange);
    let exchange = Exchange {
        scopes: texts(&["read", "Write"]),
        resources: texts(&["https://a.example/", "https://b.example/"]),
        audiences: texts(&["c", "d"]),
        actor: Actor::Ourselves,
        requested_token_type: Some(TokenType::Jwt),
        ..Exchange::clone(&sample::exchange(&[]))
    };
    let common = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", "Orders"),
        ("subject_token", "a.b.c"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("scope", "read Write"),
        ("resource", "https://a.example/"),
        ("resource", "https://b.example/"),
        ("audience", "c"),
        ("audience", "d"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:jwt"),
    ];
    assert_eq!(asked(&provider, &exchange, None), pairs(&common));
    let acting =
        [("actor_token", "we"), ("actor_token_type", "urn:ietf:params:oauth:token-type:access_token")];
    assert_eq!(asked(&provider, &exchange, Some("we")), pairs(&[&common[..], &acting].concat()));
}

#[test]
fn elsewhere_than_at_entra_the_jwt_bearer_grant_says_only_what_it_is_told_to() {
    let provider = sample::oidc("https://id.example", None, GrantType::JwtBearer);
    let common = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("client_id", "Orders"),
        ("assertion", "a.b.c"),
    ];
    assert_eq!(asked(&provider, &sample::exchange(&[]), None), pairs(&common));
    let exchange = Exchange { scopes: texts(&["openid"]), ..of_resource("https://api.example") };
    let told = IdentityProvider {
        parameters: vec![("requested_token_use".into(), "on_behalf_of".into())],
        ..sample::oidc("https://id.example", None, GrantType::JwtBearer)
    };
    let more =
        [("requested_token_use", "on_behalf_of"), ("scope", "openid"), ("resource", "https://api.example")];
    assert_eq!(asked(&told, &exchange, None), pairs(&[&common[..], &more].concat()));
}

#[test]
fn an_idps_own_words_for_types_replace_the_standard_ones() {
    let odd = "urn:params:oauth:token-type:jwt";
    let provider = IdentityProvider {
        parameters: ["subject_token_type", "requested_token_type"]
            .map(|name| (name.into(), odd.into()))
            .into(),
        ..sample::oidc("https://id.example", None, GrantType::TokenExchange)
    };
    let exchange =
        Exchange { requested_token_type: Some(TokenType::Jwt), ..Exchange::clone(&sample::exchange(&["a"])) };
    let form: BTreeMap<_, _> = asked(&provider, &exchange, None).into_iter().collect();
    assert_eq!((form["subject_token_type"].as_str(), form["requested_token_type"].as_str()), (odd, odd));
    assert_eq!(requested_token_type(&provider, &exchange), Some(odd));
}

#[test]
fn a_request_of_our_own_says_nothing_of_a_user() {
    let mut parameters = vec![("organization".to_owned(), "contoso".to_owned())];
    parameters.extend(OF_THE_USER.map(|name| (name.to_owned(), "extra".to_owned())));
    let exchange = Exchange {
        scopes: texts(&["read"]),
        resources: texts(&["https://a.example/"]),
        audiences: texts(&["c"]),
        actor: Actor::Ourselves,
        requested_token_type: Some(TokenType::Jwt),
        ..Exchange::clone(&sample::exchange(&[]))
    };
    let provider = IdentityProvider {
        parameters: parameters.clone(),
        ..sample::oidc("https://id.example", None, GrantType::TokenExchange)
    };
    let common = [("grant_type", "client_credentials"), ("client_id", "Orders"), ("organization", "contoso")];
    let terms =
        Terms { provider: &provider, purpose: Purpose::Ourselves { exchange: &exchange }, claims: None };
    let target = [("scope", "read"), ("resource", "https://a.example/"), ("audience", "c")];
    assert_eq!(sorted(&terms), pairs(&[&common[..], &target].concat()));
    assert_eq!(terms.requested_token_type(), None);
    let terms = Terms { purpose: Purpose::Actor, ..terms };
    assert_eq!(sorted(&terms), pairs(&common));
    // Entra's first version knows no scope here
    let entra = sample::provider("https://login.example");
    let exchange = of_resource("https://graph.windows.net");
    let terms = Terms { provider: &entra, purpose: Purpose::Ourselves { exchange: &exchange }, claims: None };
    assert_eq!(
        sorted(&terms),
        pairs(&[
            ("grant_type", "client_credentials"),
            ("client_id", "625391af-c675-43e5-8e44-edd3e30ceb15"),
            ("resource", "https://graph.windows.net"),
        ])
    );
}

#[test]
fn claims_are_sent_once_whoever_asks_for_them() {
    const CHALLENGE: &str = " {\"access_token\" : {\"polids\":{\"essential\":true}}} ";
    let claims = |capabilities: &[&str], challenge: Option<&str>| {
        let provider = IdentityProvider {
            client_capabilities: texts(capabilities),
            ..sample::provider("https://login.example")
        };
        let (caller, exchange): (Caller, _) = (sample::caller("alice", 1), sample::exchange(&["a"]));
        let purpose = Purpose::User { exchange: &exchange, assertion: &caller.token, actor: None };
        let form = sorted(&Terms { provider: &provider, purpose, claims: challenge });
        let mut all = form.into_iter().filter(|(name, _)| name == "claims").map(|(_, value)| value);
        let first = all.next();
        assert_eq!(all.next(), None);
        first
    };
    assert_eq!(claims(&[], None), None);
    // a challenge goes back byte for byte where there is nothing to add
    assert_eq!(claims(&[], Some(CHALLENGE)).as_deref(), Some(CHALLENGE));
    assert_eq!(claims(&["cp1"], None).as_deref(), Some(r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#));
    assert_eq!(
        claims(&["cp1"], Some(CHALLENGE)).as_deref(),
        Some(r#"{"access_token":{"polids":{"essential":true},"xms_cc":{"values":["cp1"]}}}"#)
    );
}
