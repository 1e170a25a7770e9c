//! Tokens of servers that are not Entra.

use serde_json::Value;
use serde_json::json;

use crate::config::Algorithm;
use crate::config::AuthorizationServer;
use crate::config::ClaimNames;
use crate::config::Demand;
use crate::config::IdentityProvider;
use crate::config::Policy;
use crate::config::Principals;
use crate::domain::caller::Principal;
use crate::domain::caller::UserKey;
use crate::domain::digest::Digest;
use crate::pipeline::authenticate::Authenticator;
use crate::pipeline::authenticate::Error;
use crate::pipeline::authenticate::Kind;
use crate::pipeline::authenticate::testing::KID;
use crate::pipeline::authenticate::testing::NOW;
use crate::pipeline::authenticate::testing::PARTNER;
use crate::pipeline::authenticate::testing::Signer;
use crate::pipeline::authenticate::testing::changed;
use crate::pipeline::authenticate::testing::name;
use crate::pipeline::authenticate::testing::oidc;
use crate::pipeline::authenticate::testing::partner;
use crate::pipeline::authenticate::testing::partner_claims;
use crate::pipeline::authenticate::testing::policy;
use crate::pipeline::authenticate::testing::provider;
use crate::pipeline::authenticate::testing::user_claims;
use crate::pipeline::authenticate::tests::MALFORMED;
use crate::pipeline::authenticate::tests::authenticator_holding;
use crate::pipeline::authenticate::tests::check;
use crate::pipeline::authenticate::tests::check_from;
use crate::pipeline::authenticate::tests::give_keys;
use crate::pipeline::authenticate::tests::refused;
use crate::pipeline::authenticate::tests::unstarted;

fn partners() -> Policy {
    Policy { identity_providers: vec![name("partner")], ..policy() }
}

fn everybodys() -> Policy {
    Policy { principals: Principals::UsersAndApplications, ..partners() }
}

fn holding(provider: IdentityProvider, keys: Value) -> Authenticator {
    authenticator_holding(provider, NOW, &keys)
}

fn of_partner() -> Authenticator {
    holding(partner(), json!([Signer::rsa().jwk(KID)]))
}

fn at_jwt(claims: &Value) -> String {
    Signer::rsa().sign(json!({"typ": "at+jwt"}), &claims.to_string())
}

#[test]
fn a_user_is_named_by_issuer_and_subject() {
    let changes = json!({"roles": "Clerk", "oid": "d5e979c7-3d2d-42af-8f30-727dd4c2d383", "tid": 7});
    let caller = check(&of_partner(), &at_jwt(&partner_claims(changes)), &partners()).unwrap();
    let claims = &caller.claims;
    assert_eq!(claims.identity_provider, name("partner"));
    assert_eq!(claims.issuer, PARTNER);
    assert_eq!(claims.tenant, None);
    assert_eq!(claims.user, UserKey::subject(PARTNER, "alice"));
    assert_eq!(claims.client.as_deref(), Some("spa"));
    assert!(claims.scopes.contains("orders.read") && claims.scopes.contains("orders.write"));
    assert_eq!(claims.roles, ["Clerk"]);
    assert_eq!(claims.principal, Principal::User);
}

#[test]
fn the_same_reasons_hold_as_for_any_token() {
    let authenticator = of_partner();
    let now = NOW.as_seconds();
    for (changes, reason) in [
        (json!({}), None),
        (json!({"exp": now - 60}), Some(Kind::Expired)),
        (json!({"exp": null}), Some(MALFORMED)),
        (json!({"exp": "soon"}), Some(MALFORMED)),
        (json!({"nbf": now + 61}), Some(Kind::NotYetValid)),
        (json!({"nbf": 0}), None),
        (json!({"aud": "elsewhere"}), Some(Kind::WrongAudience)),
        (json!({"aud": null}), Some(Kind::WrongAudience)),
        (json!({"aud": ["elsewhere", "orders"]}), None),
        (json!({"iss": "https://id.example/realms/b2b/"}), Some(Kind::WrongIssuer)),
        (json!({"iss": null}), Some(Kind::WrongIssuer)),
        (json!({"sub": 7}), Some(MALFORMED)),
        (json!({"client_id": ["spa"]}), Some(MALFORMED)),
        (json!({"scope": {"orders": true}}), Some(MALFORMED)),
        (json!({"sub": null, "client_id": null}), Some(MALFORMED)),
        (json!({"sub": "spa"}), Some(Kind::AppTokenNotAllowed)),
        (json!({"cnf": {"jkt": "x"}}), Some(Kind::UnsupportedCnf)),
    ] {
        let token = at_jwt(&partner_claims(changes.clone()));
        assert_eq!(refused(&authenticator, &token, &partners()), reason, "{changes}");
    }
    let forged = Signer::other_rsa().token(&partner_claims(json!({})));
    assert_eq!(refused(&authenticator, &forged, &partners()), Some(Kind::BadSignature));
}

