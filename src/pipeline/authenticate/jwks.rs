//! A published key set (RFC 7517): bytes become the keys that may verify a token, and nothing else. Pure.

use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED;
use aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED;
use aws_lc_rs::signature::ECDSA_P521_SHA512_FIXED;
use aws_lc_rs::signature::ED25519;
use aws_lc_rs::signature::ED25519_PUBLIC_KEY_LEN;
use aws_lc_rs::signature::EcdsaVerificationAlgorithm;
use aws_lc_rs::signature::ParsedPublicKey;
use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
use aws_lc_rs::signature::RsaPublicKeyComponents;
use jsonwebtoken::DecodingKey;
use serde_json::Map;
use serde_json::Value;

use crate::config::Algorithm;
use crate::domain::digest::Digest;
use crate::pipeline::authenticate::jws;
use crate::pipeline::authenticate::jws::KeyName;
use crate::pipeline::authenticate::roca;

/// The longest key set that is read, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The most keys a set may hold.
const MAX_KEYS: usize = 100;

/// Why a whole key set is refused. A single bad key only drops out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than [`MAX_BYTES`].
    #[error("the key set is longer than 1 MiB")]
    TooLong,
    /// No JSON object with a list `keys`.
    #[error("the key set is not a JSON object with a list of keys")]
    NotAKeySet,
    /// More keys than 100.
    #[error("the key set holds more than 100 keys")]
    TooManyKeys,
    /// Not one key that could verify a token: an empty or broken answer, not a rotation.
    #[error("the key set holds no usable key")]
    NoUsableKey,
}

/// The keys of one issuer: few enough to be looked through.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// A public key with the one algorithm it is used for.
#[derive(Debug)]
pub struct Key {
    kid: Option<String>,
    /// `x5t#S256`.
    sha256: Option<String>,
    /// `x5t`.
    sha1: Option<String>,
    algorithm: Algorithm,
    issuer: Option<String>,
    material: Material,
    /// Of everything that was published about it.
    content: Digest,
}

/// A public key in the form its verifier takes.
#[derive(Debug)]
pub enum Material {
    /// For jsonwebtoken.
    Common(Box<DecodingKey>),
    /// A point on P-521, uncompressed: jsonwebtoken has no ES512.
    P521(Vec<u8>),
    /// A point on edwards25519 (RFC 8037).
    Ed25519(Vec<u8>),
}

impl KeySet {
    /// The usable keys of the set in `bytes`.
    ///
    /// A key is usable if no other shares its `kid`, it is meant for signatures, and fits one of `algorithms`. If it says
    /// which (`alg`), that one; if not, as Entra's do not, the first of `algorithms` that its type allows. So a key
    /// never serves two algorithms (RFC 8725 section 3.1).
    ///
    /// # Errors
    /// If there is no set, or nothing usable in it.
    pub fn parse(bytes: &[u8], algorithms: &[Algorithm]) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLong);
        }
        let document: Value = serde_json::from_slice(bytes).map_err(|_| Error::NotAKeySet)?;
        let entries = document.get("keys").and_then(Value::as_array).ok_or(Error::NotAKeySet)?;
        if entries.len() > MAX_KEYS {
            return Err(Error::TooManyKeys);
        }
        let entries: Vec<&Map<String, Value>> = entries.iter().filter_map(Value::as_object).collect();
        // A name that stands for two keys stands for none, usable or not: which one a reader takes is its whim.
        let is_shared = |member: &str, name: &str| {
            entries.iter().filter(|entry| entry.get(member).is_some_and(|own| own == name)).count() > 1
        };
        let own = |mut key: Key| {
            key.sha256.take_if(|name| is_shared("x5t#S256", name));
            key.sha1.take_if(|name| is_shared("x5t", name));
            let is_doubtful = key.kid.as_deref().is_some_and(|kid| is_shared("kid", kid));
            (!is_doubtful).then_some(key)
        };
        let usable = entries.iter().filter_map(|entry| Key::read(entry, algorithms).and_then(own));
        let keys: Vec<Key> = usable.collect();
        if keys.is_empty() { Err(Error::NoUsableKey) } else { Ok(Self { keys }) }
    }

    /// The key of that name. Without a name it is the only key there is for `algorithm`, if there is only one (OpenID
    /// Connect Core 1.0 section 10.1): none is ever tried after another.
    pub fn find(&self, name: KeyName<'_>, algorithm: Algorithm) -> Option<&Key> {
        let mut found = self.keys.iter().filter(|key| match name {
            KeyName::Id(kid) => key.kid.as_deref() == Some(kid),
            KeyName::Sha256(thumbprint) => key.sha256.as_deref() == Some(thumbprint),
            KeyName::Sha1(thumbprint) => key.sha1.as_deref() == Some(thumbprint),
            KeyName::Not => key.algorithm == algorithm,
        });
        let key = found.next();
        if found.next().is_none() { key } else { None }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Whether the same keys stand in both, whatever their order.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let has = |key: &Key| other.keys.iter().any(|own| own.content == key.content);
        self.keys.len() == other.keys.len() && self.keys.iter().all(has)
    }
}

