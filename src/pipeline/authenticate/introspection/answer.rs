//! What an introspection endpoint says of a token (RFC 7662 section 2.2). Pure.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::Response;
use http::StatusCode;
use http::header;

use crate::pipeline::authenticate::claims;
use crate::pipeline::authenticate::claims::Stated;
use crate::pipeline::authenticate::error::Kind;
use crate::pipeline::authenticate::json;
use crate::pipeline::authenticate::jws;

/// The longest answer that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// No server may keep itself from being asked for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// How long a server that is in trouble is left alone.
pub const PAUSE: Duration = Duration::from_secs(1);

/// The server's word on a token.
#[derive(Clone)]
pub enum Word {
    /// It is good, and these are its claims.
    Active(Stated),
    /// It is good, but for how long nobody says: as little use as a JWT without `exp`.
    Endless,
    /// It is not, or not any more, or not for us: that is not said.
    Inactive,
}

/// Why there is no word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The server is down, or does not answer in time.
    #[error("the introspection endpoint does not answer")]
    Unavailable {
        /// When to come back.
        retry_after: Duration,
    },
    /// It wants to be asked less.
    #[error("the introspection endpoint is asked too much")]
    Throttled {
        /// When to come back.
        retry_after: Duration,
    },
    /// It failed, maybe over this very token.
    #[error("the introspection endpoint failed")]
    Failed,
    /// It answers what no introspection endpoint may.
    #[error("the introspection endpoint's answer makes no sense")]
    BadResponse,
    /// It does not take us for who we are.
    #[error("the introspection endpoint refuses us")]
    Refused,
    /// It does not take the question, maybe for this very token, or is none.
    #[error("the introspection endpoint does not take the question")]
    Declined,
    /// We cannot say who we are, or do not know where it is.
    #[error("there is no way to ask the introspection endpoint")]
    Unaskable,
}

impl From<Fault> for Kind {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable { retry_after } => Self::IdpUnavailable { retry_after },
            Fault::Throttled { retry_after } => Self::IdpThrottled { retry_after },
            Fault::Failed => Self::IdpUnavailable { retry_after: PAUSE },
            Fault::BadResponse => Self::IdpBadResponse,
            Fault::Refused | Fault::Declined | Fault::Unaskable => Self::Misconfigured,
        }
    }
}

impl Fault {
    /// For how long nobody should try again. A fault that a token could bring about by itself keeps no other waiting.
    pub fn pause(self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after } | Self::Throttled { retry_after } => Some(retry_after),
            Self::Refused | Self::Unaskable => Some(PAUSE),
            Self::Failed | Self::Declined | Self::BadResponse => None,
        }
    }
}

impl Word {
    /// The word in `response`.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(response: &Response<Bytes>) -> Result<Self, Fault> {
        let retry_after = pause(response.headers());
        match response.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => return Err(Fault::Throttled { retry_after }),
            StatusCode::SERVICE_UNAVAILABLE => return Err(Fault::Unavailable { retry_after }),
            status if status.is_server_error() => return Err(Fault::Failed),
            StatusCode::UNAUTHORIZED => return Err(Fault::Refused),
            status if status.is_client_error() => return Err(Fault::Declined),
            // a redirect among them: tokens go where they are configured to go
            _ => return Err(Fault::BadResponse),
        }
        if !is_plain_json(response.headers()) {
            return Err(Fault::BadResponse);
        }
        let members = json::object(response.body(), claims::DEPTH).ok_or(Fault::BadResponse)?;
        match members.get("active").and_then(serde_json::Value::as_bool) {
            None => Err(Fault::BadResponse),
            Some(false) => Ok(Self::Inactive),
            Some(true) if !members.contains_key("exp") => Ok(Self::Endless),
            Some(true) => Stated::read(members).map(Self::Active).map_err(|_| Fault::BadResponse),
        }
    }
}

/// `Retry-After` in seconds (RFC 9110 section 10.2.3), within bounds.
fn pause(headers: &HeaderMap) -> Duration {
    let stated = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    stated.map_or(PAUSE, Duration::from_secs).clamp(PAUSE, LONGEST_PAUSE)
}

