//! The head of a request to the admin interface.

use http::header;
use obo_proxy::app::admin::guard;
use obo_proxy::domain::secret::Secret;

use super::material;
use super::material::CONFIG;

/// Only who names this machine may look, and only who shows the token, or means it, may steer.
pub fn check(bytes: &[u8]) {
    let Some(head) = material::head(bytes) else { return };
    let admin = CONFIG.admin.as_ref().unwrap();
    let sole = |name: &str| {
        let mut values = head.headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok())
    };
    if guard::check_host(admin, &head.uri, &head.headers).is_ok() {
        let host = sole("host").unwrap();
        let name =
            host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
        let is_address =
            name == "[::1]" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
        let is_local =
            name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost");
        assert!(is_address || is_local || name.starts_with('['), "{host}");
    }
    let token = Secret::new("open sesame".into());
    if guard::check_token(&token, &head.headers).is_ok() {
        let shown = sole("authorization").unwrap();
        let (scheme, rest) = shown.split_once(' ').unwrap();
        assert!(scheme.eq_ignore_ascii_case("basic") || rest.trim() == token.expose(), "{shown}");
    }
    if guard::check_intent(&head.headers).is_ok() {
        assert_eq!(sole("x-obo-admin"), Some("1"));
        let is_near = |site: &header::HeaderValue| site == "same-origin" || site == "none";
        assert!(head.headers.get_all("sec-fetch-site").iter().all(is_near));
        for origin in head.headers.get_all("origin") {
            let origin = origin.to_str().unwrap().split_once("://").unwrap().1;
            assert!(origin.eq_ignore_ascii_case(sole("host").unwrap()));
        }
    }
}