#[test]
fn an_application_passes_where_the_route_lets_it_and_is_nobody_s_namesake() {
    let authenticator = of_partner();
    let of = |changes: Value| check(&authenticator, &at_jwt(&partner_claims(changes)), &everybodys());
    let own = of(json!({"sub": "spa"})).unwrap().claims;
    assert_eq!((own.principal, &own.user), (Principal::Application, &UserKey::subject(PARTNER, "spa")));
    let nameless = of(json!({"sub": null})).unwrap().claims;
    assert_eq!(nameless.user, UserKey::application(PARTNER, "spa"));
    assert_ne!(nameless.user, UserKey::subject(PARTNER, "spa"));
    // remembered or not, a route for users does not take it
    let token = at_jwt(&partner_claims(json!({"sub": "spa"})));
    assert_eq!(refused(&authenticator, &token, &everybodys()), None);
    assert_eq!(refused(&authenticator, &token, &partners()), Some(Kind::AppTokenNotAllowed));
}

#[test]
fn an_id_token_is_no_access_token() {
    let authenticator = of_partner();
    let of = |header: Value, changes: Value| {
        let token = Signer::rsa().sign(header, &partner_claims(changes).to_string());
        refused(&authenticator, &token, &partners())
    };
    for (header, changes, is_taken) in [
        (json!({}), json!({}), true),
        (json!({"typ": "application/AT+JWT"}), json!({}), true),
        (json!({"typ": null}), json!({}), true),
        (json!({"typ": "id+jwt"}), json!({}), false),
        (json!({"typ": "dpop+jwt"}), json!({}), false),
        (json!({"typ": "logout+jwt"}), json!({}), false),
        (json!({}), json!({"nonce": "n"}), false),
        (json!({}), json!({"at_hash": "h"}), false),
        (json!({}), json!({"aud": "orders-proxy", "scope": null}), false),
        (json!({}), json!({"typ": "ID"}), false),
    ] {
        let reason = if is_taken { None } else { Some(Kind::NotAnAccessToken) };
        assert_eq!(of(header.clone(), changes.clone()), reason, "{header} {changes}");
    }
    // an id_token has groups too, whatever they are read as
    let claim_names = ClaimNames { scopes: "groups".into(), ..partner().claim_names };
    let by_group = IdentityProvider { claim_names, ..partner() };
    let by_group = holding(by_group, json!([Signer::rsa().jwk(KID)]));
    let id_token = partner_claims(json!({"aud": "orders-proxy", "scope": null, "groups": ["clerks"]}));
    let reason = refused(&by_group, &Signer::rsa().token(&id_token), &partners());
    assert_eq!(reason, Some(Kind::NotAnAccessToken));
    let strict = IdentityProvider { token_types: vec!["at+jwt".into()], ..partner() };
    let strict = holding(strict, json!([Signer::rsa().jwk(KID)]));
    let claims = partner_claims(json!({}));
    assert_eq!(refused(&strict, &Signer::rsa().token(&claims), &partners()), Some(Kind::NotAnAccessToken));
    let long = Signer::rsa().sign(json!({"typ": "application/at+jwt"}), &claims.to_string());
    assert_eq!(refused(&strict, &long, &partners()), None);
}

