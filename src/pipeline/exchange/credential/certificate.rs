//! A certificate and its private key as PEM files hold them (RFC 7468).
//!
//! **In:** the content of two files. **Out:** what can be signed or shown with them, and when it ends. **Never:** I/O, a
//! key that is not the certificate's.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

use crate::config::Certificate;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::digest::Hasher;
use crate::pipeline::exchange::credential::error::Error;
use crate::pipeline::exchange::credential::error::What;

/// What the two files hold.
pub struct Pem {
    /// Of the certificate's file.
    pub certificate: Zeroizing<Vec<u8>>,
    /// Of the key's file; it may be the same.
    pub key: Zeroizing<Vec<u8>>,
}

impl Pem {
    /// What tells one content from another.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        // the length keeps the two apart
        hasher.update(&self.certificate.len().to_be_bytes());
        hasher.update(&self.certificate);
        hasher.update(&self.key);
        hasher.finish()
    }

    /// The certificates in their order: ours first, then maybe those above it.
    ///
    /// # Errors
    /// If there is none, or one cannot be read.
    pub fn chain(&self, settings: &Certificate) -> Result<Chain, Error> {
        let unusable =
            |problem| Error::Unusable { what: What::Certificate, path: settings.file.clone(), problem };
        let certificates = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| unusable("is no PEM file"))?;
        let parsed = certificates
            .iter()
            .map(|der| match parse_x509_certificate(der) {
                Ok(([], certificate)) => Ok(certificate),
                _ => Err(unusable("holds a certificate that is no X.509 certificate")),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let ends = parsed.iter().map(|certificate| certificate.validity().not_after.timestamp());
        let (Some(leaf), Some(end)) = (parsed.first(), ends.min()) else {
            return Err(unusable("holds no certificate: write it in PEM, `-----BEGIN CERTIFICATE-----`"));
        };
        let public_key = leaf.public_key().subject_public_key.data.to_vec();
        Ok(Chain { public_key, not_after: UnixTime::from_seconds(end), certificates })
    }

    /// The private key: PKCS#8, PKCS#1 (RSA) or SEC 1 (elliptic curves).
    ///
    /// # Errors
    /// If there is none, or it is encrypted.
    pub fn private_key(&self, settings: &Certificate) -> Result<Zeroizing<PrivateKeyDer<'static>>, Error> {
        PrivateKeyDer::from_pem_slice(&self.key).map(Zeroizing::new).map_err(|_| Error::Unusable {
            what: What::Key,
            path: settings.key.clone(),
            problem: match is_encrypted(&self.key) {
                true => "is encrypted: nobody is there to type its passphrase, so write it without",
                false => "holds no private key: write it in PEM, `-----BEGIN PRIVATE KEY-----`",
            },
        })
    }
}

/// The certificates of one file.
#[derive(Debug)]
pub struct Chain {
    /// In their order. Never empty.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The public key of the first, as its subjectPublicKey holds it.
    pub public_key: Vec<u8>,
    /// When the first of them to end ends.
    pub not_after: UnixTime,
}

impl Chain {
    /// The first: the one whose key we hold.
    pub fn leaf(&self) -> &[u8] {
        self.certificates.first().map_or(&[], |leaf| leaf.as_ref())
    }
}

/// RFC 7468 section 11, or what OpenSSL wrote before.
fn is_encrypted(pem: &[u8]) -> bool {
    let contains = |needle: &[u8]| pem.windows(needle.len()).any(|window| window == needle);
    contains(b"BEGIN ENCRYPTED PRIVATE KEY") || contains(b"Proc-Type: 4,ENCRYPTED")
}
