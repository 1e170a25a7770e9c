//! The stage as a whole: headers and policy in, caller or reason out. The network is not involved.

mod issuers;
mod memo;
mod oidc;
mod seeds;
mod signatures;
mod wycheproof;

use std::time::Duration;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::config::Demand;
use crate::config::Principals;
use crate::domain::caller::Principal;
use crate::domain::caller::UserKey;
use crate::domain::caller::claims_digest;
use crate::domain::clock::UnixTime;
use crate::pipeline::authenticate::jwks::KeySet;
use crate::pipeline::authenticate::keys::fetch::Fetched;
use crate::pipeline::authenticate::testing::CLIENT;
use crate::pipeline::authenticate::testing::KID;
use crate::pipeline::authenticate::testing::NOW;
use crate::pipeline::authenticate::testing::OTHER_TENANT;
use crate::pipeline::authenticate::testing::Signer;
use crate::pipeline::authenticate::testing::TENANT;
use crate::pipeline::authenticate::testing::cache;
use crate::pipeline::authenticate::testing::changed;
use crate::pipeline::authenticate::testing::name;
use crate::pipeline::authenticate::testing::outside;
use crate::pipeline::authenticate::testing::policy;
use crate::pipeline::authenticate::testing::provider;
use crate::pipeline::authenticate::testing::tenant;
use crate::pipeline::authenticate::testing::user_claims;

/// An authenticator of one provider that holds the usual key for both versions.
fn authenticator(provider: IdentityProvider, now: UnixTime) -> Authenticator {
    authenticator_holding(provider, now, &json!([Signer::rsa().jwk(KID)]))
}

fn authenticator_holding(provider: IdentityProvider, now: UnixTime, keys: &Value) -> Authenticator {
    let authenticator = unstarted(vec![provider], now);
    give_keys(&authenticator, 0, keys);
    authenticator
}

fn unstarted(providers: Vec<IdentityProvider>, now: UnixTime) -> Authenticator {
    // nobody fetches here, so there is nothing to wait for when a key is unknown
    let impatient = |provider| Arc::new(IdentityProvider { timeout: Duration::ZERO, ..provider });
    let providers: Vec<_> = providers.into_iter().map(impatient).collect();
    let outside = outside(&providers, &Clock::manual(now));
    Authenticator::new(&providers, &cache(), &outside)
}

fn give_keys(authenticator: &Authenticator, at: usize, keys: &Value) {
    let provider = &authenticator.providers[at];
    for source in provider.sources() {
        let document = json!({ "keys": keys }).to_string();
        let keys = KeySet::parse(document.as_bytes(), &provider.config.algorithms).unwrap();
        source.bring(Fetched { keys, tenant: None });
    }
}

fn headers(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    headers
}

fn check(authenticator: &Authenticator, token: &str, policy: &Policy) -> Result<Caller, Error> {
    check_from(authenticator, token, policy, None)
}

/// The same from a peer that showed a certificate of that digest.
fn check_from(
    authenticator: &Authenticator,
    token: &str,
    policy: &Policy,
    certificate: Option<&Digest>,
) -> Result<Caller, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(authenticator.caller(&headers(token), policy, certificate))
}

/// The reason a token is refused for, a malformed one's detail left out.
fn refused(authenticator: &Authenticator, token: &str, policy: &Policy) -> Option<Kind> {
    match check(authenticator, token, policy).err()?.kind {
        Kind::Malformed(_) => Some(Kind::Malformed("")),
        kind => Some(kind),
    }
}

const MALFORMED: Kind = Kind::Malformed("");

