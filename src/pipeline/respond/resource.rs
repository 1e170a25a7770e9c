//! What callers may learn of the protected resource without a token (RFC 9728): who issues tokens for it, and with which
//! scopes. Pure.

use http::HeaderValue;
use http::Method;
use http::header;
use http::request::Parts;
use http::uri::Authority;
use serde::Serialize;

use crate::config::Scheme;
use crate::domain::peer::Trust;

/// Where the metadata of a resource is: this stands before the resource's own path (RFC 9728 section 3.1).
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The metadata of one resource (RFC 9728 section 2). What has no value is left out.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The URL by which the client knows it.
    pub resource: String,
    /// Who issues tokens for it.
    pub authorization_servers: Vec<String>,
    /// The scopes that its routes require.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    /// Where the token belongs.
    pub bearer_methods_supported: [Header; 1],
}

/// `header` is the only place for a token (RFC 6750 section 2.1).
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Header {
    /// The `Authorization` header.
    #[default]
    Header,
}

/// A resource whose description is wanted.
#[derive(Debug, PartialEq, Eq)]
pub struct Described {
    /// The URL by which its client knows it.
    pub resource: String,
    /// Where it is.
    pub path: String,
}

/// The resource whose description a request wants.
pub fn described(head: &Parts, scheme: Scheme, trust: Trust) -> Option<Described> {
    let path = described_path(head.uri.path())?;
    [Method::GET, Method::HEAD].contains(&head.method).then_some(())?;
    let origin = origin(head, scheme, trust)?;
    Some(Described { resource: resource(&origin, path), path: path.to_owned() })
}

/// The path of the resource whose metadata a request for `path` wants.
fn described_path(path: &str) -> Option<&str> {
    match path.strip_prefix(WELL_KNOWN)? {
        "" => Some("/"),
        // the metadata of `/` has no path of its own (RFC 9728 section 3.1)
        "/" => None,
        own => own.starts_with('/').then_some(own),
    }
}

/// The URL of the resource at `path` as its client wrote it, with no slash after the bare host.
fn resource(origin: &str, path: &str) -> String {
    match path {
        "/" => origin.to_owned(),
        _ => format!("{origin}{path}"),
    }
}

/// Where the metadata of the resource at `path` is. `None` where a challenge could not say so: clients parse it by hand.
pub fn metadata_url(origin: &str, path: &str) -> Option<String> {
    let own = if path == "/" { "" } else { path };
    let url = format!("{origin}{WELL_KNOWN}{own}");
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",\\".contains(&byte));
    is_plain.then_some(url)
}

/// Scheme and authority by which the client reached us, as far as it or a trusted proxy says.
pub fn origin(head: &Parts, scheme: Scheme, trust: Trust) -> Option<String> {
    let own = match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let scheme = match forwarded(head, "x-forwarded-proto", trust) {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => "https",
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => "http",
        _ => own,
    };
    let own = || {
        let host = || head.headers.get(header::HOST).and_then(text);
        head.uri.authority().map(Authority::as_str).or_else(host)
    };
    let authority: Authority = forwarded(head, "x-forwarded-host", trust).or_else(own)?.parse().ok()?;
    (!authority.as_str().contains('@')).then(|| format!("{scheme}://{authority}"))
}

