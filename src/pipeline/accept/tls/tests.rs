//! Real handshakes on loopback, and files that change.

use std::fs;
use std::path::Path;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::IsCa;
use rcgen::KeyPair;
use rustls::ClientConfig;
use rustls::HandshakeKind;
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;
use crate::config::ServerCertificate;
use crate::config::TlsVersion;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a pair for localhost to `name.crt` and `name.key`.
fn write(authority: &Authority, directory: &Path, name: &str) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    fs::write(directory.join(format!("{name}.crt")), certificate.pem()).unwrap();
    fs::write(directory.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

fn settings(directory: &Path, certificate: &str, key: &str, client_ca: Option<&str>) -> ListenerTls {
    let path = |name: &str| directory.join(name);
    let only = ServerCertificate { certificate: path(certificate), key: path(key), server_names: Vec::new() };
    ListenerTls { certificates: vec![only], min_version: TlsVersion::Tls12, client_ca: client_ca.map(path) }
}

async fn terminator(settings: ListenerTls) -> Terminator {
    Terminator {
        listener: Name::parse("public").unwrap(),
        current: Mutex::new(made(&settings, None).await.unwrap().unwrap()),
        settings,
        doubt: Mutex::new(Doubt::None),
        turn: tokio::sync::Mutex::default(),
    }
}

fn files() -> (Authority, TempDir) {
    let (authority, directory) = (authority(), tempfile::tempdir().unwrap());
    write(&authority, directory.path(), "tls");
    fs::write(directory.path().join("ca.crt"), authority.pem()).unwrap();
    (authority, directory)
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let (authority, directory) = files();
    let path = directory.path();
    write(&authority, path, "other");
    fs::write(path.join("empty"), "").unwrap();
    fs::write(path.join("long"), vec![b'x'; 1024 * 1024 + 1]).unwrap();
    fs::write(path.join("rubbish"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    for (certificate, key, ca, expected) in [
        ("absent", "tls.key", None, "cannot read {}/absent: No such file or directory (os error 2)"),
        ("", "tls.key", None, "{}/ is no regular file"),
        ("empty", "tls.key", None, "{}/empty holds no certificate in PEM"),
        ("tls.key", "tls.key", None, "{}/tls.key holds no certificate in PEM"),
        ("long", "tls.key", None, "{}/long is far too long"),
        ("tls.crt", "tls.crt", None, "{}/tls.crt holds no private key in PEM, or an encrypted one"),
        ("tls.crt", "tls.key", Some("empty"), "{}/empty holds no certificate in PEM"),
        (
            "tls.crt",
            "tls.key",
            Some("rubbish"),
            "{}/rubbish holds a certificate that is no X.509 certificate",
        ),
    ] {
        let error = made(&settings(path, certificate, key, ca), None).await.unwrap_err();
        let expected = expected.replace("{}", path.to_str().unwrap());
        assert_eq!(logs::report(&error), expected, "{certificate} {key} {ca:?}");
    }
    for (certificate, key) in [("tls.crt", "other.key"), ("rubbish", "tls.key")] {
        let error = made(&settings(path, certificate, key, None), None).await.unwrap_err();
        assert!(matches!(error, Error::Pair { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_did_not_change_is_not_made_anew() {
    let (authority, directory) = files();
    let settings = settings(directory.path(), "tls.crt", "tls.key", None);
    let first = made(&settings, None).await.unwrap().unwrap();
    assert!(made(&settings, Some(first.content)).await.unwrap().is_none());
    write(&authority, directory.path(), "tls");
    let second = made(&settings, Some(first.content)).await.unwrap().unwrap();
    assert_ne!(first.content, second.content);
}

#[tokio::test]
async fn one_look_between_two_files_is_no_reason_to_warn() {
    let (authority, directory) = files();
    let terminator = terminator(settings(directory.path(), "tls.crt", "tls.key", None)).await;
    let doubt = || match &*terminator.doubt.lock().unwrap() {
        Doubt::None => "none",
        Doubt::Seen(_) => "seen",
        Doubt::Told(_) => "told",
    };
    let first = terminator.current().content;
    write(&authority, directory.path(), "new");
    fs::rename(directory.path().join("new.crt"), directory.path().join("tls.crt")).unwrap();
    terminator.refresh().await;
    assert_eq!((doubt(), terminator.current().content), ("seen", first));
    fs::rename(directory.path().join("new.key"), directory.path().join("tls.key")).unwrap();
    terminator.refresh().await;
    assert_eq!(doubt(), "none");
    assert_ne!(terminator.current().content, first);
    fs::write(directory.path().join("tls.key"), "rubbish").unwrap();
    for expected in ["seen", "told", "told"] {
        terminator.refresh().await;
        assert_eq!(doubt(), expected);
    }
}

/// How two handshakes of one client, one after the other, are made.
async fn handshakes(terminator: &Terminator, client: ClientConfig) -> [HandshakeKind; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let (near, far) = tokio::join!(terminator.accept(accepted), connector.connect(name, socket));
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        // tickets come with what is written first
        near.write_all(b"x").await.unwrap();
        near.flush().await.unwrap();
        far.read_exact(&mut [0]).await.unwrap();
        kinds.push(near.get_ref().1.handshake_kind().unwrap());
    }
    kinds.try_into().unwrap()
}

fn client(authority: &Authority, certificate: Option<&Path>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.unwrap().with_root_certificates(roots);
    match certificate {
        None => builder.with_no_client_auth(),
        Some(directory) => {
            let chain = rustls::pki_types::CertificateDer::pem_file_iter(directory.join("tls.crt")).unwrap();
            let key = PrivateKeyDer::from_pem_file(directory.join("tls.key")).unwrap();
            builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
        }
    }
}

#[tokio::test]
async fn sessions_are_resumed_but_not_those_of_callers_who_showed_a_certificate() {
    let (authority, directory) = files();
    let path = directory.path();
    let open = terminator(settings(path, "tls.crt", "tls.key", None)).await;
    let kinds = handshakes(&open, client(&authority, None)).await;
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
    let mutual = terminator(settings(path, "tls.crt", "tls.key", Some("ca.crt"))).await;
    let kinds = handshakes(&mutual, client(&authority, Some(path))).await;
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Full]);
}
