//! `headers`, `cors`, `limits` and `retry` of a route, with what `defaults` says of them.

use crate::config::Access;
use crate::config::Cors;
use crate::config::RouteLimits;
use crate::config::Treatment;
use crate::config::check::At;
use crate::config::check::cors;
use crate::config::check::fields;
use crate::config::check::retry;
use crate::config::wire;
use crate::config::wire::route::Settings;

/// More requests at a time than any machine has room for.
const MOST_CONCURRENT: u64 = 1_000_000;

/// What is written on one level, that of a route or that of the defaults.
#[derive(Clone, Default)]
pub struct Said {
    fields: fields::Said,
    cors: Option<Cors>,
    limits: RouteLimits,
    retry: Option<retry::Said>,
    /// Whether something else is written than can be used.
    is_wrong: bool,
}

/// What `settings` say, written at `at`: as much of it as can be used.
fn said(settings: &Settings<'_>, at: &At<'_>) -> Said {
    let fields = settings.headers.map(|wire| fields::said(wire, &at.key("headers"))).unwrap_or_default();
    let cors = settings.cors.map(|wire| cors::check(wire, &at.key("cors")));
    let limits = limits(settings.limits, &at.key("limits"));
    let retry = settings.retry.map(|wire| retry::said(wire, &at.key("retry")));
    let is_wrong = fields.is_wrong || cors == Some(None) || limits.is_none() || matches!(retry, Some(None));
    let (cors, limits, retry) = (cors.flatten(), limits.unwrap_or_default(), retry.flatten());
    Said { fields, cors, limits, retry, is_wrong }
}

/// What the defaults say, which are written at `at`.
pub fn base(settings: &Settings<'_>, at: &At<'_>) -> Said {
    let said = said(settings, at);
    if let Some(own) = &said.retry {
        retry::warn_of_repetition(&own.clone().over(&retry::Said::default()), &at.key("retry"));
    }
    said
}

/// What becomes of the requests of a route that is written at `at` and lets in whom `access` says.
pub fn check(
    settings: &Settings<'_>,
    base: &Said,
    access: Option<&Access>,
    at: &At<'_>,
) -> Option<Treatment> {
    let own = said(settings, at);
    if matches!(access, Some(Access::Anonymous(_))) {
        own.fields.complain_of_claims(settings.headers, &at.key("headers"));
    }
    let writes_retry = own.retry.is_some();
    let retry = match (own.retry, &base.retry) {
        (None, None) => None,
        (own, base) => Some(own.unwrap_or_default().over(&base.clone().unwrap_or_default())),
    };
    if let (true, Some(retry)) = (writes_retry, &retry) {
        retry::warn_of_repetition(retry, &at.key("retry"));
    }
    if own.is_wrong {
        return None;
    }
    Some(Treatment {
        headers: own.fields.over(&base.fields).map(std::sync::Arc::new),
        cors: own.cors.or_else(|| base.cors.clone()),
        limits: RouteLimits {
            request_body: own.limits.request_body.or(base.limits.request_body),
            concurrency: own.limits.concurrency.or(base.limits.concurrency),
        },
        retry,
    })
}

fn limits(wire: Option<&wire::treatment::RouteLimits>, at: &At<'_>) -> Option<RouteLimits> {
    let Some(wire) = wire else { return Some(RouteLimits::default()) };
    let concurrency = match wire.concurrency {
        None => None,
        Some(most) if (1..=MOST_CONCURRENT).contains(&most) => usize::try_from(most).ok(),
        Some(_) => {
            at.key("concurrency")
                .error(format!("this must be a number of requests, from 1 to {MOST_CONCURRENT}"));
            return None;
        }
    };
    Some(RouteLimits { request_body: wire.request_body.map(|size| size.0), concurrency })
}