/// What the nearest proxy says: others before it may be anybody.
fn forwarded<'h>(head: &'h Parts, name: &str, trust: Trust) -> Option<&'h str> {
    match trust {
        Trust::Untrusted => None,
        Trust::Trusted => {
            let last = head.headers.get_all(name).iter().next_back().and_then(text)?;
            last.rsplit(',').next().map(str::trim).filter(|value| !value.is_empty())
        }
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_resource_s_path_follows_the_well_known_one() {
        for (path, of) in [
            ("/.well-known/oauth-protected-resource", Some("/")),
            ("/.well-known/oauth-protected-resource/orders", Some("/orders")),
            ("/.well-known/oauth-protected-resource/orders/", Some("/orders/")),
            ("/.well-known/oauth-protected-resource/", None),
            ("/.well-known/oauth-protected-resources", None),
            ("/.well-known/oauth-protected-resource.json", None),
            ("/.well-known/openid-configuration", None),
            ("/orders/.well-known/oauth-protected-resource", None),
            ("/", None),
        ] {
            assert_eq!(described_path(path), of, "{path}");
        }
    }

    #[test]
    fn a_description_is_read_and_not_written() {
        let mut head = head("/.well-known/oauth-protected-resource/orders", &[("host", "api.example")]);
        let of = |head: &Parts| described(head, Scheme::Http, Trust::Untrusted);
        let wanted = Described { resource: "http://api.example/orders".into(), path: "/orders".into() };
        assert_eq!(of(&head).as_ref(), Some(&wanted));
        head.method = Method::HEAD;
        assert_eq!(of(&head), Some(wanted));
        head.method = Method::POST;
        assert_eq!(of(&head), None);
    }

    #[test]
    fn a_challenge_leads_to_the_resource_it_is_about() {
        for path in ["/", "/orders", "/orders/42/"] {
            let url = metadata_url("https://api.example", path).unwrap();
            let own = url.strip_prefix("https://api.example").unwrap();
            assert_eq!(described_path(own), Some(path));
        }
        assert_eq!(resource("https://api.example", "/"), "https://api.example");
        assert_eq!(resource("https://api.example:8443", "/orders/42"), "https://api.example:8443/orders/42");
        for odd in ["/a,b", "/a\"b", "/a\\b", "/a b", "/\u{e4}"] {
            assert_eq!(metadata_url("https://api.example", odd), None, "{odd}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_says_under_which_name_we_are_known() {
        let forwarded: &[_] = &[
            ("host", "10.0.0.7:8080"),
            ("x-forwarded-host", "evil.example, api.example"),
            ("x-forwarded-proto", "http,HTTPS"),
        ];
        for (uri, headers, trust, expected) in [
            ("/", forwarded, Trust::Trusted, Some("https://api.example")),
            ("/", forwarded, Trust::Untrusted, Some("http://10.0.0.7:8080")),
            ("http://api.example/x", &[], Trust::Untrusted, Some("http://api.example")),
            ("/", &[("host", "[::1]:8080")], Trust::Trusted, Some("http://[::1]:8080")),
            ("/", &[("host", "h"), ("x-forwarded-proto", "gopher")], Trust::Trusted, Some("http://h")),
            ("/", &[("host", "h"), ("x-forwarded-host", "a@b")], Trust::Trusted, None),
            ("/", &[("host", "h"), ("x-forwarded-host", "a/b")], Trust::Trusted, None),
            ("/", &[("host", "h"), ("x-forwarded-host", "")], Trust::Trusted, Some("http://h")),
            ("/", &[("host", "user@h")], Trust::Untrusted, None),
            ("/", &[], Trust::Untrusted, None),
        ] {
            let found = origin(&head(uri, headers), Scheme::Http, trust);
            assert_eq!(found.as_deref(), expected, "{headers:?}");
        }
        let own = origin(&head("/", &[("host", "h")]), Scheme::Https, Trust::Untrusted);
        assert_eq!(own.as_deref(), Some("https://h"));
    }

    proptest! {
        #[test]
        fn any_path_is_answered(path in ".{0,60}", host in "[ -~]{0,30}") {
            let _ = described_path(&path);
            let _ = metadata_url("https://api.example", &path);
            if let Ok(value) = HeaderValue::from_str(&host) {
                let mut head = head("/", &[]);
                head.headers.insert(header::HOST, value);
                if let Some(origin) = origin(&head, Scheme::Http, Trust::Untrusted) {
                    prop_assert!(origin.strip_prefix("http://").is_some_and(|host| !host.contains(['/', '@', '"'])));
                }
            }
        }
    }
}
