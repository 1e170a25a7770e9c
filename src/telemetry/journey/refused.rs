//! What is kept of a request that is refused: for its line in the log, and for whoever looks.

use http::StatusCode;

use crate::telemetry::access_log;
use crate::telemetry::access_log::Fault;
use crate::telemetry::events::Event;
use crate::telemetry::events::IdpError;
use crate::telemetry::events::Weight;
use crate::telemetry::journey::Journey;
use crate::telemetry::journey::Observer;

/// What a reason does not say of a refusal.
pub(super) struct Details {
    /// What happened, if the caller is not to blame.
    pub cause: Option<String>,
    /// The identity provider's numbers.
    pub error_codes: Vec<u64>,
}

impl Journey<'_> {
    /// It is refused with `status`, by whose fault, upon what the identity provider said and for which cause: kept for whoever
    /// looks, and for its line in the log.
    pub fn refused(
        &mut self,
        status: StatusCode,
        fault: Fault,
        idp: impl FnOnce() -> Option<IdpError>,
        cause: impl FnOnce() -> String,
    ) {
        let (is_watched, is_logged) = (self.observer.events.is_watched(), access_log::is_on(Some(fault)));
        if !is_watched && !is_logged {
            return;
        }
        let idp = idp();
        if is_logged {
            // what callers are to blame for, the reason says
            let cause = (fault != Fault::Client).then(cause);
            let error_codes = idp.as_ref().map(|idp| idp.codes.clone()).unwrap_or_default();
            let is_told = cause.is_some() || !error_codes.is_empty();
            self.details = is_told.then(|| Box::new(Details { cause, error_codes }));
        }
        if is_watched {
            self.tell(status, fault, idp);
        }
    }

    fn tell(&self, status: StatusCode, fault: Fault, idp: Option<IdpError>) {
        let Observer { events, user_hash, clock, .. } = self.observer;
        let Some(reason) = self.reason else { return };
        let is_anonymous = fault == Fault::Client && self.user.is_none();
        events.keep(Event {
            at: clock.since_epoch(),
            route: self.route.as_ref().map(|route| route.name.clone()),
            reason,
            status: status.as_u16(),
            identity_provider: self.identity_provider.clone(),
            idp,
            correlation_id: self.correlation_id.clone(),
            request_id: self.request_id.to_str().unwrap_or_default().to_owned(),
            user: self.user.map(|user| user_hash.word(user)),
            weight: if is_anonymous { Weight::Anonymous } else { Weight::Telling },
        });
    }
}
