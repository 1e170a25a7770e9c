//! The bearer token of a request (RFC 6750 section 2.1). Pure.

use http::HeaderMap;
use http::HeaderValue;
use http::header::AUTHORIZATION;

use crate::domain::token::UserToken;
use crate::pipeline::authenticate::error::Kind;

/// The longest token A that is looked at, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;

/// What stands where a bearer token belongs. What it consists of was not looked at yet.
#[derive(Clone, Copy)]
pub struct Presented<'h> {
    field: &'h HeaderValue,
    token_at: usize,
}

/// What `headers` present as their one bearer token.
///
/// # Errors
/// [`Kind::MissingToken`], [`Kind::InvalidRequest`], or [`Kind::Malformed`] if it is too long.
pub fn presented(headers: &HeaderMap) -> Result<Presented<'_>, Kind> {
    let field = sole_field(headers)?.ok_or(Kind::MissingToken)?;
    let bytes = field.as_bytes();
    let scheme_ends = bytes.iter().position(|byte| !is_tchar(*byte)).unwrap_or(bytes.len());
    let (scheme, rest) = bytes.split_at(scheme_ends);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        let is_garbled = scheme.is_empty() || field.to_str().is_err();
        return Err(if is_garbled { Kind::InvalidRequest } else { Kind::MissingToken });
    }
    let token = rest.strip_prefix(b" ").ok_or(Kind::InvalidRequest)?;
    if token.len() > MAX_TOKEN {
        return Err(Kind::Malformed("it is longer than 16 KiB"));
    }
    Ok(Presented { field, token_at: scheme_ends + 1 })
}

impl Presented<'_> {
    /// All of it, to be hashed.
    pub fn as_bytes(&self) -> &[u8] {
        self.field.as_bytes().get(self.token_at..).unwrap_or_default()
    }

    /// The token. Its bytes are shared with the headers, not copied.
    ///
    /// # Errors
    /// [`Kind::InvalidRequest`] if it is none.
    pub fn token(self) -> Result<UserToken, Kind> {
        if is_token68(self.as_bytes()) { self.known_token() } else { Err(Kind::InvalidRequest) }
    }

    /// The token, if the very same bytes were found to be one before.
    ///
    /// # Errors
    /// [`Kind::InvalidRequest`] if there is nothing.
    pub fn known_token(self) -> Result<UserToken, Kind> {
        UserToken::from_authorization(self.field.clone(), self.token_at).ok_or(Kind::InvalidRequest)
    }
}

/// The one `Authorization` field of `headers`, if there is any.
///
/// # Errors
/// [`Kind::InvalidRequest`] if there are several: whoever reads them next may not read the same one.
pub fn sole_field(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Kind> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let field = fields.next();
    match fields.next() {
        None => Ok(field),
        Some(_) => Err(Kind::InvalidRequest),
    }
}

/// `tchar` of RFC 9110 section 5.6.2, of which a scheme consists.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `token68` of RFC 9110 section 11.2.
fn is_token68(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let (body, _) = text.split_at(text.len() - padding);
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    !body.is_empty() && body.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(fields: &[&[u8]]) -> Result<String, Kind> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(field).unwrap());
        }
        presented(&headers)?.token().map(|token| token.expose().to_owned())
    }

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_its_scheme() {
        for field in ["Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c"] {
            assert_eq!(of(&[field.as_bytes()]).unwrap(), "a.b.c");
        }
        assert_eq!(of(&[b"Bearer a-._~+/z=="]).unwrap(), "a-._~+/z==");
    }

    #[test]
    fn no_bearer_token_is_told_from_a_garbled_one() {
        assert_eq!(of(&[]), Err(Kind::MissingToken));
        for other in ["Basic dTpw", "Negotiate", "Bearerx a.b.c", "DPoP a.b.c"] {
            assert_eq!(of(&[other.as_bytes()]), Err(Kind::MissingToken), "{other}");
        }
        let garbled: [&[u8]; 15] = [
            b"",
            b"Bearer",
            b"Bearer ",
            b"Bearer  a.b.c",
            b"Bearer\ta.b.c",
            b"Bearer a.b.c ",
            b"Bearer a.b.c, Bearer d.e.f",
            b"Bearer a.b.c d",
            b"Bearer,a.b.c",
            b"Bearer =",
            b"Bearer a=b",
            b"Bearer \"a.b.c\"",
            b"Bearer token=a.b.c",
            b"Bearer a.b.\xc3\xa4",
            b"Basic \xff",
        ];
        for field in garbled {
            assert_eq!(of(&[field]), Err(Kind::InvalidRequest), "{}", field.escape_ascii());
        }
    }

    #[test]
    fn two_authorization_fields_are_refused_whatever_they_are() {
        assert_eq!(of(&[b"Bearer a.b.c", b"Bearer a.b.c"]), Err(Kind::InvalidRequest));
        assert_eq!(of(&[b"Bearer a.b.c", b"Basic dTpw"]), Err(Kind::InvalidRequest));
    }

    #[test]
    fn a_token_longer_than_16_kib_is_malformed() {
        let field = |length: usize| format!("Bearer {}", "a".repeat(length)).into_bytes();
        assert!(of(&[&field(MAX_TOKEN)]).is_ok());
        assert!(matches!(of(&[&field(MAX_TOKEN + 1)]), Err(Kind::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_header_is_answered(fields in proptest::collection::vec("(?i:bearer)?[ -~\\t\u{80}-\u{ff}]{0,40}", 0..3)) {
            let mut headers = HeaderMap::new();
            for field in &fields {
                if let Ok(value) = HeaderValue::from_bytes(field.as_bytes()) {
                    headers.append(AUTHORIZATION, value);
                }
            }
            let token = presented(&headers).and_then(Presented::token);
            if let Ok(token) = token {
                prop_assert!(is_token68(token.expose().as_bytes()));
            }
        }
    }
}
