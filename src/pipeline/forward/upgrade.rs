//! How an upstream is asked for a WebSocket, and whether it agrees (RFC 6455 section 4). Pure.

use aws_lc_rs::digest;
use aws_lc_rs::error::Unspecified;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;
use http::header;
use http::response::Parts;

use crate::domain::websocket::WebSocket;

/// What every server hashes a key with (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");

/// What was asked of an upstream, and what its agreement must look like.
#[derive(Debug)]
pub struct Handshake {
    /// What `Sec-WebSocket-Accept` must be; `None` = the caller sent the key, and judges it.
    accept: Option<String>,
}

impl Handshake {
    /// Adds the fields that ask for what `websocket` is to `headers`, from which all others that concern one connection
    /// are gone.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn ask(headers: &mut HeaderMap, websocket: WebSocket) -> Result<Self, Unspecified> {
        headers.insert(header::CONNECTION, UPGRADE);
        headers.insert(header::UPGRADE, WEBSOCKET);
        let accept = match websocket {
            WebSocket::Upgrade => None,
            // HTTP/2 has no key (RFC 8441 section 5): we are the client of what follows
            WebSocket::ExtendedConnect => {
                let mut nonce = [0; 16];
                aws_lc_rs::rand::fill(&mut nonce)?;
                let key = STANDARD.encode(nonce);
                let accept = accept(key.as_bytes());
                // base64 is visible ASCII
                headers
                    .insert(header::SEC_WEBSOCKET_KEY, HeaderValue::try_from(key).map_err(|_| Unspecified)?);
                headers
                    .entry(header::SEC_WEBSOCKET_VERSION)
                    .or_insert(const { HeaderValue::from_static("13") });
                Some(accept)
            }
        };
        Ok(Self { accept })
    }

    /// Whether `headers`, which came with a 101, agree to what was asked.
    pub fn is_met(&self, headers: &HeaderMap) -> bool {
        let is_websocket =
            sole(headers, &header::UPGRADE).is_some_and(|to| to.eq_ignore_ascii_case(b"websocket"));
        let accepted = sole(headers, &header::SEC_WEBSOCKET_ACCEPT);
        let is_accepted = match &self.accept {
            Some(expected) => accepted.is_some_and(|accepted| accepted == expected.as_bytes()),
            None => accepted.is_some_and(|accepted| !accepted.is_empty()),
        };
        is_websocket && lists_upgrade(headers) && is_accepted
    }

    /// Makes `head`, whose fields are otherwise those of an answer, the one that tells the caller of the agreement.
    pub fn tell(&self, head: &mut Parts) {
        // a 101 has no content, and neither has the answer to a CONNECT (RFC 9110 section 8.6)
        head.headers.remove(header::CONTENT_LENGTH);
        match self.accept {
            None => {
                head.headers.insert(header::CONNECTION, UPGRADE);
                head.headers.insert(header::UPGRADE, WEBSOCKET);
            }
            Some(_) => {
                head.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
                head.status = StatusCode::OK;
                head.extensions.clear(); // the reason phrase of the 101
            }
        }
    }
}

fn accept(key: &[u8]) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(GUID);
    STANDARD.encode(context.finish())
}

/// The only value of `name`.
fn sole<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

fn lists_upgrade(headers: &HeaderMap) -> bool {
    let named =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    named.into_iter().any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    const AGREED: [(&str, &str); 3] =
        [("connection", "Upgrade"), ("upgrade", "WebSocket"), ("sec-websocket-accept", "x")];

    #[test]
    fn a_key_is_hashed_as_the_example_of_rfc_6455_is() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_callers_own_key_goes_on() {
        let mut headers = fields(&[("sec-websocket-key", "k"), ("sec-websocket-version", "13")]);
        Handshake::ask(&mut headers, WebSocket::Upgrade).unwrap();
        let expected = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "k"),
            ("sec-websocket-version", "13"),
        ];
        assert_eq!(headers, fields(&expected));
    }

    #[test]
    fn a_key_of_ours_is_fresh_and_only_its_own_hash_accepts_it() {
        let mut headers = fields(&[("sec-websocket-key", "theirs"), ("sec-websocket-protocol", "chat")]);
        let handshake = Handshake::ask(&mut headers, WebSocket::ExtendedConnect).unwrap();
        let key = headers["sec-websocket-key"].to_str().unwrap().to_owned();
        assert_eq!(STANDARD.decode(&key).unwrap().len(), 16);
        assert_eq!(
            (&headers["sec-websocket-version"], &headers["sec-websocket-protocol"]),
            (&HeaderValue::from_static("13"), &HeaderValue::from_static("chat"))
        );
        let again = Handshake::ask(&mut headers, WebSocket::ExtendedConnect).unwrap();
        assert_ne!(headers["sec-websocket-key"], *key);
        let right = accept(key.as_bytes());
        let answer = |accept: &str| {
            fields(&[("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", accept)])
        };
        assert!(handshake.is_met(&answer(&right)));
        assert!(!again.is_met(&answer(&right)) && !handshake.is_met(&answer("x")));
    }

    #[test]
    fn only_a_whole_agreement_is_one() {
        let handshake = Handshake::ask(&mut HeaderMap::new(), WebSocket::Upgrade).unwrap();
        assert!(handshake.is_met(&fields(&AGREED)));
        let listed = [("connection", "keep-alive, UPGRADE"), AGREED[1], AGREED[2]];
        assert!(handshake.is_met(&fields(&listed)));
        for left_out in AGREED {
            let rest: Vec<_> = AGREED.into_iter().filter(|field| *field != left_out).collect();
            assert!(!handshake.is_met(&fields(&rest)), "without {left_out:?}");
        }
        for wrong in [
            [("connection", "close"), AGREED[1], AGREED[2]],
            [AGREED[0], ("upgrade", "h2c"), AGREED[2]],
            [AGREED[0], ("upgrade", "websocket, h2c"), AGREED[2]],
            [AGREED[0], AGREED[1], ("sec-websocket-accept", "")],
        ] {
            assert!(!handshake.is_met(&fields(&wrong)), "{wrong:?}");
        }
        for twice in ["upgrade", "sec-websocket-accept"] {
            let mut headers = fields(&AGREED);
            headers.append(twice, HeaderValue::from_static("x"));
            assert!(!handshake.is_met(&headers), "two {twice}");
        }
    }

    #[test]
    fn the_caller_is_told_in_its_own_version() {
        let told = |websocket| {
            let handshake = Handshake::ask(&mut HeaderMap::new(), websocket).unwrap();
            let response = http::Response::builder().status(101).header("content-length", "5");
            let response =
                response.header("sec-websocket-accept", "x").header("sec-websocket-protocol", "chat");
            let mut head = response.body(()).unwrap().into_parts().0;
            handshake.tell(&mut head);
            (head.status.as_u16(), head.headers)
        };
        let chat = ("sec-websocket-protocol", "chat");
        assert_eq!(
            told(WebSocket::Upgrade),
            (101, fields(&[("connection", "upgrade"), ("upgrade", "websocket"), AGREED[2], chat]))
        );
        assert_eq!(told(WebSocket::ExtendedConnect), (200, fields(&[chat])));
    }
}
