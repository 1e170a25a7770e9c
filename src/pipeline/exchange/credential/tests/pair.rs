//! Certificates and keys made for tests, and files to put them in.

use std::path::Path;
use std::sync::OnceLock;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::EcPrivateKeyRfc5915Der;
use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use aws_lc_rs::signature::EcdsaKeyPair;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::CertificateParams;
use rcgen::KeyPair;
use rcgen::PublicKeyData;
use rcgen::SignatureAlgorithm;

use crate::config::Algorithm;
use crate::config::AssertionAudience;
use crate::config::Certificate;
use crate::config::SendChain;

/// A key and a certificate for it.
pub struct Pair {
    pub certificate: String,
    pub der: Vec<u8>,
    pub key: String,
    /// The same key as older tools write it.
    pub traditional: String,
    pub public: Vec<u8>,
}

/// When the certificates end: 2030-01-01.
pub const END: i64 = 1_893_456_000;

fn new(algorithm: &'static SignatureAlgorithm, traditional: fn(&[u8]) -> String) -> Pair {
    ending(algorithm, traditional, 2030)
}

fn ending(algorithm: &'static SignatureAlgorithm, traditional: fn(&[u8]) -> String, year: i32) -> Pair {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::default();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    Pair {
        certificate: certificate.pem(),
        der: certificate.der().to_vec(),
        key: key.serialize_pem(),
        traditional: traditional(key.serialized_der()),
        public: key.der_bytes().to_vec(),
    }
}

/// PKCS#8 wraps an RSA key of 2048 bits into 26 bytes more.
fn pkcs1(pkcs8: &[u8]) -> String {
    pem("RSA PRIVATE KEY", &pkcs8[26..])
}

fn sec1(pkcs8: &[u8]) -> String {
    let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).unwrap();
    let der = AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&pair.private_key()).unwrap();
    pem("EC PRIVATE KEY", der.as_ref())
}

fn none(_: &[u8]) -> String {
    String::new()
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// An RSA pair, always the same: they take long to make.
pub fn rsa() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| new(&rcgen::PKCS_RSA_SHA256, pkcs1))
}

/// Another one, which ends a year earlier.
pub fn other_rsa() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| ending(&rcgen::PKCS_RSA_SHA256, pkcs1, 2029))
}

pub fn p256() -> Pair {
    new(&rcgen::PKCS_ECDSA_P256_SHA256, sec1)
}

pub fn p384() -> Pair {
    new(&rcgen::PKCS_ECDSA_P384_SHA384, none)
}

pub fn ed25519() -> Pair {
    new(&rcgen::PKCS_ED25519, none)
}

/// A certificate `tls.crt` and its key `tls.key` in `directory`.
pub fn settings(directory: &Path, algorithm: Algorithm) -> Certificate {
    Certificate {
        file: directory.join("tls.crt"),
        key: directory.join("tls.key"),
        algorithm,
        chain: SendChain::Omit,
        audience: AssertionAudience::TokenEndpoint,
    }
}

/// Writes both files.
pub fn write(settings: &Certificate, certificate: &str, key: &str) {
    std::fs::write(&settings.file, certificate).unwrap();
    std::fs::write(&settings.key, key).unwrap();
}