#[test]
fn a_good_token_makes_a_caller() {
    let token = Signer::rsa().token(&user_claims(json!({"roles": ["Clerk"], "exp": 1_800_003_600.5})));
    let caller = check(&authenticator(provider(), NOW), &token, &policy()).unwrap();
    assert_eq!(caller.token.expose(), token);
    let claims = &caller.claims;
    assert_eq!(claims.identity_provider, name("contoso"));
    assert_eq!(claims.tenant, Some(tenant(TENANT)));
    assert_eq!(claims.user, UserKey::entra("d5e979c7-3d2d-42af-8f30-727dd4c2d383"));
    assert_eq!(claims.client.as_deref(), Some("11111111-2222-3333-4444-555555555555"));
    assert!(claims.scopes.contains("orders.read") && claims.scopes.contains("orders.write"));
    assert_eq!(claims.roles, ["Clerk"]);
    assert_eq!(claims.principal, Principal::User);
    assert_eq!(claims.expires_on.as_seconds(), 1_800_003_600);
    assert_eq!(claims.not_before.map(UnixTime::as_seconds), Some(1_799_999_700));
    assert_eq!(claims.token_digest, Digest::of(token.as_bytes()));
    assert_eq!(claims.claims_digest, claims_digest(&claims.all));
    assert_eq!(claims.all["ver"], "2.0");
}

#[test]
fn version_1_tokens_are_as_good_as_version_2_tokens() {
    let changes = json!({
        "iss": format!("https://sts.windows.net/{TENANT}/"), "ver": "1.0", "aud": format!("api://{CLIENT}"),
        "azp": null, "appid": "b3150079-7beb-417f-a06a-3fdc78c32545",
    });
    let token = Signer::rsa().token(&user_claims(changes));
    let caller = check(&authenticator(provider(), NOW), &token, &policy()).unwrap();
    assert_eq!(caller.claims.client.as_deref(), Some("b3150079-7beb-417f-a06a-3fdc78c32545"));
}

