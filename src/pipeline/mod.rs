//! Floor 4: the life of one request. Read `Pipeline::try_handle` first.
//!
//! **In:** a request and whose socket it came from. **Out:** a response, always. **Never:** forwards token A in place
//! of token B; answers before the record of the request is written.

use std::sync::Arc;

use http::HeaderMap;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::request::Parts;
use hyper::body::Incoming;

use crate::config;
use crate::config::Access;
use crate::config::Config;
use crate::config::Policy;
use crate::config::Scheme;
use crate::config::UnvalidatedToken;
use crate::config::ValidatedToken;
use crate::domain::caller::Caller;
use crate::domain::clock::Clock;
use crate::domain::peer::Peer;
use crate::domain::token::DownstreamToken;
use crate::net::Body;
use crate::net::client::Client;
use crate::telemetry::access_log::Fault;
use crate::telemetry::journey::Journey;
use crate::telemetry::journey::Observer;
use crate::telemetry::journey::REQUEST_ID;
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;

pub mod accept;
pub mod authenticate;
pub mod exchange;
pub mod forward;
pub mod respond;
pub mod route;

use authenticate::Authenticator;
use exchange::Exchanger;
use forward::Authorization;
use forward::Forwarder;
use forward::Onward;
use respond::Context;
use respond::Responder;
use respond::grpc::Dialect;
use respond::refusal::Refusal;
use route::RouteTable;

/// The stages, ready to serve.
pub struct Pipeline {
    routes: RouteTable,
    authenticator: Arc<Authenticator>,
    exchanger: Arc<Exchanger>,
    forwarder: Forwarder,
    responder: Responder,
    observer: Observer,
    metrics: Arc<Metrics>,
    clock: Clock,
}

