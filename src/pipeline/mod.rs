//! Floor 4: the life of one request. Read `Pipeline::handle` first.
//!
//! **In:** a request and whose socket it came from. **Out:** a response, always. **Never:** forwards token A in place
//! of token B; answers before the record of the request is written.

use std::pin::pin;
use std::sync::Arc;

use http::HeaderMap;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http::request::Parts;
use http_body::Body as _;

use crate::config;
use crate::config::Access;
use crate::config::Config;
use crate::config::Policy;
use crate::config::Scheme;
use crate::config::UnvalidatedToken;
use crate::config::ValidatedToken;
use crate::domain::caller::Caller;
use crate::domain::clock::Clock;
use crate::domain::name::Name;
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

use accept::Incoming;
use authenticate::Authenticator;
use exchange::Exchanger;
use forward::Authorization;
use forward::Forwarder;
use forward::Onward;
use respond::Context;
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
    responder: Responder,
    observer: Observer,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// There is no identity provider: every route is anonymous.
    is_anonymous: bool,
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
    /// The stages for `config`. `client` talks to the identity providers; it does so on the runtime this is called on,
    /// whichever worker asks. Nothing is contacted yet.
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
        let stages = Stages {
            routes: RouteTable::new(&config.routes),
            authenticator: Authenticator::new(
                providers,
                &config.cache,
                client.clone(),
                clock.clone(),
                metrics.clone(),
            ),
            exchanger: Exchanger::new(
                providers,
                &config.cache,
                client.clone(),
                clock.clone(),
                metrics.clone(),
            ),
            responder: Responder::new(providers),
            observer: Observer::new(&config.routes, metrics, clock.clone())?,
            metrics: metrics.clone(),
            clock: clock.clone(),
            is_anonymous: providers.is_empty(),
        };
        let forwarder = Forwarder::new(&config.routes)?;
        Ok(Self { stages: Arc::new(stages), forwarder })
    }

    /// The same stages for one more worker.
    ///
    /// # Errors
    /// If TLS towards an upstream cannot be set up.
    pub fn for_worker(&self, config: &Config) -> Result<Self, SetupError> {
        Ok(Self { stages: self.stages.clone(), forwarder: Forwarder::new(&config.routes)? })
    }

    /// Begins to fetch the identity providers' keys, and goes on keeping them fresh.
    pub fn start(&self) {
        self.stages.authenticator.start();
    }

    /// Whether callers can be let in: one identity provider's keys were loaded once, or there is none to load from.
    pub fn is_ready(&self) -> bool {
        self.stages.is_anonymous || self.stages.authenticator.ready()
    }

    /// How many tokens the cache holds.
    pub fn cached_tokens(&self) -> u64 {
        self.stages.exchanger.cached()
    }

    /// Answers one request. Turns every refusal into an answer, logs and counts.
    pub async fn handle(
        &self,
        listener: &config::Listener,
        peer: &Peer,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        let mut journey = self.stages.observer.begin(&head);
        let dialect = Dialect::of(&head.headers);
        let outcome = {
            let answered = pin!(async {
                match self.admit(listener, &mut head, &mut journey).await {
                    Ok(admitted) => {
                        self.forward(admitted, peer, Request::from_parts(head, body), &mut journey).await
                    }
                    Err(refusal) => {
                        // a caller who waits for our word before sending its body gets the answer instead
                        if !head.headers.contains_key(header::EXPECT) && !body.is_end_stream() {
                            tokio::spawn(respond::drain::drain(body));
                        }
                        Err(refusal)
                    }
                }
            });
            caught(answered).await.unwrap_or_else(|panicked| Err(Refusal::from(panicked)))
        };
        let (mut response, fault) = match outcome {
            Ok(response) => (response, None),
            Err(refusal) => (self.refuse(&refusal, dialect, &mut journey), Some(refusal.reason.row().fault)),
        };
        response.headers_mut().insert(REQUEST_ID, journey.request_id.clone());
        journey.end(response.status(), fault);
        response
    }

    /// The straight line, up to the request's body. Every `?` leaves through [`respond`].
    async fn admit(
        &self,
        listener: &config::Listener,
        head: &mut Parts,
        journey: &mut Journey<'_>,
    ) -> Result<Admitted, Refusal> {
        accept::head::check(head, listener.underscore_headers)?;
        let route::Routed { route, path } = self.stages.routes.find(&listener.name, head)?;
        journey.route = Some(route.clone());
        let sent = self.sent(&route.access, &head.headers, journey).await?;
        Ok(Admitted { route, path, sent })
    }

    /// The rest of the line: the request goes on, body and all.
    async fn forward(
        &self,
        Admitted { route, path, sent }: Admitted,
        peer: &Peer,
        request: Request<Incoming>,
        journey: &mut Journey<'_>,
    ) -> Result<Response<Body>, Refusal> {
        let authorization = match &sent {
            Sent::TokenB(token) => Authorization::Replace(token.authorization()),
            Sent::AsItCame(value) => Authorization::Keep(value),
            Sent::Nothing => Authorization::Remove,
        };
        let request_id = &journey.request_id;
        let onward =
            Onward { route: &route, path: &path, authorization, peer, scheme: Scheme::Http, request_id };
        let asked = self.stages.clock.monotonic();
        let response = self.forwarder.send(request, onward).await;
        journey.upstream_answered(asked);
        let mut response = response?;
        if response.status() == StatusCode::UNAUTHORIZED && matches!(sent, Sent::TokenB(_)) {
            let context = context(journey, Dialect::Http);
            self.stages.responder.rewrite_challenge(response.headers_mut(), context);
        }
        Ok(response)
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
        match self.stages.authenticator.caller(headers, policy).await {
            Ok(caller) => {
                self.stages.metrics.authentication(Some(&caller.claims.identity_provider), "ok");
                journey.identity_provider = Some(caller.claims.identity_provider.clone());
                journey.caller = Some(caller.clone());
                Ok(caller)
            }
            Err(error) => {
                journey.identity_provider.clone_from(&error.identity_provider);
                let refusal = Refusal::from(error);
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
    ) -> Result<DownstreamToken, Refusal> {
        let outcome = self.stages.exchanger.token(caller, wanted).await;
        let exchanged = outcome.inspect_err(|error| journey.exchange = error.waited)?;
        journey.exchange = exchanged.waited;
        journey.cache = Some(exchanged.cache);
        journey.correlation_id = exchanged.correlation_id;
        Ok(exchanged.token)
    }

    fn refuse(&self, refusal: &Refusal, dialect: Dialect, journey: &mut Journey<'_>) -> Response<Body> {
        let row = refusal.reason.row();
        journey.reason = Some(row.word);
        journey.correlation_id.clone_from(&refusal.correlation_id);
        let route = journey.route.as_deref();
        self.stages.metrics.refusal(route.map(|route| &route.name), row.word);
        log(refusal, journey);
        self.stages.responder.answer(refusal, context(journey, dialect))
    }
}

/// What an answer may say of the request.
fn context<'a>(journey: &'a Journey<'_>, dialect: Dialect) -> Context<'a> {
    let policy = journey.route.as_deref().and_then(|route| match &route.access {
        Access::Validated { policy, .. } => Some(policy),
        Access::Anonymous(_) => None,
    });
    let first = policy.and_then(|policy| policy.identity_providers.first());
    Context {
        request_id: journey.request_id.to_str().unwrap_or_default(),
        identity_provider: journey.identity_provider.as_ref().or(first),
        tenant: journey.caller.as_ref().and_then(|caller| caller.claims.tenant.as_ref()),
        scopes: policy.map_or(&[], |policy| policy.scopes.words()),
        dialect,
    }
}

/// Says to the operator what the caller is not told.
fn log(refusal: &Refusal, journey: &Journey<'_>) {
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
                upstream = route.map(|route| route.upstream.authority.as_str()),
                identity_provider = journey.identity_provider.as_ref().map(Name::as_str),
                error = idp.map(|idp| idp.error.as_str()),
                suberror = idp.and_then(|idp| idp.suberror.as_deref()),
                error_codes = idp.map(|idp| format!("{:?}", idp.error_codes)),
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

/// A request that may go on.
struct Admitted {
    route: Arc<config::Route>,
    path: String,
    sent: Sent,
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
