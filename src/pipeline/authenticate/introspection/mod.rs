//! Opaque tokens: what they say is known to their issuer alone, so it is asked (RFC 7662).
//!
//! **In:** a token that is no JWT. **Out:** its issuer's [`Word`]. **Never:** shows it to anybody else; asks twice at a time
//! for one token, or without bound for many; relies on an answer for longer than a few seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::Full;
use moka::sync::Cache;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::config::IdentityProvider;
use crate::domain::clock::Clock;
use crate::domain::digest::Digest;
use crate::domain::token::UserToken;
use crate::net::client::Bounds;
use crate::net::client::Client;
use crate::net::client_authentication::ClientAuthentication;
use crate::net::client_authentication::Proof;
use crate::net::metadata;
use crate::net::metadata::Endpoint;
use crate::net::metadata::Metadata;
use crate::telemetry::logs;

pub mod answer;

#[cfg(test)]
mod tests;

pub use answer::Fault;
pub use answer::Word;

/// How long a word may be relied on that let its token in: that late a revocation is noticed.
pub const RELIED_ON: Duration = Duration::from_secs(60);
/// How long a word serves that did not let its token in: the next request may come with a good one.
const REMEMBERED: Duration = Duration::from_secs(10);
/// The most bytes of such words.
const MOST_REMEMBERED: u64 = 4 * 1024 * 1024;
/// The most questions under way.
const MOST_AT_ONCE: usize = 64;
/// The most questions that are waited with for their turn: they do not end with those who asked.
const MOST_QUESTIONS: usize = 1024;

/// Asks one provider about opaque tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Introspector {
    shared: Arc<Shared>,
    /// Where questions are asked: those who wait may be on runtimes of their own.
    runtime: Option<Handle>,
}

#[derive(Debug)]
struct Shared {
    provider: Arc<IdentityProvider>,
    metadata: Metadata,
    client: Client,
    authentication: Arc<dyn ClientAuthentication>,
    clock: Clock,
    heard: Cache<Digest, Heard>,
    questions: Mutex<HashMap<Digest, watch::Receiver<Option<Outcome>>>>,
    /// What the server is left alone for, and until when.
    pause: Mutex<Option<(Fault, Instant)>>,
    turns: Semaphore,
}

/// A word, and when it was asked for.
#[derive(Clone)]
pub struct Heard {
    /// That.
    pub word: Arc<Word>,
    /// The moment before the question.
    pub asked_at: Instant,
    /// Bytes of the answer.
    size: u32,
}

type Outcome = Result<Heard, Fault>;

/// The duty to answer a question. Dropped without an outcome, as by a panic, it lets others ask anew.
struct Duty {
    shared: Arc<Shared>,
    token: Digest,
    announce: watch::Sender<Option<Outcome>>,
}

impl Introspector {
    /// One that asks the server of `metadata`, on the runtime this is called in, if any.
    pub fn new(
        provider: Arc<IdentityProvider>,
        metadata: Metadata,
        client: Client,
        authentication: Arc<dyn ClientAuthentication>,
        clock: Clock,
    ) -> Self {
        let heard = Cache::builder()
            .max_capacity(MOST_REMEMBERED)
            .weigher(|_: &Digest, heard: &Heard| heard.size)
            .time_to_live(REMEMBERED)
            .build();
        let shared = Shared {
            provider,
            metadata,
            client,
            authentication,
            clock,
            heard,
            questions: Mutex::default(),
            pause: Mutex::default(),
            turns: Semaphore::new(MOST_AT_ONCE),
        };
        Self { shared: Arc::new(shared), runtime: Handle::try_current().ok() }
    }

    /// What the server says of `token`, or said a moment ago, or is being asked for somebody else. Dropping the future
    /// ends the waiting, not the question.
    ///
    /// # Errors
    /// If it says nothing of use.
    pub async fn word(&self, token: &UserToken, digest: Digest) -> Result<Heard, Fault> {
        if let Some(heard) = self.shared.remembered(&digest) {
            return Ok(heard);
        }
        let mut question = self.question(token, digest)?;
        let outcome = question.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or(Err(Fault::BadResponse))
    }

    /// The question under way, or a new one, unless there are too many.
    fn question(&self, token: &UserToken, digest: Digest) -> Result<watch::Receiver<Option<Outcome>>, Fault> {
        let mut questions = self.shared.questions();
        if let Some(question) = questions.get(&digest) {
            return Ok(question.clone());
        }
        if questions.len() >= MOST_QUESTIONS {
            return Err(Fault::Unavailable { retry_after: answer::PAUSE });
        }
        let (announce, question) = watch::channel(None);
        questions.insert(digest, question.clone());
        drop(questions);
        let duty = Duty { shared: self.shared.clone(), token: digest, announce };
        let token = token.clone();
        let task = async move {
            let outcome = duty.shared.ask(&token).await;
            duty.answer(outcome);
        };
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(task)),
            None => drop(tokio::spawn(task)),
        }
        Ok(question)
    }
}

impl Duty {
    fn answer(self, outcome: Outcome) {
        if let Ok(heard) = &outcome {
            self.shared.heard.insert(self.token, heard.clone());
        }
        // off the list before it is announced: whoever is not content must not find this question again
        self.shared.questions().remove(&self.token);
        self.announce.send_replace(Some(outcome));
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if self.announce.borrow().is_none() {
            self.shared.questions().remove(&self.token);
        }
    }
}

