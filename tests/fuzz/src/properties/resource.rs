//! A request for the metadata of a protected resource, or about one.

use http::Method;
use obo_proxy::config::Scheme;
use obo_proxy::domain::peer::Trust;
use obo_proxy::pipeline::respond::resource;

use super::material;

/// A URL that we name is a plain one, under a host that the request names, and leads back to the resource.
pub fn check(bytes: &[u8]) {
    let Some(head) = material::head(bytes) else { return };
    for trust in [Trust::Untrusted, Trust::Trusted] {
        let Some(origin) = resource::origin(&head, Scheme::Https, trust) else { continue };
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap();
        assert!(!host.is_empty() && !host.contains(['/', '@', '"', '\\', ' ', '?', '#']), "{origin}");
        assert!(trust == Trust::Trusted || origin.starts_with("https://"));
        let path = head.uri.path();
        if let Some(url) = resource::metadata_url(&origin, path) {
            assert!(
                url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains(['"', ',', '\\']),
                "{url}"
            );
            assert!(url.starts_with(&origin));
        }
        if let Some(described) = resource::described(&head, Scheme::Https, trust) {
            assert!(matches!(head.method, Method::GET | Method::HEAD));
            assert!(described.path.starts_with('/') && described.resource.starts_with(&origin));
            assert!(path.ends_with(&described.path) || described.path == "/");
        }
    }
}
