//! What was refused lately.

use serde::Serialize;

use crate::app::admin::view::Moment;
use crate::app::admin::view::Sources;
use crate::telemetry::events;

/// The last challenges and failures.
#[derive(Debug, Serialize)]
pub struct Events {
    /// Newest first.
    pub events: Vec<Event>,
}

/// One refusal.
#[derive(Debug, Serialize)]
pub struct Event {
    /// When.
    pub at: Moment,
    /// The route, if one took the request.
    pub route: Option<String>,
    /// Why.
    pub reason: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// Whose token came in.
    pub identity_provider: Option<String>,
    /// What the identity provider said.
    pub error: Option<String>,
    /// The same, more exactly.
    pub suberror: Option<String>,
    /// The same, in numbers.
    pub error_codes: Vec<u64>,
    /// The id in the identity provider's logs.
    pub correlation_id: Option<String>,
    /// The id that caller, log and upstream share.
    pub request_id: String,
    /// The user, as the log calls it.
    pub user: Option<String>,
}

impl Events {
    /// As they are.
    pub(super) fn of(sources: &Sources<'_>) -> Self {
        Self { events: sources.desk.events().into_iter().map(Event::of).collect() }
    }
}

impl Event {
    fn of(event: events::Event) -> Self {
        let idp = event.idp.unwrap_or_default();
        Self {
            at: Moment::new(event.at),
            route: event.route.map(|route| route.to_string()),
            reason: event.reason,
            status: event.status,
            identity_provider: event.identity_provider.map(|provider| provider.to_string()),
            error: (!idp.error.is_empty()).then_some(idp.error),
            suberror: idp.suberror,
            error_codes: idp.codes,
            correlation_id: event.correlation_id.map(|id| id.to_string()),
            request_id: event.request_id,
            user: event.user,
        }
    }
}