impl Shared {
    fn remembered(&self, token: &Digest) -> Option<Heard> {
        let now = self.clock.monotonic();
        let is_recent = |heard: &Heard| now.saturating_duration_since(heard.asked_at) < REMEMBERED;
        self.heard.get(token).filter(is_recent)
    }

    async fn ask(&self, token: &UserToken) -> Outcome {
        let now = self.clock.monotonic();
        if let Some((fault, until)) = *self.pause()
            && now < until
        {
            return Err(fault);
        }
        let late = Fault::Unavailable { retry_after: answer::PAUSE };
        // who has to wait for a turn that long is let go, whatever the server could have said
        let turn = tokio::time::timeout(self.provider.timeout, self.turns.acquire()).await;
        let (Ok(Ok(_turn)), asked_at) = (turn, self.clock.monotonic()) else { return Err(late) };
        let answered = tokio::time::timeout(self.provider.timeout, self.ask_with_each_credential(token));
        let outcome = answered.await.unwrap_or(Err(late));
        if let Err(fault) = &outcome {
            self.rest(*fault);
        }
        outcome.map(|(word, size)| Heard { word: Arc::new(word), asked_at, size })
    }

    /// Leaves the server alone for as long as `fault` asks for. What else it answers meanwhile, to questions that were under
    /// way, makes that no shorter.
    fn rest(&self, fault: Fault) {
        let Some(until) = fault.pause().map(|pause| self.clock.monotonic() + pause) else { return };
        let mut pause = self.pause();
        if pause.is_none_or(|(_, longest)| longest < until) {
            *pause = Some((fault, until));
        }
    }

    /// One credential after the other, until one is not refused.
    async fn ask_with_each_credential(&self, token: &UserToken) -> Result<(Word, u32), Fault> {
        let endpoint = self.metadata.endpoint(Endpoint::Introspection).await.map_err(|error| {
            self.log(&error);
            match error {
                metadata::Error::NotDiscoverable | metadata::Error::Unnamed(_) => Fault::Unaskable,
                metadata::Error::Document(_) => Fault::BadResponse,
                _ => Fault::Unavailable { retry_after: answer::PAUSE },
            }
        })?;
        let mut refused = 0;
        let mut last = Fault::Unaskable;
        while let Some(proof) = self.authentication.proof(&self.provider, endpoint.as_str(), refused).await {
            refused += 1;
            match proof {
                Err(error) => self.log(&*error),
                Ok(proof) => {
                    let response = self.send(endpoint.as_str(), token, proof).await?;
                    if response.status() != StatusCode::UNAUTHORIZED {
                        return self.read(&response);
                    }
                    last = Fault::Refused;
                }
            }
        }
        self.log(&last);
        Err(last)
    }

    fn read(&self, response: &Response<Bytes>) -> Result<(Word, u32), Fault> {
        let size = u32::try_from(response.body().len()).unwrap_or(u32::MAX).saturating_add(512);
        match Word::read(response) {
            Ok(word) => Ok((word, size)),
            Err(fault) => {
                let (identity_provider, status) = (&self.provider.name, response.status().as_u16());
                tracing::warn!(%identity_provider, status, error = logs::report(&fault), "introspection failed");
                Err(fault)
            }
        }
    }

    async fn send(&self, endpoint: &str, token: &UserToken, proof: Proof) -> Result<Response<Bytes>, Fault> {
        let Proof { parameters, authorization, client } = proof;
        let own = [("token", token.expose()), ("token_type_hint", "access_token")];
        let proofs = parameters.iter().map(|(name, secret)| (*name, secret.expose()));
        let mut request = Request::post(endpoint)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(form(own.into_iter().chain(proofs).collect())))
            .map_err(|_| Fault::Unaskable)?;
        if let Some(authorization) = authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization);
        }
        let bounds = Bounds { timeout: self.provider.timeout, body: answer::MAX_BYTES };
        let answer = client.as_ref().unwrap_or(&self.client).send(request, bounds).await;
        answer.map_err(|error| {
            self.log(&error);
            match error {
                crate::net::client::Error::TooLong(_) => Fault::BadResponse,
                _ => Fault::Unavailable { retry_after: answer::PAUSE },
            }
        })
    }

    /// Says why, as the refusal that follows does not.
    fn log(&self, error: &(dyn std::error::Error + 'static)) {
        let identity_provider = &self.provider.name;
        tracing::warn!(%identity_provider, error = logs::report(error), "introspection failed");
    }

    /// Nothing that can fail happens under these locks, so a poisoned one is whole.
    fn questions(&self) -> MutexGuard<'_, HashMap<Digest, watch::Receiver<Option<Outcome>>>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause(&self) -> MutexGuard<'_, Option<(Fault, Instant)>> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The form, encoded. Its memory is wiped when the last clone is dropped.
fn form(pairs: Vec<(&str, &str)>) -> Bytes {
    // a byte becomes three at most: with this much room no copy is left behind by growing
    let room = pairs.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut form = form_urlencoded::Serializer::new(String::with_capacity(room));
    form.extend_pairs(pairs);
    Bytes::from_owner(Zeroizing::new(form.finish().into_bytes()))
}

/// Shows no claim.
impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Heard(..)")
    }
}
