//! The two JSON bodies of a token endpoint (RFC 6749 sections 5.1 and 5.2), read with suspicion.

use serde::Deserialize;
use serde::Deserializer;
use serde_json::Map;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::config::TokenType;
use crate::domain::token::DownstreamToken;
use crate::pipeline::exchange::error::OAuthError;
use crate::pipeline::exchange::lifetime::Stated;
use crate::pipeline::exchange::lifetime::duration;
use crate::pipeline::exchange::lifetime::moment;

/// Longest `error`, `suberror` or id that is passed on.
const LONGEST_WORD: usize = 128;

/// Longest claims challenge that fits into a header of ours.
const LONGEST_CLAIMS: usize = 8 * 1024;

/// Most AADSTS numbers that are looked at.
const MOST_CODES: usize = 16;

/// A usable token B and what was said about its life.
#[derive(Debug)]
pub struct Success {
    /// Token B.
    pub token: DownstreamToken,
    /// How long it lives.
    pub stated: Stated,
}

/// The kind of token that was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// `requested_token_type`, if it was sent.
    pub requested: Option<&'a str>,
    /// How the token was asked for.
    pub asked_by: AskedBy,
}

/// The kind of grant by which a token was asked for, as far as it matters for the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AskedBy {
    /// A grant of RFC 6749: the answer need not say what kind of token it holds.
    #[default]
    Grant,
    /// A token exchange: it must (RFC 8693 section 2.2.1).
    TokenExchange,
}

/// The members of a success that matter. Others, a refresh or id token among them, are skipped where they stand.
#[derive(Deserialize)]
struct Members {
    #[serde(deserialize_with = "wiped")]
    access_token: Zeroizing<String>,
    token_type: String,
    issued_token_type: Option<String>,
    #[serde(default)]
    expires_in: Value,
    #[serde(default)]
    expires_on: Value,
    #[serde(default)]
    refresh_in: Value,
}

impl Success {
    /// The token in `body`; `None` if it is not there, cannot be sent, or is of a kind nobody asked for.
    pub fn parse(body: &[u8], expected: Expected<'_>) -> Option<Self> {
        let members: Members = object(body)?;
        let usable = expected.may_be_used_as(&members.token_type)
            && expected.may_be_issued_as(members.issued_token_type.as_deref());
        usable.then_some(())?;
        Some(Self {
            token: DownstreamToken::bearer(members.access_token).ok()?,
            stated: Stated {
                expires_in: duration(&members.expires_in),
                expires_on: moment(&members.expires_on),
                refresh_in: duration(&members.refresh_in),
            },
        })
    }
}

impl Expected<'_> {
    /// Whether a token of that `token_type` can be sent as a bearer token. A token that is bound to a key of another's
    /// (`pop`, `DPoP`, `mtls_pop`) cannot. `N_A` is what a token exchange calls every token that is no access token
    /// (RFC 8693 section 2.2.1): only a SAML assertion that was asked for may be one.
    fn may_be_used_as(&self, token_type: &str) -> bool {
        let is_unnamed = token_type.eq_ignore_ascii_case("N_A");
        token_type.eq_ignore_ascii_case("Bearer")
            || (is_unnamed && self.asked_by == AskedBy::TokenExchange && self.is_saml())
    }

    /// Whether a token of that `issued_token_type` is what was asked for: a SAML assertion must say that it is one, and
    /// nothing else may be one.
    fn may_be_issued_as(&self, issued: Option<&str>) -> bool {
        let plain = [TokenType::AccessToken.uri(), TokenType::Jwt.uri()];
        match issued {
            None => !self.is_saml() && self.asked_by == AskedBy::Grant,
            Some(issued) if Some(issued) == self.requested => true,
            Some(issued) => !self.is_saml() && plain.contains(&issued),
        }
    }

    fn is_saml(&self) -> bool {
        [TokenType::Saml1, TokenType::Saml2].iter().any(|saml| self.requested == Some(saml.uri()))
    }
}

/// The members of an error that matter. Of each only the right type counts; a member that stands twice spoils all.
#[derive(Deserialize)]
struct ErrorMembers {
    error: Text,
    #[serde(default)]
    suberror: Text,
    #[serde(default)]
    claims: Text,
    #[serde(default)]
    error_codes: Value,
    #[serde(default)]
    trace_id: Text,
    #[serde(default)]
    correlation_id: Text,
    #[serde(default)]
    acr_values: Text,
    #[serde(default)]
    max_age: Value,
}

/// A string, or whatever stands in its place.
#[derive(Default)]
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::String(text) => Some(text),
            _ => None,
        }))
    }
}

impl Text {
    /// The text, if it is a short word that may stand in a header or a log (RFC 6749 appendix A.7).
    fn word(self) -> Option<String> {
        let fits = |byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        self.0.filter(|text| (1..=LONGEST_WORD).contains(&text.len()) && text.bytes().all(fits))
    }

    /// The text, if it is a JSON object of bounded length.
    fn object(self) -> Option<String> {
        self.0.filter(|text| {
            text.len() <= LONGEST_CLAIMS && serde_json::from_str::<Map<String, Value>>(text).is_ok()
        })
    }
}

/// The OAuth error in `body`; `None` if it is no JSON object with an `error`.
pub fn oauth_error(body: &[u8]) -> Option<OAuthError> {
    let members: ErrorMembers = object(body)?;
    let codes = members.error_codes.as_array().map(Vec::as_slice).unwrap_or_default();
    Some(OAuthError {
        error: members.error.word()?,
        suberror: members.suberror.word(),
        claims: members.claims.object(),
        error_codes: codes.iter().filter_map(Value::as_u64).take(MOST_CODES).collect(),
        trace_id: members.trace_id.word(),
        correlation_id: members.correlation_id.word(),
        acr_values: members.acr_values.word(),
        max_age: duration(&members.max_age).map(|age| age.as_secs()),
    })
}

/// The JSON object in `body`. Asked for explicitly, as serde takes a list for a struct too.
fn object<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Option<T> {
    body.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(body).ok())?
}

/// A string whose memory is wiped, also when a later member spoils the answer.
fn wiped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}
