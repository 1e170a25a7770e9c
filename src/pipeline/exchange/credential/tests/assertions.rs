//! What our own key signs.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::signature;
use aws_lc_rs::signature::UnparsedPublicKey;
use aws_lc_rs::signature::VerificationAlgorithm;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;
use zeroize::Zeroizing;

use crate::config::Algorithm;
use crate::config::Certificate;
use crate::config::SendChain;
use crate::domain::clock::UnixTime;
use crate::pipeline::exchange::credential::Error;
use crate::pipeline::exchange::credential::assertion::Signer;
use crate::pipeline::exchange::credential::assertion::Statement;
use crate::pipeline::exchange::credential::certificate::Pem;
use crate::pipeline::exchange::credential::tests::pair;
use crate::pipeline::exchange::credential::tests::pair::Pair;

const STATEMENT: Statement<'_> = Statement {
    client_id: "us",
    audience: "https://login.example/token",
    id: "id-1",
    issued_at: UnixTime::from_seconds(1_700_000_000),
    lifetime: Duration::from_secs(300),
};

fn signer(settings: &Certificate, certificate: &str, key: &str) -> Result<Signer, Error> {
    let pem = Pem {
        certificate: Zeroizing::new(certificate.as_bytes().to_vec()),
        key: Zeroizing::new(key.as_bytes().to_vec()),
    };
    Signer::new(settings, &pem.chain(settings)?, &*pem.private_key(settings)?)
}

fn settings(algorithm: Algorithm) -> Certificate {
    pair::settings(Path::new("/run/secrets"), algorithm)
}

fn part(assertion: &str, index: usize) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(assertion.split('.').nth(index).unwrap()).unwrap()
}

fn json_part(assertion: &str, index: usize) -> Value {
    serde_json::from_slice(&part(assertion, index)).unwrap()
}

fn is_signed(assertion: &str, algorithm: &'static dyn VerificationAlgorithm, public: &[u8]) -> bool {
    let (message, _) = assertion.rsplit_once('.').unwrap();
    UnparsedPublicKey::new(algorithm, public).verify(message.as_bytes(), &part(assertion, 2)).is_ok()
}

#[test]
fn every_form_of_key_signs_with_every_algorithm_it_is_for() {
    let (p256, p384, ed25519) = (pair::p256(), pair::p384(), pair::ed25519());
    let rsa = pair::rsa();
    let cases: [(Algorithm, &Pair, &str, &'static dyn VerificationAlgorithm); 9] = [
        (Algorithm::PS256, rsa, &rsa.key, &signature::RSA_PSS_2048_8192_SHA256),
        (Algorithm::PS256, rsa, &rsa.traditional, &signature::RSA_PSS_2048_8192_SHA256),
        (Algorithm::RS256, rsa, &rsa.key, &signature::RSA_PKCS1_2048_8192_SHA256),
        (Algorithm::RS512, rsa, &rsa.traditional, &signature::RSA_PKCS1_2048_8192_SHA512),
        (Algorithm::PS384, rsa, &rsa.key, &signature::RSA_PSS_2048_8192_SHA384),
        (Algorithm::ES256, &p256, &p256.key, &signature::ECDSA_P256_SHA256_FIXED),
        (Algorithm::ES256, &p256, &p256.traditional, &signature::ECDSA_P256_SHA256_FIXED),
        (Algorithm::ES384, &p384, &p384.key, &signature::ECDSA_P384_SHA384_FIXED),
        (Algorithm::EdDSA, &ed25519, &ed25519.key, &signature::ED25519),
    ];
    for (algorithm, pair, key, verification) in cases {
        let settings = settings(algorithm);
        // in two files, and both in one
        let both = format!("{key}{}", pair.certificate);
        for (certificate, key) in [(pair.certificate.as_str(), key), (&both, &both)] {
            let assertion = signer(&settings, certificate, key).unwrap().sign(STATEMENT).unwrap();
            assert!(is_signed(assertion.expose(), verification, &pair.public), "{algorithm:?}");
            assert_eq!(json_part(assertion.expose(), 0)["alg"], algorithm.name());
        }
    }
}

#[test]
fn an_assertion_says_who_for_whom_and_for_how_long() {
    let rsa = pair::rsa();
    let signer = signer(&settings(Algorithm::PS256), &rsa.certificate, &rsa.key).unwrap();
    let assertion = signer.sign(STATEMENT).unwrap();
    let expected = json!({
        "aud": "https://login.example/token", "iss": "us", "sub": "us", "jti": "id-1",
        "nbf": 1_700_000_000, "iat": 1_700_000_000, "exp": 1_700_000_300,
    });
    assert_eq!(json_part(assertion.expose(), 1), expected);
    assert_eq!(format!("{signer:?}"), "Signer(..)");
}

#[test]
fn the_header_names_the_certificate_as_each_idp_looks_for_it() {
    let (rsa, other) = (pair::rsa(), pair::other_rsa());
    let sha256 = digest::digest(&digest::SHA256, &rsa.der);
    let sha256 = BASE64_URL_SAFE_NO_PAD.encode(sha256);
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &rsa.der);
    let sha1 = BASE64_URL_SAFE_NO_PAD.encode(sha1);
    let chain = format!("{}{}", rsa.certificate, other.certificate);
    let x5c = [&rsa.der, &other.der].map(|der| BASE64_STANDARD.encode(der));
    for (algorithm, send, expected) in [
        (Algorithm::PS256, SendChain::Omit, json!({"alg": "PS256", "typ": "JWT", "x5t#S256": sha256})),
        (
            Algorithm::RS256,
            SendChain::Omit,
            json!({"alg": "RS256", "typ": "JWT", "x5t#S256": sha256, "x5t": sha1}),
        ),
        (
            Algorithm::PS256,
            SendChain::Send,
            json!({"alg": "PS256", "typ": "JWT", "x5t#S256": sha256, "x5c": x5c}),
        ),
    ] {
        let settings = Certificate { chain: send, ..settings(algorithm) };
        let assertion = signer(&settings, &chain, &rsa.key).unwrap().sign(STATEMENT).unwrap();
        assert_eq!(json_part(assertion.expose(), 0), expected);
    }
}