impl Key {
    /// The only algorithm this key verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Entra's member `issuer`: whose tokens the key signs, `{tenantid}` standing for any tenant.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// The key itself.
    pub fn material(&self) -> &Material {
        &self.material
    }

    fn read(entry: &Map<String, Value>, algorithms: &[Algorithm]) -> Option<Self> {
        is_for_signatures(entry).then_some(())?;
        let [kid, sha256, sha1, issuer] = ["kid", "x5t#S256", "x5t", "issuer"]
            .map(|member| optional_text(entry, member).map(|text| text.map(String::from)));
        let declared = match optional_text(entry, "alg")? {
            Some(name) => Some(Algorithm::parse(name)?),
            None => None,
        };
        let fits = |family: &[Algorithm]| {
            let mut usable = algorithms.iter().copied().filter(|algorithm| family.contains(algorithm));
            usable.find(|algorithm| declared.is_none_or(|declared| declared == *algorithm))
        };
        let (algorithm, material) = match entry.get("kty").and_then(Value::as_str)? {
            "RSA" => (fits(&RSA)?, rsa(entry)?),
            "EC" => {
                let curve = Curve::named(entry.get("crv").and_then(Value::as_str)?)?;
                (fits(&[curve.algorithm])?, elliptic(entry, &curve)?)
            }
            "OKP" => (fits(&[Algorithm::EdDSA])?, edwards(entry)?),
            // `oct` among them: a published secret is none
            _ => return None,
        };
        let content = Digest::of(&serde_json::to_vec(entry).ok()?);
        Some(Self { kid: kid?, sha256: sha256?, sha1: sha1?, algorithm, issuer: issuer?, material, content })
    }
}

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

struct Curve {
    algorithm: Algorithm,
    coordinate: usize,
    verification: &'static EcdsaVerificationAlgorithm,
}

impl Curve {
    fn named(name: &str) -> Option<Self> {
        let (algorithm, coordinate, verification) = match name {
            "P-256" => (Algorithm::ES256, 32, &ECDSA_P256_SHA256_FIXED),
            "P-384" => (Algorithm::ES384, 48, &ECDSA_P384_SHA384_FIXED),
            "P-521" => (Algorithm::ES512, 66, &ECDSA_P521_SHA512_FIXED),
            _ => return None,
        };
        Some(Self { algorithm, coordinate, verification })
    }
}

/// `use` and `key_ops` (RFC 7517 sections 4.2 and 4.3), where given, must allow verifying.
fn is_for_signatures(entry: &Map<String, Value>) -> bool {
    let by_use = entry.get("use").is_none_or(|usage| usage == "sig");
    let by_operations = entry.get("key_ops").is_none_or(|operations| {
        operations.as_array().is_some_and(|list| list.iter().any(|it| it == "verify"))
    });
    by_use && by_operations
}

/// `None` if the member is there but no text.
fn optional_text<'e>(entry: &'e Map<String, Value>, name: &str) -> Option<Option<&'e str>> {
    match entry.get(name) {
        None => Some(None),
        Some(value) => value.as_str().map(Some),
    }
}

