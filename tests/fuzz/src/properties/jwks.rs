//! A key set.

use std::collections::BTreeSet;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;
use obo_proxy::config::Algorithm;
use obo_proxy::pipeline::authenticate::jwks::KeySet;
use obo_proxy::pipeline::authenticate::jws::KeyName;
use serde_json::Map;
use serde_json::Value;

/// Every key that is taken is one of the set, named once, of an algorithm that is wanted, and one that jsonwebtoken takes too.
pub fn check(bytes: &[u8]) {
    let Ok(set) = KeySet::parse(bytes, &Algorithm::ALL) else {
        assert!(KeySet::parse(bytes, &[Algorithm::RS256]).is_err(), "fewer algorithms allow more");
        return;
    };
    assert!((1..=100).contains(&set.count()));
    assert!(set.is_same_as(&KeySet::parse(bytes, &Algorithm::ALL).unwrap()));
    let document: Value = serde_json::from_slice(bytes).unwrap();
    let entries = document["keys"].as_array().unwrap();
    let ids: Vec<&str> = set.ids().collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len());
    for kid in ids {
        let named: Vec<&Value> = entries.iter().filter(|entry| entry["kid"] == kid).collect();
        let [entry] = named[..] else { panic!("{} keys are called {kid}", named.len()) };
        let key = set.find(KeyName::Id(kid), Algorithm::RS256).unwrap();
        assert!(entry.get("use").is_none_or(|usage| usage == "sig"));
        assert!(entry.get("alg").is_none_or(|named| named == key.algorithm().name()));
        assert_ne!(entry["kty"], "oct");
        let only = KeySet::parse(bytes, &[key.algorithm()]).unwrap();
        assert!(
            only.find(KeyName::Id(kid), key.algorithm())
                .is_some_and(|own| own.algorithm() == key.algorithm())
        );
        let members = match entry["kty"].as_str() {
            Some("RSA") => &["kty", "n", "e"][..],
            Some("EC") => &["kty", "crv", "x", "y"],
            _ => &["kty", "crv", "x"],
        };
        let material: Map<String, Value> =
            members.iter().filter_map(|name| Some(((*name).to_owned(), entry.get(name)?.clone()))).collect();
        let theirs: Jwk = serde_json::from_value(material.into()).unwrap();
        assert!(key.algorithm() == Algorithm::ES512 || DecodingKey::from_jwk(&theirs).is_ok());
    }
    assert!(KeySet::parse(bytes, &[]).is_err());
}
