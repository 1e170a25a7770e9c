//! What there is to say of a certificate. Pure.

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::parse_x509_certificate;

use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;

/// With fewer days left than this there is a warning.
pub const SOON: i64 = 14;

/// A certificate in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// When it begins.
    pub not_before: UnixTime,
    /// When it ends.
    pub not_after: UnixTime,
    /// Its SHA-256 as assertions name it (`x5t#S256`).
    pub x5t: String,
    /// Its SHA-1 as hexadecimal digits, as the portal shows it.
    pub thumbprint: String,
}

impl Summary {
    /// Of the certificate in `der`; `None` if it is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let (digest, sha1) = (Digest::of(der), digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der));
        Some(Self {
            not_before: UnixTime::from_seconds(certificate.validity().not_before.timestamp()),
            not_after: UnixTime::from_seconds(certificate.validity().not_after.timestamp()),
            x5t: BASE64_URL_SAFE_NO_PAD.encode(digest.as_bytes()),
            thumbprint: sha1.as_ref().iter().map(|byte| format!("{byte:02X}")).collect(),
        })
    }

    /// Of the first certificate in `pem`.
    pub fn of_pem(pem: &[u8]) -> Option<Self> {
        Self::of(&CertificateDer::from_pem_slice(pem).ok()?)
    }
}

/// How many whole days it is until `end`; negative if that is past.
pub fn days_until(end: UnixTime, now: UnixTime) -> i64 {
    end.as_seconds().saturating_sub(now.as_seconds()).div_euclid(86_400)
}

/// That many days, in words.
pub fn in_days(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_down_and_never_rounded_up() {
        let days = |seconds| days_until(UnixTime::from_seconds(seconds), UnixTime::from_seconds(0));
        assert_eq!([days(0), days(86_399), days(86_400), days(-1)], [0, 0, 1, -1]);
        assert_eq!([in_days(0), in_days(1), in_days(2)], ["0 days", "1 day", "2 days"]);
    }

    #[test]
    fn what_is_no_certificate_has_no_summary() {
        assert_eq!((Summary::of(b"x"), Summary::of_pem(b"x")), (None, None));
        let pair = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let summary = Summary::of_pem(pair.cert.pem().as_bytes()).unwrap();
        assert_eq!((summary.thumbprint.len(), summary.x5t.len()), (40, 43));
        assert_eq!(Some(summary), Summary::of(pair.cert.der()));
    }
}
