//! How long a token B lives, from whatever numbers the IdP gave.
//!
//! **In:** an answer's numbers and when it was asked for. **Out:** when it ends and when to renew it, or that it may not
//! be kept. **Never:** a life longer than stated.

use std::time::Duration;

use serde_json::Value;

use crate::domain::clock::UnixTime;

/// 2100-01-01. A larger moment is milliseconds, or nonsense.
const LAST_MOMENT: u64 = 4_102_444_800;

/// No IdP issues access tokens for longer than a leap year.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// `expires_on` and `expires_in` describe one instant; they may differ by the time the answer took.
const TOLERANCE: Duration = Duration::from_secs(60);

/// The numbers of an answer that say how long its token lives; `None` where absent or unusable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// How long from now on.
    pub expires_in: Option<Duration>,
    /// Until when.
    pub expires_on: Option<UnixTime>,
    /// When the IdP would like to be asked again.
    pub refresh_in: Option<Duration>,
}

/// The life of a token B that may be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// From here on it is not served.
    pub expires_on: UnixTime,
    /// From here on a new one is looked for.
    pub renew_at: UnixTime,
    /// How long before the end that is at the latest.
    pub margin: Duration,
}

/// The life of a token that was asked for at `asked_at`; `None` = it is used once and not kept, as the IdP said
/// nothing, or something absurd.
pub fn lifetime(stated: Stated, asked_at: UnixTime, margin: Duration) -> Option<Lifetime> {
    let by_duration = stated.expires_in.map(|expires_in| asked_at.after(expires_in));
    let expires_on = match (stated.expires_on, by_duration) {
        (Some(moment), Some(by_duration)) => moment.min(by_duration.after(TOLERANCE)),
        (moment, by_duration) => moment.or(by_duration)?,
    };
    if expires_on <= asked_at || expires_on > asked_at.after(LONGEST) {
        return None;
    }
    let margin = margin.min(expires_on.since(asked_at) / 4);
    let wished = stated.refresh_in.map(|refresh_in| asked_at.after(refresh_in));
    let latest = expires_on.before(margin);
    let renew_at = wished.map_or(latest, |wished| wished.min(latest));
    Some(Lifetime { expires_on, renew_at, margin })
}

/// A duration in seconds: a whole number above zero, or its decimal digits as text.
pub fn duration(value: &Value) -> Option<Duration> {
    seconds(value).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

/// A moment in seconds since 1970, up to the year 2100.
pub fn moment(value: &Value) -> Option<UnixTime> {
    let seconds = seconds(value).filter(|seconds| *seconds <= LAST_MOMENT)?;
    i64::try_from(seconds).ok().map(UnixTime::from_seconds)
}

fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok()
        }
        _ => None,
    }
}

/// `3599.0` as some IdPs write it. A fraction is cut off: earlier is safe.
fn whole(number: f64) -> Option<u64> {
    (0.0..9e15).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests;
