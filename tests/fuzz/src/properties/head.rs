//! The head of a request.

use http::HeaderMap;
use http::Version;
use http::header;
use http::request::Parts;
use obo_proxy::config::UnderscoreHeaders;
use obo_proxy::domain::websocket::WebSocket;
use obo_proxy::pipeline::accept::head;
use obo_proxy::pipeline::route::preflight::Announced;

use super::material;

/// What passes says one thing only about where it goes and where it ends, passes again, and has lost nothing else.
pub fn check(bytes: &[u8]) {
    let Some(parts) = material::head(bytes) else { return };
    for underscore in [UnderscoreHeaders::Drop, UnderscoreHeaders::Keep] {
        for websocket in [None, Some(WebSocket::ExtendedConnect)] {
            let mut checked = parts.clone();
            checked.extensions.extend(websocket.map(extension).unwrap_or_default());
            if head::check(&mut checked, underscore).is_ok() {
                check_passed(&parts, &checked, underscore);
                let again = &mut checked.clone();
                assert_eq!(head::check(again, underscore), Ok(()));
                assert_eq!(again.headers, checked.headers);
            }
        }
    }
    if let Some(announced) = Announced::by(&parts) {
        assert_eq!(parts.method, "OPTIONS");
        assert_eq!(parts.headers.get_all(header::ORIGIN).iter().collect::<Vec<_>>(), [&announced.origin]);
        assert!(announced.fields.is_none_or(|fields| fields.len() <= 64));
    }
}

fn extension(websocket: WebSocket) -> http::Extensions {
    let mut extensions = http::Extensions::new();
    extensions.insert(websocket);
    extensions
}

fn check_passed(before: &Parts, after: &Parts, underscore: UnderscoreHeaders) {
    let (uri, headers) = (&after.uri, &after.headers);
    let count = |name: &header::HeaderName| headers.get_all(name).iter().count();
    assert!(count(&header::HOST) == 1 || (after.version < Version::HTTP_11 && count(&header::HOST) == 0));
    if let Some(host) = headers.get(header::HOST) {
        let host = host.to_str().unwrap();
        assert!(!host.is_empty() && !host.contains(['@', ',', '/', '\\', ' ', '?', '#', '%']), "{host}");
        assert!(uri.authority().is_none_or(|own| own.as_str().eq_ignore_ascii_case(host)));
    }
    for refused in ["connect", "trace"] {
        assert!(!after.method.as_str().eq_ignore_ascii_case(refused));
    }
    match headers.get(header::TRANSFER_ENCODING) {
        Some(coding) => {
            assert!(coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
            assert!(count(&header::TRANSFER_ENCODING) == 1 && after.version >= Version::HTTP_11);
        }
        None => assert_eq!(count(&header::TRANSFER_ENCODING), 0),
    }
    let is_known = |value: &header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    assert!(headers.get_all(header::EXPECT).iter().all(is_known));
    let is_gone = |name: &str| underscore == UnderscoreHeaders::Drop && name.contains('_');
    assert!(!headers.keys().any(|name| is_gone(name.as_str())));
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    assert!(!query.into_iter().any(|(name, _)| name == "access_token"));
    if after.version == Version::HTTP_2 {
        assert!(count(&header::COOKIE) <= 1 && count(&header::CONTENT_LENGTH) <= 1);
        assert!(uri.path_and_query().is_none_or(|path| path.as_str().starts_with('/') || path == "*"));
    }
    let rewritten = [header::HOST, header::COOKIE];
    let lasting = |headers: &HeaderMap| {
        let mut fields: Vec<(String, Vec<u8>)> = headers
            .iter()
            .filter(|(name, _)| !rewritten.contains(name) && !is_gone(name.as_str()))
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        fields.sort();
        fields
    };
    assert_eq!(lasting(&before.headers), lasting(headers));
    assert_eq!(before.uri, *uri);
}
