//! Upstreams with one fault each.

use std::sync::Arc;

use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::server::Transport;

use crate::doctor::Said;
use crate::doctor::examined_with;
use crate::doctor::file;
use crate::support::certificates::Authority;
use crate::support::listen;

/// Looks at one upstream, whose settings are these.
async fn seen_of(settings: &str) -> Said {
    let config = format!(
        "
listeners: {{ default: {{ address: \"127.0.0.1:0\" }} }}
telemetry: {{ address: \"127.0.0.1:0\" }}
upstreams: {{ api: {{ {settings} }} }}
routes: {{ all: {{ match: /, upstream: api, auth: anonymous }} }}
"
    );
    examined_with(&config, &["--only", "upstream"], &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_there_or_is_not() {
    let echo = Echo::start(listen().await, Transport::Plain).unwrap();
    let (url, place) = (format!("http://{}", echo.address()), format!("tcp {}", echo.address()));
    let said = seen_of(&format!("url: \"{url}\"")).await;
    assert_eq!(said.code, 0, "{:#}", said.document);
    assert_eq!(said.seen(&format!("upstream {url}"), "http HEAD /"), "HTTP/1.1 200");
    // it speaks no HTTP/2
    let said = seen_of(&format!("url: \"{url}\", http2: always")).await;
    assert_eq!((said.code, said.failed()), (1, vec!["http HEAD /"]), "{:#}", said.document);
    assert!(said.remedy(&format!("upstream {url}"), "http HEAD /").contains("http2: always"));
    drop(echo);
    let said = seen_of(&format!("url: \"{url}\"")).await;
    assert_eq!((said.code, said.failed()), (69, vec![place.as_str()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstreams_tls_is_judged_as_the_proxy_judges_it() {
    let authority = Authority::new();
    let echo = Echo::start(listen().await, Transport::Tls(Arc::new(authority.server()))).unwrap();
    let (_directory, ca) = file("ca.pem", &authority.pem());
    let (_other, stranger) = file("ca.pem", &Authority::new().pem());
    let url = format!("https://{}", echo.address());
    let (group, tls) = (format!("upstream {url}"), format!("tls {}", echo.address()));
    let said = seen_of(&format!("url: \"{url}\", tls: {{ ca: {ca} }}")).await;
    assert_eq!(said.code, 0, "{:#}", said.document);
    let said = seen_of(&format!("url: \"{url}\", tls: {{ ca: {stranger} }}")).await;
    assert_eq!((said.code, said.failed()), (1, vec![tls.as_str()]));
    assert!(said.remedy(&group, &tls).contains("`tls.ca`"));
    let said = seen_of(&format!("url: \"{url}\", tls: {{ ca: {ca}, server_name: other.example }}")).await;
    assert_eq!(said.seen(&group, &tls), "the certificate is for 127.0.0.1, not for other.example");
    // plain HTTP to a port that speaks TLS
    let plain = url.replace("https", "http");
    let said = seen_of(&format!("url: \"{plain}\"")).await;
    assert_eq!((said.code, said.failed()), (1, vec!["http HEAD /"]), "{:#}", said.document);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_upstream_wants_is_missed() {
    let authority = Authority::new();
    let server = Transport::Tls(Arc::new(authority.server_for_certified_callers()));
    let echo = Echo::start(listen().await, server).unwrap();
    let (_directory, ca) = file("ca.pem", &authority.pem());
    let (url, directory) = (format!("https://{}", echo.address()), tempfile::tempdir().unwrap());
    let said = seen_of(&format!("url: \"{url}\", tls: {{ ca: {ca} }}")).await;
    let group = format!("upstream {url}");
    assert_eq!(said.code, 1, "{:#}", said.document);
    let name = said.failed()[0].to_owned();
    assert!(said.seen(&group, &name).contains("demands a certificate of ours"), "{:#}", said.document);
    authority.issue("proxy.example").write(directory.path(), "own");
    let path = directory.path().display();
    let own = format!("client_certificate: {{ file: {path}/own.crt, key: {path}/own.key }}");
    let said = seen_of(&format!("url: \"{url}\", tls: {{ ca: {ca}, {own} }}")).await;
    assert_eq!(said.code, 0, "{:#}", said.document);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_there_or_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let (group, name) = (format!("upstream unix:{}", path.display()), format!("socket {}", path.display()));
    let url = format!("url: \"unix:{}\"", path.display());
    let said = seen_of(&url).await;
    assert_eq!((said.code, said.result(&group, &name)), (69, "unreachable"));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    drop(listener);
    let said = seen_of(&url).await;
    assert!(said.remedy(&group, &name).starts_with("nobody listens"), "{:#}", said.document);
}
