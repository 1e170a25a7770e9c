//! What becomes of a request that is recorded, once it is over: the span of the server.

use std::time::Instant;

use crate::domain::name::Name;
use crate::telemetry::journey::Journey;
use crate::telemetry::labels::known_method;
use crate::telemetry::trace::Value;
use crate::telemetry::trace::recording::Call;
use crate::telemetry::trace::recording::Recording;

impl Journey<'_> {
    pub(super) fn record(&self, mut recording: Recording, status: u16, ended: Instant) {
        let method = known_method(self.method());
        if let (Some(asked), Some(route)) = (recording.unanswered(), &self.route) {
            let took = ended.saturating_duration_since(asked);
            let server = route.upstream.address();
            let error = Some("client_closed_request");
            recording.asked(&Call { name: method, method, server, asked, took, status: None, error });
        }
        let mut attributes: Vec<(&'static str, Value)> = vec![
            ("http.request.method", method.into()),
            ("http.response.status_code", status.into()),
            ("obo.request_id", self.request_id.to_str().unwrap_or_default().into()),
        ];
        let (route, path) = (self.route.as_ref(), self.path());
        let optional = [
            ("url.path", path.as_deref()),
            ("http.route", route.map(|route| route.matches.path.as_str())),
            ("obo.route", route.map(|route| route.name.as_str())),
            ("obo.identity_provider", self.identity_provider.as_ref().map(Name::as_str)),
            ("error.type", self.reason),
        ];
        attributes.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?.into()))));
        // a name of few: what a caller wrote is in the attributes alone
        let name = match route {
            Some(route) => format!("{method} {}", route.matches.path),
            None => method.to_owned(),
        };
        recording.end(name, (self.started, ended), attributes, status >= 500);
    }
}