fn is_plain_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let essence = text(header::CONTENT_TYPE).and_then(|value| value.split(';').next()).map(str::trim);
    let encoding = text(header::CONTENT_ENCODING).unwrap_or("identity");
    essence.is_some_and(|essence| essence.contains('/') && jws::media_type_is(essence, "json"))
        && encoding.eq_ignore_ascii_case("identity")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(status: u16, headers: &[(&str, &str)], body: &str) -> Result<&'static str, Fault> {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        Word::read(&response.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()).map(|word| match word {
            Word::Active(_) => "active",
            Word::Endless => "endless",
            Word::Inactive => "inactive",
        })
    }

    const JSON: (&str, &str) = ("content-type", "application/json");

    #[test]
    fn a_word_is_read_from_json_only() {
        for (body, word) in [
            (r#"{"active":true,"exp":1}"#, Ok("active")),
            (r#"{"active":true,"exp":1,"aud":["a"],"scope":"s"}"#, Ok("active")),
            (r#"{"active":true}"#, Ok("endless")),
            (r#"{"active":false}"#, Ok("inactive")),
            (r#"{"active":false,"exp":"never"}"#, Ok("inactive")),
            (r#"{"active":"true","exp":1}"#, Err(Fault::BadResponse)),
            (r#"{"active":1,"exp":1}"#, Err(Fault::BadResponse)),
            (r#"{"active":null}"#, Err(Fault::BadResponse)),
            (r#"{"active":true,"active":false}"#, Err(Fault::BadResponse)),
            (r#"{"active":true,"exp":"1"}"#, Err(Fault::BadResponse)),
            (r#"{"active":true,"exp":1,"sub":7}"#, Err(Fault::BadResponse)),
            (r#"{"active":true,"exp":1"#, Err(Fault::BadResponse)),
            ("{}", Err(Fault::BadResponse)),
            ("true", Err(Fault::BadResponse)),
            ("<html>", Err(Fault::BadResponse)),
            ("", Err(Fault::BadResponse)),
        ] {
            assert_eq!(read(200, &[JSON], body), word, "{body}");
        }
        let good = r#"{"active":true,"exp":1}"#;
        for (headers, is_good) in [
            (&[("content-type", "Application/JSON; charset=utf-8")][..], true),
            (&[("content-type", "text/html")], false),
            (&[("content-type", "json")], false),
            (&[("content-type", "application/token-introspection+jwt")], false),
            (&[], false),
            (&[JSON, ("content-encoding", "identity")], true),
            (&[JSON, ("content-encoding", "gzip")], false),
        ] {
            assert_eq!(read(200, headers, good).is_ok(), is_good, "{headers:?}");
        }
    }

    #[test]
    fn a_status_says_whose_fault_it_is() {
        let unavailable = |seconds| Fault::Unavailable { retry_after: Duration::from_secs(seconds) };
        let throttled = |seconds| Fault::Throttled { retry_after: Duration::from_secs(seconds) };
        for (status, retry_after, fault) in [
            (503, None, unavailable(1)),
            (503, Some("20"), unavailable(20)),
            (429, Some(" 7 "), throttled(7)),
            (429, Some("0"), throttled(1)),
            (429, Some("99999999"), throttled(3600)),
            (429, Some("-1"), throttled(1)),
            (400, None, Fault::Declined),
            (401, None, Fault::Refused),
            (403, None, Fault::Declined),
            (404, None, Fault::Declined),
            (413, None, Fault::Declined),
            (500, None, Fault::Failed),
            (502, Some("7"), Fault::Failed),
            (204, None, Fault::BadResponse),
            (302, None, Fault::BadResponse),
        ] {
            let headers = [Some(JSON), retry_after.map(|value| ("retry-after", value))];
            let headers: Vec<_> = headers.into_iter().flatten().collect();
            assert_eq!(read(status, &headers, r#"{"active":true,"exp":1}"#), Err(fault), "{status}");
        }
    }

    proptest! {
        #[test]
        fn any_body_is_answered(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let response = Response::builder().header("content-type", "application/json");
            let _ = Word::read(&response.body(Bytes::from(body)).unwrap());
        }
    }
}
