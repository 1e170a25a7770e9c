//! A metadata document, of Entra or of anybody else.

use std::net::Ipv4Addr;

use obo_proxy::config::AuthorizationServer;
use obo_proxy::config::EntraVersion;
use obo_proxy::net::metadata::document::Document;
use obo_proxy::net::metadata::document::Endpoint;
use obo_proxy::pipeline::authenticate::discovery;
use serde_json::Value;
use url::Url;

use super::material::CONFIG;

const REMOTE: &str = "https://id.example/realms/b2b";
const LOCAL: &str = "http://127.0.0.1:8080";
const ENDPOINTS: [Endpoint; 4] =
    [Endpoint::Authorization, Endpoint::Introspection, Endpoint::Keys, Endpoint::Token];

/// Endpoints come from the issuer's own document alone, and are reached over TLS or not at all, but on loopback.
pub fn check(bytes: &[u8]) {
    let document: Option<Value> = serde_json::from_slice(bytes).ok();
    for issuer in [REMOTE, LOCAL] {
        let Ok(read) = Document::parse(bytes, issuer) else { continue };
        assert_eq!(document.as_ref().unwrap()["issuer"], issuer);
        for endpoint in ENDPOINTS {
            for url in [read.endpoint(endpoint), read.mtls_alias(endpoint)].into_iter().flatten() {
                check_url(url, issuer == LOCAL);
            }
        }
    }
    for provider in &CONFIG.identity_providers {
        let AuthorizationServer::Entra(entra) = &provider.server else { continue };
        for version in [EntraVersion::V1, EntraVersion::V2] {
            let Ok(read) = discovery::parse(bytes, entra, version) else { continue };
            check_url(&read.jwks_uri, false);
            let named = document.as_ref().unwrap()["issuer"].as_str().unwrap();
            let tenant = read.tenant.as_ref().map_or("{tenantid}", |tenant| tenant.as_str());
            assert_eq!(named, entra.issuer(version, tenant));
        }
    }
}

fn check_url(url: &Url, is_local: bool) {
    let host = url.host_str().unwrap_or_default();
    let is_loopback = host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || ["localhost", "[::1]"].contains(&host);
    assert!(url.scheme() == "https" || (is_local && url.scheme() == "http" && is_loopback), "{url}");
}
