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
    pub fn parse(body: &[u8], requested: Option<TokenType>) -> Option<Self> {
        let members: Members = object(body)?;
        let usable = members.token_type.eq_ignore_ascii_case("Bearer")
            && is_acceptable(members.issued_token_type.as_deref(), requested);
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

/// Whether a token of the kind `issued` is what was `requested`: a SAML assertion must say that it is one, and
/// nothing else may be one.
fn is_acceptable(issued: Option<&str>, requested: Option<TokenType>) -> bool {
    match (issued, requested) {
        (issued, Some(saml @ (TokenType::Saml1 | TokenType::Saml2))) => issued == Some(saml.uri()),
        (Some(issued), _) => issued == TokenType::AccessToken.uri() || issued == TokenType::Jwt.uri(),
        (None, _) => true,
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
