//! The example tokens of Microsoft's On-Behalf-Of pages of 2017 and 2018.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;

use crate::config::AuthorizationServer;
use crate::config::IdentityProvider;
use crate::config::Tenancy;
use crate::domain::clock::UnixTime;
use crate::pipeline::authenticate::Kind;
use crate::pipeline::authenticate::testing::Signer;
use crate::pipeline::authenticate::testing::changed;
use crate::pipeline::authenticate::testing::entra;
use crate::pipeline::authenticate::testing::policy;
use crate::pipeline::authenticate::testing::provider;
use crate::pipeline::authenticate::testing::tenant;
use crate::pipeline::authenticate::tests::authenticator;
use crate::pipeline::authenticate::tests::refused;

fn seed(id: &str) -> String {
    let seeds: Value = serde_json::from_str(include_str!("../../../../tests/vectors/seeds.json")).unwrap();
    seeds["tokens"][id].as_str().unwrap().to_owned()
}

fn claims_of(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// The seed's claims signed by our key, checked at its `iat` by a provider of its tenant.
fn at_issue(claims: &Value, audience: &str) -> Option<Kind> {
    let provider = IdentityProvider {
        server: AuthorizationServer::Entra(entra(Tenancy::Id(tenant(claims["tid"].as_str().unwrap())))),
        audiences: vec![audience.into()],
        ..provider()
    };
    let now = UnixTime::from_seconds(claims["iat"].as_i64().unwrap());
    refused(&authenticator(provider, now), &Signer::rsa().token(claims), &policy())
}

#[test]
fn the_version_1_user_token_is_accepted() {
    let claims = claims_of(&seed("TV-J2"));
    assert_eq!(at_issue(&claims, claims["aud"].as_str().unwrap()), None);
}

#[test]
fn the_id_token_that_posed_as_an_assertion_is_no_access_token() {
    let claims = claims_of(&seed("TV-J1"));
    assert_eq!(at_issue(&claims, claims["aud"].as_str().unwrap()), Some(Kind::NotAnAccessToken));
}

#[test]
fn the_token_for_graph_has_the_wrong_audience() {
    let reason = at_issue(&claims_of(&seed("TV-J7")), "625391af-c675-43e5-8e44-edd3e30ceb15");
    assert_eq!(reason, Some(Kind::WrongAudience));
}

#[test]
fn an_application_s_token_is_refused_on_a_route_for_users() {
    let claims = claims_of(&seed("TV-J2"));
    let audience = claims["aud"].as_str().unwrap().to_owned();
    let app = json!({"scp": null, "roles": ["Orders.Read.All"], "sub": claims["oid"]});
    assert_eq!(at_issue(&changed(claims, app), &audience), Some(Kind::AppTokenNotAllowed));
}

#[test]
fn the_unsigned_id_token_is_refused_for_its_algorithm_as_it_stands() {
    let token = seed("TV-J6");
    let claims = claims_of(&token);
    let tenancy = Tenancy::Id(tenant(claims["tid"].as_str().unwrap()));
    let provider = IdentityProvider { server: AuthorizationServer::Entra(entra(tenancy)), ..provider() };
    let now = UnixTime::from_seconds(claims["iat"].as_i64().unwrap());
    let reason = refused(&authenticator(provider, now), &token, &policy());
    assert_eq!(reason, Some(Kind::AlgorithmNotAllowed));
}
