//! The payload of a token.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Validation;
use obo_proxy::domain::caller::claims_digest;
use obo_proxy::domain::scope::Scopes;
use obo_proxy::pipeline::authenticate::claims::Stated;
use obo_proxy::pipeline::authenticate::confirmation;
use serde_json::Value;

/// Of the audience.
const OURS: &str = "api://orders";
/// 2100-01-01: nothing that ends later has ended.
const FAR: i64 = 4_102_444_800;

/// Only texts, numbers and lists of the right kind count, and of those that count jsonwebtoken thinks alike.
pub fn check(payload: &[u8]) {
    let Ok(stated) = Stated::parse(payload) else { return };
    let value: Value = serde_json::from_slice(payload).unwrap();
    let members = value.as_object().unwrap();
    check_time(&value["exp"], stated.expires_on().as_seconds());
    match stated.not_before() {
        Some(moment) => check_time(&value["nbf"], moment.as_seconds()),
        None => assert!(members.get("nbf").is_none()),
    }
    for name in ["iss", "sub", "azp", "appid", "client_id", "cid"] {
        let is_text = |claim: &Value| claim.as_str().is_some_and(|text| !text.is_empty());
        assert!(members.get(name).is_none_or(is_text), "{name}");
    }
    let ours = [OURS.to_owned()];
    let is_listed = value["aud"].as_array().is_some_and(|list| list.iter().any(|item| item == OURS));
    assert_eq!(stated.is_for(&ours), value["aud"] == OURS || is_listed);
    assert!(!stated.is_for_only(OURS) || stated.is_for(&ours));
    if let Ok(Some(words)) = stated.words("scp")
        && let Some(text) = value["scp"].as_str()
    {
        assert_eq!(words, Scopes::parse(text).words());
        assert!(words.iter().all(|word| !word.is_empty() && !word.contains(' ')));
    }
    let _ = (stated.check_as_entra_s(), stated.find("a.b.c"), stated.text("tid"));
    if let Some(cnf) = members.get("cnf")
        && let Ok(digest) = confirmation::certificate(cnf)
    {
        assert_eq!(cnf["x5t#S256"], URL_SAFE_NO_PAD.encode(digest.as_bytes()).as_str());
    }
    let mut later = members.clone();
    later.insert("iat".into(), 7.into());
    assert_eq!(claims_digest(members), claims_digest(&later));
    later.insert("not in any token".into(), 7.into());
    assert_eq!(claims_digest(members) == claims_digest(&later), members.contains_key("not in any token"));
    if stated.is_for(&ours) && stated.expires_on().as_seconds() > FAR && stated.not_before().is_none() {
        assert!(is_accepted_elsewhere(payload), "jsonwebtoken refuses it");
    }
}

/// A time in whole seconds: those of the number, or the next below it.
fn check_time(claim: &Value, seconds: i64) {
    match claim.as_i64() {
        Some(whole) => assert_eq!(whole, seconds),
        None => assert!((claim.as_f64().unwrap() - seconds as f64 - 0.5).abs() <= 0.5),
    }
}

fn is_accepted_elsewhere(payload: &[u8]) -> bool {
    static VALIDATION: LazyLock<Validation> = LazyLock::new(|| {
        let mut validation = Validation::new(jsonwebtoken::Algorithm::HS256);
        validation.set_audience(&[OURS]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        validation
    });
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let key = EncodingKey::from_secret(b"secret");
    let signature =
        jsonwebtoken::crypto::sign(signed.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    let token = format!("{signed}.{signature}");
    jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_secret(b"secret"), &VALIDATION).is_ok()
}
