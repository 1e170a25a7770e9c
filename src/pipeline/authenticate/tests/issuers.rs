//! Whose keys and issuers count for whose tokens.

use serde_json::Value;
use serde_json::json;

use crate::config::Algorithm;
use crate::config::AuthorizationServer;
use crate::config::EntraVersion;
use crate::config::IdentityProvider;
use crate::config::Policy;
use crate::config::Tenancy;
use crate::pipeline::authenticate::Error;
use crate::pipeline::authenticate::Kind;
use crate::pipeline::authenticate::jwks::KeySet;
use crate::pipeline::authenticate::keys::fetch::Fetched;
use crate::pipeline::authenticate::testing::KID;
use crate::pipeline::authenticate::testing::NOW;
use crate::pipeline::authenticate::testing::OTHER_TENANT;
use crate::pipeline::authenticate::testing::Signer;
use crate::pipeline::authenticate::testing::TENANT;
use crate::pipeline::authenticate::testing::changed;
use crate::pipeline::authenticate::testing::entra;
use crate::pipeline::authenticate::testing::name;
use crate::pipeline::authenticate::testing::policy;
use crate::pipeline::authenticate::testing::provider;
use crate::pipeline::authenticate::testing::tenant;
use crate::pipeline::authenticate::testing::user_claims;
use crate::pipeline::authenticate::tests::authenticator;
use crate::pipeline::authenticate::tests::authenticator_holding;
use crate::pipeline::authenticate::tests::check;
use crate::pipeline::authenticate::tests::give_keys;
use crate::pipeline::authenticate::tests::refused;
use crate::pipeline::authenticate::tests::unstarted;

#[test]
fn a_key_of_another_issuer_does_not_count() {
    let with_issuer = |issuer: String| {
        let key = changed(Signer::rsa().jwk(KID), json!({ "issuer": issuer }));
        authenticator_holding(provider(), NOW, &json!([key]))
    };
    let token = Signer::rsa().token(&user_claims(json!({})));
    let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
    assert_eq!(refused(&with_issuer(template.into()), &token, &policy()), None);
    let personal = template.replace("{tenantid}", "9188040d-6c67-4c5b-b112-36a304b66dad");
    assert_eq!(refused(&with_issuer(personal), &token, &policy()), Some(Kind::UnknownKey));
}

#[test]
fn a_shared_endpoint_lets_in_the_tenants_that_are_listed() {
    let tenancy = Tenancy::Shared { endpoint: "common".into(), allowed: vec![tenant(TENANT)] };
    let authenticator = authenticator(
        IdentityProvider { server: AuthorizationServer::Entra(entra(tenancy)), ..provider() },
        NOW,
    );
    let of = |iss: &str, tid: &str| {
        let iss = format!("https://login.microsoftonline.com/{iss}/v2.0");
        let token = Signer::rsa().token(&user_claims(json!({"iss": iss, "tid": tid})));
        refused(&authenticator, &token, &policy())
    };
    assert_eq!(of(TENANT, TENANT), None);
    assert_eq!(of(OTHER_TENANT, OTHER_TENANT), Some(Kind::TenantNotAllowed));
    assert_eq!(of(OTHER_TENANT, TENANT), Some(Kind::TenantNotAllowed));
    assert_eq!(of(TENANT, OTHER_TENANT), Some(Kind::TenantNotAllowed));
    assert_eq!(of("{tenantid}", TENANT), Some(Kind::WrongIssuer));
    assert_eq!(of("common", TENANT), Some(Kind::WrongIssuer));
    // the reasons before it still come first
    let iss = format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0");
    let token = Signer::other_rsa().token(&user_claims(json!({"iss": iss, "tid": OTHER_TENANT})));
    assert_eq!(refused(&authenticator, &token, &policy()), Some(Kind::BadSignature));
}

#[test]
fn a_domain_is_undecided_until_its_tenant_is_known() {
    let tenancy = Tenancy::Domain("contoso.example".into());
    let authenticator = unstarted(
        vec![IdentityProvider { server: AuthorizationServer::Entra(entra(tenancy)), ..provider() }],
        NOW,
    );
    let token = Signer::rsa().token(&user_claims(json!({})));
    assert_eq!(refused(&authenticator, &token, &policy()), Some(Kind::KeysUnavailable));
    let foreign = Signer::rsa().token(&user_claims(json!({"iss": "https://evil.example"})));
    assert_eq!(refused(&authenticator, &foreign, &policy()), Some(Kind::WrongIssuer));

    let document = json!({ "keys": [Signer::rsa().jwk(KID)] }).to_string();
    let keys = || KeySet::parse(document.as_bytes(), &[Algorithm::RS256]).unwrap();
    let v2 = authenticator.providers[0].keys(Some(EntraVersion::V2));
    v2.bring(Fetched { keys: keys(), tenant: Some(tenant(TENANT)) });
    assert_eq!(refused(&authenticator, &token, &policy()), None);
    // the tenant is known, but not the keys of its version 1 tokens
    let v1 = json!({"iss": format!("https://sts.windows.net/{TENANT}/"), "ver": "1.0"});
    let v1 = Signer::rsa().token(&user_claims(v1));
    assert_eq!(refused(&authenticator, &v1, &policy()), Some(Kind::KeysUnavailable));
    // nor do another tenant's keys do for it
    authenticator.providers[0]
        .keys(Some(EntraVersion::V1))
        .bring(Fetched { keys: keys(), tenant: Some(tenant(OTHER_TENANT)) });
    assert_eq!(refused(&authenticator, &v1, &policy()), Some(Kind::WrongIssuer));
    v2.bring(Fetched { keys: keys(), tenant: Some(tenant(OTHER_TENANT)) });
    assert_eq!(refused(&authenticator, &token, &policy()), Some(Kind::WrongIssuer));
}

