//! The other end of the line: a request that goes no further.
//!
//! **In:** why it does not, and what is known of it. **Out:** the log's line, the metric, the answer. **Never:** more of the
//! request in the answer than [`Context`] says.

use http::Response;

use crate::domain::name::Name;
use crate::net::Body;
use crate::pipeline::Pipeline;
use crate::pipeline::accept;
use crate::pipeline::policy;
use crate::pipeline::respond;
use crate::pipeline::respond::Context;
use crate::pipeline::respond::grpc::Dialect;
use crate::pipeline::respond::reason::Reason;
use crate::pipeline::respond::refusal::Refusal;
use crate::telemetry::events::IdpError;
use crate::telemetry::journey::Journey;
use crate::telemetry::logs;

impl Pipeline {
    /// A head was answered that never became a request: told in the log, counted.
    pub fn unread(&self, why: accept::unread::Error) {
        let refusal = Refusal::from(why);
        let row = refusal.reason.row();
        let mut journey = self.stages.observer.begin_unread();
        journey.reason = Some(row.word);
        self.stages.metrics.refusal(None, row.word);
        respond::log::log(&refusal, &journey);
        journey.end(row.status, Some(row.fault));
    }

    /// The answer to a request that goes no further: told in the log, counted, made.
    pub(super) fn refuse(
        &self,
        refusal: &Refusal,
        dialect: Dialect,
        resource_metadata: Option<&str>,
        journey: &mut Journey<'_>,
    ) -> Response<Body> {
        let row = refusal.reason.row();
        journey.reason = Some(row.word);
        journey.correlation_id.clone_from(&refusal.correlation_id);
        let route = journey.route.as_deref();
        self.stages.metrics.refusal(route.map(|route| &route.name), row.word);
        respond::log::log(refusal, journey);
        let idp = || {
            let idp = refusal.idp.as_deref()?;
            Some(IdpError::new(&idp.error, idp.suberror.as_deref(), &idp.error_codes))
        };
        journey.refused(row.status, row.fault, idp, || logs::report(&*refusal.source));
        let context = self.context(journey, dialect, resource_metadata);
        if refusal.reason == Reason::ConsentRequired {
            tracing::info!(
                request_id = context.request_id,
                identity_provider = context.identity_provider.map(Name::as_str),
                admin_consent = self.stages.responder.admin_consent(context),
                "consent is missing"
            );
        }
        self.stages.responder.answer(refusal, context)
    }

    /// What an answer may say of the request.
    pub(super) fn context<'a>(
        &self,
        journey: &'a Journey<'_>,
        dialect: Dialect,
        resource_metadata: Option<&'a str>,
    ) -> Context<'a> {
        let policy = journey.route.as_deref().and_then(policy);
        let first = policy.and_then(|policy| policy.identity_providers.first());
        let is_described = policy.is_some_and(|policy| self.stages.responder.is_described(policy));
        Context {
            request_id: journey.request_id.to_str().unwrap_or_default(),
            identity_provider: journey.identity_provider.as_ref().or(first),
            tenant: journey.caller.as_ref().and_then(|caller| caller.claims.tenant.as_ref()),
            scopes: policy.map_or(&[], |policy| policy.scopes.words()),
            resource_metadata: resource_metadata.filter(|_| is_described),
            dialect,
        }
    }
}