fn bytes(entry: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    jws::decode(entry.get(name)?.as_str()?)
}

/// RFC 7518 section 6.3.1: a sound modulus of 2048 to 8192 bits and an odd exponent of 3 at least.
fn rsa(entry: &Map<String, Value>) -> Option<Material> {
    // some libraries prefix a zero octet, which the RFC knows of and aws-lc does not take
    let unsigned = |name: &str| -> Option<Vec<u8>> {
        Some(bytes(entry, name)?.into_iter().skip_while(|byte| *byte == 0).collect())
    };
    let (n, e) = (unsigned("n")?, unsigned("e")?);
    let bits = (n.len() * 8).checked_sub(usize::try_from(n.first()?.leading_zeros()).ok()?)?;
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    let sound = (2048..=8192).contains(&bits) && is_odd(&n) && is_odd(&e) && e != [1] && !roca::is_weak(&n);
    sound.then_some(())?;
    let components = RsaPublicKeyComponents { n: &n, e: &e };
    components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?;
    Some(Material::Common(Box::new(DecodingKey::from_rsa_raw_components(&n, &e))))
}

/// RFC 7518 section 6.2.1: both coordinates in full length, and the point on the curve.
fn elliptic(entry: &Map<String, Value>, curve: &Curve) -> Option<Material> {
    let (x, y) = (bytes(entry, "x")?, bytes(entry, "y")?);
    (x.len() == curve.coordinate && y.len() == curve.coordinate).then_some(())?;
    let point = [&[4][..], &x, &y].concat();
    ParsedPublicKey::new(curve.verification, &point).ok()?;
    Some(match curve.algorithm {
        Algorithm::ES512 => Material::P521(point),
        _ => Material::Common(Box::new(DecodingKey::from_ec_der(&point))),
    })
}

