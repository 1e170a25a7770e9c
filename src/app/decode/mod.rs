//! What a token says, believed by nobody: for whoever wonders what they hold.
//!
//! **In:** a token. **Out:** its header, its claims, and what is noteworthy about them. **Never:** says that it is valid.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::app::words;
use crate::domain::clock::UnixTime;
use crate::domain::paint::Paint;
use crate::domain::printable;
use crate::pipeline::authenticate::claims;
use crate::pipeline::authenticate::json as strict;
use crate::pipeline::authenticate::jws;

mod remarks;

/// How wide the first column is at least.
const COLUMN: usize = 12;

/// Claims that are moments.
const TIMES: [&str; 6] = ["auth_time", "exp", "iat", "nbf", "pwd_exp", "xms_tcdt"];

/// A token that was taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Decoded {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    /// Its parts that can be read in two ways.
    ambiguous: Vec<&'static str>,
    now: UnixTime,
}

/// Why a token cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It has five parts.
    #[error("this is an encrypted token (JWE): only the API that it is for can read it")]
    Encrypted,
    /// It has not three parts.
    #[error(
        "this is no JWT: a JWT has three parts, with dots between. An opaque token is known to its issuer alone"
    )]
    NoJwt,
    /// A part is no base64url.
    #[error("this is no JWT: its {0} is not base64url. Was it cut, or wrapped into lines?")]
    NotBase64(&'static str),
    /// A part is no JSON object.
    #[error("this is no JWT: its {0} is no JSON object")]
    NoObject(&'static str),
}

impl Decoded {
    /// Takes `token` apart, at the time `now`. More is let pass here than a proxy lets in.
    ///
    /// # Errors
    /// If it is no JWT.
    pub fn of(token: &str, now: UnixTime) -> Result<Self, Error> {
        let parts: Vec<&str> = token.split('.').collect();
        match parts.as_slice() {
            [header, claims, _] => {
                let mut ambiguous = Vec::new();
                let header = object(header, "header", jws::HEADER_DEPTH, &mut ambiguous)?;
                let claims = object(claims, "payload", claims::DEPTH, &mut ambiguous)?;
                Ok(Self { header, claims, ambiguous, now })
            }
            [header, _, _, _, _] if object(header, "header", 0, &mut Vec::new()).is_ok() => {
                Err(Error::Encrypted)
            }
            _ => Err(Error::NoJwt),
        }
    }

    /// For a machine.
    pub fn to_json(&self) -> Value {
        let times: Map<String, Value> = self
            .claims
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), self.moment(name, value)?.into())))
            .collect();
        json!({
            "verified": false,
            "header": self.header,
            "claims": self.claims,
            "times": times,
            "remarks": self.remarks(),
        })
    }

    /// For a person.
    pub fn to_text(&self, paint: Paint) -> String {
        let mut text = format!("{}\n\nheader\n", paint.doubtful("Nothing of this was verified."));
        self.write(&mut text, &self.header, paint);
        text.push_str("\nclaims\n");
        self.write(&mut text, &self.claims, paint);
        let remarks = self.remarks();
        if !remarks.is_empty() {
            text.push_str("\nremarks\n");
        }
        for remark in remarks {
            text.push_str(&format!("  {} {remark}\n", paint.doubtful("!")));
        }
        text
    }

    fn remarks(&self) -> Vec<String> {
        let twice = |part: &&str| {
            format!(
                "Its {part} names a member twice, or is nested too deep: every proxy refuses it as malformed. What is told here may be what another reader does not see."
            )
        };
        let mut remarks: Vec<String> = self.ambiguous.iter().map(twice).collect();
        remarks.extend(remarks::all(&self.header, &self.claims, self.now));
        remarks
    }

    fn write(&self, out: &mut String, members: &Map<String, Value>, paint: Paint) {
        let longest = members.keys().map(|name| name.chars().count()).max().unwrap_or_default();
        let column = longest.clamp(COLUMN, 2 * COLUMN);
        for (name, value) in members {
            let shown = match value {
                Value::String(text) => printable::line(text),
                other => printable::line(&other.to_string()),
            };
            let time = self.moment(name, value).map(|time| format!("  ({time})")).unwrap_or_default();
            let name = format!("{:column$}", printable::line(name));
            out.push_str(&format!("  {} {shown}{}\n", paint.dim(&name), paint.dim(&time)));
        }
    }

    /// A claim that is a moment, in words.
    fn moment(&self, name: &str, value: &Value) -> Option<String> {
        let seconds = TIMES.contains(&name).then(|| remarks::seconds(value))??;
        Some(words::moment(UnixTime::from_seconds(seconds), self.now))
    }
}

