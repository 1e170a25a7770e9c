//! How token endpoints are asked when they may be in trouble: a second try for those who wait, a breaker each.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use http::HeaderMap;
use http::StatusCode;
use http::header;

use crate::config::IdentityProvider;
use crate::domain::clock::Clock;
use crate::domain::name::Name;
use crate::pipeline::exchange::breaker::Breaker;
use crate::pipeline::exchange::breaker::Change;
use crate::pipeline::exchange::breaker::Health;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::row::Row;
use crate::pipeline::exchange::survey::BreakerState;
use crate::pipeline::exchange::survey::TokenEndpointState;

/// The shortest pause before a second try.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// By how much the longest pause is longer: callers who failed together do not come back together.
const JITTER: Duration = Duration::from_millis(1000);

/// Watches over every token endpoint that was asked: no more than are configured.
#[derive(Debug)]
pub struct Weather {
    breakers: Mutex<HashMap<String, (Name, Breaker)>>,
    clock: Clock,
}

/// How often a question is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tries {
    /// Once: nobody waits for the answer, and it is asked again by and by.
    One,
    /// Once more, if the endpoint fails.
    Two,
}

/// What came back, as far as it matters for a second try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    #[default]
    Nothing,
    /// An answer that broke off.
    Fragment,
    /// An answer with this status.
    Status(StatusCode),
    /// An answer with this status, and the wish to be left alone for a while.
    Wait(StatusCode),
}

/// The endpoint was not asked.
#[derive(Debug, thiserror::Error)]
#[error("the token endpoint has failed again and again; it is asked once a second until it answers")]
struct Spared;

impl Weather {
    /// Fair everywhere.
    pub fn new(clock: Clock) -> Self {
        Self { breakers: Mutex::default(), clock }
    }

    /// How the endpoints fare, in the order of their URLs.
    pub fn states(&self) -> Vec<TokenEndpointState> {
        let breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |(url, (identity_provider, breaker)): (&String, &(Name, Breaker))| TokenEndpointState {
            identity_provider: identity_provider.clone(),
            url: url.clone(),
            breaker: if breaker.is_open() { BreakerState::Open } else { BreakerState::Closed },
        };
        let mut states: Vec<_> = breakers.iter().map(state).collect();
        states.sort_by(|one, other| one.url.cmp(&other.url));
        states
    }

    /// Makes an `attempt` at asking the token endpoint `url` of `provider`, and after a pause a second one if the first
    /// failed in a way that may pass. An endpoint that keeps failing is not asked at all.
    ///
    /// # Errors
    /// If the last attempt failed, or none could be made.
    pub async fn ask<T, A: Future<Output = Result<T, Error>>>(
        &self,
        provider: &IdentityProvider,
        url: &str,
        tries: Tries,
        attempt: impl Fn() -> A,
    ) -> Result<T, Error> {
        let endpoint = Endpoint { weather: self, provider, url };
        let Some(admitted) = endpoint.admits() else {
            return Err(Error::of(Row::NoAnswer, None).caused_by(Spared));
        };
        let first = endpoint.noted(attempt().await, admitted);
        match first {
            Err(error) if tries == Tries::Two && is_worth_a_second_try(&error) && !endpoint.is_spared() => {
                tokio::time::sleep(pause(random())).await;
                // others may have seen it fail meanwhile; then what came of the first try stands
                match endpoint.admits() {
                    Some(admitted) => endpoint.noted(attempt().await, admitted),
                    None => Err(error),
                }
            }
            settled => settled,
        }
    }
}

impl Reply {
    /// What an answer with that head is.
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        match headers.contains_key(header::RETRY_AFTER) {
            true => Self::Wait(status),
            false => Self::Status(status),
        }
    }

    /// The status, if there was one.
    pub fn status(self) -> Option<StatusCode> {
        match self {
            Self::Nothing | Self::Fragment => None,
            Self::Status(status) | Self::Wait(status) => Some(status),
        }
    }
}

/// One endpoint under this weather.
#[derive(Clone, Copy)]
struct Endpoint<'a> {
    weather: &'a Weather,
    provider: &'a IdentityProvider,
    url: &'a str,
}

impl Endpoint<'_> {
    /// When an attempt was allowed: now, or it is not.
    fn admits(self) -> Option<Instant> {
        let now = self.weather.clock.monotonic();
        self.breaker(|breaker| breaker.admits(now)).then_some(now)
    }

    fn is_spared(self) -> bool {
        self.breaker(|breaker| breaker.is_open())
    }

    /// Draws the consequences of an attempt that was `admitted` then, and tells of them.
    fn noted<T>(self, result: Result<T, Error>, admitted: Instant) -> Result<T, Error> {
        let now = self.weather.clock.monotonic();
        let change =
            self.breaker(|breaker| match result.as_ref().map_or_else(health, |_| Some(Health::Well)) {
                Some(health) => breaker.note(health, now),
                // another of our credentials may be in order, and its question the one that finds the endpoint back
                None => {
                    breaker.unused(admitted);
                    None
                }
            });
        let (identity_provider, url) = (&self.provider.name, self.url);
        match change {
            Some(Change::Opened) => tracing::warn!(
                %identity_provider,
                url,
                "the token endpoint keeps failing; it is asked once a second until it answers"
            ),
            Some(Change::Closed) => {
                tracing::info!(%identity_provider, url, "the token endpoint answers again")
            }
            None => {}
        }
        result
    }

    fn breaker<T>(self, with: impl FnOnce(&mut Breaker) -> T) -> T {
        // a breaker is whole after each of its methods, so a poisoned lock is too
        let mut breakers = self.weather.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        match breakers.get_mut(self.url) {
            Some((_, breaker)) => with(breaker),
            None => {
                let unasked = || (self.provider.name.clone(), Breaker::default());
                with(&mut breakers.entry(self.url.to_owned()).or_insert_with(unasked).1)
            }
        }
    }
}

/// What a failure says of the endpoint; `None` if it was not even asked, for a fault of our own.
fn health(error: &Error) -> Option<Health> {
    let is_down = match error.row? {
        Row::NoAnswer | Row::Outage => true,
        // one user in a loop is throttled without 429; that is no trouble of the endpoint's
        Row::Throttled(_) => error
            .reply
            .status()
            .is_some_and(|status| status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()),
        _ => false,
    };
    Some(if is_down { Health::Ill } else { Health::Well })
}

/// Whether the same question may fare better in a second: nothing came, or a plain 5xx. Whatever asks to wait is obeyed.
fn is_worth_a_second_try(error: &Error) -> bool {
    match (error.row, error.reply) {
        (Some(Row::NoAnswer), Reply::Nothing) => true,
        (Some(Row::Outage), Reply::Status(status)) => status.is_server_error(),
        _ => false,
    }
}

/// The pause before a second try.
fn pause(random: u16) -> Duration {
    SHORTEST_PAUSE + JITTER * u32::from(random) / u32::from(u16::MAX)
}

/// Without random numbers the pause is like any other.
fn random() -> u16 {
    let mut bytes = [0; 2];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u16::from_ne_bytes(bytes),
        Err(_) => u16::MAX / 2,
    }
}

#[cfg(test)]
mod tests;
