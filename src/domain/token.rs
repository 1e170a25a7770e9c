//! The two tokens of this trade. They are two types, so that confusing them does not compile, and neither does showing them.
//!
//! ```compile_fail,E0308
//! # use obo_proxy::domain::token::{DownstreamToken, UserToken};
//! fn sent_upstream(_: &DownstreamToken) {}
//! fn of(caller: &UserToken) { sent_upstream(caller) }
//! ```
//! ```compile_fail,E0277
//! # use obo_proxy::domain::token::UserToken;
//! fn printed(token: &UserToken) { println!("{token}") }
//! ```
//! ```compile_fail,E0277
//! # use obo_proxy::domain::token::DownstreamToken;
//! fn printed(token: &DownstreamToken) { println!("{token}") }
//! ```
//! ```compile_fail,E0277
//! # use obo_proxy::domain::token::DownstreamToken;
//! fn written(token: &DownstreamToken) { serde_json::to_string(token); }
//! ```

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

/// The longest token B that is believed, in bytes.
pub const MAX_DOWNSTREAM_TOKEN: usize = 64 * 1024;

/// What stands before a token in an `Authorization` value (RFC 6750 section 2.1).
const BEARER: &[u8] = b"Bearer ";

/// Token A: what the caller sent, as it stood in the `Authorization` header. Its bytes are shared, not copied.
#[derive(Clone)]
pub struct UserToken {
    authorization: HeaderValue,
    token_at: usize,
}

impl UserToken {
    /// The token that begins at byte `token_at` of an `Authorization` value and ends with it. `None` if nothing does.
    pub fn from_authorization(mut authorization: HeaderValue, token_at: usize) -> Option<Self> {
        authorization.set_sensitive(true);
        (token_at < authorization.len()).then_some(Self { authorization, token_at })
    }

    /// The compact token; nothing, if the value is no visible ASCII. For hashing, verifying and sending to the IdP; never for a log.
    pub fn expose(&self) -> &str {
        self.authorization.to_str().ok().and_then(|text| text.get(self.token_at..)).unwrap_or_default()
    }

    /// The whole header value, for a route that passes token A through.
    pub fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }
}

impl fmt::Debug for UserToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserToken(..)")
    }
}

/// Token B: what the IdP gave for the upstream. Held as the header value it becomes; its memory is wiped when the
/// last clone is dropped.
#[derive(Clone)]
pub struct DownstreamToken {
    authorization: HeaderValue,
}

/// The IdP's `access_token` cannot be sent in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableToken {
    /// It is empty.
    #[error("the access token is empty")]
    Empty,
    /// It is longer than [`MAX_DOWNSTREAM_TOKEN`].
    #[error("the access token is longer than 64 KiB")]
    TooLong,
    /// It holds a byte that is no visible ASCII (RFC 6749 appendix A.12).
    #[error("the access token holds a character that no header may")]
    Unprintable,
}

impl DownstreamToken {
    /// `access_token` as a bearer token.
    ///
    /// # Errors
    /// If it is empty, longer than [`MAX_DOWNSTREAM_TOKEN`] or not visible ASCII.
    pub fn bearer(access_token: Zeroizing<String>) -> Result<Self, UnusableToken> {
        if access_token.is_empty() {
            return Err(UnusableToken::Empty);
        }
        if access_token.len() > MAX_DOWNSTREAM_TOKEN {
            return Err(UnusableToken::TooLong);
        }
        if !access_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UnusableToken::Unprintable);
        }
        let mut value = Zeroizing::new(Vec::with_capacity(BEARER.len() + access_token.len()));
        value.extend_from_slice(BEARER);
        value.extend_from_slice(access_token.as_bytes());
        let mut authorization = HeaderValue::from_maybe_shared(Bytes::from_owner(value))
            .map_err(|_| UnusableToken::Unprintable)?;
        authorization.set_sensitive(true);
        Ok(Self { authorization })
    }

    /// The `Authorization` value to send upstream.
    pub fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// The token itself, for the one that goes to the IdP again: the actor token; never for a log.
    pub fn expose(&self) -> &str {
        let token = self.authorization.as_bytes().strip_prefix(BEARER);
        token.and_then(|token| std::str::from_utf8(token).ok()).unwrap_or_default()
    }

    /// Whether it is token A under another name.
    pub fn is(&self, assertion: &UserToken) -> bool {
        self.authorization.as_bytes().strip_prefix(BEARER) == Some(assertion.expose().as_bytes())
    }

    /// Whether it is the same token.
    pub fn equals(&self, other: &Self) -> bool {
        self.authorization.as_bytes() == other.authorization.as_bytes()
    }

    /// Bytes of memory the token takes.
    pub fn size(&self) -> usize {
        self.authorization.len()
    }
}

impl fmt::Debug for DownstreamToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DownstreamToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_do_not_show_themselves() {
        let a = UserToken::from_authorization(HeaderValue::from_static("Bearer aaa.bbb.ccc"), 7).unwrap();
        let b = DownstreamToken::bearer(Zeroizing::new("ddd".into())).unwrap();
        assert_eq!((a.expose(), b.expose()), ("aaa.bbb.ccc", "ddd"));
        assert_eq!(
            format!("{a:?} {b:?} {:?} {:?}", a.authorization(), b.authorization()),
            "UserToken(..) DownstreamToken(..) Sensitive Sensitive"
        );
    }

    #[test]
    fn token_a_is_known_again_whatever_stands_before_it() {
        let a = UserToken::from_authorization(HeaderValue::from_static("bearer  aaa"), 8).unwrap();
        let is_a = |text: &str| DownstreamToken::bearer(Zeroizing::new(text.into())).unwrap().is(&a);
        assert!(is_a("aaa"));
        assert!(!is_a("aa") && !is_a("aaaa") && !is_a("AAA"));
    }

    #[test]
    fn a_value_without_text_has_no_token() {
        let of = |value: &'static [u8], at| {
            let token = UserToken::from_authorization(HeaderValue::from_bytes(value).unwrap(), at)?;
            Some(token.expose().to_owned())
        };
        assert_eq!(of(b"Bearer a", 7).as_deref(), Some("a"));
        assert_eq!(of(b"Bearer \xff", 7).as_deref(), Some(""));
        assert_eq!((of(b"Bearer ", 7), of(b"Bearer", 7), of(b"", 0)), (None, None, None));
    }

    #[test]
    fn a_token_that_would_break_a_header_is_refused() {
        let check = |text: &str| DownstreamToken::bearer(Zeroizing::new(text.into())).err();
        assert_eq!(check(""), Some(UnusableToken::Empty));
        assert_eq!(check("a b"), Some(UnusableToken::Unprintable));
        assert_eq!(check("a\r\nx-admin: 1"), Some(UnusableToken::Unprintable));
        assert_eq!(check(&"a".repeat(MAX_DOWNSTREAM_TOKEN + 1)), Some(UnusableToken::TooLong));
        assert_eq!(check(&"a".repeat(MAX_DOWNSTREAM_TOKEN)), None);
    }
}
