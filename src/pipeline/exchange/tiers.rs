//! The two tiers of the cache: memory is asked first, and what other proxies share where it has nothing to say.

use std::time::Duration;

use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::token::DownstreamToken;
use crate::pipeline::exchange::Shared;
use crate::pipeline::exchange::demand::Claims;
use crate::pipeline::exchange::endpoint::Moment;
use crate::pipeline::exchange::errand::Journey;
use crate::pipeline::exchange::errand::Replacing;
use crate::pipeline::exchange::filed::Filed;
use crate::pipeline::exchange::key::CacheKey;
use crate::pipeline::exchange::landing::Granted;
use crate::pipeline::exchange::redis::Claim;
use crate::pipeline::exchange::redis::Lease;
use crate::pipeline::exchange::redis::Record;
use crate::pipeline::exchange::redis::SKEW;
use crate::telemetry::metrics::CacheResult;

/// How exact the wall clock is.
const ONE_SECOND: Duration = Duration::from_secs(1);

/// For how long a purge is told to Redis again and again.
const TOLD_FOR: Duration = Duration::from_secs(24 * 60 * 60);

impl Shared {
    /// The token that another proxy left, or the duty to ask the IdP.
    pub(super) async fn claim(&self, journey: &Journey) -> Claim {
        match &self.redis {
            Some(redis) => {
                redis.claim(journey.filed(), journey.flight, |record| self.will_do(journey, record)).await
            }
            None => Claim::Free,
        }
    }

    /// Takes over what another proxy left.
    pub(super) fn adopt(&self, journey: &Journey, record: Record) -> Granted {
        let Record { token, claims, lifetime, asked_at } = record;
        let asked_at = self.past(asked_at);
        self.memory.keep(journey.filed(), token.clone(), claims, lifetime, asked_at);
        let (cache, asked_at) = (CacheResult::Shared, asked_at.monotonic);
        Granted { token, claims, cache, correlation_id: None, asked_at }
    }

    /// Gives others the record, if there is one, and then the lease back, if there was one.
    pub(super) async fn share(&self, journey: &Journey, record: Option<&Record>, lease: Option<Lease>) {
        let Some(redis) = &self.redis else { return };
        if let Some(record) = record {
            redis.keep(journey.filed(), record).await;
        }
        if let Some(lease) = lease {
            redis.release(lease).await;
        }
    }

    /// Drops `token`, which its upstream refuses, unless another one has taken its place.
    pub(super) fn evict(&self, filed: Filed, token: &DownstreamToken) {
        if self.memory.evict(filed, token) {
            self.disown(filed.key);
        }
    }

    /// Lets no other proxy find the token of `key` any more; nobody waits for that.
    pub(super) fn disown(&self, key: CacheKey) {
        if let Some(redis) = self.redis.clone() {
            self.spawn(async move { redis.remove(key).await });
        }
    }

    /// Lets no other proxy find what these users had until now; nobody waits for that. While Redis does not take note of
    /// it, it is told again.
    pub(super) fn mark_purged(&self, users: &[Digest]) {
        let Some(redis) = self.redis.clone() else { return };
        let (users, clock) = (users.to_vec(), self.clock.clone());
        let begun = clock.monotonic();
        self.spawn(async move {
            for user in users {
                while !redis.purge(user).await
                    && clock.monotonic().saturating_duration_since(begun) < TOLD_FOR
                {
                    tokio::time::sleep(ONE_SECOND).await;
                }
            }
        });
    }

    /// Whether what another proxy left serves the journey's purpose.
    fn will_do(&self, journey: &Journey, record: &Record) -> bool {
        let now = self.clock.now();
        let is_live = now < record.lifetime.expires_on;
        // where one of the clocks is wrong, so may the end be that was reckoned by it
        let is_credible = record.asked_at <= now.after(SKEW);
        let is_meant = match &journey.replacing {
            Replacing::Nothing => true,
            Replacing::Refused(token) => !token.equals(&record.token),
            Replacing::Due => now < record.lifetime.renew_at,
        };
        let claims = journey.claims.as_ref().map(Claims::digest);
        is_live
            && is_credible
            && is_meant
            && (claims.is_none() || claims == record.claims)
            && !self.is_disowned(journey, record)
    }

    /// Whether the record is of a token that was found to be of no use. It says no more than the second it was asked for in,
    /// of which the first moment counts.
    fn is_disowned(&self, journey: &Journey, record: &Record) -> bool {
        let asked_at = self.past(record.asked_at).monotonic.checked_sub(ONE_SECOND);
        asked_at.is_none_or(|asked_at| self.memory.disowns(journey.filed(), asked_at))
    }

    /// A moment of the past on both clocks. One that is yet to come, by a clock that runs ahead of ours, is now: what was to
    /// last from then on lasts as long from now on, and no longer.
    fn past(&self, wall: UnixTime) -> Moment {
        let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
        match monotonic.checked_sub(now.since(wall)) {
            Some(monotonic) => Moment { wall, monotonic },
            None => Moment { wall: now, monotonic },
        }
    }
}
