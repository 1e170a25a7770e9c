//! Where the request goes at its upstream: the base path, the canonical path, the query as it came.

use http::Uri;
use http::uri::PathAndQuery;

use crate::config::Rewrite;
use crate::config::Upstream;

/// What of a URL comes after the authority, for `path`, which is `asked` in canonical form.
///
/// # Errors
/// If it would be longer than a URL may be.
pub fn target(
    upstream: &Upstream,
    rewrite: &Rewrite,
    path: &str,
    asked: &Uri,
) -> Result<PathAndQuery, http::Error> {
    let path = stripped(path, rewrite);
    if let Some(same) = asked.path_and_query().filter(|asked| is_same(asked, &upstream.base_path, path)) {
        return Ok(same.clone());
    }
    let query = asked.query();
    let length = upstream.base_path.len() + path.len() + query.map_or(0, |query| query.len() + 1);
    let mut target = String::with_capacity(length);
    target.push_str(&upstream.base_path);
    target.push_str(path);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    Ok(PathAndQuery::from_maybe_shared(bytes::Bytes::from(target))?)
}

/// Whether nothing changes. What was asked begins with a slash, which `*` and a bare query do not.
fn is_same(asked: &PathAndQuery, base_path: &str, path: &str) -> bool {
    base_path.is_empty() && asked.as_str().starts_with('/') && asked.path() == path
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
    use crate::config::Scheme;
    use crate::config::UpstreamTls;

    use super::*;

    fn url(base_path: &str, strip_prefix: Option<&str>, path: &str, asked: &str) -> String {
        let upstream = Upstream {
            authority: "127.0.0.1:8000".parse().unwrap(),
            socket: None,
            scheme: Scheme::Http,
            base_path: base_path.into(),
            http2: Http2::Auto,
            tls: UpstreamTls::default(),
            connect_timeout: Duration::from_secs(2),
        };
        let rewrite = Rewrite { strip_prefix: strip_prefix.map(String::from), host: HostRewrite::Upstream };
        target(&upstream, &rewrite, path, &asked.parse().unwrap()).unwrap().to_string()
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
            let mut asked = path.to_owned();
            if let Some(query) = query {
                asked.push('?');
                asked.push_str(query);
            }
            assert_eq!(url(base, strip, path, &asked), expected, "{base} {strip:?} {path}");
        }
    }

    #[test]
    fn it_is_the_canonical_path_that_goes_on() {
        for (path, asked, expected) in [
            ("/a", "/b/../a?x=1", "/a?x=1"),
            ("/", "http://orders.example", "/"),
            ("/", "http://orders.example?x=1", "/?x=1"),
            ("/a", "http://orders.example/a?x=1", "/a?x=1"),
            ("/", "*", "/"),
        ] {
            assert_eq!(url("", None, path, asked), expected, "{asked}");
        }
    }

    #[test]
    fn a_target_longer_than_a_url_is_refused() {
        let rewrite = Rewrite { strip_prefix: None, host: HostRewrite::Upstream };
        let asked: Uri = format!("/{}", "x".repeat(65_000)).parse().unwrap();
        let upstream = Upstream {
            authority: "127.0.0.1:8000".parse().unwrap(),
            socket: None,
            scheme: Scheme::Http,
            base_path: format!("/{}", "y".repeat(1_000)),
            http2: Http2::Auto,
            tls: UpstreamTls::default(),
            connect_timeout: Duration::from_secs(2),
        };
        target(&upstream, &rewrite, asked.path(), &asked).unwrap_err();
    }
}
