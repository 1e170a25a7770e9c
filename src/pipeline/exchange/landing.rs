//! One flight: what is wanted is asked for, and what comes of it is kept, whoever still waits for it.

use std::sync::Arc;
use std::time::Instant;

use crate::config::CacheKeyMode;
use crate::domain::digest::Digest;
use crate::domain::token::DownstreamToken;
use crate::pipeline::exchange::Exchanged;
use crate::pipeline::exchange::Shared;
use crate::pipeline::exchange::audit;
use crate::pipeline::exchange::demand::Claims;
use crate::pipeline::exchange::endpoint::Answer;
use crate::pipeline::exchange::endpoint::Question;
use crate::pipeline::exchange::errand::Errand;
use crate::pipeline::exchange::errand::Journey;
use crate::pipeline::exchange::errand::Load;
use crate::pipeline::exchange::errand::Wanted;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::filed::Filed;
use crate::pipeline::exchange::flight::Ticket;
use crate::pipeline::exchange::grant::Purpose;
use crate::pipeline::exchange::grant::Terms;
use crate::pipeline::exchange::key::CacheKey;
use crate::pipeline::exchange::lifetime::lifetime;
use crate::pipeline::exchange::redis::Claim;
use crate::pipeline::exchange::redis::Record;
use crate::pipeline::exchange::renewal::spread;
use crate::pipeline::exchange::row::Row;
use crate::pipeline::exchange::row::Sharing;
use crate::telemetry::lead::Lead;
use crate::telemetry::metrics::CacheResult;

/// How a flight ended.
#[derive(Clone, Debug)]
pub struct Landed {
    /// Whose token A it used.
    pub assertion: Digest,
    /// What came of it.
    pub result: Result<Granted, Error>,
}

/// What a flight brings home.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The token.
    pub token: DownstreamToken,
    /// The digest of the claims that it was asked to satisfy.
    pub claims: Option<Digest>,
    /// Who asked for it: this proxy, or another one.
    pub cache: CacheResult,
    /// Its request's id in the IdP's logs, if this proxy sent it.
    pub correlation_id: Option<Arc<str>>,
    /// When it was asked for.
    pub asked_at: Instant,
}

impl Shared {
    /// Makes the journey, unless another proxy did, and lands with what came of it.
    pub(super) async fn fly(self: Arc<Self>, journey: Journey, ticket: Ticket<Landed>) {
        let assertion = journey.assertion;
        let land = |result| ticket.land(Landed { assertion, result });
        let lease = match self.claim(&journey).await {
            Claim::Found(record) => return land(Ok(self.adopt(&journey, record))),
            Claim::Ours(lease) => Some(lease),
            Claim::Free => None,
        };
        let started = self.clock.monotonic();
        let result = self.ask(&journey).await.map_err(|error| journey.seen(error));
        let took = self.clock.monotonic().saturating_duration_since(started);
        audit::told(&journey, &result, took);
        match result {
            Ok(answer) => {
                let (granted, record) = self.keep(&journey, answer);
                land(Ok(granted));
                self.share(&journey, record.as_ref(), lease).await;
            }
            Err(error) => {
                if self.memory.refuse(journey.filed(), journey.flight, assertion, &error) {
                    self.disown(journey.key);
                }
                // before it lands: whoever goes next must not find the lease taken
                self.share(&journey, None, lease).await;
                land(Err(error));
            }
        }
    }

