//! The conversation with a token endpoint: our credential, one request, its classified answer.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http::StatusCode;
use http_body_util::Full;
use zeroize::Zeroize;

use crate::config::GrantType;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::net::client;
use crate::net::client::Bounds;
use crate::net::client::Client;
use crate::net::clients::Clients;
use crate::net::lacks_descriptors;
use crate::pipeline::exchange::classify::AskedBy;
use crate::pipeline::exchange::classify::Expected;
use crate::pipeline::exchange::classify::Success;
use crate::pipeline::exchange::classify::classify;
use crate::pipeline::exchange::credential::Audience;
use crate::pipeline::exchange::credential::Means;
use crate::pipeline::exchange::credential::Proof;
use crate::pipeline::exchange::credential::Prover;
use crate::pipeline::exchange::credential::Provers;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::grant::Grant;
use crate::pipeline::exchange::grant::Purpose;
use crate::pipeline::exchange::grant::Terms;
use crate::pipeline::exchange::request::token_request;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::row::Row;
use crate::pipeline::exchange::survey::TokenEndpointState;
use crate::pipeline::exchange::weather::Reply;
use crate::pipeline::exchange::weather::Tries;
use crate::pipeline::exchange::weather::Weather;
use crate::pipeline::exchange::witness::Witness;
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::recording::Call;
use crate::telemetry::trace::recording::Point;

/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 256 * 1024;

/// When to come back if there is no file descriptor left for a connection.
const NO_ROOM: Duration = Duration::from_secs(1);

/// Asks token endpoints.
#[derive(Debug)]
pub struct TokenEndpoint {
    clients: Clients,
    provers: Arc<Provers>,
    weather: Arc<Weather>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// What is asked, and where.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The endpoint.
    pub url: &'a str,
    /// The issuer whose endpoint it is.
    pub issuer: &'a str,
    /// What is asked for, of whom, for whom.
    pub terms: Terms<'a>,
    /// How often it is asked.
    pub tries: Tries,
    /// Who hears what is answered, if anybody wants to know.
    pub witness: Option<&'a Witness>,
    /// Where in its trace the request is that led to it, if it is recorded.
    pub point: Option<&'a Point>,
}

/// A token B, fresh from the IdP.
#[derive(Debug)]
pub struct Answer {
    /// The token and its stated life.
    pub success: Success,
    /// When it was asked for.
    pub asked_at: Moment,
    /// The request's id in the IdP's logs.
    pub correlation_id: Arc<str>,
}

/// Nothing was exchanged.
#[derive(Debug, thiserror::Error)]
#[error("the token in the answer is the caller's own")]
struct Echo;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// By the wall.
    pub wall: UnixTime,
    /// By the clock that never goes backwards.
    pub monotonic: Instant,
}

impl TokenEndpoint {
    /// One that asks through `clients`, as whom the `provers` prove us to be.
    pub fn new(clients: Clients, provers: Arc<Provers>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let weather = Arc::new(Weather::new(clock.clone()));
        Self { clients, provers, weather, clock, metrics }
    }

    /// One in its place, which knows how the endpoints fare.
    pub fn succeeding(&self, clients: Clients, provers: Arc<Provers>) -> Self {
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        Self { clients, provers, weather: self.weather.clone(), clock, metrics }
    }

    /// How those fare that were asked.
    pub fn states(&self) -> Vec<TokenEndpointState> {
        self.weather.states()
    }

    /// Asks for a token B with each of our credentials in turn, until one is not refused as such: while a credential
    /// is rotated, two are configured.
    ///
    /// # Errors
    /// If there is no usable token in the answer, no answer, or no question as our own credential is missing.
    pub async fn ask(&self, question: Question<'_>) -> Result<Answer, Error> {
        let mut refused = Error::ours(Kind::Misconfigured);
        let provider = question.terms.provider;
        let identity_provider = &provider.name;
        let prover = self.provers.of(identity_provider).ok_or_else(|| Error::ours(Kind::Internal))?;
        for means in prover.means() {
            let attempt = || self.ask_with(prover, means, question);
            match self.weather.ask(provider, question.url, question.tries, attempt).await {
                Err(error) if error.blames_credential() => {
                    if prover.means().len() > 1 {
                        tracing::warn!(%identity_provider, cause = logs::report(&error), "a credential does not work");
                    }
                    // the IdP's word is remembered, a file's fault is not: it must not have the IdP asked each time
                    if error.row.is_some() || refused.row.is_none() {
                        refused = error;
                    }
                }
                settled => return settled,
            }
        }
        Err(refused)
    }

