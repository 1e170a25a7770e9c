//! The keys tokens are signed with, and the key set that is published.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use aws_lc_rs::signature::RsaKeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::domain::digest::Digest;

/// An RSA key of 2048 bits with a name.
pub struct SigningKey {
    kid: String,
    pair: RsaKeyPair,
    modulus: Vec<u8>,
}

/// 65537: aws-lc generates every key with it.
const EXPONENT: [u8; 3] = [1, 0, 1];

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// If the cryptography library fails.
    pub fn generate() -> anyhow::Result<Self> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let modulus = modulus(pair.public_key().as_ref())
            .ok_or_else(|| anyhow::anyhow!("the new key is not encoded as expected"))?
            .to_vec();
        // like Entra's, the name is a thumbprint of 20 bytes
        let thumbprint = Digest::of(&modulus);
        let kid = URL_SAFE_NO_PAD.encode(thumbprint.as_bytes().get(..20).unwrap_or_default());
        Ok(Self { kid, pair, modulus })
    }

    /// Its name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// `claims` as a compact JWS, signed with RS256 whatever `header` says. Members of `header` replace the usual
    /// ones; null removes one.
    ///
    /// # Errors
    /// If the cryptography library fails.
    pub fn sign(&self, claims: &Map<String, Value>, header: &Map<String, Value>) -> anyhow::Result<String> {
        let mut full = Map::new();
        full.insert("typ".into(), "JWT".into());
        full.insert("alg".into(), "RS256".into());
        full.insert("kid".into(), self.kid.as_str().into());
        for (name, value) in header {
            match value {
                Value::Null => full.remove(name),
                value => full.insert(name.clone(), value.clone()),
            };
        }
        let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&full)?);
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let mut token = format!("{header}.{payload}");
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The public half, to verify with.
    pub fn decoding_key(&self) -> DecodingKey {
        DecodingKey::from_rsa_raw_components(&self.modulus, &EXPONENT)
    }

    fn jwk(&self, issuer: &str) -> Value {
        json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "x5t": self.kid,
            "n": URL_SAFE_NO_PAD.encode(&self.modulus),
            "e": URL_SAFE_NO_PAD.encode(EXPONENT),
            "issuer": issuer,
        })
    }
}

/// The modulus in an `RSAPublicKey` (RFC 8017 appendix A.1.1) of 2048 bits with the exponent 65537: at that size every
/// length is known.
fn modulus(der: &[u8]) -> Option<&[u8]> {
    let modulus = der
        .strip_prefix(&[0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00])?
        .strip_suffix(&[0x02, 0x03, 0x01, 0x00, 0x01])?;
    (modulus.len() == 256).then_some(modulus)
}

/// What becomes of a key that no longer signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldKey {
    /// It stays in the published set: tokens it signed remain good.
    Kept,
    /// It is withdrawn, as after a compromise.
    Dropped,
}

/// The published keys. The current one signs.
pub struct KeyRing {
    current: SigningKey,
    retired: Vec<SigningKey>,
}

impl KeyRing {
    /// A ring of one new key.
    ///
    /// # Errors
    /// If the cryptography library fails.
    pub fn generate() -> anyhow::Result<Self> {
        Ok(Self { current: SigningKey::generate()?, retired: Vec::new() })
    }

    /// Signs with a new key from now on.
    ///
    /// # Errors
    /// If the cryptography library fails.
    pub fn rotate(&mut self, old: OldKey) -> anyhow::Result<()> {
        let retired = std::mem::replace(&mut self.current, SigningKey::generate()?);
        match old {
            OldKey::Kept => self.retired.push(retired),
            OldKey::Dropped => self.retired.clear(),
        }
        Ok(())
    }

    /// The key that signs.
    pub fn current(&self) -> &SigningKey {
        &self.current
    }

    /// The published key of that name.
    pub fn find(&self, kid: &str) -> Option<&SigningKey> {
        self.published().find(|key| key.kid == kid)
    }

    /// The key set (RFC 7517 section 5). Every key names the issuer it signs for, as Entra's do.
    pub fn key_set(&self, issuer: &str) -> Value {
        json!({ "keys": self.published().map(|key| key.jwk(issuer)).collect::<Vec<_>>() })
    }

    fn published(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.current).chain(&self.retired)
    }
}