    /// Keeps the answer as long as it may be: a record of it is for others too.
    fn keep(&self, journey: &Journey, answer: Answer) -> (Granted, Option<Record>) {
        let Journey { key, known, .. } = journey;
        if let (CacheKeyMode::User, Load::User(caller, _)) = (self.cache.key, &journey.load) {
            self.advice.give(&caller.claims);
        }
        let (token, asked_at) = (answer.success.token, answer.asked_at);
        let granted = Granted {
            token: token.clone(),
            claims: journey.claims.as_ref().map(Claims::digest),
            cache: CacheResult::Miss,
            correlation_id: Some(answer.correlation_id),
            asked_at: asked_at.monotonic,
        };
        let Some(lifetime) = lifetime(answer.success.stated, asked_at.wall, self.cache.expiry_margin) else {
            tracing::warn!(
                identity_provider = %known.provider.name,
                "a token's stated life is over or absurd; it is used once. Are the clocks right?"
            );
            return (granted, None);
        };
        let lifetime = spread(lifetime, asked_at.wall, key.digest());
        let is_kept = self.memory.keep(journey.filed(), token.clone(), granted.claims, lifetime, asked_at);
        let record = Record { token, claims: granted.claims, lifetime, asked_at: asked_at.wall };
        (granted, is_kept.then_some(record))
    }

    pub(super) async fn ask(self: &Arc<Self>, journey: &Journey) -> Result<Answer, Error> {
        let url = journey.url().await?;
        if !journey.wants_actor() {
            return self.ask_as(None, journey, &url).await;
        }
        let key = CacheKey::of_actor(&journey.known.provider);
        let actor = self.actor(key, journey).await?;
        match self.ask_as(Some(&actor.token), journey, &url).await {
            Err(error) if error.row == Some(Row::Refused) && self.may_be_void(key, &actor) => {
                self.evict(Filed { key, holder: None }, &actor.token);
                let newer = self.actor(key, journey).await?;
                self.ask_as(Some(&newer.token), journey, &url).await
            }
            settled => settled,
        }
    }

    async fn ask_as(
        &self,
        actor: Option<&DownstreamToken>,
        journey: &Journey,
        url: &str,
    ) -> Result<Answer, Error> {
        let purpose = match &journey.load {
            Load::User(caller, exchange) => Purpose::User { exchange, assertion: &caller.token, actor },
            Load::Ourselves(_, exchange) => Purpose::Ourselves { exchange },
            Load::Actor => Purpose::Actor,
        };
        let claims = journey.claims.as_ref().map(Claims::text);
        let terms = Terms { provider: &journey.known.provider, purpose, claims };
        let (issuer, tries) = (journey.issuer.as_str(), journey.tries);
        let witness = journey.witness.as_deref();
        let point = journey.lead.as_ref().and_then(|lead| lead.point.as_ref());
        self.endpoint.ask(Question { url, issuer, terms, tries, witness, point }).await
    }

    /// The token that says who acts: kept, shared and renewed like any other.
    async fn actor(self: &Arc<Self>, key: CacheKey, journey: &Journey) -> Result<Exchanged, Error> {
        let asker = journey.lead.as_ref().map(Lead::asker);
        let wanted = Wanted { key, errand: Errand::Actor(&journey.known), instead: None, asker };
        Box::pin(self.had(wanted)).await
    }

    /// Whether a refused exchange may fare better with another actor token: an IdP that does not know a kept one any more
    /// says no more than that the request is invalid (RFC 8693 section 2.2.2). Not all that is refused is refused for
    /// that, so a new one is tried for now and then.
    fn may_be_void(&self, key: CacheKey, actor: &Exchanged) -> bool {
        let is_kept = self.memory.holds(key, &actor.token);
        actor.cache != CacheResult::Miss && !(is_kept && self.memory.was_evicted_lately(key))
    }
}

impl Landed {
    /// Whether it is also the answer to what is wanted: a refusal of another's token A may not be, nor a token that another
    /// proxy left.
    pub fn answers(&self, wanted: &Wanted<'_>) -> bool {
        match &self.result {
            Err(Error { row: Some(row), .. }) => {
                row.sharing() == Sharing::All || self.assertion == wanted.assertion()
            }
            Err(_) => true,
            Ok(granted) => {
                granted.cache != CacheResult::Shared || wanted.is_met_by(&granted.token, granted.claims)
            }
        }
    }
}
