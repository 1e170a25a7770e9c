//! A signed token, and what somebody changes of it: three bytes for each change, where (two of them) and what to.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use obo_proxy::config::Algorithm;
use obo_proxy::pipeline::authenticate::jwks::KeySet;
use obo_proxy::pipeline::authenticate::jws::Jws;
use obo_proxy::pipeline::authenticate::verify;

struct Signed {
    token: String,
    keys: KeySet,
}

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = point[1..].split_at(32);
    let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
    let keys = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"k","x":"{x}","y":"{y}"}}]}}"#);
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#);
    let payload =
        URL_SAFE_NO_PAD.encode(r#"{"iss":"https://id.example","sub":"user","aud":"orders","exp":1}"#);
    let signed = format!("{header}.{payload}");
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
    Signed { token, keys: KeySet::parse(keys.as_bytes(), &Algorithm::ALL).unwrap() }
});

/// Only the token that was signed verifies, byte for byte.
pub fn check(bytes: &[u8]) {
    let Signed { token, keys } = &*SIGNED;
    let mut changed = token.as_bytes().to_vec();
    for change in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]]));
        match changed.get_mut(at % (token.len() + 1)) {
            Some(byte) => *byte = change[2],
            None => changed.push(change[2]),
        }
    }
    let Ok(changed) = String::from_utf8(changed) else { return };
    let verified =
        Jws::parse(&changed).and_then(|jws| verify::signature(&jws, keys, &Algorithm::ALL, |_| true));
    assert_eq!(verified.is_ok(), changed == *token, "{changed}");
}
