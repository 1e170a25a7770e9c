//! What the token endpoint's answer means. Pure, total, and the only place that reads it.
//!
//! **In:** status, headers and body of an answer, however odd. **Out:** a token, or a [`Row`] of the table with what
//! the IdP said. **Never:** a token from anything but a 200; text of the IdP's that was not checked.

use http::HeaderMap;
use http::Response;
use http::StatusCode;
use http::header;

use crate::domain::clock::UnixTime;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::row::Row;

mod answer;
mod retry_after;
mod table;

pub use answer::AskedBy;
pub use answer::Expected;
pub use answer::Success;

/// What `response` means to someone who asked for a token that is as `expected`, at the time `now`.
///
/// # Errors
/// Everything but a usable token: the first row of the table that matches.
pub fn classify(
    response: &Response<impl AsRef<[u8]>>,
    expected: Expected<'_>,
    now: UnixTime,
) -> Result<Success, Error> {
    let status = response.status();
    let body = Some(response.body().as_ref()).filter(|_| is_plain(response.headers()));
    if status == StatusCode::OK {
        let body = body.filter(|_| is_json(response.headers()));
        let success = body.and_then(|body| Success::parse(body, expected));
        return success.ok_or_else(|| Error::of(Row::Malformed, None));
    }
    let oauth = match status.is_client_error() || status.is_server_error() {
        true => body.and_then(answer::oauth_error),
        false => None,
    };
    let wait = match status.is_success() {
        true => None,
        false => retry_after::parse(response.headers(), now),
    };
    let row = table::refusal(status, wait, oauth.as_ref());
    Err(Error::of(row, oauth))
}

/// Nothing is decompressed, so a compressed answer cannot be read.
fn is_plain(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// `application/json` or another type of JSON syntax (RFC 6839), whatever its parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests;
