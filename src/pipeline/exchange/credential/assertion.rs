//! The client assertion that our own key signs (RFC 7523 sections 2.2 and 3).
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>
//!
//! **In:** a key with its certificate; who, for whom, when. **Out:** a signed JWT. **Never:** I/O, a clock.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature;
use aws_lc_rs::signature::EcdsaKeyPair;
use aws_lc_rs::signature::EcdsaSigningAlgorithm;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use aws_lc_rs::signature::RsaEncoding;
use aws_lc_rs::signature::RsaKeyPair;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use zeroize::Zeroizing;

use crate::config::Algorithm;
use crate::config::Certificate;
use crate::config::SendChain;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::secret::Secret;
use crate::pipeline::exchange::credential::certificate::Chain;
use crate::pipeline::exchange::credential::error::Error;
use crate::pipeline::exchange::credential::error::What;

/// Signs assertions with the key of one certificate.
pub struct Signer {
    key: Key,
    /// The JOSE header, encoded: always the same.
    header: String,
}

enum Key {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// What an assertion says.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// Who we are: issuer and subject.
    pub client_id: &'a str,
    /// Whom it is addressed to.
    pub audience: &'a str,
    /// `jti`: no two have the same.
    pub id: &'a str,
    /// Now.
    pub issued_at: UnixTime,
    /// How long it may be used.
    pub lifetime: Duration,
}

impl Signer {
    /// A signer with `key`, which must be that of the first certificate in `chain`.
    ///
    /// # Errors
    /// If the key is of another kind than the algorithm needs, or of another certificate.
    pub fn new(settings: &Certificate, chain: &Chain, key: &PrivateKeyDer<'_>) -> Result<Self, Error> {
        let key = Key::new(settings.algorithm, key).map_err(|_rejected| Error::Unusable {
            what: What::Key,
            path: settings.key.clone(),
            problem: needed(settings.algorithm),
        })?;
        if key.public() != chain.public_key {
            return Err(Error::Mismatch { certificate: settings.file.clone(), key: settings.key.clone() });
        }
        let header = encoded(&header(settings, chain));
        Ok(Self { key, header })
    }

    /// The signed assertion.
    ///
    /// # Errors
    /// If the cryptography library fails.
    pub fn sign(&self, statement: Statement<'_>) -> Result<Secret, Error> {
        let input = format!("{}.{}", self.header, encoded(&claims(statement)));
        let signature = self.key.sign(input.as_bytes()).map_err(|Unspecified| Error::Unsigned)?;
        // all else in an assertion can be guessed or may be left in memory
        let signature = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(Zeroizing::new(signature)));
        Ok(Secret::new([&*input, ".", &*signature].concat()))
    }
}

/// Shows nothing: it holds a private key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(..)")
    }
}

impl Key {
    fn new(algorithm: Algorithm, der: &PrivateKeyDer<'_>) -> Result<Self, KeyRejected> {
        let rsa = |padding: &'static dyn RsaEncoding| Ok(Self::Rsa(rsa(der)?, padding));
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_private_key_der(algorithm, der.secret_der()).map(Self::Ecdsa)
        };
        match algorithm {
            Algorithm::RS256 => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::RS384 => rsa(&signature::RSA_PKCS1_SHA384),
            Algorithm::RS512 => rsa(&signature::RSA_PKCS1_SHA512),
            Algorithm::PS256 => rsa(&signature::RSA_PSS_SHA256),
            Algorithm::PS384 => rsa(&signature::RSA_PSS_SHA384),
            Algorithm::PS512 => rsa(&signature::RSA_PSS_SHA512),
            Algorithm::ES256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::ES512 => ecdsa(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            Algorithm::EdDSA => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_der()).map(Self::Ed25519)
            }
        }
    }

    /// As a subjectPublicKey holds it: an RSAPublicKey, an uncompressed point, 32 bytes.
    fn public(&self) -> &[u8] {
        match self {
            Self::Rsa(pair, _) => pair.public_key().as_ref(),
            Self::Ecdsa(pair) => pair.public_key().as_ref(),
            Self::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &random, message, &mut signature)?;
                Ok(signature)
            }
            Self::Ecdsa(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
        }
    }
}

fn rsa(der: &PrivateKeyDer<'_>) -> Result<RsaKeyPair, KeyRejected> {
    match der {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        der => RsaKeyPair::from_pkcs8(der.secret_der()),
    }
}

/// Entra, AD FS and others find the certificate by its thumbprint. That by SHA-1 is what came first: whoever asks for
/// RS256 may mean an IdP that knows no other.
fn header(settings: &Certificate, chain: &Chain) -> Value {
    let sha256 = BASE64_URL_SAFE_NO_PAD.encode(Digest::of(chain.leaf()).as_bytes());
    let mut header = Map::new();
    header.insert("alg".into(), settings.algorithm.name().into());
    header.insert("typ".into(), "JWT".into());
    header.insert("x5t#S256".into(), sha256.into());
    if settings.algorithm == Algorithm::RS256 {
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, chain.leaf());
        header.insert("x5t".into(), BASE64_URL_SAFE_NO_PAD.encode(sha1).into());
    }
    if settings.chain == SendChain::Send {
        // RFC 7515 section 4.1.6: base64, not base64url
        let chain = chain.certificates.iter().map(|certificate| BASE64_STANDARD.encode(certificate));
        header.insert("x5c".into(), chain.collect::<Vec<_>>().into());
    }
    header.into()
}

fn claims(statement: Statement<'_>) -> Value {
    let now = statement.issued_at;
    json!({
        "aud": statement.audience,
        "iss": statement.client_id,
        "sub": statement.client_id,
        "jti": statement.id,
        "nbf": now.as_seconds(),
        "iat": now.as_seconds(),
        "exp": now.after(statement.lifetime).as_seconds(),
    })
}

fn encoded(json: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}

fn needed(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => "is no RSA key of 2048 bits or more, which the algorithm needs",
        Algorithm::ES256 => "is no key on the curve P-256, which ES256 needs",
        Algorithm::ES384 => "is no key on the curve P-384, which ES384 needs",
        Algorithm::ES512 => "is no key on the curve P-521, which ES512 needs",
        Algorithm::EdDSA => "is no Ed25519 key, which EdDSA needs",
    }
}