#[test]
fn claims_are_found_where_the_configuration_says() {
    let claim_names = ClaimNames {
        user: Some("identity.email".into()),
        scopes: "scp".into(),
        roles: "realm_access.roles".into(),
    };
    let keycloak = IdentityProvider { claim_names, ..partner() };
    let authenticator = holding(keycloak, json!([Signer::rsa().jwk(KID)]));
    let claims = partner_claims(json!({
        "scope": "openid",
        "scp": ["orders.read", "orders.write"],
        "realm_access": {"roles": ["Clerk", "offline_access"]},
        "identity": {"email": "alice@partner.example"},
    }));
    let policy = Policy {
        scopes: Demand::All(vec!["orders.write".into()]),
        roles: Demand::Any(vec!["Clerk".into()]),
        ..partners()
    };
    let caller = check(&authenticator, &at_jwt(&claims), &policy).unwrap();
    assert_eq!(caller.claims.user, UserKey::subject(PARTNER, "alice@partner.example"));
    assert!(!caller.claims.scopes.contains("openid"));
    let poorer = changed(claims, json!({"realm_access": {"roles": []}}));
    assert_eq!(refused(&authenticator, &at_jwt(&poorer), &policy), Some(Kind::InsufficientScope));
}

#[test]
fn every_configured_algorithm_is_taken_and_no_other() {
    for algorithm in [Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        let signer = Signer::of(algorithm);
        let key = changed(signer.jwk(KID), json!({"alg": algorithm.name()}));
        let token = signer.token(&partner_claims(json!({})));
        let all = holding(partner(), json!([key]));
        assert_eq!(refused(&all, &token, &partners()), None, "{algorithm:?}");
        let others = IdentityProvider { algorithms: vec![Algorithm::RS256], ..partner() };
        let others = holding(others, json!([Signer::rsa().jwk(KID)]));
        assert_eq!(refused(&others, &token, &partners()), Some(Kind::AlgorithmNotAllowed), "{algorithm:?}");
    }
    // the header does not choose what a key is used for
    let key = changed(Signer::rsa().jwk(KID), json!({"alg": "RS256"}));
    let token = Signer::of(Algorithm::PS256).token(&partner_claims(json!({})));
    let reason = refused(&holding(partner(), json!([key])), &token, &partners());
    assert_eq!(reason, Some(Kind::AlgorithmNotAllowed));
}

#[test]
fn a_token_of_ad_fs_names_its_key_by_thumbprint() {
    let issuer = "http://fs.example/adfs/services/trust";
    let federation = IdentityProvider {
        server: AuthorizationServer::Oidc(oidc(issuer)),
        audiences: vec!["microsoft:identityserver:orders".into()],
        claim_names: ClaimNames { user: None, scopes: "scp".into(), roles: "roles".into() },
        ..partner()
    };
    let key = changed(Signer::rsa().jwk("other"), json!({"x5t": "qmEb9yLGOIyXHSoHvkDZGXf4Vbs"}));
    let authenticator = holding(federation, json!([key, Signer::other_rsa().jwk("spare")]));
    let claims = json!({
        "aud": "microsoft:identityserver:orders",
        "iss": issuer,
        "iat": NOW.as_seconds(),
        "exp": NOW.as_seconds() + 3600,
        "apptype": "Public",
        "appid": "spa",
        "authmethod": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
        "auth_time": "2027-01-15T08:00:00.123Z",
        "ver": "1.0",
        "scp": "user_impersonation openid",
        "sub": "VVcW3BqP0k",
    });
    // without `kid`
    let sign = |mut header: Value| {
        header["kid"] = Value::Null;
        Signer::rsa().sign(header, &claims.to_string())
    };
    let of = |header: Value| refused(&authenticator, &sign(header), &partners());
    assert_eq!(of(json!({"x5t": "qmEb9yLGOIyXHSoHvkDZGXf4Vbs"})), None);
    assert_eq!(of(json!({"x5t": "another"})), Some(Kind::UnknownKey));
    // there are two keys, and nothing says which
    assert_eq!(of(json!({})), Some(Kind::UnknownKey));
    let caller = check(&authenticator, &sign(json!({"x5t": "qmEb9yLGOIyXHSoHvkDZGXf4Vbs"})), &partners());
    assert_eq!(caller.unwrap().claims.user, UserKey::subject(issuer, "VVcW3BqP0k"));
}