/// The object that `part` is. If it is none to a proxy, its name is among `ambiguous`.
fn object(
    part: &str,
    name: &'static str,
    depth: usize,
    ambiguous: &mut Vec<&'static str>,
) -> Result<Map<String, Value>, Error> {
    let bytes = jws::decode(part).ok_or(Error::NotBase64(name))?;
    let object = serde_json::from_slice(&bytes).map_err(|_| Error::NoObject(name))?;
    if strict::object(&bytes, depth).is_none() {
        ambiguous.push(name);
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(header), part(claims))
    }

    #[test]
    fn a_token_is_told_with_its_times_in_words() {
        let token =
            token(&json!({"alg": "RS256", "typ": "JWT"}), &json!({"exp": 1_794_999_700, "sub": "a\u{1b}b"}));
        let decoded = Decoded::of(&token, NOW).unwrap();
        let text = decoded.to_text(Paint::Plain);
        assert!(text.starts_with("Nothing of this was verified.\n"), "{text}");
        assert!(text.contains("  exp          1794999700  (2026-11-18T11:01:40Z, 5 min ago)\n"), "{text}");
        assert!(text.contains("  sub          a\u{fffd}b\n"), "{text}");
        let json = decoded.to_json();
        assert_eq!(json["verified"], false);
        assert_eq!(json["claims"]["sub"], "a\u{1b}b");
        assert_eq!(json["times"]["exp"], "2026-11-18T11:01:40Z, 5 min ago");
    }

    #[test]
    fn a_token_that_two_readers_read_in_two_ways_is_called_so() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let told = |header: &str, claims: &str| {
            let token = format!("{}.{}.c2ln", part(header), part(claims));
            Decoded::of(&token, NOW).unwrap().to_text(Paint::Plain)
        };
        let (fine, remark) = (r#"{"alg":"RS256"}"#, "names a member twice");
        for claims in [r#"{"exp":1,"exp":2}"#, r#"{"tid":"a","TID":"b"}"#, r#"{"a":{"b":1,"b":2}}"#] {
            assert!(told(fine, claims).contains(&format!("Its payload {remark}")), "{claims}");
        }
        assert!(told(r#"{"alg":"RS256","alg":"none"}"#, "{}").contains(&format!("Its header {remark}")));
        assert!(!told(fine, r#"{"exp":1,"a":{"exp":2}}"#).contains(remark));
    }

    #[test]
    fn what_is_no_jwt_is_called_by_its_fault() {
        let header = URL_SAFE_NO_PAD.encode("{}");
        for (text, error) in [
            ("".to_owned(), Error::NoJwt),
            ("a.b".to_owned(), Error::NoJwt),
            ("!.b.c".to_owned(), Error::NotBase64("header")),
            (format!("{header}.!.c"), Error::NotBase64("payload")),
            (format!("{header}.W10.c"), Error::NoObject("payload")),
            (format!("{header}.a.b.c.d"), Error::Encrypted),
        ] {
            assert_eq!(Decoded::of(&text, NOW).err(), Some(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,200}") {
            let _ = Decoded::of(&text, NOW).map(|decoded| decoded.to_text(Paint::Plain));
        }

        #[test]
        fn any_claims_are_told(name in "(exp|iat|nbf|aud|iss|ver|scp|nonce|cnf|[a-z]{1,3})", number in any::<i64>(), text in ".{0,20}") {
            for value in [json!(number), json!(text), json!([text]), json!({ "a": number }), Value::Null, json!(1e300)] {
                let token = token(&json!({ "alg": text }), &json!({ &name: value }));
                let told = Decoded::of(&token, NOW).unwrap().to_text(Paint::Plain);
                let obeys = told.contains('\u{1b}');
                prop_assert!(!obeys);
            }
        }
    }
}
