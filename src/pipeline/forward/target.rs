//! Where the request goes: the upstream's URL, the canonical path, the query as it came.

use http::Uri;

use crate::config::Rewrite;
use crate::config::Scheme;
use crate::config::Upstream;

/// The URL of `path` at `upstream`.
///
/// # Errors
/// If the URL would be longer than a URL may be.
pub fn target(
    upstream: &Upstream,
    rewrite: &Rewrite,
    path: &str,
    query: Option<&str>,
) -> Result<Uri, http::Error> {
    let scheme = match upstream.scheme {
        Scheme::Http => http::uri::Scheme::HTTP,
        Scheme::Https => http::uri::Scheme::HTTPS,
    };
    let mut path_and_query = format!("{}{}", upstream.base_path, stripped(path, rewrite));
    if let Some(query) = query {
        path_and_query.push('?');
        path_and_query.push_str(query);
    }
    Uri::builder().scheme(scheme).authority(upstream.authority.clone()).path_and_query(path_and_query).build()
}

fn stripped<'a>(path: &'a str, rewrite: &Rewrite) -> &'a str {
    let rest = rewrite.strip_prefix.as_deref().and_then(|prefix| path.strip_prefix(prefix));
    match rest {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::HostRewrite;
    use crate::config::Http2;
    use crate::config::UpstreamTls;

    use super::*;

    fn url(base_path: &str, strip_prefix: Option<&str>, path: &str, query: Option<&str>) -> String {
        let upstream = Upstream {
            authority: "127.0.0.1:8000".parse().unwrap(),
            scheme: Scheme::Http,
            base_path: base_path.into(),
            http2: Http2::Auto,
            tls: UpstreamTls::default(),
            connect_timeout: Duration::from_secs(2),
        };
        let rewrite = Rewrite { strip_prefix: strip_prefix.map(String::from), host: HostRewrite::Upstream };
        target(&upstream, &rewrite, path, query).unwrap().to_string()
    }

    #[test]
    fn base_path_path_and_query_are_joined_as_they_are() {
        for (base, strip, path, query, expected) in [
            ("", None, "/", None, "/"),
            ("", None, "/a%2Fb/c%20d", Some("x=%6f&y=a+b"), "/a%2Fb/c%20d?x=%6f&y=a+b"),
            ("", None, "/a", Some(""), "/a?"),
            ("/v1", None, "/a/", None, "/v1/a/"),
            ("", Some("/api"), "/api", None, "/"),
            ("", Some("/api"), "/api/", None, "/"),
            ("/v1", Some("/api"), "/api/orders", Some("q=/api"), "/v1/orders?q=/api"),
            ("", Some("/api"), "/apix", None, "/apix"),
            ("", Some("/api"), "/api%2Fx", None, "/api%2Fx"),
            ("", Some("/api"), "/other/api", None, "/other/api"),
        ] {
            let expected = format!("http://127.0.0.1:8000{expected}");
            assert_eq!(url(base, strip, path, query), expected, "{base} {strip:?} {path}");
        }
    }
}