/// Why the stages cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS towards an upstream.
    #[error("TLS towards an upstream cannot be set up")]
    Tls(#[from] crate::net::tls::Error),
    /// No random numbers.
    #[error("the system gives no random numbers")]
    Random(#[from] aws_lc_rs::error::Unspecified),
}

impl Pipeline {
    /// The stages for `config`. `client` talks to the identity providers. Nothing is contacted yet.
    ///
    /// # Errors
    /// If TLS cannot be set up or the system gives no random numbers.
    pub fn new(
        config: &Config,
        client: &Client,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, SetupError> {
        let providers = &config.identity_providers;
        Ok(Self {
            routes: RouteTable::new(&config.routes),
            authenticator: Arc::new(Authenticator::new(
                providers,
                &config.cache,
                client.clone(),
                clock.clone(),
                metrics.clone(),
            )),
            exchanger: Arc::new(Exchanger::new(
                providers,
                &config.cache,
                client.clone(),
                clock.clone(),
                metrics.clone(),
            )),
            forwarder: Forwarder::new(&config.routes, clock.clone(), metrics.clone())?,
            responder: Responder::new(providers),
            observer: Observer::new(metrics.clone(), clock.clone())?,
            metrics: metrics.clone(),
            clock: clock.clone(),
        })
    }

    /// The stage that holds the identity providers' keys: to be started, and asked whether it is ready.
    pub fn authenticator(&self) -> &Arc<Authenticator> {
        &self.authenticator
    }

    /// How many tokens the cache holds.
    pub fn cached_tokens(&self) -> u64 {
        self.exchanger.cached()
    }

    /// Answers one request. Turns every refusal into an answer, logs and counts.
    pub async fn handle(
        &self,
        listener: &config::Listener,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let (head, body) = request.into_parts();
        let mut journey = self.observer.begin(&head);
        let dialect = Dialect::of(&head.headers);
        let outcome = self.try_handle(listener, peer, head, body, &mut journey).await;
        let (mut response, fault) = match outcome {
            Ok(response) => (response, None),
            Err(refusal) => (self.refuse(&refusal, dialect, &mut journey), Some(refusal.reason.row().fault)),
        };
        response.headers_mut().insert(REQUEST_ID, journey.request_id.clone());
        journey.end(response.status(), fault);
        response
    }

    /// The straight line. Every `?` leaves through [`respond`].
    async fn try_handle(
        &self,
        listener: &config::Listener,
        peer: Peer,
        mut head: Parts,
        body: Incoming,
        journey: &mut Journey<'_>,
    ) -> Result<Response<Body>, Refusal> {
        accept::head::check(&mut head, listener.underscore_headers)?;
        let route::Routed { route, path } = self.routes.find(&listener.name, &head)?;
        journey.route = Some(route.clone());
        let sent = self.sent(&route.access, &head.headers, journey).await?;
        let authorization = match &sent {
            Sent::TokenB(token) => Authorization::Replace(token.authorization()),
            Sent::AsItCame(value) => Authorization::Keep(value),
            Sent::Nothing => Authorization::Remove,
        };
        let request_id = &journey.request_id;
        let onward =
            Onward { route: &route, path: &path, authorization, peer, scheme: Scheme::Http, request_id };
        let started = self.clock.monotonic();
        let response = self.forwarder.send(Request::from_parts(head, body), onward).await;
        journey.upstream = Some(self.clock.monotonic() - started);
        Ok(response?)
    }

    /// Authenticates and exchanges as the route says: what goes upstream in place of the caller's `Authorization`.
    async fn sent(
        &self,
        access: &Access,
        headers: &HeaderMap,
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
        let caller = self.authenticate(headers, policy, journey).await?;
        match token {
            ValidatedToken::Exchange(wanted) => {
                Ok(Sent::TokenB(self.exchange(&caller, wanted, journey).await?))
            }
            ValidatedToken::Passthrough => Ok(Sent::AsItCame(caller.token.authorization().clone())),
            ValidatedToken::Remove => Ok(Sent::Nothing),
        }
    }

    async fn authenticate(
        &self,
        headers: &HeaderMap,
        policy: &Policy,
        journey: &mut Journey<'_>,
    ) -> Result<Caller, Refusal> {
        match self.authenticator.caller(headers, policy).await {
            Ok(caller) => {
                self.metrics.authentication(Some(&caller.claims.identity_provider), "ok");
                journey.identity_provider = Some(caller.claims.identity_provider.clone());
                journey.caller = Some(caller.clone());
                Ok(caller)
            }
            Err(error) => {
                journey.identity_provider.clone_from(&error.identity_provider);
                let refusal = Refusal::from(error);
                self.metrics.authentication(journey.identity_provider.as_ref(), refusal.reason.as_str());
                Err(refusal)
            }
        }
    }

    async fn exchange(
        &self,
        caller: &Caller,
        wanted: &Arc<config::Exchange>,
        journey: &mut Journey<'_>,
    ) -> Result<DownstreamToken, Refusal> {
        let started = self.clock.monotonic();
        let outcome = self.exchanger.token(caller, wanted).await;
        journey.exchange = Some(self.clock.monotonic() - started);
        let exchanged = outcome?;
        journey.cache = Some(exchanged.cache);
        journey.correlation_id = exchanged.correlation_id.as_deref().map(String::from);
        Ok(exchanged.token)
    }

    fn refuse(&self, refusal: &Refusal, dialect: Dialect, journey: &mut Journey<'_>) -> Response<Body> {
        let row = refusal.reason.row();
        journey.reason = Some(row.word);
        journey.correlation_id = refusal.idp.as_ref().and_then(|idp| idp.correlation_id.clone());
        let route = journey.route.as_deref();
        self.metrics.refusal(route.map(|route| &route.name), row.word);
        let cause = logs::report(&*refusal.source);
        let request_id = journey.request_id.to_str().unwrap_or_default();
        match row.fault {
            Fault::Client => tracing::debug!(request_id, reason = row.word, cause, "refused"),
            Fault::Idp | Fault::Upstream => tracing::warn!(request_id, reason = row.word, cause, "refused"),
            Fault::Proxy => tracing::error!(request_id, reason = row.word, cause, "refused"),
        }
        let policy = route.and_then(|route| match &route.access {
            Access::Validated { policy, .. } => Some(policy),
            Access::Anonymous(_) => None,
        });
        let first = policy.and_then(|policy| policy.identity_providers.first());
        let context = Context {
            request_id,
            identity_provider: journey.identity_provider.as_ref().or(first),
            tenant: journey.caller.as_ref().and_then(|caller| caller.claims.tenant.as_ref()),
            scopes: policy.map_or(&[], |policy| policy.scopes.words()),
            dialect,
        };
        self.responder.answer(refusal, context)
    }
}

/// What goes upstream as `Authorization`.
enum Sent {
    /// The exchanged token.
    TokenB(DownstreamToken),
    /// What the caller sent.
    AsItCame(HeaderValue),
    /// Nothing.
    Nothing,
}
