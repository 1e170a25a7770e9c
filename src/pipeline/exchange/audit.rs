//! What the audit log is told of an exchange. The one place that tells it.

use std::time::Duration;

use crate::config::AuthorizationServer;
use crate::config::Exchange;
use crate::config::GrantType;
use crate::domain::caller::Claims;
use crate::domain::tenant::TenantId;
use crate::pipeline::exchange::endpoint::Answer;
use crate::pipeline::exchange::errand::Journey;
use crate::pipeline::exchange::errand::Load;
use crate::pipeline::exchange::errand::Replacing;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::lifetime::lifetime;
use crate::telemetry::access_log::UserHash;
use crate::telemetry::audit;
use crate::telemetry::audit::Line;
use crate::telemetry::trace::recording::Point;

/// Tells that a journey to the token endpoint has ended so, after it `took` so long. What was not asked is not told:
/// the access log has the requests that were refused for it.
pub fn told(journey: &Journey, result: &Result<Answer, Error>, took: Duration) {
    let was_asked = result.as_ref().err().is_none_or(|error| error.correlation_id.is_some());
    if !was_asked || !audit::is_on() {
        return;
    }
    let (exchange, claims) = match &journey.load {
        Load::User(caller, exchange) => (Some(&**exchange), Some(&*caller.claims)),
        Load::Ourselves(claims, exchange) => (Some(&**exchange), Some(&**claims)),
        Load::Actor => (None, None),
    };
    let lead = journey.lead.as_ref();
    let hash = lead.map(|lead| &lead.user_hash);
    let user = claims.zip(hash).map(|(claims, hash)| hash.of(claims));
    let client = claims.zip(hash).and_then(|(claims, hash)| client(claims, hash));
    let point = lead.and_then(|lead| lead.point.as_ref());
    let trace_id = point.map(Point::trace_id);
    let idp = result.as_ref().err().and_then(|error| error.answer.as_deref());
    let ours = match result {
        Ok(answer) => Some(&answer.correlation_id),
        Err(error) => error.correlation_id.as_ref(),
    };
    let words = |of: fn(&Exchange) -> &Vec<String>| exchange.map_or(&[][..], |exchange| of(exchange));
    let line = Line {
        request_id: lead.and_then(|lead| lead.request_id.to_str().ok()),
        trace_id: trace_id.as_deref(),
        trigger: trigger(journey),
        identity_provider: journey.known.provider.name.as_str(),
        tenant: claims.and_then(|claims| claims.tenant.as_ref()).map(TenantId::as_str),
        user: user.as_deref(),
        client: client.as_deref(),
        grant: grant(journey),
        scopes: words(|exchange| &exchange.scopes),
        resources: words(|exchange| &exchange.resources),
        audiences: words(|exchange| &exchange.audiences),
        outcome: result.as_ref().err().map_or("ok", |error| error.kind.reason()),
        error: idp.map(|idp| idp.error.as_str()).filter(|error| !error.is_empty()),
        suberror: idp.and_then(|idp| idp.suberror.as_deref()),
        error_codes: idp.map_or(&[], |idp| &idp.error_codes),
        // the identity provider's word comes first, as in the answer
        correlation_id: idp.and_then(|idp| idp.correlation_id.as_deref()).or_else(|| ours.map(|id| &**id)),
        lifetime: result.as_ref().ok().and_then(|answer| {
            let asked_at = answer.asked_at.wall;
            let lifetime = lifetime(answer.success.stated, asked_at, Duration::ZERO)?;
            Some(lifetime.expires_on.since(asked_at))
        }),
        took,
    };
    line.write();
}

/// The application that called: Entra's are called by ids, which say nothing of anyone. What another issuer calls its own
/// may be any text, and stays out of the log: its hash is enough to tell one from another.
fn client(claims: &Claims, hash: &UserHash) -> Option<String> {
    let client = claims.client.as_deref()?;
    Some(match TenantId::parse(client) {
        Some(guid) => guid.as_str().to_owned(),
        None => hash.word_of("client", client),
    })
}

fn trigger(journey: &Journey) -> &'static str {
    match (&journey.replacing, &journey.claims) {
        (_, Some(_)) => "challenge",
        (Replacing::Nothing, None) => "request",
        (Replacing::Refused(_), None) => "rejected_token",
        (Replacing::Due, None) => "renewal",
    }
}

fn grant(journey: &Journey) -> &'static str {
    let provider = &journey.known.provider;
    match (&journey.load, &provider.server, provider.grant) {
        (Load::Ourselves(..) | Load::Actor, _, _) => "client_credentials",
        (Load::User(..), AuthorizationServer::Entra(_), _) => "on_behalf_of",
        (Load::User(..), AuthorizationServer::Oidc(_), GrantType::TokenExchange) => "token_exchange",
        (Load::User(..), AuthorizationServer::Oidc(_), GrantType::JwtBearer) => "jwt_bearer",
    }
}
