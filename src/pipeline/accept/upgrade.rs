//! Whether a request wants to go on as a WebSocket. Pure. Any other protocol is none we know: who asks for it is answered
//! in the one it asks in (RFC 9110 section 7.8).

use http::HeaderMap;
use http::HeaderName;
use http::Method;
use http::Request;
use http::Version;
use http::header::CONNECTION;
use http::header::UPGRADE;
use http_body::Body;
use hyper::ext::Protocol;

use crate::domain::websocket::WebSocket;

/// How `request` asks for a WebSocket, if it does.
pub fn asked<B: Body>(request: &Request<B>) -> Option<WebSocket> {
    match request.version() {
        Version::HTTP_11 if request.headers().contains_key(UPGRADE) => {
            let headers = request.headers();
            let is_asked = request.method() == Method::GET
                && request.body().is_end_stream()
                && lists(headers, &UPGRADE, b"websocket")
                && lists(headers, &CONNECTION, b"upgrade");
            is_asked.then_some(WebSocket::Upgrade)
        }
        Version::HTTP_2 if request.method() == Method::CONNECT => {
            let protocol = request.extensions().get::<Protocol>()?;
            protocol.as_str().eq_ignore_ascii_case("websocket").then_some(WebSocket::ExtendedConnect)
        }
        _ => None,
    }
}

fn lists(headers: &HeaderMap, name: &HeaderName, word: &[u8]) -> bool {
    let items = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    items.into_iter().any(|item| item.trim_ascii().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    fn get(fields: &[(&str, &str)]) -> http::request::Builder {
        fields.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value))
    }

    const ASKING: [(&str, &str); 2] = [("connection", "Upgrade"), ("upgrade", "websocket")];

    #[test]
    fn a_get_that_lists_both_words_asks() {
        for fields in [
            &ASKING[..],
            &[("connection", "keep-alive, UPGRADE"), ("upgrade", "WebSocket")],
            &[("connection", "close"), ("connection", "upgrade"), ("upgrade", "h2c, websocket")],
        ] {
            let request = get(fields).body(Full::new(Bytes::new())).unwrap();
            assert_eq!(asked(&request), Some(WebSocket::Upgrade), "{fields:?}");
        }
    }

    #[test]
    fn nothing_else_does() {
        for fields in [
            &ASKING[..1],
            &ASKING[1..],
            &[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "x")],
            &[("connection", "Upgrade"), ("upgrade", "TLS/1.0, HTTP/1.1")],
            &[("connection", "Upgrade"), ("upgrade", "websocketx")],
            &[("connection", "websocket"), ("upgrade", "upgrade")],
        ] {
            assert_eq!(asked(&get(fields).body(Full::new(Bytes::new())).unwrap()), None, "{fields:?}");
        }
        let empty = || Full::new(Bytes::new());
        assert_eq!(asked(&get(&ASKING).method("POST").body(empty()).unwrap()), None);
        assert_eq!(asked(&get(&ASKING).version(Version::HTTP_10).body(empty()).unwrap()), None);
        assert_eq!(asked(&get(&ASKING).version(Version::HTTP_2).body(empty()).unwrap()), None);
        assert_eq!(asked(&get(&ASKING).body(Full::new(Bytes::from("content"))).unwrap()), None);
    }

    #[test]
    fn of_connects_only_an_extended_one_for_a_websocket_does() {
        for (method, protocol, expected) in [
            ("CONNECT", Some("websocket"), Some(WebSocket::ExtendedConnect)),
            ("CONNECT", Some("connect-udp"), None),
            ("CONNECT", None, None),
            ("GET", Some("websocket"), None),
        ] {
            let mut request = Request::builder().method(method).version(Version::HTTP_2);
            if let Some(protocol) = protocol {
                request = request.extension(Protocol::from_static(protocol));
            }
            let request = request.uri("http://a/").body(Full::new(Bytes::new())).unwrap();
            assert_eq!(asked(&request), expected, "{method} {protocol:?}");
        }
    }
}
