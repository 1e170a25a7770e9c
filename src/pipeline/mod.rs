//! Floor 4: the life of one request. Read `Pipeline::try_handle` first.
//!
//! **In:** a request and whose socket it came from. **Out:** a response, always. **Never:** forwards token A in place
//! of token B; answers before the record of the request is written.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use http::HeaderMap;
use http::HeaderValue;
use http::Request;
use http::Response;
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
use crate::domain::tenant::TenantId;
use crate::domain::token::DownstreamToken;
use crate::net::Body;
use crate::net::client::Client;
use crate::telemetry::access_log::Fault;
use crate::telemetry::access_log::Record;
use crate::telemetry::access_log::UserHash;
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace;

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
use respond::refusal::Refusal;
use route::RouteTable;

const REQUEST_ID: http::HeaderName = http::HeaderName::from_static("x-request-id");

/// The stages, ready to serve.
pub struct Pipeline {
    routes: RouteTable,
    authenticator: Arc<Authenticator>,
    exchanger: Arc<Exchanger>,
    forwarder: Forwarder,
    responder: Responder,
    user_hash: UserHash,
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
            user_hash: UserHash::new()?,
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

    /// Answers one request. Logs it, counts it, and turns every refusal into an answer.
    pub async fn handle(
        &self,
        listener: &config::Listener,
        peer: Peer,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let request_id = request_id(request.headers());
        let mut journey = Journey::begin(self, &request, &request_id);
        let outcome = self.try_handle(listener, peer, request, &request_id, &mut journey).await;
        let (mut response, fault) = match outcome {
            Ok(response) => (response, None),
            Err(refusal) => (self.refuse(&refusal, &mut journey), Some(refusal.reason.row().fault)),
        };
        response.headers_mut().insert(REQUEST_ID, request_id);
        journey.end(response.status(), fault);
        response
    }

    /// The straight line. Every `?` leaves through [`respond`].
    async fn try_handle(
        &self,
        listener: &config::Listener,
        peer: Peer,
        request: Request<Incoming>,
        request_id: &HeaderValue,
        journey: &mut Journey<'_>,
    ) -> Result<Response<Body>, Refusal> {
        let (mut head, body) = request.into_parts();
        accept::head::check(&mut head, listener.underscore_headers)?;
        let route::Routed { route, path } = self.routes.find(&listener.name, &head)?;
        journey.routed(&route);

        let sent = match &route.access {
            Access::Anonymous(UnvalidatedToken::Remove) => Sent::Nothing,
            Access::Anonymous(UnvalidatedToken::Passthrough) => {
                let field =
                    authenticate::bearer::sole_field(&head.headers).map_err(authenticate::Error::from)?;
                field.cloned().map_or(Sent::Nothing, Sent::AsItCame)
            }
            Access::Validated { policy, token } => {
                let caller = self.authenticate(&head.headers, policy, journey).await?;
                match token {
                    ValidatedToken::Exchange(wanted) => {
                        Sent::TokenB(self.exchange(&caller, wanted, journey).await?)
                    }
                    ValidatedToken::Passthrough => Sent::AsItCame(caller.token.authorization().clone()),
                    ValidatedToken::Remove => Sent::Nothing,
                }
            }
        };
        let authorization = match &sent {
            Sent::TokenB(token) => Authorization::Replace(token.authorization()),
            Sent::AsItCame(value) => Authorization::Keep(value),
            Sent::Nothing => Authorization::Remove,
        };
        let onward =
            Onward { route: &route, path: &path, authorization, peer, scheme: Scheme::Http, request_id };
        let started = self.clock.monotonic();
        let response = self.forwarder.send(Request::from_parts(head, body), onward).await;
        journey.record.upstream = Some(self.clock.monotonic() - started);
        Ok(response?)
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
                journey.authenticated(&caller, &self.user_hash);
                Ok(caller)
            }
            Err(error) => {
                journey.record.identity_provider.clone_from(&error.identity_provider);
                let refusal = Refusal::from(error);
                self.metrics
                    .authentication(journey.record.identity_provider.as_ref(), refusal.reason.as_str());
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
        journey.record.exchange = Some(self.clock.monotonic() - started);
        let id = match &outcome {
            Ok(exchanged) => &exchanged.correlation_id,
            Err(error) => &error.correlation_id,
        };
        journey.record.correlation_id = id.as_deref().map(String::from);
        let exchanged = outcome?;
        journey.record.cache = Some(exchanged.cache);
        Ok(exchanged.token)
    }

