//! Who may look and who may steer: every rule of the admin interface, as functions of the request's head.
//!
//! **In:** the head of a request. **Out:** whether it may go on, or why not. **Never:** trusts a browser that a foreign page has
//! sent, or a name that somebody else's DNS has pointed here.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::StatusCode;
use http::Uri;
use http::header;
use http::uri::Authority;
use zeroize::Zeroizing;

use crate::config::Admin;
use crate::config::is_loopback_host;
use crate::domain::digest::Digest;
use crate::domain::secret::Secret;

/// What a request that changes something must carry. A page of another origin cannot send it without asking first, and
/// nobody here says yes.
pub const INTENT: HeaderName = HeaderName::from_static("x-obo-admin");

/// Its value.
pub const MEANT: &str = "1";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It names another host, or none.
    #[error("this host name is not one of the admin interface: use its address, or localhost")]
    ForeignHost,
    /// It does not show the token.
    #[error("show the token of `admin.token`: as a bearer token, or as the password of any user")]
    NoToken,
    /// It shows another one.
    #[error("this is not the token of `admin.token`")]
    WrongToken,
    /// The token it should show is not known.
    #[error("the token of `admin.token` cannot be read")]
    TokenUnreadable,
    /// It may come from a page that somebody has opened.
    #[error("send the header `X-Obo-Admin: 1`, which shows that the request is meant")]
    NotMeant,
    /// It comes from a page of another origin.
    #[error("requests of other origins change nothing here")]
    ForeignOrigin,
    /// Its body is of a kind that any page can send.
    #[error("send the body as `application/json`")]
    NotJson,
}

impl Refused {
    /// The status that says so.
    pub fn status(self) -> StatusCode {
        match self {
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::TokenUnreadable => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotMeant | Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    /// What the log calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::ForeignHost => "foreign_host",
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::TokenUnreadable => "token_unreadable",
            Self::NotMeant => "not_meant",
            Self::ForeignOrigin => "foreign_origin",
            Self::NotJson => "not_json",
        }
    }
}

/// Whether a request is for this host by a name that nobody else can give it: a page whose own name was pointed here
/// (DNS rebinding) could else read as if it were ours. Where a token is asked for there is no need: such a page has none.
///
/// # Errors
/// If it is not.
pub fn check_host(admin: &Admin, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
    let named = sole(headers, &header::HOST).ok_or(Refused::ForeignHost)?;
    let named: Authority = named.parse().map_err(|_| Refused::ForeignHost)?;
    let hosts = [Some(&named), uri.authority()];
    let is_ours = |authority: &Authority| {
        let host = authority.host();
        // no user before it, and after it nothing but a port, which `Authority` does not insist on
        let rest = authority.as_str().strip_prefix(host);
        let is_plain = rest.is_some_and(|rest| {
            rest.is_empty()
                || authority.port().is_some_and(|port| rest.strip_prefix(':') == Some(port.as_str()))
        });
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_configured = host.eq_ignore_ascii_case(&admin.address.host)
            && !host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
        is_plain && (admin.token.is_some() || is_configured || is_loopback_host(host))
    };
    match hosts.into_iter().flatten().all(is_ours) {
        true => Ok(()),
        false => Err(Refused::ForeignHost),
    }
}

/// Whether a request shows `token`: as a bearer token (RFC 6750), or as the password of any user (RFC 7617), which browsers
/// ask for.
///
/// # Errors
/// If it does not.
pub fn check_token(token: &Secret, headers: &HeaderMap) -> Result<(), Refused> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(Refused::NoToken);
    }
    let shown = sole(headers, &header::AUTHORIZATION).and_then(shown).ok_or(Refused::WrongToken)?;
    // of equal length, whatever is shown
    let digests = [shown.as_slice(), token.expose().as_bytes()].map(Digest::of);
    verify_slices_are_equal(digests[0].as_bytes(), digests[1].as_bytes()).map_err(|_| Refused::WrongToken)
}

/// Whether a request to change something is meant by whoever sends it.
///
/// # Errors
/// If a page that somebody has opened may be behind it.
pub fn check_intent(headers: &HeaderMap) -> Result<(), Refused> {
    if sole(headers, &INTENT) != Some(MEANT) {
        return Err(Refused::NotMeant);
    }
    let is_own = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(|host| {
            sole(headers, &header::HOST).is_some_and(|own| own.eq_ignore_ascii_case(host))
        })
    };
    let is_near = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    let is_foreign = !headers.get_all(header::ORIGIN).iter().all(is_own)
        || !headers.get_all(SEC_FETCH_SITE).iter().all(is_near);
    if is_foreign {
        return Err(Refused::ForeignOrigin);
    }
    let media_type = sole(headers, &header::CONTENT_TYPE).and_then(|value| value.split(';').next());
    match media_type {
        Some(media_type) if media_type.trim().eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Refused::NotJson),
    }
}

