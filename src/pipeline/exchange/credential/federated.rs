//! A token that another issuer made for us, as a Kubernetes cluster does: sent as it is (RFC 7523 section 2.2).
//! <https://learn.microsoft.com/entra/workload-id/workload-identity-federation>

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::domain::clock::UnixTime;

/// What is read of the token; the IdP judges it.
#[derive(Deserialize)]
struct Stated {
    exp: Option<serde_json::Number>,
}

/// What is wrong with `token` for anyone to see at the time `now`: it would only be refused.
pub fn flaw(token: &str, now: UnixTime) -> Option<&'static str> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Some("is no JWT");
    };
    let claims = BASE64_URL_SAFE_NO_PAD.decode(payload).ok();
    let Some(Stated { exp }) = claims.and_then(|claims| serde_json::from_slice(&claims).ok()) else {
        return Some("is no JWT");
    };
    let has_expired = exp.and_then(|exp| exp.as_f64()).is_some_and(|exp| exp <= now.as_seconds() as f64);
    has_expired.then_some("has expired: whatever writes it, as the kubelet does, has not written a new one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_unless_it_is_plainly_useless() {
        let jwt = |claims: &str| format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
        for (token, flaw_of) in [
            (jwt(r#"{"exp":1001}"#), None),
            (jwt(r#"{"exp":1000.5}"#), None),
            (jwt(r#"{"exp":1000}"#), Some("has expired")),
            (jwt(r#"{"exp":-5}"#), Some("has expired")),
            (jwt(r#"{"iss":"no end"}"#), None),
            (jwt(r#"{"exp":"soon"}"#), Some("is no JWT")),
            (jwt("[]"), Some("is no JWT")),
            (jwt("{"), Some("is no JWT")),
            ("a.b".into(), Some("is no JWT")),
            ("a.e30.c.d".into(), Some("is no JWT")),
            ("a.e30=.c".into(), Some("is no JWT")),
            ("hunter2".into(), Some("is no JWT")),
            (String::new(), Some("is no JWT")),
        ] {
            let found = flaw(&token, UnixTime::from_seconds(1000));
            assert_eq!(found.is_some(), flaw_of.is_some(), "{token}");
            assert!(found.unwrap_or_default().starts_with(flaw_of.unwrap_or_default()), "{token}");
        }
    }
}
