//! Certificates for tests with real TLS.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;

/// A certification authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Pair {
    pub certificate: String,
    pub key: String,
    pub der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Pair {
    /// Writes it to two files of that name, each of which is whole at every moment.
    pub fn write(&self, directory: &Path, name: &str) {
        for (extension, content) in [("crt", &self.certificate), ("key", &self.key)] {
            let new = directory.join("new");
            fs::write(&new, content).unwrap();
            fs::rename(new, directory.join(format!("{name}.{extension}"))).unwrap();
        }
    }
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        // OpenSSL takes a certificate for its own issuer if both have the same name
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for that name, with an EC key.
    pub fn issue(&self, name: &str) -> Pair {
        self.issue_for(CertificateParams::new([name.to_owned()]).unwrap())
    }

    /// A certificate with these contents, with an EC key.
    pub fn issue_for(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.into(),
            key_der: key.serialize_der(),
        }
    }

    /// A client that trusts this authority alone.
    pub fn client(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        builder.unwrap().with_root_certificates(roots).with_no_client_auth()
    }

    /// A server at 127.0.0.1 that asks its callers for no certificate.
    pub fn server(&self) -> ServerConfig {
        self.server_called("127.0.0.1")
    }

    /// The same by another name.
    pub fn server_called(&self, name: &str) -> ServerConfig {
        let pair = self.issue(name);
        let builder = builder().with_no_client_auth();
        builder.with_single_cert(vec![pair.der], key(pair.key_der)).unwrap()
    }

    /// A server at 127.0.0.1 that lets nobody in without a certificate of this authority.
    pub fn server_for_certified_callers(&self) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        let pair = self.issue("127.0.0.1");
        let builder = builder().with_client_cert_verifier(verifier.unwrap());
        builder.with_single_cert(vec![pair.der], key(pair.key_der)).unwrap()
    }
}

fn key(der: Vec<u8>) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der))
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
}
