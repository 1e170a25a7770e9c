//! Whether our clock and an identity provider's agree. Pure.

use std::time::Duration;
use std::time::UNIX_EPOCH;

use http::HeaderMap;
use http::header;

use crate::app::doctor::check::Verdict;
use crate::domain::clock::UnixTime;

/// Clocks that differ by more are worth a word: `Date` itself counts whole seconds.
const NOTABLE: u64 = 5;

/// What the `Date` of an answer that came at `now` says of our clock, where times may be wrong by `tolerance`; `None` if it has
/// none.
pub fn judged(headers: &HeaderMap, now: UnixTime, tolerance: Duration) -> Option<Verdict> {
    let date = httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()?;
    let theirs = i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    let ahead = now.as_seconds().saturating_sub(theirs);
    let apart = ahead.unsigned_abs();
    let seen = match ahead {
        0 => "as the identity provider's".to_owned(),
        1.. => format!("ahead of the identity provider's by {apart} s"),
        _ => format!("behind the identity provider's by {apart} s"),
    };
    let remedy = "set this machine's clock (NTP): tokens count as expired, or as not valid yet";
    Some(match apart {
        _ if apart > tolerance.as_secs() => Verdict::wrong(seen, remedy),
        _ if apart > NOTABLE => Verdict::doubtful(seen, remedy),
        _ => Verdict::well(seen),
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::app::doctor::check::Finding;

    #[test]
    fn clocks_may_differ_by_seconds_and_not_by_more_than_tokens_may() {
        let mut headers = HeaderMap::new();
        assert_eq!(judged(&headers, UnixTime::from_seconds(0), Duration::ZERO), None);
        headers.insert(header::DATE, HeaderValue::from_static("Thu, 01 Jan 1970 00:10:00 GMT"));
        for (now, finding) in [
            (600, Finding::Well),
            (605, Finding::Well),
            (606, Finding::Doubtful),
            (540, Finding::Doubtful),
            (539, Finding::Wrong),
            (661, Finding::Wrong),
        ] {
            let verdict = judged(&headers, UnixTime::from_seconds(now), Duration::from_secs(60)).unwrap();
            assert_eq!(verdict.finding, finding, "{now}");
        }
        headers.insert(header::DATE, HeaderValue::from_static("soon"));
        assert_eq!(judged(&headers, UnixTime::from_seconds(0), Duration::ZERO), None);
    }
}