#[test]
fn without_a_name_the_issuer_s_only_key_is_meant() {
    let unnamed = || Signer::rsa().sign(json!({"kid": null}), &partner_claims(json!({})).to_string());
    assert_eq!(refused(&of_partner(), &unnamed(), &partners()), None);
    let two = json!([Signer::rsa().jwk("one"), Signer::other_rsa().jwk("two")]);
    assert_eq!(refused(&holding(partner(), two), &unnamed(), &partners()), Some(Kind::UnknownKey));
    let of_two_kinds = json!([Signer::rsa().jwk("one"), Signer::of(Algorithm::ES256).jwk("two")]);
    assert_eq!(refused(&holding(partner(), of_two_kinds), &unnamed(), &partners()), None);
    // Entra always names its keys
    let entra = holding(provider(), json!([Signer::rsa().jwk(KID)]));
    let token = Signer::rsa().sign(json!({"kid": null}), &user_claims(json!({})).to_string());
    assert_eq!(refused(&entra, &token, &policy()), Some(Kind::UnknownKey));
}

#[test]
fn the_issuer_picks_among_entra_and_others_and_each_has_keys_of_its_own() {
    let second = IdentityProvider {
        name: name("second"),
        server: AuthorizationServer::Oidc(oidc("https://second.example")),
        ..partner()
    };
    let authenticator = unstarted(vec![provider(), partner(), second], NOW);
    // all three publish different keys under the same name
    give_keys(&authenticator, 0, &json!([Signer::rsa().jwk(KID)]));
    give_keys(&authenticator, 1, &json!([Signer::other_rsa().jwk(KID)]));
    give_keys(&authenticator, 2, &json!([Signer::of(Algorithm::ES256).jwk(KID)]));
    let all = ["contoso", "partner", "second"].map(name);
    let all = Policy { identity_providers: all.to_vec(), ..policy() };
    let contosos = user_claims(json!({}));
    let partners_own = partner_claims(json!({}));
    let seconds = partner_claims(json!({"iss": "https://second.example"}));
    let signers = [Signer::rsa(), Signer::other_rsa(), Signer::of(Algorithm::ES256)];
    for (own, (claims, of)) in
        [(&contosos, "contoso"), (&partners_own, "partner"), (&seconds, "second")].into_iter().enumerate()
    {
        for (at, signer) in signers.iter().enumerate() {
            let found = check(&authenticator, &signer.token(claims), &all);
            match found {
                Ok(caller) => assert!(at == own && caller.claims.identity_provider == name(of)),
                Err(Error { identity_provider, .. }) => {
                    assert!(at != own, "{of}");
                    assert_eq!(identity_provider, Some(name(of)), "{at}");
                }
            }
        }
    }
    // a route takes the issuers it lists
    let token = Signer::other_rsa().token(&partners_own);
    assert_eq!(refused(&authenticator, &token, &policy()), Some(Kind::WrongIssuer));
}

#[test]
fn a_bound_token_is_worth_something_to_its_holder_alone() {
    let authenticator = of_partner();
    let thumbprint = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    let holder = Digest::from(std::array::from_fn::<u8, 32, _>(|at| at as u8));
    let thief = Digest::of(b"another certificate");
    for (signer, claims, provider, policy) in [
        (Signer::rsa(), partner_claims(json!({"cnf": {"x5t#S256": thumbprint}})), None, partners()),
        (Signer::rsa(), user_claims(json!({"cnf": {"x5t#S256": thumbprint}})), Some(provider()), policy()),
    ] {
        let entra = provider.map(|provider| holding(provider, json!([Signer::rsa().jwk(KID)])));
        let authenticator = entra.as_ref().unwrap_or(&authenticator);
        let token = signer.token(&claims);
        let by = |certificate: Option<&Digest>| {
            check_from(authenticator, &token, &policy, certificate).err().map(|error| error.kind)
        };
        // before it is remembered, and after
        for _ in 0..2 {
            assert_eq!(by(None), Some(Kind::UnsupportedCnf));
            assert_eq!(by(Some(&thief)), Some(Kind::UnsupportedCnf));
            assert_eq!(by(Some(&holder)), None);
        }
        // a certificate binds no token that is not bound
        let unbound = signer.token(&changed(claims, json!({"cnf": null})));
        assert!(check_from(authenticator, &unbound, &policy, Some(&thief)).is_ok());
    }
}
