//! Floor 4: the life of one request. Read `Pipeline::handle` first.
//!
//! **In:** a request and whose socket it came from. **Out:** a response, always. **Never:** forwards token A in place
//! of token B; answers before the record of the request is written.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use http::HeaderMap;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::header;
use http::request::Parts;
use http_body::Body as _;

use crate::config;
use crate::config::Access;
use crate::config::IdentityProvider;
use crate::config::Policy;
use crate::config::Scheme;
use crate::config::UnvalidatedToken;
use crate::config::ValidatedToken;
use crate::domain::caller::Caller;
use crate::domain::clock::Clock;
use crate::domain::digest::Digest;
use crate::domain::name::Name;
use crate::domain::peer::Peer;
use crate::domain::websocket::WebSocket;
use crate::net::Body;
use crate::net::budget::Budget;
use crate::net::metadata::Metadata;
use crate::telemetry::journey::Journey;
use crate::telemetry::journey::Observer;
use crate::telemetry::journey::REQUEST_ID;
use crate::telemetry::metrics::Metrics;

pub mod accept;
mod assembly;
pub mod authenticate;
mod browsers;
pub mod exchange;
pub mod forward;
mod onward;
mod refused;
pub mod respond;
pub mod route;
pub mod survey;

pub use assembly::SetupError;
pub use assembly::Tokens;

use accept::Incoming;
use authenticate::Authenticator;
use exchange::Exchanged;
use exchange::Exchanger;
use exchange::Purged;
use forward::Forwarder;
use forward::capture::Keeper;
use forward::limit;
use forward::limit::Turnstiles;
use respond::Responder;
use respond::caught::caught;
use respond::grpc::Dialect;
use respond::refusal::Refusal;
use route::RouteTable;

/// The stages, ready to serve on one worker: connections to upstreams are its own, all else is shared with the others.
pub struct Pipeline {
    stages: Arc<Stages>,
    forwarder: Forwarder,
}

/// The stages that all workers share.
struct Stages {
    routes: RouteTable,
    authenticator: Authenticator,
    exchanger: Exchanger,
    keeper: Keeper,
    turnstiles: Turnstiles,
    responder: Responder,
    observer: Observer,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// There is no identity provider: every route is anonymous.
    is_anonymous: bool,
    providers: Vec<Arc<IdentityProvider>>,
    /// Of those providers that are found by discovery.
    metadata: HashMap<Name, Metadata>,
}

impl Pipeline {
    /// Begins to fetch the identity providers' keys, and goes on keeping them fresh; reads our certificates.
    pub fn start(&self) {
        self.stages.authenticator.start();
        self.stages.exchanger.start();
    }

    /// How many connections there may be to upstreams, over all workers and whatever takes the place of this one.
    pub fn budget(&self) -> &Budget {
        self.forwarder.budget()
    }

    /// Whether callers can be let in: one identity provider's keys were loaded once, or there is none to load from.
    pub fn is_ready(&self) -> bool {
        self.stages.is_anonymous || self.stages.authenticator.ready()
    }

    /// Whether there is anything left to wait for before the first request: the keys of every identity provider are there,
    /// or were tried to get.
    pub fn was_tried(&self) -> bool {
        self.stages.authenticator.was_tried()
    }

    /// How many tokens the cache holds.
    pub fn cached_tokens(&self) -> u64 {
        self.stages.exchanger.cached()
    }

    /// Drops what the cache holds of the user whom the log calls `word` (its field `user`: 16 hexadecimal digits), so that
    /// the next request is an exchange, and keeps nothing that was asked for before. Another process has other words for
    /// its users, and after a restart so has this one.
    pub fn purge(&self, word: &str) -> Purged {
        self.stages.exchanger.purge(self.stages.observer.user_hash().is_called(word))
    }

