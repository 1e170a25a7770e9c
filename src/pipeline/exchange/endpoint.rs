//! The conversation with a token endpoint: our credential, one request, its classified answer.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use zeroize::Zeroize;

use crate::config::Credential;
use crate::config::Exchange;
use crate::config::IdentityProvider;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::domain::token::UserToken;
use crate::net::client;
use crate::net::client::Bounds;
use crate::net::client::Client;
use crate::pipeline::exchange::classify::Success;
use crate::pipeline::exchange::classify::classify;
use crate::pipeline::exchange::credential;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::grant::Grant;
use crate::pipeline::exchange::request::token_request;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::row::Row;
use crate::pipeline::exchange::weather::Reply;
use crate::pipeline::exchange::weather::Tries;
use crate::pipeline::exchange::weather::Weather;
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;

/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 256 * 1024;

/// Asks token endpoints.
#[derive(Debug)]
pub struct TokenEndpoint {
    client: Client,
    credentials: credential::Reader,
    weather: Weather,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// What is asked for, of whom, for whom.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The endpoint.
    pub url: &'a str,
    /// Whose endpoint it is.
    pub provider: &'a IdentityProvider,
    /// What the route wants.
    pub exchange: &'a Exchange,
    /// The user's token A.
    pub assertion: &'a UserToken,
    /// How often it is asked.
    pub tries: Tries,
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
    /// One that asks through `client`.
    pub fn new(client: Client, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let weather = Weather::new(clock.clone());
        Self { client, credentials: credential::Reader::default(), weather, clock, metrics }
    }

    /// Asks for a token B with each of our credentials in turn, until one is not refused as such: while a credential
    /// is rotated, two are configured.
    ///
    /// # Errors
    /// If there is no usable token in the answer, no answer, or no question as our own credential is missing.
    pub async fn ask(&self, question: Question<'_>) -> Result<Answer, Error> {
        let mut refused = Error::ours(Kind::Misconfigured);
        for credential in &question.provider.credentials {
            let attempt = || self.ask_with(credential, question);
            match self.weather.ask(question.provider, question.url, question.tries, attempt).await {
                Err(error) if error.blames_credential() => {
                    if question.provider.credentials.len() > 1 {
                        let identity_provider = &question.provider.name;
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

    async fn ask_with(&self, credential: &Credential, question: Question<'_>) -> Result<Answer, Error> {
        let Question { url, provider, exchange, assertion, .. } = question;
        let secret = self
            .credentials
            .secret(credential, provider.timeout)
            .await
            .map_err(|error| Error::ours(Kind::Misconfigured).caused_by(error))?;
        let sent = token_request(url, &Grant::on_behalf_of(provider, exchange, assertion, &secret))
            .map_err(|error| Error::ours(Kind::Internal).caused_by(error))?;
        drop(secret);
        let correlation_id: Arc<str> = sent.id.into();
        let asked_at = Moment { wall: self.clock.now(), monotonic: self.clock.monotonic() };
        let under_way = self.metrics.exchange_started();
        let result = match self.send(sent.request, provider, exchange).await {
            Ok(success) if success.token.is(assertion) => {
                Err(Error::of(Row::Malformed, None).caused_by(Echo))
            }
            result => result,
        };
        drop(under_way);
        let outcome = result.as_ref().map_or_else(|error| error.kind.reason(), |_| "ok");
        let took = self.clock.monotonic().saturating_duration_since(asked_at.monotonic);
        self.metrics.exchange(&provider.name, outcome, took);
        match result {
            Ok(success) => Ok(Answer { success, asked_at, correlation_id }),
            Err(error) => Err(error.correlated(correlation_id)),
        }
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        provider: &IdentityProvider,
        exchange: &Exchange,
    ) -> Result<Success, Error> {
        let bounds = Bounds { timeout: provider.timeout, body: LONGEST_ANSWER };
        let response = self.client.send(request, bounds).await.map_err(|error| {
            let (row, reply) = match error {
                client::Error::TooLong(_) => (Row::Malformed, Reply::Fragment),
                client::Error::Cut(_) => (Row::NoAnswer, Reply::Fragment),
                client::Error::NoAnswer(_) if is_garbage(&error) => (Row::Malformed, Reply::Fragment),
                client::Error::NoAnswer(_) | client::Error::Timeout(_) => (Row::NoAnswer, Reply::Nothing),
            };
            Error::of(row, None).upon(reply).caused_by(error)
        })?;
        let reply = Reply::of(response.status(), response.headers());
        let result = classify(&response, exchange.requested_token_type, self.clock.now())
            .map_err(|error| error.upon(reply));
        // token B stands in it; where the buffer is ours alone, it is wiped
        if let Ok(mut body) = response.into_body().try_into_mut() {
            body.zeroize();
        }
        result
    }
}

/// Whether something answered that does not speak HTTP.
fn is_garbage(error: &client::Error) -> bool {
    std::iter::successors(error.source(), |cause| (*cause).source())
        .any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse))
}