/// RFC 8037 section 2: a whole point on edwards25519, the only curve of it that is taken.
fn edwards(entry: &Map<String, Value>) -> Option<Material> {
    (entry.get("crv")? == "Ed25519").then_some(())?;
    let point = bytes(entry, "x").filter(|point| point.len() == ED25519_PUBLIC_KEY_LEN)?;
    ParsedPublicKey::new(&ED25519, &point).ok()?;
    Some(Material::Ed25519(point))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::pipeline::authenticate::testing::Signer;

    fn parse(keys: Value) -> Result<KeySet, Error> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), &Algorithm::ALL)
    }

    fn of<'s>(set: &'s KeySet, kid: &str) -> Option<&'s Key> {
        set.find(KeyName::Id(kid), Algorithm::RS256)
    }

    fn with(mut key: Value, changes: Value) -> Value {
        for (name, value) in changes.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    #[test]
    fn a_key_that_names_its_algorithm_serves_that_one() {
        for algorithm in Algorithm::ALL {
            let signer = Signer::of(algorithm);
            let set = parse(json!([with(signer.jwk("k"), json!({"alg": algorithm.name()}))])).unwrap();
            assert_eq!(of(&set, "k").unwrap().algorithm(), algorithm);
        }
    }

    #[test]
    fn a_key_that_names_none_serves_the_first_configured_one_of_its_type() {
        let keys = json!({"keys": [Signer::rsa().jwk("r"), Signer::of(Algorithm::ES256).jwk("e")]});
        for (configured, rsa, ec) in [
            (&[Algorithm::RS256][..], Some(Algorithm::RS256), None),
            (
                &[Algorithm::ES256, Algorithm::PS256, Algorithm::RS256],
                Some(Algorithm::PS256),
                Some(Algorithm::ES256),
            ),
            (&[Algorithm::ES384, Algorithm::RS512], Some(Algorithm::RS512), None),
        ] {
            let set = KeySet::parse(keys.to_string().as_bytes(), configured).unwrap();
            assert_eq!(of(&set, "r").map(Key::algorithm), rsa);
            assert_eq!(of(&set, "e").map(Key::algorithm), ec);
        }
    }

    #[test]
    fn one_bad_key_does_not_lose_the_set() {
        let good = Signer::rsa().jwk("good");
        let ec = Signer::of(Algorithm::ES256).jwk("bad");
        let bad = |changes: Value| with(Signer::rsa().jwk("bad"), changes);
        let modulus = jws::decode(good["n"].as_str().unwrap()).unwrap();
        let encoded =
            |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes);
        let mut even = modulus.clone();
        *even.last_mut().unwrap() &= 0xfe;
        let mut huge = vec![0xff; 1025];
        huge[0] = 1;
        for (why, key) in [
            ("no object", json!("bad")),
            ("kid is no text", bad(json!({"kid": 7}))),
            ("for encryption", bad(json!({"use": "enc"}))),
            ("use is no text", bad(json!({"use": ["sig"]}))),
            ("key_ops without verify", bad(json!({"key_ops": ["encrypt"]}))),
            ("key_ops is no list", bad(json!({"key_ops": "verify"}))),
            ("a secret", json!({"kty": "oct", "kid": "bad", "alg": "HS256", "k": "c2VjcmV0"})),
            ("unknown kty", bad(json!({"kty": "rsa"}))),
            ("no kty", bad(json!({"kty": null}))),
            ("alg of another type", bad(json!({"alg": "ES256"}))),
            ("symmetric alg", bad(json!({"alg": "HS256"}))),
            ("unknown alg", bad(json!({"alg": "RSA1_5"}))),
            ("alg is no text", bad(json!({"alg": null}))),
            ("issuer is no text", bad(json!({"issuer": 1}))),
            ("1024 bits", bad(json!({"n": encoded(&modulus[..128])}))),
            ("8193 bits", bad(json!({"n": encoded(&huge)}))),
            ("even modulus", bad(json!({"n": encoded(&even)}))),
            ("padding", bad(json!({"n": format!("{}=", good["n"].as_str().unwrap())}))),
            ("no modulus", bad(json!({"n": ""}))),
            ("e = 1", bad(json!({"e": "AQ"}))),
            ("e even", bad(json!({"e": "Ag"}))),
            ("e = 0", bad(json!({"e": "AA"}))),
            ("no e", bad(json!({"e": null}))),
            ("unknown curve", with(ec.clone(), json!({"crv": "secp256k1"}))),
            ("another curve", with(ec.clone(), json!({"crv": "P-384"}))),
            ("alg of another curve", with(ec.clone(), json!({"alg": "ES384"}))),
            ("a point off the curve", with(ec.clone(), json!({"x": ec["y"], "y": ec["x"]}))),
            ("a short coordinate", with(ec, json!({"x": "AQAB"}))),
        ] {
            let set = parse(json!([key, good])).unwrap();
            assert!(of(&set, "good").is_some() && of(&set, "bad").is_none(), "{why}");
        }
    }

    #[test]
    fn a_leading_zero_of_the_modulus_is_forgiven() {
        let n = jws::decode(Signer::rsa().jwk("k")["n"].as_str().unwrap()).unwrap();
        let padded =
            base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, [vec![0], n].concat());
        assert!(parse(json!([with(Signer::rsa().jwk("k"), json!({"n": padded}))])).is_ok());
    }

    #[test]
    fn two_keys_of_one_kid_are_both_refused() {
        let (one, other) = (Signer::rsa().jwk("twice"), Signer::of(Algorithm::ES256).jwk("twice"));
        let set = parse(json!([one, Signer::rsa().jwk("once"), other])).unwrap();
        assert!(of(&set, "twice").is_none() && of(&set, "once").is_some());
        // also where only one of them could have been used, and where there are three
        let secret = json!({"kty": "oct", "kid": "twice", "k": "AA"});
        let set = parse(json!([secret, one, secret, Signer::rsa().jwk("once")])).unwrap();
        assert!(of(&set, "twice").is_none());
    }

    #[test]
    fn a_key_is_found_by_its_thumbprints_unless_another_shares_them() {
        let named = |kid: &str, sha256: &str, sha1: &str| {
            with(Signer::rsa().jwk(kid), json!({"x5t#S256": sha256, "x5t": sha1}))
        };
        let set = parse(json!([named("a", "long-a", "same"), named("b", "long-b", "same")])).unwrap();
        let kid = |name| set.find(name, Algorithm::RS256).and_then(|key| key.kid.as_deref());
        assert_eq!(kid(KeyName::Sha256("long-b")), Some("b"));
        assert_eq!(kid(KeyName::Sha1("same")), None);
        assert_eq!(
            (kid(KeyName::Sha1("long-b")), kid(KeyName::Id("long-b")), kid(KeyName::Sha1("b"))),
            (None, None, None)
        );
        let set = parse(json!([named("a", "long-a", "short-a")])).unwrap();
        assert!(set.find(KeyName::Sha1("short-a"), Algorithm::RS256).is_some());
    }

    #[test]
    fn without_a_name_the_only_key_for_the_algorithm_is_meant() {
        let nameless = |signer: Signer| {
            let mut key = signer.jwk("");
            key.as_object_mut().unwrap().remove("kid");
            key
        };
        let (rsa, ec) = (nameless(Signer::rsa()), nameless(Signer::of(Algorithm::ES256)));
        let set = parse(json!([rsa, ec])).unwrap();
        assert_eq!(set.find(KeyName::Not, Algorithm::ES256).map(Key::algorithm), Some(Algorithm::ES256));
        assert!(set.find(KeyName::Not, Algorithm::PS256).is_none());
        assert!(of(&set, "").is_none());
        let set = parse(json!([rsa, Signer::other_rsa().jwk("named")])).unwrap();
        assert!(set.find(KeyName::Not, Algorithm::RS256).is_none());
        assert!(of(&set, "named").is_some());
    }

    #[test]
    fn two_sets_are_the_same_if_every_key_is() {
        let (one, other) = (Signer::rsa(), Signer::other_rsa());
        let set = |keys: Value| parse(keys).unwrap();
        let both = set(json!([one.jwk("a"), other.jwk("b")]));
        assert!(both.is_same_as(&set(json!([other.jwk("b"), one.jwk("a")]))));
        for (why, keys) in [
            ("a key is gone", json!([one.jwk("a")])),
            ("a key came", json!([one.jwk("a"), other.jwk("b"), one.jwk("c")])),
            ("two keys changed places", json!([one.jwk("b"), other.jwk("a")])),
            ("a key has another name", json!([one.jwk("a"), other.jwk("c")])),
            ("a key is another's", json!([with(one.jwk("a"), json!({"issuer": "i"})), other.jwk("b")])),
            ("a key has an algorithm", json!([with(one.jwk("a"), json!({"alg": "PS256"})), other.jwk("b")])),
        ] {
            let changed = set(keys);
            assert!(!both.is_same_as(&changed) && !changed.is_same_as(&both), "{why}");
        }
    }

    #[test]
    fn what_is_no_key_set_is_refused_whole() {
        for (text, why) in [
            ("", Error::NotAKeySet),
            ("<html>", Error::NotAKeySet),
            ("[]", Error::NotAKeySet),
            ("{}", Error::NotAKeySet),
            (r#"{"keys":{}}"#, Error::NotAKeySet),
            (r#"{"keys":[]}"#, Error::NoUsableKey),
            (r#"{"keys":[{"kty":"oct","kid":"k","k":"AA"}]}"#, Error::NoUsableKey),
        ] {
            assert_eq!(KeySet::parse(text.as_bytes(), &Algorithm::ALL).err(), Some(why), "{text}");
        }
        let key = Signer::rsa().jwk("k");
        assert!(parse(Value::from(vec![key.clone()])).is_ok());
        let many: Vec<Value> =
            (0..=100).map(|at| with(key.clone(), json!({"kid": at.to_string()}))).collect();
        assert_eq!(parse(Value::from(many.clone())).err(), Some(Error::TooManyKeys));
        assert!(parse(Value::from(many[..100].to_vec())).is_ok());
        let long = format!("{}{}", json!({"keys": [key]}), " ".repeat(MAX_BYTES));
        assert_eq!(KeySet::parse(long.as_bytes(), &Algorithm::ALL).err(), Some(Error::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = KeySet::parse(&bytes, &Algorithm::ALL);
        }
    }
}