#[test]
fn files_that_cannot_be_used_are_named_and_not_shown() {
    let (rsa, other, p256) = (pair::rsa(), pair::other_rsa(), pair::p256());
    let encrypted = pair::pem("ENCRYPTED PRIVATE KEY", b"secret");
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\n";
    let not_x509 = pair::pem("CERTIFICATE", b"secret");
    let cut = &rsa.certificate[..rsa.certificate.len() / 2];
    let both = format!("{}{}", other.certificate, rsa.certificate);
    for (algorithm, certificate, key, says) in [
        (Algorithm::PS256, rsa.certificate.as_str(), other.key.as_str(), "does not belong to the first"),
        (Algorithm::PS256, &both, &rsa.key, "does not belong to the first"),
        (Algorithm::PS256, &rsa.certificate, &p256.key, "tls.key is no RSA key"),
        (Algorithm::ES256, &rsa.certificate, &rsa.key, "tls.key is no key on the curve P-256"),
        (Algorithm::ES384, &p256.certificate, &p256.key, "tls.key is no key on the curve P-384"),
        (Algorithm::EdDSA, &rsa.certificate, &rsa.key, "tls.key is no Ed25519 key"),
        (Algorithm::PS256, &rsa.certificate, "", "tls.key holds no private key"),
        (Algorithm::PS256, &rsa.certificate, &rsa.certificate, "tls.key holds no private key"),
        (Algorithm::PS256, &rsa.certificate, &encrypted, "tls.key is encrypted"),
        (Algorithm::PS256, &rsa.certificate, old, "tls.key is encrypted"),
        (Algorithm::PS256, "", &rsa.key, "tls.crt holds no certificate"),
        (Algorithm::PS256, &rsa.key, &rsa.key, "tls.crt holds no certificate"),
        (Algorithm::PS256, cut, &rsa.key, "tls.crt is no PEM file"),
        (Algorithm::PS256, &not_x509, &rsa.key, "tls.crt holds a certificate that is no X.509"),
    ] {
        let error = signer(&settings(algorithm), certificate, key).unwrap_err().to_string();
        assert!(error.contains("/run/secrets/") && error.contains(says), "{says}: {error}");
        assert!(!error.contains("secret\n") && !error.contains("MII"), "{error}");
    }
}

#[test]
fn the_first_certificate_to_end_is_the_end_of_them_all() {
    let (rsa, other) = (pair::rsa(), pair::other_rsa());
    let end = |certificates: String| {
        let pem = Pem { certificate: Zeroizing::new(certificates.into_bytes()), key: Zeroizing::default() };
        pem.chain(&settings(Algorithm::PS256)).unwrap().not_after.as_seconds()
    };
    assert_eq!(end(rsa.certificate.clone()), pair::END);
    assert_eq!(end(format!("{}{}", rsa.certificate, other.certificate)), pair::END - 365 * 86_400);
}