    /// Answers one request. Turns every refusal into an answer, logs and counts.
    pub async fn handle(
        &self,
        listener: &config::Listener,
        peer: &Peer,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        let client = accept::client::address(&head.headers, peer, &listener.trusted_proxies);
        let mut journey = self.stages.observer.begin(&head, client);
        let websocket = head.extensions.get::<WebSocket>().copied();
        // to a CONNECT, the 200 of gRPC's refusals would say yes
        let dialect = if websocket.is_some() { Dialect::Http } else { Dialect::of(&head.headers) };
        let scheme = listener.scheme();
        let resource_metadata = self.stages.responder.metadata_url(&head, scheme, peer.trust);
        let origin = self.origin(&head.headers);
        let outcome = {
            let answered = pin!(async {
                let answer = match self.admit(listener, peer, &mut head, &mut journey).await {
                    Ok(Admission::Onward(admitted)) => {
                        let request = Request::from_parts(head, body);
                        let challenges = resource_metadata.as_deref();
                        let sender = Origin { peer, scheme };
                        let mut answer =
                            self.forward(admitted, sender, request, challenges, &mut journey).await?;
                        browsers::share(&mut answer, &journey, origin.as_ref());
                        return Ok(answer);
                    }
                    Ok(Admission::Answered(response)) => Ok(response),
                    Err(refusal) => Err(refusal),
                };
                match (body.is_end_stream(), head.headers.contains_key(header::EXPECT)) {
                    (true, _) => answer,
                    (false, false) => {
                        tokio::spawn(respond::drain::drain(body));
                        answer
                    }
                    // who waits for our word before sending its body gets the answer instead, and may send it or not: what
                    // comes next could be the body or a request (RFC 9110 section 10.1.1)
                    (false, true) => answer.map_err(Refusal::closing),
                }
            });
            caught(answered).await.unwrap_or_else(|panicked| Err(Refusal::from(panicked)))
        };
        let (mut response, fault) = match outcome {
            Ok(response) => (response, None),
            Err(refusal) => {
                let mut response = self.refuse(&refusal, dialect, resource_metadata.as_deref(), &mut journey);
                browsers::share(&mut response, &journey, origin.as_ref());
                (response, Some(refusal.reason.row().fault))
            }
        };
        response.headers_mut().insert(REQUEST_ID, journey.request_id.clone());
        journey.end(response.status(), fault);
        response
    }

    /// The straight line, up to the request's body. Every `?` leaves through [`respond`].
    async fn admit(
        &self,
        listener: &config::Listener,
        peer: &Peer,
        head: &mut Parts,
        journey: &mut Journey<'_>,
    ) -> Result<Admission, Refusal> {
        accept::head::check(head, listener.underscore_headers)?;
        let websocket = head.extensions.get::<WebSocket>().copied();
        if websocket.is_none()
            && let Some(description) = self.description(listener, peer, head)
        {
            return Ok(Admission::Answered(description));
        }
        if let Some(answer) = self.preflight(listener, head, journey) {
            return Ok(Admission::Answered(answer));
        }
        let route::Routed { route, path } = self.stages.routes.find(&listener.name, head)?;
        journey.route = Some(route.clone());
        limit::check_length(&route, &head.headers)?;
        let certificate = peer.certificate.as_deref();
        if let Some(required) = &route.client_certificate {
            accept::certificate::check(required, certificate)?;
        }
        let certificate = certificate.map(|certificate| &certificate.digest);
        let sent = self.sent(&route.access, &head.headers, certificate, journey).await?;
        Ok(Admission::Onward(Admitted { route, path, sent, websocket }))
    }

    /// The description of a resource, if that is what is asked for and its routes are described.
    fn description(&self, listener: &config::Listener, peer: &Peer, head: &Parts) -> Option<Response<Body>> {
        let described = self.stages.responder.described(head, listener.scheme(), peer.trust)?;
        let routes = self.stages.routes.at(&listener.name, head, &described.path);
        self.stages.responder.description(described.resource, routes.iter().filter_map(|route| policy(route)))
    }

