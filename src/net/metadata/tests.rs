//! Discovery against a server of our own on loopback.

use std::convert::Infallible;
use std::error::Error as _;

use http::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;
use crate::config::Algorithm;
use crate::config::ClaimNames;
use crate::config::Egress;
use crate::config::GrantType;
use crate::config::Introspection;
use crate::config::Jwks;
use crate::config::ResourceMetadata;
use crate::domain::clock::UnixTime;
use crate::domain::name::Name;

const REFRESH: Duration = Duration::from_secs(3600);
const OIDC: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// What is answered at a path.
#[derive(Clone)]
struct Page {
    path: &'static str,
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: String,
}

struct Server {
    issuer: String,
    pages: std::sync::Mutex<Vec<Page>>,
    asked: std::sync::Mutex<Vec<String>>,
    gate: Semaphore,
}

impl Server {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            pages: std::sync::Mutex::default(),
            asked: std::sync::Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS / 2),
        });
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = serving.clone();
                let service = service_fn(move |request| server.clone().answer(request));
                let http1 = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http1.serve_connection(TokioIo::new(stream), service));
            }
        });
        server
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        self.asked.lock().unwrap().push(request.uri().path().to_owned());
        self.gate.acquire().await.unwrap().forget();
        let page = self.pages.lock().unwrap().iter().find(|page| page.path == request.uri().path()).cloned();
        let page = page.unwrap_or(Page { path: "", status: 404, headers: &[], body: String::new() });
        let mut response = Response::builder().status(page.status);
        for (name, value) in page.headers {
            response = response.header(*name, *value);
        }
        Ok(response.body(Full::new(page.body.into())).unwrap())
    }

    fn publish(&self, pages: Vec<Page>) {
        *self.pages.lock().unwrap() = pages;
    }

    fn document(&self, more: Value) -> String {
        let mut document = json!({"issuer": self.issuer, "token_endpoint": format!("{}/token", self.issuer)});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        document.to_string()
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn metadata(&self) -> (Metadata, Clock) {
        self.metadata_for(AuthMethod::ClientSecretPost, None)
    }

    fn metadata_for(&self, auth_method: AuthMethod, token_endpoint: Option<&str>) -> (Metadata, Clock) {
        let clock = Clock::manual(UnixTime::from_seconds(1_700_000_000));
        let provider = Arc::new(IdentityProvider {
            name: Name::parse("partner").unwrap(),
            server: AuthorizationServer::Oidc(Oidc {
                issuer: self.issuer.clone(),
                jwks_uri: None,
                token_endpoint: token_endpoint.map(|url| url.parse().unwrap()),
                introspection_endpoint: None,
                authorization_endpoint: None,
            }),
            client_id: "orders".into(),
            audiences: vec!["orders".into()],
            credentials: vec![],
            auth_method,
            grant: GrantType::TokenExchange,
            client_capabilities: vec![],
            introspection: Introspection::Off,
            resource_metadata: ResourceMetadata::Hidden,
            clock_skew: Duration::from_secs(60),
            timeout: Duration::from_secs(30),
            jwks: Jwks { refresh: REFRESH, cooldown: Duration::from_secs(30) },
            algorithms: vec![Algorithm::ES256],
            token_types: vec!["JWT".into()],
            claim_names: ClaimNames { user: None, scopes: "scope".into(), roles: "roles".into() },
            parameters: vec![],
            egress: Egress::Direct,
        });
        (Metadata::of(&provider, Client::plain().unwrap(), clock.clone()).unwrap(), clock)
    }
}

fn page(path: &'static str, body: String) -> Page {
    Page { path, status: 200, headers: &[("content-type", "application/json")], body }
}

async fn token(metadata: &Metadata) -> Result<String, Error> {
    metadata.endpoint(Endpoint::Token).await.map(String::from)
}

