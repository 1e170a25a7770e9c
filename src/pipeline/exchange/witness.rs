//! What an IdP said, for whoever asked it by hand. Requests have no witness: of what they are told, only what was checked is
//! kept.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;

use http::Response;
use http::StatusCode;
use serde_json::Map;
use serde_json::Value;

use crate::domain::printable;

/// Longest text that is kept, in characters.
const LONGEST: usize = 2000;

/// Most answers that are kept: one exchange asks a few times at most, with each credential and once more.
const MOST: usize = 16;

/// Hears the answers to one exchange.
#[derive(Default)]
pub struct Witness(Mutex<Vec<Said>>);

/// What an IdP said, as far as a terminal may show it: no token, no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who was asked.
    pub url: String,
    /// The status of the answer.
    pub status: StatusCode,
    /// `error_description`, or `error` where there is none.
    pub text: Option<String>,
    /// `scope`: what was granted.
    pub scope: Option<String>,
}

impl Witness {
    /// Hears `response`, the answer of `url`.
    pub fn hear(&self, url: &str, response: &Response<impl AsRef<[u8]>>) {
        let members = serde_json::from_slice::<Map<String, Value>>(response.body().as_ref());
        // token B is among them, and stays behind
        let text = |name: &str| members.as_ref().ok()?.get(name)?.as_str().map(shown);
        let said = Said {
            url: url.to_owned(),
            status: response.status(),
            text: text("error_description").or_else(|| text("error")),
            scope: text("scope"),
        };
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() < MOST {
            heard.push(said);
        }
    }

    /// All it heard.
    pub fn heard(&self) -> Vec<Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Hides what was heard: an IdP's text belongs in no log.
impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness(..)")
    }
}

/// `text` on lines of its own, without what a terminal would obey, and without anything that looks like a token.
fn shown(text: &str) -> String {
    let words = text.split_whitespace().map(|word| if word.contains("eyJ") { "***" } else { word });
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().filter(|letter| printable::is_printable(*letter)).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> Said {
        let witness = Witness::default();
        let response = Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap();
        witness.hear("https://idp.example/token", &response);
        witness.heard().remove(0)
    }

    #[test]
    fn what_an_idp_says_is_told_without_tokens_and_without_what_a_terminal_obeys() {
        let refused = said(
            400,
            r#"{"error":"invalid_grant","error_description":"AADSTS50013: no\r\nTrace ID: 1\u001b[2J\u2066\u061c for eyJhbGciOi.x.y"}"#,
        );
        assert_eq!(refused.text.as_deref(), Some("AADSTS50013: no Trace ID: 1[2J for ***"));
        let granted = said(200, r#"{"access_token":"eyJ.canary","scope":"a b","token_type":"Bearer"}"#);
        assert_eq!((granted.text.as_deref(), granted.scope.as_deref()), (None, Some("a b")));
        assert!(!format!("{granted:?}").contains("canary"));
        assert_eq!(said(400, r#"{"error":"e"}"#).text.as_deref(), Some("e"));
        for odd in ["", "[]", "{", r#"{"error":7}"#, "\u{0}"] {
            assert_eq!(said(502, odd).text, None, "{odd}");
        }
    }
}
