//! TLS towards IdPs and upstreams: roots, and our own certificate where one is asked for.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::ConfigBuilder;
use rustls::RootCertStore;
use rustls::WantsVerifier;
use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SingleCertAndKey;
use zeroize::Zeroizing;

use crate::config::file;
use crate::domain::key_pair::key_pair;

/// Longer than any PEM file is.
const LONGEST: u64 = 16 * 1024 * 1024;

/// Why a TLS client cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system has no trusted roots: an image without `ca-certificates`, or `SSL_CERT_FILE` points nowhere.
    #[error("the system has no trusted root certificates; install ca-certificates or set SSL_CERT_FILE")]
    NoRoots,
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A PEM file holds nothing usable.
    #[error("cannot use the PEM file {path}: {why}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Certificate and key do not go together, or rustls refuses them.
    #[error("the client certificate cannot be used")]
    ClientCertificate(#[source] rustls::Error),
    /// rustls refuses its own defaults.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// A TLS client that trusts the PEM file `ca`, or else the system's roots, and shows `client_certificate`
/// (certificate chain, key) if asked.
///
/// # Errors
/// If a file cannot be used, or the system has no roots.
pub fn client_config(
    ca: Option<&Path>,
    client_certificate: Option<(&Path, &Path)>,
) -> Result<ClientConfig, Error> {
    let builder = builder()?.with_root_certificates(roots(ca)?);
    match client_certificate {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| pem_error(key, error))?;
            showing(builder, certificates(chain)?, &Zeroizing::new(key))
        }
    }
}

/// A TLS client that trusts the PEM file `ca`, or else the system's roots, and shows the certificate `chain` begins
/// with, whose key is `key`.
///
/// # Errors
/// If certificate and key do not go together, a file cannot be used, or the system has no roots.
pub fn client_config_as(
    ca: Option<&Path>,
    chain: Vec<CertificateDer<'static>>,
    key: &Zeroizing<PrivateKeyDer<'static>>,
) -> Result<ClientConfig, Error> {
    showing(builder()?.with_root_certificates(roots(ca)?), chain, key)
}

fn showing(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    chain: Vec<CertificateDer<'static>>,
    key: &Zeroizing<PrivateKeyDer<'static>>,
) -> Result<ClientConfig, Error> {
    let pair = key_pair(chain, key).map_err(Error::ClientCertificate)?;
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))))
}

/// A TLS client that trusts nobody: for servers spoken to without TLS, so that they need no roots.
///
/// # Errors
/// If rustls refuses its own defaults.
pub fn client_config_without_roots() -> Result<ClientConfig, Error> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::Setup)
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, Error> {
    ca.map_or_else(system_roots, pem_roots)
}

fn system_roots() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(Error::NoRoots) } else { Ok(roots) }
}

fn pem_roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| pem_error(path, error))?;
    }
    Ok(roots)
}

/// The certificates in a PEM file: one at least.
///
/// # Errors
/// If it cannot be read, or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    certificates_in(path, &read(path)?)
}

/// The certificates in what the PEM file `path` holds: one at least.
///
/// # Errors
/// If it holds none.
pub fn certificates_in(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| pem_error(path, error))?;
    match found.is_empty() {
        true => Err(pem_error(path, "it holds no certificate")),
        false => Ok(found),
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    file::read(path, LONGEST).map_err(|error| match error {
        file::Error::Unreadable(source) => Error::Unreadable { path: path.into(), source },
        error => pem_error(path, error),
    })
}

fn pem_error(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::Pem { path: path.into(), why: why.to_string() }
}

#[cfg(test)]
mod tests;
