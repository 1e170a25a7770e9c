//! Whose signature counts, and in which algorithm.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::config::Algorithm;
use crate::config::IdentityProvider;
use crate::pipeline::authenticate::Kind;
use crate::pipeline::authenticate::testing::KID;
use crate::pipeline::authenticate::testing::NOW;
use crate::pipeline::authenticate::testing::Signer;
use crate::pipeline::authenticate::testing::changed;
use crate::pipeline::authenticate::testing::policy;
use crate::pipeline::authenticate::testing::provider;
use crate::pipeline::authenticate::testing::user_claims;
use crate::pipeline::authenticate::tests::MALFORMED;
use crate::pipeline::authenticate::tests::authenticator;
use crate::pipeline::authenticate::tests::authenticator_holding;
use crate::pipeline::authenticate::tests::refused;

#[test]
fn every_algorithm_verifies_and_each_key_only_its_own() {
    for algorithm in Algorithm::ALL {
        let provider = IdentityProvider { algorithms: vec![algorithm], ..provider() };
        let signer = Signer::of(algorithm);
        let authenticator = authenticator_holding(provider, NOW, &json!([signer.jwk(KID)]));
        let token = signer.token(&user_claims(json!({})));
        assert_eq!(refused(&authenticator, &token, &policy()), None, "{algorithm:?}");
        // the same key and claims, signed in another way
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            let token = Signer::of(other).token(&user_claims(json!({})));
            let reason = refused(&authenticator, &token, &policy());
            assert_eq!(reason, Some(Kind::AlgorithmNotAllowed), "{other:?} for {algorithm:?}");
        }
    }
    // all are allowed, but the key says which it is for
    let provider = IdentityProvider { algorithms: Algorithm::ALL.to_vec(), ..provider() };
    let key = changed(Signer::rsa().jwk(KID), json!({"alg": "PS256"}));
    let authenticator = authenticator_holding(provider, NOW, &json!([key]));
    let token = Signer::rsa().token(&user_claims(json!({})));
    assert_eq!(refused(&authenticator, &token, &policy()), Some(Kind::AlgorithmNotAllowed));
    let token = Signer::of(Algorithm::PS256).token(&user_claims(json!({})));
    assert_eq!(refused(&authenticator, &token, &policy()), None);
}

#[test]
fn a_public_key_is_no_hmac_secret_and_no_signature_is_no_signature() {
    let authenticator = authenticator(provider(), NOW);
    let claims = user_claims(json!({})).to_string();
    let signed =
        |header: &str| format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&claims));
    let hs256 = signed(r#"{"alg":"HS256","kid":"key-1"}"#);
    let modulus = Signer::rsa().jwk(KID)["n"].as_str().unwrap().to_owned();
    let secret = hmac::Key::new(hmac::HMAC_SHA256, modulus.as_bytes());
    let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&secret, hs256.as_bytes()));
    let confused = format!("{hs256}.{tag}");
    assert_eq!(refused(&authenticator, &confused, &policy()), Some(Kind::AlgorithmNotAllowed));
    for (header, reason) in [
        (r#"{"alg":"none"}"#, Kind::AlgorithmNotAllowed),
        (r#"{"alg":"nOnE","kid":"key-1"}"#, Kind::AlgorithmNotAllowed),
        (r#"{"alg":"RS256","kid":"key-1"}"#, MALFORMED),
    ] {
        let unsigned = format!("{}.", signed(header));
        assert_eq!(refused(&authenticator, &unsigned, &policy()), Some(reason), "{header}");
    }
    // an ECDSA signature of zeros (CVE-2022-21449)
    let es256 = IdentityProvider { algorithms: vec![Algorithm::ES256], ..provider() };
    let authenticator = authenticator_holding(es256, NOW, &json!([Signer::of(Algorithm::ES256).jwk(KID)]));
    let zeros = format!("{}.{}", signed(r#"{"alg":"ES256","kid":"key-1"}"#), URL_SAFE_NO_PAD.encode([0; 64]));
    assert_eq!(refused(&authenticator, &zeros, &policy()), Some(Kind::BadSignature));
}

#[test]
fn a_token_with_any_one_character_changed_is_refused() {
    let authenticator = authenticator(provider(), NOW);
    let token = Signer::rsa().token(&user_claims(json!({})));
    for at in 0..token.len() {
        for other in ["A", "B", "_", "."] {
            let mut flipped = token.clone();
            flipped.replace_range(at..=at, other);
            if flipped != token {
                assert!(refused(&authenticator, &flipped, &policy()).is_some(), "{other} at {at}");
            }
        }
    }
    for cut in 0..token.len() {
        assert!(cut == 0 || refused(&authenticator, &token[..cut], &policy()).is_some(), "cut at {cut}");
    }
}