#[test]
fn keys_of_one_provider_do_not_verify_tokens_of_another() {
    let fabrikam = IdentityProvider {
        name: name("fabrikam"),
        server: AuthorizationServer::Entra(entra(Tenancy::Id(tenant(OTHER_TENANT)))),
        ..provider()
    };
    let authenticator = unstarted(vec![provider(), fabrikam], NOW);
    give_keys(&authenticator, 0, &json!([Signer::rsa().jwk("of-contoso")]));
    give_keys(&authenticator, 1, &json!([Signer::other_rsa().jwk("of-fabrikam")]));
    let both = Policy { identity_providers: vec![name("contoso"), name("fabrikam")], ..policy() };
    let iss = format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0");
    let fabrikams = user_claims(json!({"iss": iss, "tid": OTHER_TENANT})).to_string();

    let good = Signer::other_rsa().sign(json!({"kid": "of-fabrikam"}), &fabrikams);
    let caller = check(&authenticator, &good, &both).unwrap();
    assert_eq!(caller.claims.identity_provider, name("fabrikam"));
    assert_eq!(refused(&authenticator, &good, &policy()), Some(Kind::WrongIssuer));

    let forged = Signer::rsa().sign(json!({"kid": "of-contoso"}), &fabrikams);
    let error = check(&authenticator, &forged, &both).unwrap_err();
    assert_eq!(error, Error { identity_provider: Some(name("fabrikam")), ..Kind::UnknownKey.into() });
}

#[test]
fn the_provider_that_lets_a_tenant_in_is_preferred() {
    let tenancy = Tenancy::Shared { endpoint: "common".into(), allowed: vec![tenant(OTHER_TENANT)] };
    let shared = IdentityProvider {
        name: name("shared"),
        server: AuthorizationServer::Entra(entra(tenancy)),
        ..provider()
    };
    let authenticator = unstarted(vec![shared, provider()], NOW);
    give_keys(&authenticator, 0, &json!([Signer::rsa().jwk(KID)]));
    give_keys(&authenticator, 1, &json!([Signer::rsa().jwk(KID)]));
    let both = Policy { identity_providers: vec![name("shared"), name("contoso")], ..policy() };
    let caller = check(&authenticator, &Signer::rsa().token(&user_claims(json!({}))), &both).unwrap();
    assert_eq!(caller.claims.identity_provider, name("contoso"));
}

#[test]
fn without_keys_nobody_is_blamed_but_whoever_is_wrong_anyway() {
    let authenticator = unstarted(vec![provider()], NOW);
    let of = |header: Value, claims: Value| {
        let token = Signer::rsa().sign(header, &user_claims(claims).to_string());
        refused(&authenticator, &token, &policy())
    };
    assert!(!authenticator.ready());
    assert_eq!(of(json!({}), json!({})), Some(Kind::KeysUnavailable));
    assert_eq!(of(json!({"kid": null}), json!({"exp": 1})), Some(Kind::KeysUnavailable));
    assert_eq!(of(json!({"alg": "none"}), json!({})), Some(Kind::AlgorithmNotAllowed));
    assert_eq!(of(json!({}), json!({"iss": "https://evil.example"})), Some(Kind::WrongIssuer));
    give_keys(&authenticator, 0, &json!([Signer::rsa().jwk(KID)]));
    assert!(authenticator.ready());
}

#[test]
fn the_keys_of_one_token_version_are_not_enough_while_the_others_are_on_their_way() {
    let authenticator = unstarted(vec![provider()], NOW);
    let document = json!({"keys": [Signer::rsa().jwk(KID)]}).to_string();
    for (source, ready) in [
        (authenticator.providers[0].keys(Some(EntraVersion::V1)), false),
        (authenticator.providers[0].keys(Some(EntraVersion::V2)), true),
    ] {
        let keys = KeySet::parse(document.as_bytes(), &provider().algorithms).unwrap();
        source.bring(Fetched { keys, tenant: None });
        assert_eq!(authenticator.ready(), ready);
    }
}

#[test]
fn an_algorithm_of_another_provider_on_the_route_is_not_allowed() {
    let fabrikam = IdentityProvider {
        name: name("fabrikam"),
        server: AuthorizationServer::Entra(entra(Tenancy::Id(tenant(OTHER_TENANT)))),
        algorithms: vec![Algorithm::ES256],
        ..provider()
    };
    let authenticator = unstarted(vec![provider(), fabrikam], NOW);
    let both = Policy { identity_providers: vec![name("contoso"), name("fabrikam")], ..policy() };
    // no keys are needed to tell
    let es256 = Signer::of(Algorithm::ES256).token(&user_claims(json!({})));
    assert_eq!(refused(&authenticator, &es256, &both), Some(Kind::AlgorithmNotAllowed));
    let elsewhere = Signer::of(Algorithm::ES256).token(&user_claims(json!({"iss": "https://evil.example"})));
    assert_eq!(refused(&authenticator, &elsewhere, &both), Some(Kind::WrongIssuer));
}
