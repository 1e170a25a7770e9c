//! The operator's side of a refusal.

use crate::domain::name::Name;
use crate::pipeline::respond::refusal::Refusal;
use crate::telemetry::access_log::Fault;
use crate::telemetry::journey::Journey;
use crate::telemetry::logs;

/// Says to the operator what the caller is not told.
pub fn log(refusal: &Refusal, journey: &Journey<'_>) {
    let row = refusal.reason.row();
    let idp = refusal.idp.as_deref();
    let route = journey.route.as_deref();
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                request_id = journey.request_id.to_str().unwrap_or_default(),
                reason = row.word,
                cause = logs::report(&*refusal.source),
                route = route.map(|route| route.name.as_str()),
                upstream = route.map(|route| route.upstream.address()),
                identity_provider = journey.identity_provider.as_ref().map(Name::as_str),
                error = idp.map(|idp| idp.error.as_str()),
                suberror = idp.and_then(|idp| idp.suberror.as_deref()),
                error_codes = idp.and_then(|idp| logs::numbers(&idp.error_codes)),
                trace_id = idp.and_then(|idp| idp.trace_id.as_deref()),
                correlation_id = refusal.correlation_id.as_deref(),
                "refused"
            )
        };
    }
    match row.fault {
        Fault::Client => line!(debug),
        Fault::Idp | Fault::Upstream => line!(warn),
        Fault::Proxy => line!(error),
    }
}
