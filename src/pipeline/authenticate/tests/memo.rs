//! What a second request with the same token costs, and what it is still refused for.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::config;
use crate::config::AuthorizationServer;
use crate::config::Demand;
use crate::config::EntraVersion;
use crate::config::IdentityProvider;
use crate::config::Policy;
use crate::config::Principals;
use crate::config::Tenancy;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::pipeline::authenticate::Authenticator;
use crate::pipeline::authenticate::Error;
use crate::pipeline::authenticate::Kind;
use crate::pipeline::authenticate::jwks::KeySet;
use crate::pipeline::authenticate::keys::fetch::Fetched;
use crate::pipeline::authenticate::memo::Memoised;
use crate::pipeline::authenticate::testing::KID;
use crate::pipeline::authenticate::testing::NOW;
use crate::pipeline::authenticate::testing::OTHER_TENANT;
use crate::pipeline::authenticate::testing::Signer;
use crate::pipeline::authenticate::testing::TENANT;
use crate::pipeline::authenticate::testing::cache;
use crate::pipeline::authenticate::testing::entra;
use crate::pipeline::authenticate::testing::name;
use crate::pipeline::authenticate::testing::outside;
use crate::pipeline::authenticate::testing::policy;
use crate::pipeline::authenticate::testing::provider;
use crate::pipeline::authenticate::testing::tenant;
use crate::pipeline::authenticate::testing::user_claims;
use crate::pipeline::authenticate::tests::authenticator;
use crate::pipeline::authenticate::tests::check;
use crate::pipeline::authenticate::tests::give_keys;
use crate::pipeline::authenticate::tests::refused;
use crate::pipeline::authenticate::tests::unstarted;

/// Whether the second of two requests was answered from memory: a verification makes claims of its own.
fn is_remembered(authenticator: &Authenticator, token: &str, policies: [&Policy; 2]) -> bool {
    let [first, second] = policies.map(|policy| check(authenticator, token, policy).unwrap().claims);
    Arc::ptr_eq(&first, &second)
}

fn is_twice_remembered(authenticator: &Authenticator, token: &str) -> bool {
    is_remembered(authenticator, token, [&policy(), &policy()])
}

fn good_token() -> String {
    Signer::rsa().token(&user_claims(json!({})))
}

#[test]
fn a_token_seen_before_costs_no_second_verification() {
    let authenticator = authenticator(provider(), NOW);
    let token = good_token();
    assert!(is_twice_remembered(&authenticator, &token));
    let caller = check(&authenticator, &token, &policy()).unwrap();
    assert_eq!(caller.token.expose(), token);
    assert_eq!(caller.claims.token_digest, Digest::of(token.as_bytes()));
    // nothing but the digest is looked at: a forged token would pass, were it ever filed
    let forged = Signer::other_rsa().token(&user_claims(json!({})));
    assert_eq!(refused(&authenticator, &forged, &policy()), Some(Kind::BadSignature));
    let known = authenticator.memo.find(&Digest::of(token.as_bytes())).unwrap();
    let mut claims = crate::pipeline::authenticate::testing::claims(json!({}));
    claims.token_digest = Digest::of(forged.as_bytes());
    authenticator.memo.keep(Memoised {
        claims: Arc::new(claims),
        evidence: known.evidence,
        holder: None,
        sign: "",
        rivals: Vec::new(),
        kept_for: Duration::from_secs(1),
    });
    assert_eq!(refused(&authenticator, &forged, &policy()), None);
}

#[test]
fn a_token_that_differs_in_any_byte_is_another_token() {
    let authenticator = authenticator(provider(), NOW);
    let token = good_token();
    assert_eq!(refused(&authenticator, &token, &policy()), None);
    for at in [0, token.len() / 2, token.len() - 100] {
        let mut other = token.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        assert_ne!(refused(&authenticator, std::str::from_utf8(&other).unwrap(), &policy()), None, "{at}");
    }
}

#[test]
fn what_is_refused_for_itself_is_not_remembered() {
    let authenticator = authenticator(provider(), NOW);
    let now = NOW.as_seconds();
    let forged = Signer::other_rsa().token(&user_claims(json!({})));
    let changed =
        [json!({"exp": now - 60}), json!({"nbf": now + 61}), json!({"aud": "x"}), json!({"cnf": {}})];
    let tokens = changed.map(|changes| Signer::rsa().token(&user_claims(changes)));
    for token in tokens.iter().chain([&forged]) {
        let first = refused(&authenticator, token, &policy());
        assert!(first.is_some());
        assert_eq!(refused(&authenticator, token, &policy()), first);
    }
    assert_eq!(authenticator.memo.tokens(), 0);
}