    fn refuse(&self, refusal: &Refusal, journey: &mut Journey<'_>) -> Response<Body> {
        let row = refusal.reason.row();
        journey.record.reason = Some(row.word);
        // the id we sent serves where the IdP named none
        if let Some(id) = refusal.idp.as_ref().and_then(|idp| idp.correlation_id.clone()) {
            journey.record.correlation_id = Some(id);
        }
        self.metrics.refusal(journey.record.route.as_ref().map(|(name, _)| name), row.word);
        let cause = logs::report(&*refusal.source);
        let request_id = journey.record.request_id.as_str();
        match row.fault {
            Fault::Client => tracing::debug!(request_id, reason = row.word, cause, "refused"),
            Fault::Idp | Fault::Upstream => tracing::warn!(request_id, reason = row.word, cause, "refused"),
            Fault::Proxy => tracing::error!(request_id, reason = row.word, cause, "refused"),
        }
        let policy = journey.route.as_ref().and_then(|route| match &route.access {
            Access::Validated { policy, .. } => Some(policy),
            Access::Anonymous(_) => None,
        });
        let context = Context {
            request_id,
            identity_provider: journey
                .record
                .identity_provider
                .as_ref()
                .or_else(|| policy.and_then(|policy| policy.identity_providers.first())),
            tenant: journey.tenant.as_ref(),
            scopes: policy.map_or(&[], |policy| policy.scopes.words()),
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

/// What happened to one request so far. Writes its log line and its metric when it ends, also when the caller hangs
/// up in between.
struct Journey<'a> {
    pipeline: &'a Pipeline,
    method: http::Method,
    record: Record,
    route: Option<Arc<config::Route>>,
    tenant: Option<TenantId>,
    started: Instant,
    ended: bool,
}

/// What a request is logged as whose caller hung up: no answer of that status is ever sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl<'a> Journey<'a> {
    fn begin(pipeline: &'a Pipeline, request: &Request<Incoming>, request_id: &HeaderValue) -> Self {
        let record = Record {
            request_id: request_id.to_str().unwrap_or_default().to_owned(),
            trace_id: trace::trace_id(request.headers()).map(String::from),
            method: request.method().as_str().to_owned(),
            path: request.uri().path().to_owned(),
            ..Record::default()
        };
        let started = pipeline.clock.monotonic();
        Self {
            pipeline,
            method: request.method().clone(),
            record,
            route: None,
            tenant: None,
            started,
            ended: false,
        }
    }

    fn routed(&mut self, route: &Arc<config::Route>) {
        self.record.route = Some((route.name.clone(), route.matches.path.clone()));
        self.route = Some(route.clone());
    }

    fn authenticated(&mut self, caller: &Caller, user_hash: &UserHash) {
        self.record.identity_provider = Some(caller.claims.identity_provider.clone());
        self.record.user = Some(user_hash.of(&caller.claims));
        self.tenant.clone_from(&caller.claims.tenant);
    }

    fn elapsed(&self) -> Duration {
        self.pipeline.clock.monotonic() - self.started
    }

    fn end(mut self, status: http::StatusCode, fault: Option<Fault>) {
        self.ended = true;
        let took = self.elapsed();
        let route = self.record.route.as_ref().map(|(name, _)| name);
        self.pipeline.metrics.server_request(route, &self.method, status, took);
        self.record.write(status.as_u16(), fault, took);
    }
}

impl Drop for Journey<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.record.write(CLIENT_CLOSED_REQUEST, Some(Fault::Client), self.elapsed());
        }
    }
}

/// The inbound `x-request-id` if it is 1 to 128 visible ASCII characters, else a fresh one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let mut inbound = headers.get_all(REQUEST_ID).iter();
    if let (Some(id), None) = (inbound.next(), inbound.next())
        && (1..=128).contains(&id.len())
        && id.as_bytes().iter().all(u8::is_ascii_graphic)
    {
        return id.clone();
    }
    let mut random = [0; 16];
    // without random bytes the id is all zero: a log line without a usable id, but no refused request
    let _ = aws_lc_rs::rand::fill(&mut random);
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(hex).unwrap_or(HeaderValue::from_static("-"))
}
