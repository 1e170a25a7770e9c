//! A certificate with its private key, as it is shown in TLS.

use rustls::Error;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

/// The certificate that `chain` begins with, and its `key`. What was read of the key is wiped: rustls would take it over, and
/// let it go as it is.
///
/// # Errors
/// If the key is of no kind that can be used, or of another certificate.
pub fn key_pair(
    chain: Vec<CertificateDer<'static>>,
    key: &Zeroizing<PrivateKeyDer<'static>>,
) -> Result<CertifiedKey, Error> {
    let pair = CertifiedKey::new(chain, any_supported_type(key)?);
    match pair.keys_match() {
        // not every kind of key tells whose it is
        Ok(()) | Err(Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::CertifiedKey as Issued;
    use rcgen::generate_simple_self_signed;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn issued() -> Issued<rcgen::KeyPair> {
        generate_simple_self_signed(["a.example".to_owned()]).unwrap()
    }

    #[test]
    fn a_key_goes_with_its_own_certificate_alone() {
        let (own, other) = (issued(), issued());
        let key = |of: &Issued<rcgen::KeyPair>| {
            Zeroizing::new(PrivateKeyDer::from_pem_slice(of.signing_key.serialize_pem().as_bytes()).unwrap())
        };
        let chain = || vec![own.cert.der().clone()];
        assert!(key_pair(chain(), &key(&own)).is_ok());
        assert!(matches!(key_pair(chain(), &key(&other)), Err(Error::InconsistentKeys(_))));
        let garbage = Zeroizing::new(PrivateKeyDer::Pkcs8(b"no key".to_vec().into()));
        assert!(key_pair(chain(), &garbage).is_err());
        assert!(key_pair(Vec::new(), &key(&own)).is_err());
    }
}
