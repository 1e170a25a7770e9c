//! TLS and HTTP/2 towards upstreams.

use std::path::Path;

use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::IsCa;
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::*;

/// An echoing upstream with TLS whose certificate, for `name`, is signed by the CA written to `ca`.
pub async fn https(name: &str, ca: &Path) -> String {
    let acceptor = acceptor(name, ca, &["h2", "http/1.1"]);
    raw(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                echo(stream, http2).await;
            }
        }
    })
    .await
}

/// TLS for an upstream that speaks `protocols`, with a certificate as above.
pub fn acceptor(name: &str, ca: &Path, protocols: &[&str]) -> TlsAcceptor {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(ca, authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(certificate)], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

pub fn https_route(authority: &str, ca: &Path, http2: Http2, host: HostRewrite) -> Route {
    let tls = UpstreamTls { ca: Some(ca.to_owned()), ..UpstreamTls::default() };
    Route {
        upstream: Arc::new(Upstream { scheme: Scheme::Https, http2, tls, ..upstream(authority) }),
        rewrite: Rewrite { strip_prefix: None, host },
        ..route(authority)
    }
}

pub fn header<'a>(response: &'a Response<net::Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn posted(case: &Case) -> Response<net::Body> {
    let body = Full::from("abc");
    case.send(Request::post("/").header("host", "orders.example").body(body).unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_version_is_negotiated_and_host_and_authority_agree() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let address = https("127.0.0.1", &ca).await;
    let (own, callers) = (address.as_str(), "orders.example");
    for (http2, host, version, seen_host, authority) in [
        (Http2::Auto, HostRewrite::Upstream, "HTTP/2.0", "", own),
        (Http2::Auto, HostRewrite::Preserve, "HTTP/2.0", "", callers),
        (Http2::Never, HostRewrite::Upstream, "HTTP/1.1", own, ""),
        (Http2::Never, HostRewrite::Preserve, "HTTP/1.1", callers, ""),
        (Http2::Always, HostRewrite::Upstream, "HTTP/2.0", "", own),
        (Http2::Always, HostRewrite::Preserve, "HTTP/2.0", "", callers),
    ] {
        let response = posted(&Case::new(https_route(&address, &ca, http2, host))).await;
        assert_eq!(header(&response, "x-version"), version, "{http2:?} {host:?}");
        assert_eq!(header(&response, "x-host"), seen_host, "{http2:?} {host:?}");
        assert_eq!(header(&response, "x-authority"), authority, "{http2:?} {host:?}");
        assert_eq!(header(&response, "x-authorization"), "Bearer ours");
        assert_eq!(response.version(), Version::HTTP_11);
        assert_eq!(text(response).await, "abc");
    }
}

#[tokio::test]
async fn http_2_without_tls_is_spoken_by_prior_knowledge() {
    let address = raw(|stream| echo(stream, true)).await;
    let upstream = Arc::new(Upstream { http2: Http2::Always, ..upstream(&address) });
    let case = Case::new(Route { upstream, ..route(&address) });
    let response = posted(&case).await;
    assert_eq!(header(&response, "x-version"), "HTTP/2.0");
    assert_eq!(text(response).await, "abc");
    let gateway = case.gateway().await;
    let got = asked(
        gateway,
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    .await;
    assert!(got.contains("x-version: HTTP/2.0\r\n") && got.contains("abc"), "{got}");
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_for_the_name() {
    let directory = tempfile::tempdir().unwrap();
    let (ca, other) = (directory.path().join("ca.pem"), directory.path().join("other.pem"));
    let address = https("orders.internal", &ca).await;
    https("127.0.0.1", &other).await;
    for (ca, server_name, is_fine) in [
        (&ca, Some("orders.internal"), true),
        (&ca, None, false),
        (&ca, Some("other.internal"), false),
        (&other, Some("orders.internal"), false),
    ] {
        let mut settings = Upstream { scheme: Scheme::Https, http2: Http2::Never, ..upstream(&address) };
        settings.tls.ca = Some(ca.clone());
        settings.tls.server_name = server_name.map(String::from);
        let case = Case::new(Route { upstream: Arc::new(settings), ..route(&address) });
        match case.fetch().await {
            Ok(_) => assert!(is_fine, "{server_name:?}"),
            Err(Error::Tls(_)) => assert!(!is_fine, "{server_name:?}"),
            Err(error) => panic!("{server_name:?}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn an_upstream_that_speaks_no_tls_is_no_tls_upstream() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    https("127.0.0.1", &ca).await;
    let address = raw(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        rest(&mut stream).await;
    })
    .await;
    let case = Case::new(https_route(&address, &ca, Http2::Never, HostRewrite::Preserve));
    let result = case.fetch().await;
    assert!(matches!(result, Err(Error::Tls(_))), "{result:?}");
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_late() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    https("127.0.0.1", &ca).await;
    let address = raw(|mut stream| async move {
        rest(&mut stream).await;
    })
    .await;
    for http2 in [Http2::Auto, Http2::Always, Http2::Never] {
        let mut impatient = https_route(&address, &ca, http2, HostRewrite::Upstream);
        impatient.timeouts.response = SHORT;
        let result = Case::new(impatient).fetch().await;
        assert!(matches!(result, Err(Error::Timeout(Phase::Response))), "{http2:?}: {result:?}");
        // connecting is not done before the handshake is
        let mut slow = https_route(&address, &ca, http2, HostRewrite::Upstream);
        let tls = UpstreamTls { ca: Some(ca.clone()), ..UpstreamTls::default() };
        let upstream =
            Upstream { scheme: Scheme::Https, http2, tls, connect_timeout: SHORT, ..upstream(&address) };
        slow.upstream = Arc::new(upstream);
        let began = Instant::now();
        let result = Case::new(slow).fetch().await;
        assert!(matches!(result, Err(Error::Timeout(Phase::Connect))), "{http2:?}: {result:?}");
        assert!((SHORT..LONG / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}
