//! An upstream answers token B with `401`: whether another token is worth a try, or what the caller is to be told.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::config;
use crate::config::AuthorizationServer;
use crate::domain::caller::Caller;
use crate::domain::caller::Principal;
use crate::domain::token::DownstreamToken;
use crate::pipeline::exchange::Exchanged;
use crate::pipeline::exchange::Exchanger;
use crate::pipeline::exchange::Shared;
use crate::pipeline::exchange::demand::Claims;
use crate::pipeline::exchange::demand::Demand;
use crate::pipeline::exchange::demand::StepUp;
use crate::pipeline::exchange::errand::Errand;
use crate::pipeline::exchange::errand::Instead;
use crate::pipeline::exchange::errand::Wanted;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::error::OAuthError;
use crate::pipeline::exchange::key::CacheKey;
use crate::pipeline::exchange::rounds::Round;
use crate::pipeline::exchange::row::Kind;
use crate::telemetry::lead::Asker;

/// A token that is younger is not at fault: another one would fare no better.
const YOUNG: Duration = Duration::from_secs(30);

/// A token B that its upstream refuses.
#[derive(Clone, Copy, Debug)]
pub struct Rejected<'a> {
    /// Whose token it is.
    pub caller: &'a Caller,
    /// What the route wants.
    pub exchange: &'a Arc<config::Exchange>,
    /// The token.
    pub token: &'a DownstreamToken,
    /// When it was asked for.
    pub asked_at: Instant,
    /// What the upstream demands.
    pub demand: &'a Demand,
    /// What can be done with another token.
    pub chance: Chance,
    /// The request that was refused.
    pub asker: Option<Asker<'a>>,
}

/// Whether the request that was refused may be sent with another token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chance {
    /// It may.
    Once,
    /// It may not: its body is gone.
    Never,
    /// It was.
    Used,
}

impl Exchanger {
    /// Another token to send the request with; `None` if the upstream's answer is to be passed on.
    ///
    /// # Errors
    /// If the caller is to be told something else: what the user's next sign-in must satisfy, or why there is no other
    /// token.
    pub async fn rejected(&self, rejected: Rejected<'_>) -> Result<Option<Exchanged>, Error> {
        let Rejected { caller, exchange, demand, .. } = rejected;
        let key = self.shared.key(caller, exchange)?;
        let known = self.shared.known_to(caller)?;
        let outcome = match (&demand.claims, &demand.step_up, &known.provider.server) {
            (Some(claims), _, _) => self.shared.challenged(rejected, key, claims).await.map(Some),
            // Entra knows no other way to ask for a sign-in than by claims
            (None, Some(step_up), AuthorizationServer::Oidc(_)) => {
                Err(self.shared.stepped_up(rejected, key, step_up))
            }
            (None, _, _) => self.shared.refused(rejected, key).await,
        };
        let is_ours = caller.claims.principal == Principal::Application;
        outcome.map_err(|error| match error.is_interaction() || error.kind == Kind::InteractionLoop {
            // the token is our own, and no sign-in of the caller's changes it
            true if is_ours => Error::ours(Kind::Misconfigured).caused_by(error),
            _ => error,
        })
    }
}

impl Shared {
    /// Another token, which satisfies the `claims`, or whose claims the caller is to satisfy.
    async fn challenged(
        self: &Arc<Self>,
        rejected: Rejected<'_>,
        key: CacheKey,
        claims: &Claims,
    ) -> Result<Exchanged, Error> {
        let wanted = rejected.wanted(key, Some(claims));
        let round = self.rounds.of(wanted.flight());
        if let Round::TooMany(told) = &round {
            return Err(challenge(Kind::InteractionLoop, told));
        }
        let outcome = match rejected.chance {
            // until there is another token the old one stays: whoever gets it meanwhile is led to this very exchange
            Chance::Once => self.had(wanted).await,
            Chance::Never | Chance::Used => Err(challenge(Kind::UpstreamChallenge, claims)),
        };
        // after the second challenge nothing is evicted that would have to be asked for again before the third
        if round == Round::First && rejected.chance != Chance::Used {
            self.evict(rejected.wanted(key, None).filed(), rejected.token);
        }
        let error = match outcome {
            Err(error) if error.is_interaction() => error.demanding(claims),
            settled => return settled,
        };
        let told = error.answer.as_ref().and_then(|answer| Claims::parse(answer.claims.as_deref()?));
        self.rounds.note(wanted.flight(), wanted.filed().holder, told.as_ref().unwrap_or(claims));
        Err(error)
    }

    /// What the caller is told of a sign-in that is to be of another kind (RFC 9470 section 3). The tokens that the next
    /// sign-in gives may look like those before, so that the token B at hand must not serve them.
    fn stepped_up(&self, rejected: Rejected<'_>, key: CacheKey, step_up: &StepUp) -> Error {
        if !self.memory.was_evicted_lately(key) {
            self.evict(rejected.wanted(key, None).filed(), rejected.token);
        }
        let answer = OAuthError {
            error: "insufficient_user_authentication".to_owned(),
            acr_values: step_up.acr_values.clone(),
            max_age: step_up.max_age,
            ..OAuthError::default()
        };
        Error::of_upstream(Kind::UpstreamChallenge, answer)
    }

    /// Another token for an upstream that does not say what it lacks.
    async fn refused(
        self: &Arc<Self>,
        rejected: Rejected<'_>,
        key: CacheKey,
    ) -> Result<Option<Exchanged>, Error> {
        let age = self.clock.monotonic().saturating_duration_since(rejected.asked_at);
        if rejected.chance == Chance::Used || age <= YOUNG {
            return Ok(None);
        }
        // if another caller had it evicted, there is or will be another one
        let is_held = self.memory.holds(key, rejected.token);
        if is_held && self.memory.was_evicted_lately(key) {
            return Ok(None);
        }
        let outcome = match rejected.chance {
            Chance::Once => self.had(rejected.wanted(key, None)).await.map(Some),
            Chance::Never | Chance::Used => Ok(None),
        };
        if is_held {
            self.evict(rejected.wanted(key, None).filed(), rejected.token);
        }
        outcome
    }
}

impl<'a> Rejected<'a> {
    fn wanted(self, key: CacheKey, claims: Option<&'a Claims>) -> Wanted<'a> {
        let errand = Errand::Caller(self.caller, self.exchange);
        Wanted { key, errand, instead: Some(Instead { of: self.token, claims }), asker: self.asker }
    }
}

/// What the caller is told of an upstream that demands `claims`.
fn challenge(kind: Kind, claims: &Claims) -> Error {
    let claims = Some(claims.text().to_owned());
    Error::of_upstream(
        kind,
        OAuthError { error: "insufficient_claims".to_owned(), claims, ..OAuthError::default() },
    )
}