#[test]
fn every_claim_that_is_wrong_is_refused_for_its_own_reason() {
    let authenticator = authenticator(provider(), NOW);
    let now = NOW.as_seconds();
    for (changes, reason) in [
        (json!({"exp": null}), MALFORMED),
        (json!({"exp": "1800003600"}), MALFORMED),
        (json!({"aud": [1]}), MALFORMED),
        (json!({"oid": null, "sub": null}), MALFORMED),
        (json!({"iss": null}), Kind::WrongIssuer),
        (json!({"iss": format!("https://login.microsoftonline.com/{OTHER_TENANT}/v2.0")}), Kind::WrongIssuer),
        (json!({"ver": "1.0"}), Kind::WrongIssuer),
        (json!({"ver": 2}), Kind::WrongIssuer),
        (json!({"exp": now - 60}), Kind::Expired),
        (json!({"exp": 0}), Kind::Expired),
        (json!({"exp": i64::MIN}), Kind::Expired),
        (json!({"nbf": now + 61}), Kind::NotYetValid),
        (json!({"nbf": i64::MAX}), Kind::NotYetValid),
        (json!({"aud": null}), Kind::WrongAudience),
        (json!({"aud": "https://graph.microsoft.com"}), Kind::WrongAudience),
        (json!({"aud": CLIENT.to_uppercase()}), Kind::WrongAudience),
        (json!({"aud": []}), Kind::WrongAudience),
        (json!({"tid": null}), Kind::TenantNotAllowed),
        (json!({"tid": "contoso"}), Kind::TenantNotAllowed),
        (json!({"tid": OTHER_TENANT}), Kind::TenantNotAllowed),
        (json!({"scp": null}), Kind::NotAnAccessToken),
        (json!({"scp": ""}), Kind::NotAnAccessToken),
        (json!({"scp": []}), Kind::NotAnAccessToken),
        (json!({"scp": " ", "roles": ["x"], "oid": "x", "sub": "x"}), Kind::AppTokenNotAllowed),
        (json!({"scp": null, "roles": [], "oid": "x", "sub": "x"}), Kind::NotAnAccessToken),
        (json!({"scp": null, "roles": ["x"]}), Kind::NotAnAccessToken),
        (json!({"scp": null, "oid": "x", "sub": "x"}), Kind::NotAnAccessToken),
        (json!({"scp": null, "roles": ["x"], "oid": "x", "sub": "x"}), Kind::AppTokenNotAllowed),
        (json!({"scp": null, "idtyp": "app"}), Kind::AppTokenNotAllowed),
        (json!({"idtyp": "app"}), Kind::AppTokenNotAllowed),
        (json!({"cnf": {"jkt": "x"}}), Kind::UnsupportedCnf),
        (json!({"cnf": "x"}), Kind::UnsupportedCnf),
        (json!({"cnf": []}), Kind::UnsupportedCnf),
    ] {
        let token = Signer::rsa().token(&user_claims(changes.clone()));
        assert_eq!(refused(&authenticator, &token, &policy()), Some(reason), "{changes}");
    }
    // what is tolerated
    for changes in [
        json!({"exp": now - 59}),
        json!({"nbf": now + 60}),
        json!({"nbf": null, "iat": null}),
        json!({"aud": ["x", CLIENT]}),
        json!({"ver": null}),
        json!({"tid": TENANT.to_uppercase()}),
        json!({"oid": null}),
        json!({"idtyp": "user"}),
    ] {
        let token = Signer::rsa().token(&user_claims(changes.clone()));
        assert_eq!(refused(&authenticator, &token, &policy()), None, "{changes}");
    }
    let null_cnf = user_claims(json!({})).to_string().replacen('{', r#"{"cnf":null,"#, 1);
    let token = Signer::rsa().sign(json!({}), &null_cnf);
    assert_eq!(refused(&authenticator, &token, &policy()), Some(Kind::UnsupportedCnf));
}

#[test]
fn every_header_that_is_wrong_is_refused_for_its_own_reason() {
    let authenticator = authenticator(provider(), NOW);
    let claims = user_claims(json!({})).to_string();
    for (changes, reason) in [
        (json!({"crit": ["b64"]}), Some(MALFORMED)),
        (json!({"kid": null}), Some(Kind::UnknownKey)),
        (json!({"kid": "../../etc/passwd"}), Some(Kind::UnknownKey)),
        (json!({"alg": "none"}), Some(Kind::AlgorithmNotAllowed)),
        (json!({"alg": "HS256"}), Some(Kind::AlgorithmNotAllowed)),
        (json!({"alg": "PS256"}), Some(Kind::AlgorithmNotAllowed)),
        (json!({"typ": "id+jwt"}), Some(Kind::NotAnAccessToken)),
        (json!({"typ": "dpop+jwt"}), Some(Kind::NotAnAccessToken)),
        (json!({"typ": ""}), Some(Kind::NotAnAccessToken)),
        (json!({"typ": null}), None),
        (json!({"typ": "application/AT+JWT"}), None),
        (json!({"nonce": "n", "x5t": "t", "jku": "http://127.0.0.1:1/", "jwk": {}, "x5c": []}), None),
    ] {
        let token = Signer::rsa().sign(changes.clone(), &claims);
        assert_eq!(refused(&authenticator, &token, &policy()), reason, "{changes}");
    }
}

#[test]
fn the_reasons_win_in_the_order_of_the_contract() {
    let now = NOW.as_seconds();
    let required = Policy {
        clients: vec!["some-client".into()],
        scopes: Demand::All(vec!["orders.admin".into()]),
        ..policy()
    };
    let authenticator = authenticator(provider(), NOW);
    // every fault at once; then they are mended one by one, from the front
    let mut header = json!({"crit": [], "alg": "HS256", "kid": "nobody's", "typ": "id+jwt"});
    let mut claims = user_claims(json!({
        "iss": "https://evil.example", "exp": now - 3600, "nbf": now + 3600, "aud": "x", "tid": OTHER_TENANT,
        "cnf": {}, "scp": null,
    }));
    let mut signer = Signer::other_rsa();
    let ours = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    enum Mend {
        Header(Value),
        Claims(Value),
        Signature,
    }
    for (reason, mend) in [
        (MALFORMED, Mend::Header(json!({"crit": null}))),
        (Kind::AlgorithmNotAllowed, Mend::Header(json!({"alg": "RS256"}))),
        (Kind::WrongIssuer, Mend::Claims(json!({"iss": ours}))),
        (Kind::UnknownKey, Mend::Header(json!({"kid": KID}))),
        (Kind::BadSignature, Mend::Signature),
        (Kind::Expired, Mend::Claims(json!({"exp": now + 7200}))),
        (Kind::NotYetValid, Mend::Claims(json!({"nbf": now}))),
        (Kind::WrongAudience, Mend::Claims(json!({"aud": CLIENT}))),
        (Kind::TenantNotAllowed, Mend::Claims(json!({"tid": TENANT}))),
        (Kind::NotAnAccessToken, Mend::Header(json!({"typ": "JWT"}))),
        (Kind::NotAnAccessToken, Mend::Claims(json!({"idtyp": "app"}))),
        (Kind::AppTokenNotAllowed, Mend::Claims(json!({"idtyp": null, "scp": "orders.read"}))),
        (Kind::UnsupportedCnf, Mend::Claims(json!({"cnf": null}))),
        (Kind::ClientNotAllowed, Mend::Claims(json!({"azp": "some-client"}))),
        (Kind::InsufficientScope, Mend::Claims(json!({"scp": "orders.admin"}))),
    ] {
        let token = signer.sign(header.clone(), &claims.to_string());
        assert_eq!(refused(&authenticator, &token, &required), Some(reason), "{header} {claims}");
        match mend {
            Mend::Header(changes) => header = changed(header, changes),
            Mend::Claims(changes) => claims = changed(claims, changes),
            Mend::Signature => signer = Signer::rsa(),
        }
    }
    assert_eq!(refused(&authenticator, &signer.sign(header, &claims.to_string()), &required), None);
}

#[test]
fn an_application_passes_where_applications_may() {
    let authenticator = authenticator(provider(), NOW);
    let open = Policy { principals: Principals::UsersAndApplications, ..policy() };
    for changes in [
        json!({"scp": null, "roles": ["Orders.Read.All"], "oid": "x", "sub": "x"}),
        json!({"scp": null, "idtyp": "app"}),
        json!({"idtyp": "app"}),
    ] {
        let token = Signer::rsa().token(&user_claims(changes));
        let caller = check(&authenticator, &token, &open).unwrap();
        assert_eq!(caller.claims.principal, Principal::Application);
    }
    let id_token = Signer::rsa().token(&user_claims(json!({"scp": null})));
    assert_eq!(refused(&authenticator, &id_token, &open), Some(Kind::NotAnAccessToken));
}

#[test]
fn whatever_is_configured_to_be_read_as_scopes_makes_no_user_of_an_application() {
    for scopes in ["roles", "groups", "tid"] {
        let claim_names = config::ClaimNames { scopes: scopes.into(), ..provider().claim_names };
        let authenticator = authenticator(IdentityProvider { claim_names, ..provider() }, NOW);
        let both = json!({"scp": null, "roles": ["Clerk"], "groups": ["g"]});
        let id_token = Signer::rsa().token(&user_claims(both.clone()));
        assert_eq!(refused(&authenticator, &id_token, &policy()), Some(Kind::NotAnAccessToken), "{scopes}");
        let application = Signer::rsa().token(&user_claims(changed(both, json!({"oid": "x", "sub": "x"}))));
        let reason = refused(&authenticator, &application, &policy());
        assert_eq!(reason, Some(Kind::AppTokenNotAllowed), "{scopes}");
        let user = Signer::rsa().token(&user_claims(json!({"roles": ["Clerk"], "groups": ["g"]})));
        assert_eq!(refused(&authenticator, &user, &policy()), None, "{scopes}");
    }
}

#[test]
fn claims_are_found_under_the_names_that_are_configured() {
    let claim_names = config::ClaimNames {
        user: Some("profile.id".into()),
        scopes: "scope".into(),
        roles: "realm_access.roles".into(),
    };
    let authenticator = authenticator(IdentityProvider { claim_names, ..provider() }, NOW);
    let changes = json!({
        "scope": ["a", "b"], "realm_access": {"roles": ["Clerk"]}, "profile": {"id": "u1"},
    });
    let token = Signer::rsa().token(&user_claims(changes.clone()));
    let caller = check(&authenticator, &token, &policy()).unwrap();
    let issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    assert_eq!(caller.claims.user, UserKey::subject(&issuer, "u1"));
    assert!(caller.claims.scopes.contains("b"));
    assert_eq!(caller.claims.roles, ["Clerk"]);
    for wrong in [
        json!({"scope": 1}),
        json!({"scope": {"a": 1}}),
        json!({"realm_access": {"roles": 1}}),
        json!({"profile": {"id": 7}}),
        json!({"profile": {"id": ""}}),
        json!({"profile": null}),
    ] {
        let token = Signer::rsa().token(&changed(user_claims(changes.clone()), wrong.clone()));
        assert_eq!(refused(&authenticator, &token, &policy()), Some(MALFORMED), "{wrong}");
    }
}

#[test]
fn without_an_object_id_the_user_is_the_subject_of_the_issuer() {
    let token = Signer::rsa().token(&user_claims(json!({"oid": null})));
    let caller = check(&authenticator(provider(), NOW), &token, &policy()).unwrap();
    let issuer = format!("https://login.microsoftonline.com/{TENANT}/v2.0");
    let expected = UserKey::subject(&issuer, "gT9kQL7hWEJTPh59be_YyuVMD1NLGbdBEXTalD3SqYc");
    assert_eq!(caller.claims.user, expected);
}

#[test]
fn a_number_without_bounds_costs_nothing() {
    let authenticator = authenticator(provider(), NOW);
    for number in ["1e1000000", "1e-1000000", &"9".repeat(9_000), "0.1e99999999999999999999"] {
        let claims = user_claims(json!({})).to_string().replacen('{', &format!(r#"{{"x":{number},"#), 1);
        let token = Signer::rsa().sign(json!({}), &claims);
        let reason = refused(&authenticator, &token, &policy());
        assert!(matches!(reason, None | Some(Kind::Malformed(_))), "{number}");
    }
    let claims = user_claims(json!({})).to_string().replacen('{', r#"{"x":1e1000000,"#, 1);
    let token = Signer::rsa().sign(json!({}), &claims);
    assert_eq!(refused(&authenticator, &token, &policy()), Some(MALFORMED));
}

#[test]
fn a_refusal_shows_nothing_of_the_token() {
    let token = Signer::rsa().token(&user_claims(json!({"aud": "canary-audience", "name": "canary-name"})));
    let authenticator = authenticator(provider(), NOW);
    let error = check(&authenticator, &token, &policy()).unwrap_err();
    let caller = Signer::rsa().token(&user_claims(json!({"name": "canary-name"})));
    let caller = check(&authenticator, &caller, &policy()).unwrap();
    let shown = format!("{error} {error:?} {caller:?}");
    assert!(!shown.contains("canary") && !shown.contains("eyJ"), "{shown}");
}

#[test]
fn any_claims_are_answered() {
    let authenticator = authenticator(provider(), NOW);
    let values = prop_oneof![
        Just(json!(null)),
        Just(json!({})),
        Just(json!([])),
        Just(json!([[]])),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    proptest!(|(claim in "iss|aud|exp|nbf|tid|oid|sub|scp|roles|azp|ver|cnf|idtyp", value in values)| {
        let mut claims = user_claims(json!({}));
        claims[&claim] = value;
        // what is signed is what is claimed, so that every check is reached
        let _ = refused(&authenticator, &Signer::rsa().token(&claims), &policy());
    });
}

#[test]
fn what_would_have_been_right_is_told_to_the_operator_and_nothing_that_the_token_says() {
    let authenticator = authenticator(provider(), NOW);
    let cause = |changes: Value| {
        let token = Signer::rsa().token(&user_claims(changes));
        check(&authenticator, &token, &policy()).unwrap_err().to_string()
    };
    let audiences = provider().audiences.join(", ");
    assert_eq!(
        cause(json!({"aud": "canary"})),
        format!("the token is meant for another audience: aud is none of {audiences}")
    );
    let app = "the token is an application's, and the route wants a user's: idtyp is app";
    // the second time it is remembered
    assert_eq!(cause(json!({"idtyp": "app"})), app);
    assert_eq!(cause(json!({"idtyp": "app"})), app);
}
