//! What an upstream demands of the user that refuses token B with `401`: other claims
//! (<https://learn.microsoft.com/entra/identity-platform/claims-challenge>), or another sign-in (RFC 9470 section 3).
//!
//! **In:** the answer's header. **Out:** the claims, or how to sign in. **Never:** text that is no JSON object or longer
//! than fits into a header of ours, I/O.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::GeneralPurposeConfig;
use http::HeaderMap;
use http::header;
use serde_json::Map;
use serde_json::Value;

use crate::domain::digest::Digest;
use crate::pipeline::exchange::demand::syntax::Challenge;
use crate::pipeline::exchange::demand::syntax::challenges;

mod syntax;

/// Longest claims that fit into a header of ours, in bytes.
const LONGEST_CLAIMS: usize = 8 * 1024;
/// Longest field that is read, in bytes: claims of full length in base64, and as much of everything else.
const LONGEST_FIELD: usize = 4 * LONGEST_CLAIMS;
/// Most fields that are read.
const MOST_FIELDS: usize = 16;
/// Longest list of authentication context classes.
const LONGEST_CLASSES: usize = 256;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What an upstream demands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Claims that the token must satisfy.
    pub claims: Option<Claims>,
    /// Another sign-in.
    pub step_up: Option<StepUp>,
}

/// Claims that a token must satisfy: a JSON object as text, as whoever demands it wrote it. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Claims {
    text: Arc<str>,
    digest: Digest,
}

/// How a user must sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUp {
    /// In one of these authentication context classes.
    pub acr_values: Option<String>,
    /// So many seconds ago at most.
    pub max_age: Option<u64>,
}

impl Demand {
    /// What the answer with these `headers` demands.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut demand = Self::default();
        for field in headers.get_all(header::WWW_AUTHENTICATE).iter().take(MOST_FIELDS) {
            let Ok(field) = std::str::from_utf8(field.as_bytes()) else { continue };
            if field.len() > LONGEST_FIELD {
                continue;
            }
            for challenge in challenges(field) {
                demand.claims = demand.claims.take().or_else(|| claims(&challenge));
                demand.step_up = demand.step_up.take().or_else(|| step_up(&challenge));
            }
        }
        demand
    }
}

impl Claims {
    /// `text`, if it is a JSON object of bounded length.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST_CLAIMS {
            return None;
        }
        serde_json::from_str::<Map<String, Value>>(text).ok()?;
        Some(Self { text: text.into(), digest: Digest::of(text.as_bytes()) })
    }

    /// The JSON object.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// Hides the claims: they tell of the organisation's policies.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(..)")
    }
}

fn says(challenge: &Challenge<'_>, error: &str) -> bool {
    challenge.scheme.eq_ignore_ascii_case("Bearer")
        && challenge.value("error").is_some_and(|value| value.eq_ignore_ascii_case(error))
}

fn claims(challenge: &Challenge<'_>) -> Option<Claims> {
    if !says(challenge, "insufficient_claims") {
        return None;
    }
    let value = challenge.value("claims")?.trim();
    // some write the JSON as it is, some in the URL-safe alphabet
    if value.starts_with('{') {
        return Claims::parse(value);
    }
    let bytes = BASE64.decode(value.replace('-', "+").replace('_', "/")).ok()?;
    Claims::parse(std::str::from_utf8(&bytes).ok()?)
}

