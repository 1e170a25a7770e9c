//! Project Wycheproof's JWS and JWK vectors (<https://github.com/C2SP/wycheproof>).

use serde_json::Value;
use serde_json::json;

use crate::config::Algorithm;
use crate::pipeline::authenticate::jwks::KeySet;
use crate::pipeline::authenticate::jws::Jws;
use crate::pipeline::authenticate::verify;

/// Faulty vectors: a key of alg PS256 and a token of alg PS384 (346, 350), a key of alg `ES521`, which does not exist
/// (347, 351). They are marked valid, and we refuse them.
const FAULTY: [u64; 4] = [346, 347, 350, 351];

fn accepts(token: &str, keys: &Value) -> bool {
    let verified = |jws: Jws<'_>| {
        let set = match keys.get("keys") {
            Some(_) => keys.to_string(),
            None => json!({ "keys": [keys] }).to_string(),
        };
        let set = KeySet::parse(set.as_bytes(), &Algorithm::ALL).ok()?;
        verify::signature(&jws, &set, &Algorithm::ALL, |_| true).ok()
    };
    Jws::parse(token).ok().and_then(verified).is_some()
}

/// Judges every vector, and counts those accepted and refused.
fn judge(text: &str, faulty: &[u64]) -> (usize, usize) {
    let vectors: Value = serde_json::from_str(text).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for group in vectors["testGroups"].as_array().unwrap() {
        // secrets stand under `private`
        let keys = group.get("public").or_else(|| group.get("private")).unwrap();
        // and are no keys of ours, however valid the vector
        let is_symmetric = keys["kty"] == "oct" || keys["keys"][0]["kty"] == "oct";
        for test in group["tests"].as_array().unwrap() {
            let (id, token) = (test["tcId"].as_u64().unwrap(), test["jws"].as_str().unwrap());
            let is_valid = test["result"] == "valid" && !is_symmetric && !faulty.contains(&id);
            assert_eq!(accepts(token, keys), is_valid, "{id}: {}", test["comment"]);
            if is_valid { accepted += 1 } else { refused += 1 }
        }
    }
    (accepted, refused)
}

#[test]
fn every_signature_is_judged_as_wycheproof_judges_it() {
    let vectors = include_str!("../../../../tests/vectors/wycheproof_jws.json");
    assert_eq!(judge(vectors, &FAULTY), (32, 369));
}

#[test]
fn every_key_is_judged_as_wycheproof_judges_it() {
    assert_eq!(judge(include_str!("../../../../tests/vectors/wycheproof_jwk.json"), &[]), (1, 25));
}