    /// Asks with one credential alone, however the endpoint has fared.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_by(&self, means: &Means, question: Question<'_>) -> Result<Answer, Error> {
        let prover = self.provers.of(&question.terms.provider.name);
        let prover = prover.ok_or_else(|| Error::ours(Kind::Internal))?;
        self.ask_with(prover, means, question).await
    }

    /// Asks with one credential, and once more if it is refused and has changed in the meantime: whoever replaces it
    /// withdraws the old one.
    async fn ask_with(
        &self,
        prover: &Prover,
        means: &Means,
        question: Question<'_>,
    ) -> Result<Answer, Error> {
        let audience = Audience { endpoint: question.url, issuer: question.issuer };
        let proof = prover.prove(means, audience).await;
        let proof = proof.map_err(|error| Error::ours(Kind::Misconfigured).caused_by(error))?;
        let content = proof.content;
        match self.ask_once(proof, question).await {
            Err(error) if error.row == Some(Row::BadClient) => {
                match prover.renewed(means, audience, content).await {
                    Some(proof) => self.ask_once(proof, question).await,
                    None => Err(error),
                }
            }
            settled => settled,
        }
    }

    async fn ask_once(&self, proof: Proof, question: Question<'_>) -> Result<Answer, Error> {
        let Question { url, terms, .. } = question;
        let sent = token_request(url, &Grant::new(&terms, &proof))
            .map_err(|error| Error::ours(Kind::Internal).caused_by(error))?;
        // the secret in it is wiped before the answer is waited for
        let client = proof.client.unwrap_or_else(|| self.clients.of(terms.provider));
        drop(proof.parameters);
        let correlation_id: Arc<str> = sent.id.into();
        let asked_at = Moment { wall: self.clock.now(), monotonic: self.clock.monotonic() };
        let under_way = self.metrics.exchange_started();
        let result = match (self.send(&client, sent.request, question).await, terms.purpose) {
            (Ok(success), Purpose::User { assertion, .. }) if success.token.is(assertion) => {
                Err(Error::of(Row::Malformed, None).caused_by(Echo))
            }
            (result, _) => result,
        };
        drop(under_way);
        let outcome = result.as_ref().map_or_else(|error| error.kind.reason(), |_| "ok");
        let took = self.clock.monotonic().saturating_duration_since(asked_at.monotonic);
        self.metrics.exchange(&terms.provider.name, outcome, took);
        if let Some(point) = question.point {
            let status = result.as_ref().map_or_else(|error| error.reply.status(), |_| Some(StatusCode::OK));
            let error = (outcome != "ok").then_some(outcome);
            let (server, asked) = (authority(url), asked_at.monotonic);
            point.called(&Call { name: "POST token", method: "POST", server, asked, took, status, error });
        }
        match result {
            Ok(success) => Ok(Answer { success, asked_at, correlation_id }),
            Err(error) => Err(error.correlated(correlation_id)),
        }
    }

    async fn send(
        &self,
        client: &Client,
        request: Request<Full<Bytes>>,
        question: Question<'_>,
    ) -> Result<Success, Error> {
        let terms = &question.terms;
        let bounds = Bounds { timeout: terms.provider.timeout, body: LONGEST_ANSWER };
        let response = client.send(request, bounds).await.map_err(unanswered)?;
        if let Some(witness) = question.witness {
            witness.hear(question.url, &response);
        }
        let reply = Reply::of(response.status(), response.headers());
        let expected = Expected { requested: terms.requested_token_type(), asked_by: asked_by(terms) };
        let result = classify(&response, expected, self.clock.now()).map_err(|error| error.upon(reply));
        // token B stands in it; where the buffer is ours alone, it is wiped
        if let Ok(mut body) = response.into_body().try_into_mut() {
            body.zeroize();
        }
        result
    }
}

/// The host and port of an endpoint.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

fn asked_by(terms: &Terms<'_>) -> AskedBy {
    match (terms.purpose, terms.provider.grant) {
        (Purpose::User { .. }, GrantType::TokenExchange) => AskedBy::TokenExchange,
        _ => AskedBy::Grant,
    }
}

/// Whether something answered that does not speak HTTP.
/// What it means that there is no answer that can be read.
fn unanswered(error: client::Error) -> Error {
    let (row, reply) = match error {
        _ if lacks_descriptors(&error) => {
            return Error::ours(Kind::Overloaded { retry_after: NO_ROOM }).caused_by(error);
        }
        client::Error::TooLong(_) => (Row::Malformed, Reply::Fragment),
        client::Error::Cut(_) => (Row::NoAnswer, Reply::Fragment),
        client::Error::NoAnswer(_) if is_garbage(&error) => (Row::Malformed, Reply::Fragment),
        client::Error::NoAnswer(_) | client::Error::Timeout(_) | client::Error::ProxiedTimeout(..) => {
            (Row::NoAnswer, Reply::Nothing)
        }
    };
    Error::of(row, None).upon(reply).caused_by(error)
}

fn is_garbage(error: &client::Error) -> bool {
    std::iter::successors(error.source(), |cause| (*cause).source())
        .any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_connection_for_which_we_lack_descriptors_is_no_trouble_of_the_identity_providers() {
        for (code, kind) in [
            (Some(24), Kind::Overloaded { retry_after: NO_ROOM }), // EMFILE
            (Some(23), Kind::Overloaded { retry_after: NO_ROOM }), // ENFILE
            (Some(111), Error::of(Row::NoAnswer, None).kind),      // ECONNREFUSED
            (None, Error::of(Row::NoAnswer, None).kind),
        ] {
            let cause = code.map_or_else(|| io::Error::other("no"), io::Error::from_raw_os_error);
            // as it comes from below: wrapped once more
            let error = unanswered(client::Error::NoAnswer(io::Error::other(cause).into()));
            assert_eq!(error.kind, kind, "{code:?}");
            assert_eq!(
                error.row.is_none(),
                matches!(kind, Kind::Overloaded { .. }),
                "no row is of no weight to the breaker"
            );
        }
    }
}
