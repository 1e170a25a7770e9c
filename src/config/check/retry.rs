//! `retry` of a route.

use std::time::Duration;

use http::Method;
use http::StatusCode;

use crate::config::Retry;
use crate::config::Setback;
use crate::config::check::At;
use crate::config::check::items;
use crate::config::check::matches;
use crate::config::check::positive;
use crate::config::wire;
use crate::config::wire::scalar::OneOrMany;

const ATTEMPTS: u32 = 1;
const MOST_ATTEMPTS: u64 = 10;
const BACKOFF: Duration = Duration::from_millis(100);

/// What is written on one level.
#[derive(Clone, Default)]
pub struct Said {
    attempts: Option<u32>,
    on: Option<Vec<Setback>>,
    methods: Option<Vec<Method>>,
    backoff: Option<Duration>,
}

/// What is written at `at`.
pub fn said(wire: &wire::treatment::Retry, at: &At<'_>) -> Option<Said> {
    let on = each(wire.on.as_ref().map(|on| &on.0), &at.key("on"), setback);
    let methods = each(wire.methods.as_ref(), &at.key("methods"), matches::method);
    let attempts = match wire.attempts {
        None => Some(None),
        Some(attempts) => {
            let valid = (1..=MOST_ATTEMPTS).contains(&attempts).then_some(attempts);
            if valid.is_none() {
                let help = "it counts the attempts beyond the first; for none leave `retry` out";
                at.key("attempts").error_with(format!("this must be from 1 to {MOST_ATTEMPTS}"), help);
            }
            valid.map(|attempts| u32::try_from(attempts).ok())
        }
    };
    let backoff = wire.backoff.map(|text| positive(Some(text), BACKOFF, &at.key("backoff")));
    Some(Said { attempts: attempts?, on: on?, methods: methods?, backoff })
}

impl Said {
    /// The whole of a level above `base`.
    pub fn over(self, base: &Self) -> Retry {
        let idempotent = || vec![Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE];
        Retry {
            attempts: self.attempts.or(base.attempts).unwrap_or(ATTEMPTS),
            on: self.on.or_else(|| base.on.clone()).unwrap_or_else(|| vec![Setback::ConnectError]),
            methods: self.methods.or_else(|| base.methods.clone()).unwrap_or_else(idempotent),
            backoff: self.backoff.or(base.backoff).unwrap_or(BACKOFF),
        }
    }
}

/// Warns if `retry`, written at `at`, has an upstream act twice on what it may act on once.
pub fn warn_of_repetition(retry: &Retry, at: &At<'_>) {
    let may_have_acted = retry.on.iter().any(|setback| *setback != Setback::ConnectError);
    let risky = retry.methods.iter().find(|method| !method.is_idempotent());
    if let (true, Some(method)) = (may_have_acted, risky) {
        let help = "leave the method out, or retry it on connect_error alone, after which nothing was sent";
        at.warning(
            format!("an upstream that has acted on a {method} request already is sent it again"),
            help,
        );
    }
}

/// The items of a list, if there is one; `None` if one of them is wrong.
fn each<T>(
    list: Option<&OneOrMany>,
    at: &At<'_>,
    check: fn(&str, &At<'_>) -> Option<T>,
) -> Option<Option<Vec<T>>> {
    let Some(items) = items(list, at) else { return Some(None) };
    let checked: Vec<Option<T>> = items.into_iter().map(|(text, at)| check(text, &at)).collect();
    checked.into_iter().collect::<Option<Vec<T>>>().map(Some)
}

fn setback(text: &str, at: &At<'_>) -> Option<Setback> {
    let status = || {
        let is_plain = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        StatusCode::from_bytes(text.as_bytes()).ok().filter(|status| is_plain && status.is_server_error())
    };
    let found = match text {
        "connect_error" => Some(Setback::ConnectError),
        "reset" => Some(Setback::Reset),
        _ => status().map(Setback::Status),
    };
    if found.is_none() {
        let help = "write connect_error, reset, or a status from 500 to 599";
        at.error_with(format!("`{}` is nothing to retry after", at.shown(text)), help);
    }
    found
}
