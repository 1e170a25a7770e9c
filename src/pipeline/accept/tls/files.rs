//! The files of a listener's TLS, and what is made of their content.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ClientHello;
use rustls::server::NoServerSessionStorage;
use rustls::server::ResolvesServerCert;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

use crate::config::HostPattern;
use crate::config::ListenerTls;
use crate::config::ServerCertificate;
use crate::config::TlsVersion;
use crate::config::file;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::digest::Hasher;
use crate::domain::key_pair::key_pair;
use crate::domain::peer::AlternativeName;
use crate::pipeline::accept::certificate;
use crate::pipeline::accept::tls::names::ByName;
use crate::pipeline::accept::tls::names::pattern;
use crate::pipeline::accept::tls::tickets::tickets;

/// Longer than any such file is.
const LONGEST: u64 = 1024 * 1024;

/// The most hosts that are told.
const MOST_NAMES: usize = 20;

const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Why a listener's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{path} {problem}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Certificate and key are no pair, or of a kind that nobody speaks.
    #[error("the certificate {certificate} and the key {key} cannot be used")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// rustls refuses its own defaults, or the system gives no random numbers.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// What the files hold.
pub struct Content {
    pairs: Vec<Pem>,
    client_ca: Option<Zeroizing<Vec<u8>>>,
}

/// What the files of one pair hold.
struct Pem {
    certificate: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
}

impl Content {
    /// Reads the files. This waits for the file system.
    ///
    /// # Errors
    /// If one cannot be read, or is far too long.
    pub fn read(settings: &ListenerTls) -> Result<Self, Error> {
        let pair = |pair: &ServerCertificate| {
            Ok(Pem { certificate: read(&pair.certificate)?, key: read(&pair.key)? })
        };
        let pairs = settings.certificates.iter().map(pair).collect::<Result<_, Error>>()?;
        Ok(Self { pairs, client_ca: settings.client_ca.as_deref().map(read).transpose()? })
    }

    /// What tells one content from another.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        let files = self.pairs.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        for file in files.chain(&self.client_ca) {
            // the length keeps them apart
            hasher.update(&file.len().to_be_bytes());
            hasher.update(file);
        }
        hasher.finish()
    }

    /// When the first of our certificates ends, and of those that vouch for them.
    pub fn ends(&self) -> Option<UnixTime> {
        let all = self.pairs.iter().flat_map(|pair| CertificateDer::pem_slice_iter(&pair.certificate));
        let end = |der: CertificateDer<'_>| {
            let (_, certificate) = parse_x509_certificate(&der).ok()?;
            Some(UnixTime::from_seconds(certificate.validity().not_after.timestamp()))
        };
        all.flatten().filter_map(end).min()
    }

    /// The hosts that our certificates are for (RFC 6125 section 6.4), each once: the first, if there are very many.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for pair in &self.pairs {
            let leaf = CertificateDer::pem_slice_iter(&pair.certificate).find_map(Result::ok);
            let parsed = leaf.as_ref().and_then(|leaf| parse_x509_certificate(leaf).ok());
            let hosts = parsed.iter().flat_map(|(_, certificate)| certificate::hosts(certificate));
            for host in hosts.take(MOST_NAMES) {
                if !names.contains(&host) {
                    names.push(host);
                }
            }
        }
        names.truncate(MOST_NAMES);
        names
    }

    /// TLS as `settings` say, with this content.
    ///
    /// # Errors
    /// If a file holds nothing that could be used, or a certificate and its key are no pair.
    pub fn server_config(&self, settings: &ListenerTls) -> Result<ServerConfig, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = match settings.min_version {
            TlsVersion::Tls12 => TLS12,
            TlsVersion::Tls13 => TLS13,
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(versions).map_err(Error::Setup)?;
        let certificates = Arc::new(self.certificates(settings)?);
        let authorities = settings.client_ca.as_deref().zip(self.client_ca.as_deref());
        let mut config = match authorities {
            None => builder.with_no_client_auth().with_cert_resolver(certificates),
            Some((path, pem)) => {
                let roots = Arc::new(roots(path, pem)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                let verifier =
                    verifier.map_err(|_| unusable(path, "holds no certificate of an authority"))?;
                builder.with_client_cert_verifier(verifier).with_cert_resolver(certificates)
            }
        };
        // the last is all that some old clients offer, who would otherwise be turned away
        config.alpn_protocols = ["h2", "http/1.1", "http/1.0"].map(|name| name.as_bytes().to_vec()).into();
        // what is not in a ticket would be kept here for as long as there is room
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if authorities.is_none() {
            config.ticketer = tickets().map_err(Error::Setup)?;
        } else {
            // a resumed session is not asked again for the certificate: it may have ended meanwhile
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }

    fn certificates(&self, settings: &ListenerTls) -> Result<Certificates, Error> {
        let mut all: Option<ByName<Arc<CertifiedKey>>> = None;
        for (settings, pem) in settings.certificates.iter().zip(&self.pairs) {
            let pair = Arc::new(pair(settings, pem)?);
            let names = match settings.server_names.as_slice() {
                [] => own_names(&pair),
                names => names.to_vec(),
            };
            let named = all.unwrap_or_else(|| ByName::new(Arc::clone(&pair)));
            all = Some(names.iter().fold(named, |named, name| named.with(name, &pair)));
        }
        all.map(Certificates).ok_or(Error::Setup(rustls::Error::NoCertificatesPresented))
    }
}

/// Our certificates by the hosts they are for.
#[derive(Debug)]
struct Certificates(ByName<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.0.find(hello.server_name())))
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let unreadable = |source| Error::Unreadable { path: path.into(), source };
    file::read(path, LONGEST).map_err(|error| match error {
        file::Error::Unreadable(source) => unreadable(source),
        file::Error::TooLong => unusable(path, "is far too long"),
        file::Error::NotRegular | file::Error::Deserted => unusable(path, "is no regular file"),
    })
}

fn pair(settings: &ServerCertificate, pem: &Pem) -> Result<CertifiedKey, Error> {
    let chain = chain(&settings.certificate, &pem.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&pem.key)
        .map(Zeroizing::new)
        .map_err(|_| unusable(&settings.key, "holds no private key in PEM, or an encrypted one"))?;
    let refused =
        |source| Error::Pair { certificate: settings.certificate.clone(), key: settings.key.clone(), source };
    key_pair(chain, &key).map_err(refused)
}

fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(unusable(path, "holds no certificate in PEM")),
        Err(_) => Err(unusable(path, "is no PEM file")),
    }
}

fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for authority in chain(path, pem)? {
        roots
            .add(authority)
            .map_err(|_| unusable(path, "holds a certificate that is no X.509 certificate"))?;
    }
    Ok(roots)
}

/// The host names in a certificate.
fn own_names(pair: &CertifiedKey) -> Vec<HostPattern> {
    let leaf = pair.cert.first().map(AsRef::as_ref).unwrap_or_default();
    let Ok((_, parsed)) = parse_x509_certificate(leaf) else { return Vec::new() };
    let host = |name| match name {
        AlternativeName::Dns(name) => Some(pattern(&name)),
        AlternativeName::Uri(_) | AlternativeName::Email(_) => None,
    };
    certificate::names(&parsed).into_iter().filter_map(host).collect()
}

fn unusable(path: &Path, problem: &'static str) -> Error {
    Error::Unusable { path: path.into(), problem }
}
