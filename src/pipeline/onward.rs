//! The second half of the line: the request goes on, and once more if its upstream refuses token B, or as often as its
//! route says.
//!
//! **In:** a request that may go on. **Out:** the upstream's answer, or why the caller does not get it. **Never:** sends a
//! request again that its route does not name, without all of its body, or with a token that is over; hands on a challenge
//! that is meant for us.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body::Body as _;
use tokio::time::Instant;

use crate::config;
use crate::config::Route;
use crate::net::Body;
use crate::net::BoxError;
use crate::pipeline::Admitted;
use crate::pipeline::Origin;
use crate::pipeline::Pipeline;
use crate::pipeline::Sent;
use crate::pipeline::accept::Incoming;
use crate::pipeline::exchange::Chance;
use crate::pipeline::exchange::Exchanged;
use crate::pipeline::exchange::Rejected;
use crate::pipeline::exchange::demand::Demand;
use crate::pipeline::forward;
use crate::pipeline::forward::Authorization;
use crate::pipeline::forward::Onward;
use crate::pipeline::forward::Phase;
use crate::pipeline::forward::capture::Captured;
use crate::pipeline::forward::capture::Spare;
use crate::pipeline::forward::retry;
use crate::pipeline::forward::tunnel::Expiry;
use crate::pipeline::forward::tunnel::Terms;
use crate::pipeline::respond;
use crate::pipeline::respond::grpc::Dialect;
use crate::pipeline::respond::reason::Reason;
use crate::pipeline::respond::refusal::Refusal;
use crate::telemetry::journey::Journey;

impl Pipeline {
    /// The rest of the line: the request goes on, body and all.
    pub(super) async fn forward(
        &self,
        mut admitted: Admitted,
        origin: Origin<'_>,
        request: Request<Incoming>,
        resource_metadata: Option<&str>,
        journey: &mut Journey<'_>,
    ) -> Result<Response<Body>, Refusal> {
        let place = self.stages.turnstiles.enter(&admitted.route)?;
        let retry = admitted.route.treatment.retry.as_ref();
        let may_retry = retry.is_some_and(|retry| retry::takes(retry, request.method()));
        let (request, spare) = match &admitted.sent {
            Sent::AsItCame(_) | Sent::Nothing if !may_retry => (request.map(Captured::not), None),
            Sent::TokenB(..) | Sent::AsItCame(_) | Sent::Nothing => self.stages.keeper.keep(request),
        };
        let outcome = match &spare {
            // rare, and large
            Some(spare) if may_retry => {
                Box::pin(self.send_repeatedly(&mut admitted, origin, request, spare, journey)).await
            }
            _ => self.send(&admitted, origin, request, journey).await,
        };
        let response = outcome?;
        let response = match &admitted.sent {
            Sent::TokenB(sent, wanted) if response.status() == StatusCode::UNAUTHORIZED => {
                // rare, and large
                let rejected = Refused {
                    sent: sent.clone(),
                    wanted: wanted.clone(),
                    spare,
                    response,
                    resource_metadata,
                };
                Box::pin(self.rejected(admitted, origin, rejected, journey)).await?
            }
            _ => response,
        };
        Ok(match place {
            Some(place) => place.kept_by(response),
            None => response,
        })
    }

