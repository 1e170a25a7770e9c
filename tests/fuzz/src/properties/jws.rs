//! A token as it comes: three parts, nobody's yet.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use obo_proxy::app::decode::Decoded;
use obo_proxy::config::Algorithm;
use obo_proxy::domain::clock::UnixTime;
use obo_proxy::domain::paint::Paint;
use obo_proxy::pipeline::authenticate::jws;
use obo_proxy::pipeline::authenticate::jws::Jws;
use obo_proxy::pipeline::authenticate::jws::KeyName;
use serde_json::Map;
use serde_json::Value;

/// What is taken apart can be put together again, and jsonwebtoken sees the same in it. For brevity `{header}.rest` stands for
/// the header in base64url.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check_token(text);
    if let Some(end) = text.rfind('}')
        && let (header, rest) = text.split_at(end + 1)
        && header.starts_with('{')
    {
        check_token(&format!("{}{rest}", URL_SAFE_NO_PAD.encode(header)));
    }
}

fn check_token(token: &str) {
    if let Ok(decoded) = Decoded::of(token, UnixTime::from_seconds(1_500_000_000)) {
        let text = decoded.to_text(Paint::Plain);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "a terminal would obey {text:?}");
        assert_eq!(decoded.to_json()["verified"], false);
    }
    let Ok(own) = Jws::parse(token) else { return };
    assert!(jws::is_meant(token));
    assert_eq!(format!("{}.{}", own.signed(), own.signature()), token);
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("{} parts", parts.len()) };
    assert_eq!(URL_SAFE_NO_PAD.encode(own.payload()), payload);
    assert_eq!(jws::decode(signature).map(|bytes| URL_SAFE_NO_PAD.encode(bytes)).as_deref(), Some(signature));
    let header: Map<String, Value> = serde_json::from_slice(&jws::decode(header).unwrap()).unwrap();
    for refused in ["crit", "b64", "zip", "enc"] {
        assert!(!header.contains_key(refused), "{refused}");
    }
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    assert_eq!(own.typ(), text("typ"));
    match own.key() {
        KeyName::Id(kid) => assert_eq!(Some(kid), text("kid")),
        KeyName::Sha256(thumbprint) => assert_eq!(Some(thumbprint), text("x5t#S256")),
        KeyName::Sha1(thumbprint) => assert_eq!(Some(thumbprint), text("x5t")),
        KeyName::Not => assert!(["kid", "x5t#S256", "x5t"].into_iter().all(|name| text(name).is_none())),
    }
    let Ok(algorithm) = own.algorithm(Algorithm::ALL) else { return };
    assert!(!signature.is_empty());
    assert_eq!(Some(algorithm.name()), text("alg"));
    assert!(own.algorithm([]).is_err());
    if algorithm == Algorithm::ES512 {
        return; // unknown to jsonwebtoken
    }
    // members that are never read may be of any type, which jsonwebtoken does not like
    let read = header.into_iter().filter(|(name, _)| ["alg", "typ", "kid", "cty"].contains(&name.as_str()));
    let read = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&read.collect::<Map<_, _>>()).unwrap());
    let theirs = jsonwebtoken::decode_header(format!("{read}.{payload}.{signature}")).unwrap();
    assert_eq!(format!("{:?}", theirs.alg), algorithm.name());
    assert_eq!(theirs.typ.as_deref(), own.typ());
}