#[test]
fn times_are_checked_on_every_request() {
    let authenticator = authenticator(provider(), NOW);
    let token = good_token(); // valid from 300 s ago for 3600 s, give or take 60
    let at = |moment: UnixTime| {
        authenticator.clock.set_wall(moment);
        refused(&authenticator, &token, &policy())
    };
    assert_eq!(at(NOW), None);
    let (begin, end) = (NOW.before(Duration::from_secs(360)), NOW.after(Duration::from_secs(3660)));
    let second = Duration::from_secs(1);
    for (moment, reason) in [
        (end.before(second), None),
        (end, Some(Kind::Expired)),
        (end.after(second), Some(Kind::Expired)),
        // the clock is set back: the token counts again while it is valid, and not before
        (NOW, None),
        (begin, None),
        (begin.before(second), Some(Kind::NotYetValid)),
        (NOW, None),
    ] {
        assert_eq!(at(moment), reason, "{moment:?}");
    }
    assert!(is_twice_remembered(&authenticator, &token));
}

#[test]
fn another_route_s_policy_is_applied_to_a_remembered_token() {
    let authenticator = authenticator(provider(), NOW);
    let token = good_token();
    assert_eq!(refused(&authenticator, &token, &policy()), None);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let strict = [
        (Policy { scopes: Demand::All(words(&["orders.admin"])), ..policy() }, Kind::InsufficientScope),
        (Policy { roles: Demand::Any(words(&["Clerk"])), ..policy() }, Kind::InsufficientScope),
        (Policy { claims: vec![("acr".into(), "1".into())], ..policy() }, Kind::InsufficientScope),
        (Policy { clients: words(&["another"]), ..policy() }, Kind::ClientNotAllowed),
    ];
    // the log says whose token it is, also of one that was never seen before
    let user = Some(check(&authenticator, &token, &policy()).unwrap().claims.user_digest);
    for (policy, kind) in &strict {
        let expected = Error { identity_provider: Some(name("contoso")), user, ..Error::from(*kind) };
        assert_eq!(check(&authenticator, &token, policy).unwrap_err(), expected);
        assert_eq!(check(&self::authenticator(provider(), NOW), &token, policy).unwrap_err(), expected);
    }
    assert_eq!(refused(&authenticator, &token, &policy()), None);
    assert_eq!(authenticator.memo.tokens(), 1);
}

#[test]
fn a_token_that_only_its_route_refuses_is_remembered_for_the_others() {
    let authenticator = authenticator(provider(), NOW);
    let token = good_token();
    let strict = Policy { scopes: Demand::All(vec!["orders.admin".into()]), ..policy() };
    assert_eq!(refused(&authenticator, &token, &strict), Some(Kind::InsufficientScope));
    let known = authenticator.memo.find(&Digest::of(token.as_bytes())).unwrap();
    let caller = check(&authenticator, &token, &policy()).unwrap();
    assert!(Arc::ptr_eq(&caller.claims, &known.claims));
}

#[test]
fn an_application_remembered_elsewhere_does_not_pass_where_users_must_be() {
    let authenticator = authenticator(provider(), NOW);
    let token = Signer::rsa().token(&user_claims(json!({"scp": null, "idtyp": "app"})));
    let open = Policy { principals: Principals::UsersAndApplications, ..policy() };
    assert!(is_remembered(&authenticator, &token, [&open, &open]));
    assert_eq!(refused(&authenticator, &token, &policy()), Some(Kind::AppTokenNotAllowed));
}