    async fn send<B>(
        &self,
        Admitted { route, path, sent, websocket }: &Admitted,
        origin: Origin<'_>,
        request: Request<B>,
        journey: &mut Journey<'_>,
    ) -> Result<Response<Body>, forward::Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let authorization = match sent {
            Sent::TokenB(exchanged, _) => Authorization::Replace(exchanged.token.authorization()),
            Sent::AsItCame(value) => Authorization::Keep(value),
            Sent::Nothing => Authorization::Remove,
        };
        let (asked, trace) = journey.asking();
        let request_id = &journey.request_id;
        let Origin { peer, scheme } = origin;
        let terms = websocket.map(|websocket| (websocket, self.terms(route, journey)));
        let websocket = terms.as_ref().map(|(websocket, terms)| (*websocket, terms));
        let caller = journey.caller.as_ref().map(|caller| &*caller.claims);
        let trace = trace.as_ref();
        let onward =
            Onward { route, path, authorization, caller, peer, scheme, request_id, trace, websocket };
        let outcome = self.forwarder.send(request, onward).await;
        journey.upstream_answered(asked, answer(&outcome));
        outcome
    }

    /// Sends the request, and again after what its route names, as long as its time to be answered is not over.
    async fn send_repeatedly(
        &self,
        admitted: &mut Admitted,
        origin: Origin<'_>,
        request: Request<Captured<Incoming>>,
        spare: &Spare<Incoming>,
        journey: &mut Journey<'_>,
    ) -> Result<Response<Body>, forward::Error> {
        let route = Arc::clone(&admitted.route);
        let deadline = Instant::now() + route.timeouts.response;
        let mut outcome = self.send(admitted, origin, request, journey).await;
        let mut made = 0;
        while let Some(pause) = pause(&route, &outcome, made, deadline) {
            tokio::time::sleep(pause).await;
            journey.upstream_spared(pause);
            // meanwhile its body may have come to its end, and its token too
            let Some(again) = spare.again() else { break };
            if !self.has_token(admitted, journey) {
                break;
            }
            if let Ok(response) = outcome {
                discard(response);
            }
            made += 1;
            tracing::debug!(route = %route.name, attempt = made, "a request is sent once more");
            let asked = self.stages.clock.monotonic();
            let sent = tokio::time::timeout_at(deadline, self.send(admitted, origin, again, journey)).await;
            outcome = sent.unwrap_or_else(|_| {
                let late = Err(forward::Error::Timeout(Phase::Response));
                journey.upstream_answered(asked, answer(&late));
                late
            });
        }
        outcome
    }

    /// Whether the request may go on as it did before. A token B is the one that is held now.
    fn has_token(&self, admitted: &mut Admitted, journey: &Journey<'_>) -> bool {
        let Sent::TokenB(sent, wanted) = &mut admitted.sent else { return true };
        let held = journey.caller.as_ref().and_then(|caller| self.stages.exchanger.held(caller, wanted));
        held.map(|held| *sent = held).is_some()
    }

    /// How long a WebSocket of `route` may go on.
    fn terms(&self, route: &Route, journey: &Journey<'_>) -> Terms {
        let expiry = journey.caller.as_ref().map(|caller| Expiry {
            at: self.stages.authenticator.end(&caller.claims),
            clock: self.stages.clock.clone(),
        });
        Terms { idle: route.timeouts.idle, expiry }
    }

    /// The upstream refuses token B: the request is sent once more with another one, or the caller is told why not.
    async fn rejected(
        &self,
        admitted: Admitted,
        origin: Origin<'_>,
        refused: Refused<'_>,
        journey: &mut Journey<'_>,
    ) -> Result<Response<Body>, Refusal> {
        let Refused { sent, wanted, spare, response, resource_metadata } = refused;
        let spare = spare.as_ref().and_then(Spare::again);
        let chance = if spare.is_some() { Chance::Once } else { Chance::Never };
        let another = self.another(&sent, &wanted, chance, &Demand::of(response.headers()), journey).await;
        let (spare, another) = match (spare, another) {
            (Some(spare), Ok(Some(another))) => (spare, another),
            (_, Ok(_)) => return Ok(self.passed_on(response, resource_metadata, journey)),
            (_, Err(refusal)) => {
                discard(response);
                return Err(refusal);
            }
        };
        discard(response);
        let admitted = Admitted { sent: Sent::TokenB(another.clone(), wanted.clone()), ..admitted };
        let response = self.send(&admitted, origin, spare, journey).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        match self.another(&another, &wanted, Chance::Used, &Demand::of(response.headers()), journey).await {
            Ok(_) => Ok(self.passed_on(response, resource_metadata, journey)),
            Err(refusal) => {
                discard(response);
                Err(refusal)
            }
        }
    }

    /// Another token B in place of one that its upstream refuses, if it is worth a try.
    async fn another(
        &self,
        sent: &Exchanged,
        wanted: &Arc<config::Exchange>,
        chance: Chance,
        demand: &Demand,
        journey: &mut Journey<'_>,
    ) -> Result<Option<Exchanged>, Refusal> {
        let Some(caller) = journey.caller.clone() else { return Ok(None) };
        let begun = journey.begin();
        let point = journey.within(begun);
        let rejected = Rejected {
            caller: &caller,
            exchange: wanted,
            token: &sent.token,
            asked_at: sent.asked_at,
            demand,
            chance,
            asker: Some(journey.asker(point.as_deref())),
        };
        let started = self.stages.clock.monotonic();
        let outcome = self.stages.exchanger.rejected(rejected).await;
        match &outcome {
            Ok(Some(another)) => journey.exchanged(begun, Some(another.cache), None),
            Err(error) => journey.exchanged(begun, None, Some(error.kind.reason())),
            // nothing was looked for
            Ok(None) => {}
        }
        if let Ok(Some(another)) = &outcome {
            journey.cache = Some(another.cache);
            journey.correlation_id.clone_from(&another.correlation_id);
        }
        if !matches!(outcome, Ok(None)) && chance == Chance::Once {
            let took = self.stages.clock.monotonic() - started;
            journey.exchange = Some(journey.exchange.unwrap_or_default() + took);
        }
        Ok(outcome?)
    }

    /// The upstream's refusal as the caller gets it.
    fn passed_on(
        &self,
        mut response: Response<Body>,
        resource_metadata: Option<&str>,
        journey: &Journey<'_>,
    ) -> Response<Body> {
        let context = self.context(journey, Dialect::Http, resource_metadata);
        self.stages.responder.rewrite_challenge(response.headers_mut(), context);
        response
    }
}

/// What an upstream answered, as it is recorded: the status, or the reason that the caller is told.
fn answer(outcome: &Result<Response<Body>, forward::Error>) -> Result<StatusCode, &'static str> {
    outcome.as_ref().map(Response::status).map_err(|error| Reason::from(error).as_str())
}

/// How long to wait before the request is sent again after so many times; `None` if it is not to be.
fn pause(
    route: &Route,
    outcome: &Result<Response<Body>, forward::Error>,
    made: u32,
    deadline: Instant,
) -> Option<Duration> {
    let retry = route.treatment.retry.as_ref()?;
    let pause = retry::pause(retry, outcome, made, chance())?;
    Instant::now().checked_add(pause).is_some_and(|then| then < deadline).then_some(pause)
}

/// A random number; a middling one where the system has none.
fn chance() -> u16 {
    let mut bytes = [0; 2];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u16::from_ne_bytes(bytes),
        Err(_) => u16::MAX / 2,
    }
}

/// Reads what is left of an answer that nobody gets, so that its connection can go on.
fn discard(response: Response<Body>) {
    if !response.body().is_end_stream() {
        tokio::spawn(respond::drain::drain(response.into_body()));
    }
}

/// A request whose token B the upstream refuses.
struct Refused<'a> {
    sent: Exchanged,
    wanted: Arc<config::Exchange>,
    spare: Option<Spare<Incoming>>,
    response: Response<Body>,
    /// Where the resource is described.
    resource_metadata: Option<&'a str>,
}
