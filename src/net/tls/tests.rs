use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::IsCa;
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::net::client::Bounds;
use crate::net::client::Client;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(authority: &Authority, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    (vec![leaf.der().clone()], key)
}

/// A server that answers whoever shows a certificate of `authority`.
async fn serve(authority: &Authority) -> u16 {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
    let (chain, key) = issue(authority, "localhost");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_shown_our_certificate() {
    let (ours, other) = (authority(), authority());
    let port = serve(&ours).await;
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, ours.pem()).unwrap();
    let shown = |issuer: &Authority| {
        let (chain, key) = issue(issuer, "orders-proxy");
        client_config_as(Some(&ca), chain, &Zeroizing::new(key)).unwrap()
    };
    for (config, admitted) in
        [(shown(&ours), true), (shown(&other), false), (client_config(Some(&ca), None).unwrap(), false)]
    {
        let request = Request::get(format!("https://localhost:{port}/")).body(Full::default()).unwrap();
        let bounds = Bounds { timeout: Duration::from_secs(30), body: 1024 };
        let answer = Client::with_tls(config).send(request, bounds).await;
        assert_eq!(answer.is_ok(), admitted, "{answer:?}");
    }
}

#[test]
fn a_certificate_is_not_shown_with_another_ones_key() {
    let authority = authority();
    let ((chain, _), (_, key)) = (issue(&authority, "one"), issue(&authority, "two"));
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let error = client_config_as(Some(&ca), chain, &Zeroizing::new(key)).unwrap_err();
    assert!(matches!(error, Error::ClientCertificate(_)), "{error}");
}