fn step_up(challenge: &Challenge<'_>) -> Option<StepUp> {
    if !says(challenge, "insufficient_user_authentication") {
        return None;
    }
    let is_list = |text: &&str| {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte);
        text.len() <= LONGEST_CLASSES && !text.trim().is_empty() && text.bytes().all(is_plain)
    };
    Some(StepUp {
        acr_values: challenge.value("acr_values").filter(is_list).map(String::from),
        max_age: challenge.value("max_age").and_then(|value| value.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use base64::prelude::BASE64_STANDARD_NO_PAD;
    use base64::prelude::BASE64_URL_SAFE;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const ACRS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"cp1"}}}"#;
    const ACRS_ENCODED: &str =
        "eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiY3AxIn19fQ==";

    fn demand(fields: &[&str]) -> Demand {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_bytes(field.as_bytes()).unwrap());
        }
        Demand::of(&headers)
    }

    fn claims_of(fields: &[&str]) -> Option<String> {
        demand(fields).claims.map(|claims| claims.text().to_owned())
    }

    #[test]
    fn the_claims_of_a_documented_challenge_are_found() {
        let field = format!(
            r#"Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="{ACRS_ENCODED}""#
        );
        assert_eq!(claims_of(&[&field]).as_deref(), Some(ACRS));
        assert_eq!(claims_of(&["Negotiate", "Basic realm=\"x\"", &field]).as_deref(), Some(ACRS));
        assert_eq!(claims_of(&[&format!("Negotiate, {field}")]).as_deref(), Some(ACRS));
        let upper = field.replace("Bearer", "BEARER").replace("insufficient_claims", "Insufficient_Claims");
        assert_eq!(claims_of(&[&upper]).as_deref(), Some(ACRS));
    }

    #[test]
    fn claims_may_be_encoded_in_any_way() {
        let text = r#"{"access_token":{"x":{"value":"ûïÿ>>>???"}}}"#;
        let raw = text.replace('"', "\\\"");
        for encoded in [
            BASE64_STANDARD.encode(text),
            BASE64_STANDARD_NO_PAD.encode(text),
            BASE64_URL_SAFE.encode(text),
            BASE64_URL_SAFE_NO_PAD.encode(text),
            raw,
        ] {
            let field = format!("Bearer error=\"insufficient_claims\", claims=\"{encoded}\"");
            assert_eq!(claims_of(&[&field]).as_deref(), Some(text), "{encoded}");
        }
        let unquoted = format!("Bearer error=insufficient_claims, claims={ACRS_ENCODED}");
        assert_eq!(claims_of(&[&unquoted]).as_deref(), Some(ACRS));
    }

    #[test]
    fn a_challenge_without_usable_claims_demands_none() {
        let long = BASE64_STANDARD.encode(format!("{{\"a\":\"{}\"}}", "x".repeat(LONGEST_CLAIMS)));
        let deep = BASE64_STANDARD.encode(format!("{}1{}", "{\"a\":".repeat(500), "}".repeat(500)));
        for parameters in [
            "error=\"insufficient_claims\"".to_owned(),
            format!("claims=\"{ACRS_ENCODED}\""),
            format!("error=\"invalid_token\", claims=\"{ACRS_ENCODED}\""),
            format!("error=\"insufficient_claims\", claims=\"{ACRS_ENCODED}\", claims=\"e30=\""),
            format!("error=\"insufficient_claims\", error=\"x\", claims=\"{ACRS_ENCODED}\""),
            "error=\"insufficient_claims\", claims=\"\"".to_owned(),
            "error=\"insufficient_claims\", claims=\"WzFd\"".to_owned(), // [1]
            "error=\"insufficient_claims\", claims=\"!!!\"".to_owned(),
            "error=\"insufficient_claims\", claims=\"_w\"".to_owned(), // no UTF-8
            format!("error=\"insufficient_claims\", claims=\"{long}\""),
            format!("error=\"insufficient_claims\", claims=\"{deep}\""),
        ] {
            assert_eq!(demand(&[&format!("Bearer {parameters}")]), Demand::default(), "{parameters}");
        }
        let other = format!("PoP error=\"insufficient_claims\", claims=\"{ACRS_ENCODED}\"");
        assert_eq!(demand(&[&other]), Demand::default());
    }

    #[test]
    fn what_is_long_is_not_read() {
        let field = format!("Bearer error=\"insufficient_claims\", claims=\"{ACRS_ENCODED}\"");
        let long = format!("{field}, x=\"{}\"", "x".repeat(LONGEST_FIELD));
        assert_eq!(demand(&[&long]), Demand::default());
        let mut fields = vec!["Negotiate"; MOST_FIELDS];
        fields.push(&field);
        assert_eq!(demand(&fields), Demand::default());
        assert!(demand(&fields[1..]).claims.is_some());
    }

    #[test]
    fn another_sign_in_is_told_from_other_claims() {
        let step_up = |field: &str| demand(&[field]).step_up.map(|own| (own.acr_values, own.max_age));
        let both = Some((Some("gold silver".to_owned()), Some(300)));
        let field = r#"Bearer error="insufficient_user_authentication", error_description="x", acr_values="gold silver", max_age="300""#;
        assert_eq!(step_up(field), both);
        assert_eq!(demand(&[field]).claims, None);
        assert_eq!(step_up("Bearer error=insufficient_user_authentication"), Some((None, None)));
        for bad in ["acr_values=\" \", max_age=\"-1\"", "acr_values=\"\u{e4}\", max_age=\"soon\""] {
            let field = format!("Bearer error=\"insufficient_user_authentication\", {bad}");
            assert_eq!(step_up(&field), Some((None, None)), "{bad}");
        }
        assert_eq!(step_up("Bearer error=\"insufficient_claims\", acr_values=\"gold\""), None);
        let claims = format!("Bearer error=\"insufficient_claims\", claims=\"{ACRS_ENCODED}\"");
        let two = demand(&[field, &claims]);
        assert!(two.claims.is_some() && two.step_up.is_some());
    }

    #[test]
    fn debug_shows_no_claims() {
        let claims = Claims::parse(r#"{"hidden":1}"#).unwrap();
        assert_eq!(format!("{claims:?}"), "Claims(..)");
    }

    proptest! {
        #[test]
        fn any_header_can_be_read(fields in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..4)) {
            let mut headers = HeaderMap::new();
            for field in fields {
                if let Ok(value) = HeaderValue::from_bytes(&field) {
                    headers.append(header::WWW_AUTHENTICATE, value);
                }
            }
            let _ = Demand::of(&headers);
        }

        #[test]
        fn any_claims_can_be_read(value in r#"[a-zA-Z0-9+/=_{}":-]{0,64}"#) {
            let field = format!("Bearer error=insufficient_claims, claims=\"{}\"", value.replace('"', "\\\""));
            if let Some(claims) = demand(&[&field]).claims {
                prop_assert!(serde_json::from_str::<Map<String, Value>>(claims.text()).is_ok());
            }
        }
    }
}
