//! What is wrong with the content of PEM files (RFC 7468), if anything. Pure.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

use crate::domain::clock::UnixTime;
use crate::domain::key_pair::key_pair;

/// What is wrong, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint(pub &'static str, pub &'static str);

const CERTIFICATE: &str = "write it in PEM, `-----BEGIN CERTIFICATE-----`";
const KEY: &str = "write it in PEM, `-----BEGIN PRIVATE KEY-----`";
const PAIR: &str = "name the two files of one pair";

/// The certificates in `pem`, ours first.
///
/// # Errors
/// If there is none, or one cannot be read.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Complaint> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|_| Complaint("this is no PEM file", CERTIFICATE))?;
    if all.is_empty() {
        return Err(Complaint("there is no certificate in this file", CERTIFICATE));
    }
    match all.iter().all(|der| parse_x509_certificate(der).is_ok_and(|(rest, _)| rest.is_empty())) {
        true => Ok(all),
        false => Err(Complaint("a certificate in this file is no X.509 certificate", CERTIFICATE)),
    }
}

/// What keeps the certificates in `pem` from being authorities that vouch for others.
pub fn authorities(pem: &[u8]) -> Option<Complaint> {
    let add = |all: Vec<CertificateDer<'static>>| {
        let mut roots = RootCertStore::empty();
        let refused = Complaint("a certificate in this file cannot be that of an authority", CERTIFICATE);
        all.into_iter().try_for_each(|one| roots.add(one).map_err(|_| refused))
    };
    certificates(pem).and_then(add).err()
}

/// What keeps the private key in `pem` from being that of the first of `chain`.
pub fn key_of(pem: &[u8], chain: Vec<CertificateDer<'static>>) -> Option<Complaint> {
    let Ok(key) = PrivateKeyDer::from_pem_slice(pem).map(Zeroizing::new) else {
        let contains = |needle: &[u8]| pem.windows(needle.len()).any(|window| window == needle);
        // RFC 7468 section 11, or what OpenSSL wrote before
        let is_encrypted = contains(b"BEGIN ENCRYPTED PRIVATE KEY") || contains(b"Proc-Type: 4,ENCRYPTED");
        return Some(match is_encrypted {
            true => Complaint(
                "the private key in this file is encrypted",
                "nobody is there to type its passphrase: write it without",
            ),
            false => Complaint("there is no private key in this file", KEY),
        });
    };
    match key_pair(chain, &key) {
        Ok(_) => None,
        Err(rustls::Error::InconsistentKeys(_)) => {
            Some(Complaint("this private key is not that of the certificate", PAIR))
        }
        Err(_) => Some(Complaint("the private key in this file is of no kind that can be used", KEY)),
    }
}

/// What is wrong with the first of `chain` at this time: that it has ended, or not begun.
pub fn untimely(chain: &[CertificateDer<'static>], now: UnixTime) -> Option<Complaint> {
    let (_, leaf) = parse_x509_certificate(chain.first()?).ok()?;
    let (from, until) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    let help = "whoever is shown it refuses it: replace the files; that takes no restart";
    match now.as_seconds() {
        now if now > until => Some(Complaint("this certificate has expired", help)),
        now if now < from => Some(Complaint("this certificate is not valid yet", help)),
        _ => None,
    }
}