#[test]
fn a_key_that_is_gone_takes_along_what_it_signed() {
    let authenticator = authenticator(provider(), NOW);
    let token = good_token();
    let (ours, another) = (Signer::rsa().jwk(KID), Signer::other_rsa().jwk("another"));
    assert!(is_twice_remembered(&authenticator, &token));
    let first = check(&authenticator, &token, &policy()).unwrap().claims;
    let again = || check(&authenticator, &token, &policy()).unwrap().claims;

    give_keys(&authenticator, 0, &json!([ours]));
    assert!(Arc::ptr_eq(&first, &again()), "the same keys, fetched again");
    give_keys(&authenticator, 0, &json!([another, ours]));
    let second = again();
    assert!(!Arc::ptr_eq(&first, &second), "a key more: verified anew");
    assert!(Arc::ptr_eq(&second, &again()));
    give_keys(&authenticator, 0, &json!([another]));
    assert_eq!(refused(&authenticator, &token, &policy()), Some(Kind::UnknownKey));
    // another key under the same id
    give_keys(&authenticator, 0, &json!([Signer::other_rsa().jwk(KID)]));
    assert_eq!(refused(&authenticator, &token, &policy()), Some(Kind::BadSignature));
    give_keys(&authenticator, 0, &json!([ours]));
    assert!(!Arc::ptr_eq(&second, &again()), "keys that came back");
}

#[test]
fn a_remembered_token_does_not_outlive_keys_that_are_too_old() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let authenticator = authenticator(provider(), NOW);
    let token = Signer::rsa().token(&user_claims(json!({"exp": NOW.as_seconds() + 1_000_000})));
    assert_eq!(refused(&authenticator, &token, &policy()), None);
    authenticator.clock.advance(DAY);
    assert!(is_twice_remembered(&authenticator, &token));
    authenticator.clock.advance(Duration::from_secs(1));
    assert_eq!(refused(&authenticator, &token, &policy()), Some(Kind::KeysUnavailable));
    give_keys(&authenticator, 0, &json!([Signer::rsa().jwk(KID)]));
    assert!(is_twice_remembered(&authenticator, &token));
}

#[test]
fn a_provider_that_is_not_on_the_route_is_not_let_in_by_memory() {
    let fabrikam = IdentityProvider {
        name: name("fabrikam"),
        server: AuthorizationServer::Entra(entra(Tenancy::Id(tenant(OTHER_TENANT)))),
        ..provider()
    };
    let authenticator = unstarted(vec![provider(), fabrikam], NOW);
    give_keys(&authenticator, 0, &json!([Signer::rsa().jwk(KID)]));
    give_keys(&authenticator, 1, &json!([Signer::rsa().jwk(KID)]));
    let of = |names: &[&str]| Policy {
        identity_providers: names.iter().map(|text| name(text)).collect(),
        ..policy()
    };
    let token = good_token();
    let (contoso, both) = (of(&["contoso"]), of(&["fabrikam", "contoso"]));
    assert!(is_remembered(&authenticator, &token, [&contoso, &both]));
    assert_eq!(refused(&authenticator, &token, &of(&["fabrikam"])), Some(Kind::WrongIssuer));
    assert!(is_remembered(&authenticator, &token, [&both, &contoso]));
}

#[test]
fn two_providers_of_one_issuer_are_told_apart() {
    let second = IdentityProvider { name: name("second"), ..provider() };
    let other_audience =
        IdentityProvider { name: name("third"), audiences: vec!["another".into()], ..provider() };
    let authenticator = unstarted(vec![provider(), second, other_audience], NOW);
    for at in 0..3 {
        give_keys(&authenticator, at, &json!([Signer::rsa().jwk(KID)]));
    }
    let of = |names: &[&str]| Policy {
        identity_providers: names.iter().map(|text| name(text)).collect(),
        ..policy()
    };
    let token = good_token();
    // whatever was asked before, each route gets the answer it would get first
    let routes = [
        (&["contoso"][..], Ok(name("contoso"))),
        (&["second"], Ok(name("second"))),
        (&["second", "contoso"], Ok(name("second"))),
        (&["contoso", "second"], Ok(name("contoso"))),
        (&["third"], Err(Kind::WrongAudience)),
        (&["third", "contoso"], Err(Kind::WrongAudience)),
    ];
    for (before, _) in &routes {
        for (names, expected) in &routes {
            let _ = check(&authenticator, &token, &of(before));
            let found = check(&authenticator, &token, &of(names));
            let found =
                found.map(|caller| caller.claims.identity_provider.clone()).map_err(|error| error.kind);
            assert_eq!(&found, expected, "{names:?} after {before:?}");
        }
    }
}

