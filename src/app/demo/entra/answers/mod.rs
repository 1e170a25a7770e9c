//! What Entra's token endpoint answers, byte for byte where a byte matters.

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header;
use serde::Serialize;

use crate::app::demo::entra::random;
use crate::domain::clock::UnixTime;
use crate::domain::tenant::TenantId;

/// The answer of May 2017 that Microsoft's documentation of the flow has shown ever since.
pub const ENROLMENT_2017: &str = concat!(
    r#"{"error":"interaction_required","error_description":"AADSTS50079: Due to a configuration change made by your "#,
    r#"administrator, or because you moved to a new location, you must enroll in multi-factor authentication to access "#,
    r#"'bf8d80f9-9098-4972-b203-500f535113b1'.\r\nTrace ID: b72a68c3-0926-4b8e-bc35-3150069c2800\r\nCorrelation ID: "#,
    r#"73d656cf-54b1-4eb2-b429-26d8165a52d7\r\nTimestamp: 2017-05-01 22:43:20Z","error_codes":[50079],"#,
    r#""timestamp":"2017-05-01 22:43:20Z","trace_id":"b72a68c3-0926-4b8e-bc35-3150069c2800","#,
    r#""correlation_id":"73d656cf-54b1-4eb2-b429-26d8165a52d7","claims":"{\"access_token\":{\"polids\":"#,
    r#"{\"essential\":true,\"values\":[\"9ab03e19-ed42-4168-b6b7-7001fb3e933a\"]}}}"}"#,
);

const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");
const RETURN_CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("return-client-request-id");
const X_MS_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

/// A token request is refused: the OAuth error, Entra's own number, and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The OAuth error code.
    pub error: &'static str,
    /// The AADSTS number.
    pub code: u32,
    text: String,
    suberror: Option<&'static str>,
    claims: Option<&'static str>,
}

impl Refusal {
    /// A refusal without further detail.
    pub fn new(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { error, code, text: text.into(), suberror: None, claims: None }
    }

    /// The refusal of a request that is not written as it must be.
    pub fn malformed(text: &str) -> Self {
        let text = format!("Invalid request. Request is malformed or invalid. {text}");
        Self::new("invalid_request", 9_002_313, text)
    }

    /// With Entra's finer class of the error.
    pub fn suberror(self, suberror: &'static str) -> Self {
        Self { suberror: Some(suberror), ..self }
    }

    /// With the claims request the client must satisfy, as JSON.
    pub fn claims(self, claims: &'static str) -> Self {
        Self { claims: Some(claims), ..self }
    }

    /// Its HTTP status (RFC 6749 section 5.2).
    pub fn status(&self) -> StatusCode {
        match self.error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "temporarily_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// A token was issued.
#[derive(Serialize)]
pub struct Success {
    /// `Bearer`.
    pub token_type: &'static str,
    /// What was granted, fully qualified; nothing where an application's own permissions are.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Seconds from now.
    pub expires_in: u64,
    /// Seconds from now, were Entra to fail.
    pub ext_expires_in: u64,
    /// The token.
    pub access_token: String,
    /// Only if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    error_description: String,
    error_codes: [u32; 1],
    timestamp: &'a str,
    trace_id: &'a str,
    correlation_id: &'a str,
    error_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    suberror: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a str>,
}

/// What identifies one request and its answer in Entra's logs.
pub struct Trace {
    trace_id: String,
    correlation_id: String,
    returned: Option<HeaderValue>,
    timestamp: String,
}

impl Trace {
    /// The trace of a request with `headers`, answered at `now`: its `client-request-id`, if that is a GUID, becomes
    /// the correlation id, and comes back as a header if the client asks for it.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn new(headers: &HeaderMap, now: UnixTime) -> anyhow::Result<Self> {
        let sent = headers.get(CLIENT_REQUEST_ID);
        let guid = sent.and_then(|id| id.to_str().ok()).and_then(TenantId::parse);
        let wants_it = headers
            .get(RETURN_CLIENT_REQUEST_ID)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
        Ok(Self {
            trace_id: random::guid()?,
            returned: sent.filter(|_| wants_it && guid.is_some()).cloned(),
            correlation_id: match guid {
                Some(guid) => guid.to_string(),
                None => random::guid()?,
            },
            timestamp: timestamp(now),
        })
    }

    /// The answer to a request that is refused.
    ///
    /// # Errors
    /// If the body cannot be written.
    pub fn refused(&self, authority: &str, refusal: &Refusal) -> anyhow::Result<Response<String>> {
        let code = refusal.code;
        let body = ErrorBody {
            error: refusal.error,
            error_description: format!(
                "AADSTS{code}: {}\r\nTrace ID: {}\r\nCorrelation ID: {}\r\nTimestamp: {}",
                refusal.text, self.trace_id, self.correlation_id, self.timestamp
            ),
            error_codes: [code],
            timestamp: &self.timestamp,
            trace_id: &self.trace_id,
            correlation_id: &self.correlation_id,
            error_uri: format!("{authority}/error?code={code}"),
            suberror: refusal.suberror,
            claims: refusal.claims,
        };
        Ok(self.json(refusal.status(), serde_json::to_string(&body)?))
    }

    /// The answer to a request that is granted.
    ///
    /// # Errors
    /// If the body cannot be written.
    pub fn granted(&self, success: &Success) -> anyhow::Result<Response<String>> {
        Ok(self.json(StatusCode::OK, serde_json::to_string(success)?))
    }

    /// [`ENROLMENT_2017`] as an answer.
    pub fn enrolment(&self) -> Response<String> {
        self.json(StatusCode::BAD_REQUEST, ENROLMENT_2017.to_owned())
    }

    /// The answer to a client that asks too often: not JSON.
    pub fn throttled(&self) -> Response<String> {
        let mut response = self.json(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests".to_owned());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        response
    }

    /// RFC 6749 section 5.1: no answer of a token endpoint is stored.
    fn json(&self, status: StatusCode, body: String) -> Response<String> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        if let Ok(id) = HeaderValue::from_str(&self.trace_id) {
            headers.insert(X_MS_REQUEST_ID, id);
        }
        if let Some(id) = &self.returned {
            headers.insert(CLIENT_REQUEST_ID, id.clone());
        }
        response
    }
}

/// `now` as `2017-05-01 22:43:20Z`.
fn timestamp(now: UnixTime) -> String {
    let seconds = now.as_seconds().rem_euclid(86_400);
    let mut day = now.as_seconds().div_euclid(86_400);
    // the calendar repeats every 400 years, which are 146,097 days
    let mut year = 1970 + 400 * day.div_euclid(146_097);
    day = day.rem_euclid(146_097);
    while day >= days_in_year(year) {
        day -= days_in_year(year);
        year += 1;
    }
    let mut month = 1;
    for days in [31, days_in_year(year) - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}Z", day + 1)
}

fn days_in_year(year: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    365 + i64::from(leap)
}

#[cfg(test)]
mod tests;
