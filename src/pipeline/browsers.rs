//! What browsers ask on behalf of scripts, and what their answers say of that.
//!
//! **In:** a request head; an answer. **Out:** the answer to a preflight; whose scripts may read another. **Never:** looks at a
//! token, or keeps a request from going on.

use http::HeaderMap;
use http::HeaderValue;
use http::Response;
use http::request::Parts;

use crate::config;
use crate::net::Body;
use crate::pipeline::Pipeline;
use crate::pipeline::respond::cors;
use crate::pipeline::route::Sharing;
use crate::pipeline::route::preflight;
use crate::pipeline::route::preflight::Announced;
use crate::telemetry::journey::Journey;

impl Pipeline {
    /// Whose script sent the request, as far as any route wants to know.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        match self.stages.routes.sharing() {
            Sharing::Unheard => None,
            Sharing::Settled => preflight::origin(headers).cloned(),
        }
    }

    /// The answer to a browser that asks whether it may send a request, if the route of that request says so.
    pub(super) fn preflight(
        &self,
        listener: &config::Listener,
        head: &Parts,
        journey: &mut Journey<'_>,
    ) -> Option<Response<Body>> {
        if self.stages.routes.sharing() == Sharing::Unheard {
            return None;
        }
        let announced = Announced::by(head)?;
        let route = self.stages.routes.find_announced(&listener.name, head, &announced).ok()?.route;
        let Announced { origin, method, fields } = &announced;
        let methods = &route.matches.methods;
        let asked = cors::Preflight { origin, method, methods, fields: fields.as_deref() };
        let answer = cors::answer(route.treatment.cors.as_ref()?, asked);
        journey.route = Some(route);
        Some(answer)
    }
}

/// Says whose scripts may read `answer`, if its route does.
pub fn share(answer: &mut Response<Body>, journey: &Journey<'_>, origin: Option<&HeaderValue>) {
    if let Some(cors) = journey.route.as_deref().and_then(|route| route.treatment.cors.as_ref()) {
        cors::share(answer.headers_mut(), cors, origin);
    }
}