#[test]
fn a_domain_that_comes_to_stand_for_another_tenant_takes_along_both_versions() {
    let tenancy = Tenancy::Domain("contoso.example".into());
    let authenticator = unstarted(
        vec![IdentityProvider { server: AuthorizationServer::Entra(entra(tenancy)), ..provider() }],
        NOW,
    );
    let document = json!({ "keys": [Signer::rsa().jwk(KID)] }).to_string();
    let keys = |of: &str| {
        let keys = KeySet::parse(document.as_bytes(), &provider().algorithms).unwrap();
        Fetched { keys, tenant: Some(tenant(of)) }
    };
    authenticator.providers[0].keys(Some(EntraVersion::V1)).bring(keys(TENANT));
    authenticator.providers[0].keys(Some(EntraVersion::V2)).bring(keys(TENANT));
    let v1 = json!({"iss": format!("https://sts.windows.net/{TENANT}/"), "ver": "1.0"});
    let v1 = Signer::rsa().token(&user_claims(v1));
    assert!(is_twice_remembered(&authenticator, &good_token()));
    assert!(is_twice_remembered(&authenticator, &v1));
    authenticator.providers[0].keys(Some(EntraVersion::V2)).bring(keys(OTHER_TENANT));
    assert_eq!(refused(&authenticator, &good_token(), &policy()), Some(Kind::WrongIssuer));
    assert_eq!(refused(&authenticator, &v1, &policy()), Some(Kind::WrongIssuer));
}

#[test]
fn memory_is_bounded_in_entries_and_in_bytes() {
    let numbered = |number: usize, filling: &Value| {
        Signer::rsa().token(&user_claims(json!({"uti": number.to_string(), "filling": filling})))
    };
    for (bounds, filling, most) in [
        (config::Cache { max_entries: 5, ..cache() }, Value::Null, 5),
        (config::Cache { max_bytes: 40_000, ..cache() }, json!("x".repeat(4_000)), 5),
        (config::Cache { max_bytes: 40_000, ..cache() }, Value::from(vec!["x"; 100]), 7),
    ] {
        let providers = [Arc::new(provider())];
        let outside = outside(&providers, &Clock::manual(NOW));
        let authenticator = Authenticator::new(&providers, &bounds, &outside);
        give_keys(&authenticator, 0, &json!([Signer::rsa().jwk(KID)]));
        for number in 0..20 {
            assert_eq!(refused(&authenticator, &numbered(number, &filling), &policy()), None);
            assert!(authenticator.memo.tokens() <= most, "{bounds:?}");
        }
        assert!(authenticator.memo.tokens() > 0);
        assert!(is_twice_remembered(&authenticator, &numbered(19, &filling)));
    }
}

#[test]
fn a_flood_by_one_user_evicts_only_that_user_s_tokens() {
    let bounds = config::Cache { max_entries: 100, ..cache() };
    let providers = [Arc::new(provider())];
    let authenticator = Authenticator::new(&providers, &bounds, &outside(&providers, &Clock::manual(NOW)));
    give_keys(&authenticator, 0, &json!([Signer::rsa().jwk(KID)]));
    let token = |user: u32, number: u32| {
        let oid = format!("00000000-0000-4000-8000-{user:012}");
        Signer::rsa().token(&user_claims(json!({"oid": oid, "uti": number.to_string()})))
    };
    let others: Vec<String> = (1..=36).map(|user| token(user, 0)).collect();
    let flood: Vec<String> = (0..200).map(|number| token(0, number)).collect();
    for token in others.iter().chain(&flood) {
        assert_eq!(refused(&authenticator, token, &policy()), None);
    }
    let is_known = |token: &String| authenticator.memo.find(&Digest::of(token.as_bytes())).is_some();
    assert!(others.iter().all(is_known));
    assert_eq!(
        flood.iter().map(is_known).collect::<Vec<_>>(),
        (0..200).map(|at| at >= 136).collect::<Vec<_>>()
    );
    // what is not known is verified again, no more
    assert_eq!(refused(&authenticator, &flood[0], &policy()), None);
}

#[test]
fn nothing_of_a_token_is_shown_by_the_memory() {
    let authenticator = authenticator(provider(), NOW);
    let token = Signer::rsa().token(&user_claims(json!({"name": "canary-name"})));
    assert!(is_twice_remembered(&authenticator, &token));
    let shown = format!("{authenticator:?}");
    assert!(!shown.contains("canary") && !shown.contains("eyJ") && !shown.contains("d5e979c7"), "{shown}");
}