#[tokio::test]
async fn a_document_is_fetched_when_it_is_wanted_and_kept_until_it_is_old() {
    let server = Server::start().await;
    server.publish(vec![page(OIDC, server.document(json!({})))]);
    let (metadata, clock) = server.metadata();
    assert_eq!((metadata.known(Endpoint::Token), server.asked()), (None, 0));
    for _ in 0..3 {
        assert_eq!(token(&metadata).await.unwrap(), format!("{}/token", server.issuer));
    }
    assert_eq!(metadata.known(Endpoint::Token).map(String::from), token(&metadata.clone()).await.ok());
    assert_eq!(server.asked(), 1);
    let error = metadata.endpoint(Endpoint::Introspection).await.unwrap_err();
    assert_eq!(error.to_string(), "the metadata does not name the introspection_endpoint");
    server.publish(vec![page(OIDC, server.document(json!({"token_endpoint": "https://new.example/"})))]);
    clock.advance(REFRESH);
    assert_eq!(token(&metadata).await.unwrap(), "https://new.example/");
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_server_of_oauth_alone_is_found_too() {
    let server = Server::start().await;
    for oidc in [None, Some("<html>"), Some(r#"{"issuer":"https://elsewhere.example"}"#)] {
        let mut pages = vec![page(OAUTH, server.document(json!({})))];
        pages.extend(oidc.map(|body| page(OIDC, body.to_owned())));
        server.publish(pages);
        assert_eq!(
            token(&server.metadata().0).await.unwrap(),
            format!("{}/token", server.issuer),
            "{oidc:?}"
        );
    }
}

#[tokio::test]
async fn what_is_not_the_issuers_own_document_is_refused_and_never_followed() {
    let server = Server::start().await;
    let good = server.document(json!({}));
    let plain = |body: String| page(OIDC, body);
    for (odd, said) in [
        (Page { status: 302, headers: &[("location", "/elsewhere")], ..plain(good.clone()) }, "302"),
        (Page { status: 500, ..plain(good.clone()) }, "500"),
        (Page { headers: &[("content-encoding", "gzip")], ..plain(good.clone()) }, "content encoding"),
        (plain(String::new()), "not a JSON object"),
        (
            plain(r#"{"issuer":"https://elsewhere.example"}"#.into()),
            "is of the issuer https://elsewhere.example, and not of http://127.0.0.1",
        ),
        (plain(server.document(json!({"token_endpoint": "http://elsewhere.example/"}))), "token_endpoint"),
        (plain(format!("{good}{}", " ".repeat(LONGEST))), "cannot be fetched"),
    ] {
        server.publish(vec![odd, page("/elsewhere", good.clone())]);
        let error = token(&server.metadata().0).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error} is not {said}");
        assert!(!server.asked.lock().unwrap().contains(&"/elsewhere".to_owned()));
    }
}

#[tokio::test]
async fn while_there_is_no_document_a_server_that_heals_is_found_within_a_second() {
    let server = Server::start().await;
    let (metadata, clock) = server.metadata();
    for _ in 0..10 {
        // each attempt asks at two addresses
        let before = server.asked();
        for _ in 0..3 {
            assert!(matches!(token(&metadata).await, Err(Error::Status(StatusCode::NOT_FOUND))));
        }
        assert_eq!(server.asked(), before + 2);
        clock.advance(Duration::from_millis(999));
        assert!(token(&metadata).await.is_err());
        assert_eq!(server.asked(), before + 2);
        clock.advance(Duration::from_millis(1));
    }
    server.publish(vec![page(OIDC, server.document(json!({})))]);
    assert_eq!(token(&metadata).await.unwrap(), format!("{}/token", server.issuer));
}

#[tokio::test]
async fn a_good_document_outlives_a_failing_server_which_is_asked_less_and_less() {
    let server = Server::start().await;
    server.publish(vec![page(OIDC, server.document(json!({})))]);
    let (metadata, clock) = server.metadata();
    let good = token(&metadata).await.unwrap();
    server.publish(vec![]);
    clock.advance(REFRESH);
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        let before = server.asked();
        for _ in 0..3 {
            assert_eq!(token(&metadata).await.unwrap(), good);
        }
        assert_eq!(server.asked(), before + 2);
        clock.advance(Duration::from_secs(pause) - Duration::from_millis(1));
        assert_eq!(token(&metadata).await.unwrap(), good);
        assert_eq!(server.asked(), before + 2, "{pause}");
        clock.advance(Duration::from_millis(1));
    }
    server.publish(vec![page(OIDC, server.document(json!({"token_endpoint": "https://new.example/"})))]);
    assert_eq!(token(&metadata).await.unwrap(), "https://new.example/");
}

#[tokio::test]
async fn all_who_ask_at_once_share_one_fetch() {
    let server = Server::start().await;
    server.publish(vec![page(OIDC, server.document(json!({})))]);
    let (metadata, _clock) = server.metadata();
    let everyone = (0..20).map(|_| {
        let metadata = metadata.clone();
        tokio::spawn(async move { token(&metadata).await.unwrap() })
    });
    for one in Vec::from_iter(everyone) {
        one.await.unwrap();
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn while_one_fetches_anew_the_others_go_on_with_what_there_is() {
    let server = Server::start().await;
    server.publish(vec![page(OIDC, server.document(json!({})))]);
    let (metadata, clock) = server.metadata();
    let old = token(&metadata).await.unwrap();
    server.publish(vec![page(OIDC, server.document(json!({"token_endpoint": "https://new.example/"})))]);
    clock.advance(REFRESH);
    server.gate.forget_permits(Semaphore::MAX_PERMITS);
    let first = tokio::spawn({
        let metadata = metadata.clone();
        async move { token(&metadata).await.unwrap() }
    });
    while server.asked() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(token(&metadata).await.unwrap(), old);
    server.gate.add_permits(1);
    assert_eq!(first.await.unwrap(), "https://new.example/");
}

#[tokio::test]
async fn a_configured_endpoint_needs_no_document() {
    let server = Server::start().await;
    let (metadata, _clock) = server.metadata_for(AuthMethod::ClientSecretPost, Some("https://own.example/t"));
    assert_eq!(token(&metadata).await.unwrap(), "https://own.example/t");
    assert_eq!(metadata.known(Endpoint::Token).map(String::from).as_deref(), Some("https://own.example/t"));
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn a_client_known_by_its_tls_certificate_is_sent_to_the_alias() {
    let server = Server::start().await;
    let aliases = json!({"mtls_endpoint_aliases": {"token_endpoint": "https://mtls.example/token"}});
    server.publish(vec![page(OIDC, server.document(aliases))]);
    let (by_certificate, _clock) = server.metadata_for(AuthMethod::TlsClientAuth, None);
    assert_eq!(token(&by_certificate).await.unwrap(), "https://mtls.example/token");
    let (by_key, _clock) = server.metadata_for(AuthMethod::PrivateKeyJwt, None);
    assert_eq!(token(&by_key).await.unwrap(), format!("{}/token", server.issuer));
    let (own, _clock) = server.metadata_for(AuthMethod::TlsClientAuth, Some("https://own.example/t"));
    assert_eq!(token(&own).await.unwrap(), "https://own.example/t");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_with_its_cause() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gone = Server {
        issuer: format!("http://{unused}"),
        pages: std::sync::Mutex::default(),
        asked: std::sync::Mutex::default(),
        gate: Semaphore::new(0),
    };
    let error = token(&gone.metadata().0).await.unwrap_err();
    assert!(matches!(error, Error::NoAnswer(_)) && error.source().is_some());
}