/// The value of a field that must not be there twice.
fn sole<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// What an `Authorization` field shows.
fn shown(field: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, rest) = field.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Zeroizing::new(rest.trim().as_bytes().to_vec()));
    }
    let login = STANDARD.decode(rest.trim()).ok().map(Zeroizing::new);
    let login = login.filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = login.iter().position(|byte| *byte == b':')?;
    login.get(colon + 1..).map(|password| Zeroizing::new(password.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Address;
    use crate::config::SecretSource;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            headers.append(name, value);
        }
        headers
    }

    fn admin(host: &str, token: Option<&str>) -> Admin {
        let token = token.map(|token| SecretSource::Here(Secret::new(token.into())));
        Admin { address: Address { host: host.into(), port: 9901 }, token }
    }

    #[test]
    fn a_name_that_others_can_point_here_is_not_ours() {
        let open = admin("127.0.0.1", None);
        for (host, is_ours) in [
            ("127.0.0.1:9901", true),
            ("127.0.0.1", true),
            ("127.8.8.8:1", true),
            ("localhost:19901", true),
            ("LocalHost", true),
            ("[::1]:9901", true),
            ("localhost.evil.example", false),
            ("evil.example:9901", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1@evil.example", false),
            ("evil@127.0.0.1", false),
            ("localhost:", false),
            ("localhost:x", false),
            ("localhost:[::1]9901", false),
            ("localhost:1:9901", false),
            ("10.0.0.7:9901", false),
            ("0.0.0.0:9901", false),
            ("[::]:9901", false),
            ("", false),
            (" ", false),
        ] {
            let checked = check_host(&open, &"/".parse().unwrap(), &headers(&[("host", host)]));
            assert_eq!(checked.is_ok(), is_ours, "{host}");
        }
        let here = headers(&[("host", "localhost")]);
        for (uri, is_ours) in [("http://localhost/", true), ("http://evil.example/", false)] {
            assert_eq!(check_host(&open, &uri.parse().unwrap(), &here).is_ok(), is_ours, "{uri}");
        }
        let root: Uri = "/".parse().unwrap();
        for hosts in [&[][..], &[("host", "localhost"), ("host", "localhost")]] {
            assert_eq!(check_host(&open, &root, &headers(hosts)), Err(Refused::ForeignHost));
        }
        // where a token is asked for, any name will do
        let closed = admin("0.0.0.0", Some("t"));
        assert_eq!(check_host(&closed, &root, &headers(&[("host", "obo.prod.svc:9901")])), Ok(()));
    }

    #[test]
    fn a_token_is_shown_in_either_way_and_to_the_letter() {
        let token = Secret::new("s3cret:+/=".into());
        let basic = |login: &str| format!("Basic {}", STANDARD.encode(login));
        for (field, is_shown) in [
            ("Bearer s3cret:+/=".to_owned(), true),
            ("bearer  s3cret:+/=".to_owned(), true),
            (basic("anyone:s3cret:+/="), true),
            (basic(":s3cret:+/="), true),
            ("Bearer s3cret".to_owned(), false),
            ("Bearer ".to_owned(), false),
            ("Bearer".to_owned(), false),
            ("s3cret:+/=".to_owned(), false),
            (basic("s3cret:+/="), false),
            (basic("s3cret"), false),
            ("Basic s3cret:+/=".to_owned(), false),
            (format!("Digest {}", STANDARD.encode("a:s3cret:+/=")), false),
        ] {
            let checked = check_token(&token, &headers(&[("authorization", &field)]));
            assert_eq!(checked.is_ok(), is_shown, "{field}");
        }
        assert_eq!(check_token(&token, &HeaderMap::new()), Err(Refused::NoToken));
    }

    #[test]
    fn what_a_foreign_page_could_send_changes_nothing() {
        let meant = [("host", "127.0.0.1:9901"), ("x-obo-admin", "1"), ("content-type", "application/json")];
        let with = |more: &[(&'static str, &'static str)]| {
            let replaced = |(name, _): &&(&str, &str)| !more.iter().any(|(other, _)| name == other);
            let fields: Vec<_> = meant.iter().filter(replaced).chain(more).copied().collect();
            check_intent(&headers(&fields))
        };
        for (more, expected) in [
            (&[][..], Ok(())),
            (&[("content-type", "Application/JSON; charset=utf-8")], Ok(())),
            (&[("origin", "http://127.0.0.1:9901")], Ok(())),
            (&[("origin", "http://127.0.0.1:9901"), ("sec-fetch-site", "same-origin")], Ok(())),
            (&[("sec-fetch-site", "none")], Ok(())),
            (&[("x-obo-admin", "0")], Err(Refused::NotMeant)),
            (&[("x-obo-admin", "")], Err(Refused::NotMeant)),
            (&[("origin", "http://evil.example")], Err(Refused::ForeignOrigin)),
            (&[("origin", "http://127.0.0.1:8080")], Err(Refused::ForeignOrigin)),
            (&[("origin", "null")], Err(Refused::ForeignOrigin)),
            (&[("sec-fetch-site", "cross-site")], Err(Refused::ForeignOrigin)),
            (&[("sec-fetch-site", "same-site")], Err(Refused::ForeignOrigin)),
            (&[("content-type", "text/plain")], Err(Refused::NotJson)),
            (&[("content-type", "application/x-www-form-urlencoded")], Err(Refused::NotJson)),
            (&[("content-type", "multipart/form-data; boundary=a")], Err(Refused::NotJson)),
            (&[("content-type", "text/plain; application/json")], Err(Refused::NotJson)),
        ] {
            assert_eq!(with(more), expected, "{more:?}");
        }
        let without: Vec<_> = meant.iter().filter(|(name, _)| *name != "content-type").copied().collect();
        assert_eq!(check_intent(&headers(&without)), Err(Refused::NotJson));
        let without: Vec<_> = meant.iter().filter(|(name, _)| *name != "x-obo-admin").copied().collect();
        assert_eq!(check_intent(&headers(&without)), Err(Refused::NotMeant));
    }
}