    /// Authenticates and exchanges as the route says: what goes upstream in place of the caller's `Authorization`.
    async fn sent(
        &self,
        access: &Access,
        headers: &HeaderMap,
        certificate: Option<&Digest>,
        journey: &mut Journey<'_>,
    ) -> Result<Sent, Refusal> {
        let (policy, token) = match access {
            Access::Anonymous(UnvalidatedToken::Remove) => return Ok(Sent::Nothing),
            Access::Anonymous(UnvalidatedToken::Passthrough) => {
                let field = authenticate::bearer::sole_field(headers).map_err(authenticate::Error::from)?;
                return Ok(field.cloned().map_or(Sent::Nothing, Sent::AsItCame));
            }
            Access::Validated { policy, token } => (policy, token),
        };
        let caller = self.authenticate(headers, policy, certificate, journey).await?;
        match token {
            ValidatedToken::Exchange(wanted) => {
                Ok(Sent::TokenB(self.exchange(&caller, wanted, journey).await?, wanted.clone()))
            }
            ValidatedToken::Passthrough => Ok(Sent::AsItCame(caller.token.authorization().clone())),
            ValidatedToken::Remove => Ok(Sent::Nothing),
        }
    }

    async fn authenticate(
        &self,
        headers: &HeaderMap,
        policy: &Policy,
        certificate: Option<&Digest>,
        journey: &mut Journey<'_>,
    ) -> Result<Caller, Refusal> {
        let begun = journey.begin();
        match self.stages.authenticator.caller(headers, policy, certificate).await {
            Ok(caller) => {
                journey.authenticated(begun, None);
                self.stages.metrics.authentication(Some(&caller.claims.identity_provider), "ok");
                journey.identity_provider = Some(caller.claims.identity_provider.clone());
                journey.user = Some(caller.claims.user_digest);
                journey.caller = Some(caller.clone());
                Ok(caller)
            }
            Err(error) => {
                journey.identity_provider.clone_from(&error.identity_provider);
                journey.user = error.user;
                let refusal = Refusal::from(error);
                journey.authenticated(begun, Some(refusal.reason.as_str()));
                self.stages
                    .metrics
                    .authentication(journey.identity_provider.as_ref(), refusal.reason.as_str());
                Err(refusal)
            }
        }
    }

    async fn exchange(
        &self,
        caller: &Caller,
        wanted: &Arc<config::Exchange>,
        journey: &mut Journey<'_>,
    ) -> Result<Exchanged, Refusal> {
        let begun = journey.begin();
        let point = journey.within(begun);
        let asker = journey.asker(point.as_deref());
        let outcome = self.stages.exchanger.token_for(caller, wanted, Some(asker)).await;
        let refused = outcome.as_ref().err().map(|error| error.kind.reason());
        journey.exchanged(begun, outcome.as_ref().ok().map(|exchanged| exchanged.cache), refused);
        let exchanged = outcome.inspect_err(|error| journey.exchange = error.waited)?;
        journey.exchange = exchanged.waited;
        journey.cache = Some(exchanged.cache);
        journey.correlation_id.clone_from(&exchanged.correlation_id);
        Ok(exchanged)
    }
}

/// What the route demands of tokens, if it asks for one.
fn policy(route: &config::Route) -> Option<&Policy> {
    match &route.access {
        Access::Validated { policy, .. } => Some(policy),
        Access::Anonymous(_) => None,
    }
}

/// What becomes of a request once its head was read.
enum Admission {
    /// It may go on.
    Onward(Admitted),
    /// It wanted nothing but this.
    Answered(Response<Body>),
}

/// Where a request came from.
#[derive(Clone, Copy)]
struct Origin<'a> {
    peer: &'a Peer,
    scheme: Scheme,
}

/// A request that may go on.
struct Admitted {
    route: Arc<config::Route>,
    path: String,
    sent: Sent,
    /// Whether it wants to go on as a WebSocket.
    websocket: Option<WebSocket>,
}

/// What goes upstream as `Authorization`.
enum Sent {
    /// The exchanged token, and what it is of.
    TokenB(Exchanged, Arc<config::Exchange>),
    /// What the caller sent.
    AsItCame(HeaderValue),
    /// Nothing.
    Nothing,
}

#[cfg(test)]
mod tests;
