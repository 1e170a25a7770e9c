//! How a request says where it goes, in either version. Both forms can be made of the other: a request may be sent
//! again in another version.

use bytes::Bytes;
use http::HeaderValue;
use http::Request;
use http::Uri;
use http::header::HOST;
use http::uri::Authority;
use http::uri::PathAndQuery;
use http::uri::Scheme;
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::Empty;

use crate::net;

/// Where a request goes that does not say so itself.
#[derive(Clone, Debug)]
pub struct Place {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
}

impl Place {
    /// The server `authority`.
    ///
    /// # Errors
    /// If it is none that can be sent.
    pub fn new(scheme: Scheme, authority: Authority) -> Result<Self, http::Error> {
        let host = HeaderValue::from_str(authority.as_str())?;
        Ok(Self { scheme, authority, host })
    }

    /// The URL of its root.
    ///
    /// # Errors
    /// If it is longer than a URL may be.
    pub fn root(&self) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query("/")
            .build()
    }

    /// The origin form and a `Host` (RFC 9112 section 3.2).
    pub fn in_http1<B>(&self, request: &mut Request<B>) {
        let named = request.uri().authority().and_then(|named| HeaderValue::from_str(named.as_str()).ok());
        let is_origin_form = named.is_none() && request.uri().scheme().is_none();
        if !is_origin_form {
            *request.uri_mut() = Uri::from(path_and_query(request.uri()));
        }
        request.headers_mut().entry(HOST).or_insert_with(|| named.unwrap_or_else(|| self.host.clone()));
    }

    /// `:authority` for the `Host`: beside it, one could differ (RFC 9113 section 8.3.1).
    pub fn in_http2<B>(&self, request: &mut Request<B>) {
        let host = request.headers_mut().remove(HOST);
        let host = host.and_then(|host| Authority::from_maybe_shared(host).ok());
        let named = host.or_else(|| request.uri().authority().cloned());
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(named.unwrap_or_else(|| self.authority.clone()));
        parts.path_and_query = Some(path_and_query(request.uri()));
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
}

/// The same request once more, if an upstream that acts on both does what one would do (RFC 9110 section 9.2.2) and
/// there is no body, which could not be had twice.
pub fn spare(request: &Request<net::Body>) -> Option<Request<net::Body>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let body = Empty::<Bytes>::new().map_err(|never| match never {});
    let mut spare = Request::new(body.boxed_unsync());
    *spare.method_mut() = request.method().clone();
    *spare.uri_mut() = request.uri().clone();
    *spare.headers_mut() = request.headers().clone();
    Some(spare)
}

fn path_and_query(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(request: &Request<()>) -> (String, Option<&str>) {
        (request.uri().to_string(), request.headers().get(HOST).map(|host| host.to_str().unwrap()))
    }

    #[test]
    fn the_callers_host_goes_before_the_upstreams_own_in_both_versions_and_back() {
        let place = Place::new(Scheme::HTTPS, "api.internal:8443".parse().unwrap()).unwrap();
        assert_eq!(place.root().unwrap(), "https://api.internal:8443/");
        for (host, expected) in [
            (None, "api.internal:8443"),
            (Some("orders.example"), "orders.example"),
            (Some("orders.example:444"), "orders.example:444"),
            (Some("[2001:db8::1]:444"), "[2001:db8::1]:444"),
            (Some("127.0.0.1"), "127.0.0.1"),
        ] {
            let mut request = Request::get("/a%2Fb?c=d").body(()).unwrap();
            if let Some(host) = host {
                request.headers_mut().insert(HOST, HeaderValue::from_static(host));
            }
            for _ in 0..2 {
                place.in_http1(&mut request);
                assert_eq!(seen(&request), ("/a%2Fb?c=d".into(), Some(expected)));
                place.in_http2(&mut request);
                assert_eq!(seen(&request), (format!("https://{expected}/a%2Fb?c=d"), None));
            }
        }
    }

    #[test]
    fn a_host_that_is_no_authority_does_not_go_on_in_http_2() {
        let place = Place::new(Scheme::HTTP, "api.internal".parse().unwrap()).unwrap();
        let mut request = Request::get("/").header(HOST, "a b/c").body(()).unwrap();
        place.in_http2(&mut request);
        assert_eq!(seen(&request), ("http://api.internal/".into(), None));
    }
}
