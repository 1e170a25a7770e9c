//! `Retry-After` (RFC 9110 section 10.2.3), with bounds.

use std::time::Duration;
use std::time::UNIX_EPOCH;

use http::HeaderMap;
use http::header;

use crate::domain::clock::UnixTime;

/// No IdP may keep a key closed for longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// "At once" is what the caller just did.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long to wait; `None` if the header is absent or unreadable.
pub fn parse(headers: &HeaderMap, now: UnixTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // too many digits for a number are a long time
        true => text.parse().map_or(LONGEST, Duration::from_secs),
        false => {
            let moment = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
            UnixTime::from_seconds(i64::try_from(moment.as_secs()).ok()?).since(now)
        }
    };
    Some(wait.clamp(SHORTEST, LONGEST))
}
