//! Fourth stage: a caller becomes token B.
//!
//! **In:** a validated [`Caller`] and what the route wants. **Out:** a live token B that was issued for this very
//! caller, or why there is none. **Never:** token A in its place, a token past its end, another user's token.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::runtime::Handle;

use crate::config;
use crate::config::IdentityProvider;
use crate::domain::caller::Caller;
use crate::domain::clock::Clock;
use crate::domain::derived::Deriver;
use crate::domain::name::Name;
use crate::domain::token::DownstreamToken;
use crate::net::client_authentication::ClientAuthentication;
use crate::net::clients::Clients;
use crate::net::metadata::Metadata;
use crate::pipeline::exchange::credential::Provers;
use crate::pipeline::exchange::endpoint::TokenEndpoint;
use crate::pipeline::exchange::errand::Errand;
use crate::pipeline::exchange::errand::Journey;
use crate::pipeline::exchange::errand::Known;
use crate::pipeline::exchange::errand::Wanted;
use crate::pipeline::exchange::flight::Boarding;
use crate::pipeline::exchange::flight::Flights;
use crate::pipeline::exchange::flight::Waiter;
use crate::pipeline::exchange::key::CacheKey;
use crate::pipeline::exchange::landing::Landed;
use crate::pipeline::exchange::memory::Age;
use crate::pipeline::exchange::memory::Entry;
use crate::pipeline::exchange::memory::Found;
use crate::pipeline::exchange::memory::Memory;
use crate::pipeline::exchange::redis::Redis;
use crate::pipeline::exchange::rounds::Rounds;
use crate::pipeline::exchange::session::Advice;
use crate::pipeline::exchange::succession::known;
use crate::pipeline::exchange::succession::redis;
use crate::telemetry::lead::Asker;
use crate::telemetry::logs;
use crate::telemetry::metrics::CacheResult;
use crate::telemetry::metrics::Metrics;

pub mod aadsts;
mod audit;
mod breaker;
pub mod classify;
pub mod credential;
pub mod demand;
mod endpoint;
mod errand;
mod error;
pub mod filed;
mod flight;
pub mod grant;
pub mod key;
mod landing;
pub mod lifetime;
pub mod memory;
pub mod plan;
mod proof;
mod purge;
pub mod redis;
pub mod rehearsal;
mod rejected;
mod renewal;
mod request;
mod rounds;
pub mod row;
mod session;
mod succession;
pub mod survey;
mod tiers;
pub mod trial;
mod weather;
mod witness;

pub use endpoint::Moment;
pub use error::Error;
pub use error::OAuthError;
pub use memory::Purged;
pub use redis::probe;
pub use rejected::Chance;
pub use rejected::Rejected;
pub use row::Kind;

/// How many flights one caller sees end for others. Callers of one key with different tokens A that are all refused fly
/// one after the other, and no refusal of another's token A may answer them: so who still waits after this many is
/// told to come back.
const MOST_FLIGHTS: u32 = 8;

/// When those come back.
const OVERLOADED: Duration = Duration::from_secs(1);

/// Exchanges tokens A for tokens B, and remembers them.
#[derive(Debug)]
pub struct Exchanger {
    shared: Arc<Shared>,
}

/// A token B, and how it was come by.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// The token.
    pub token: DownstreamToken,
    /// Whether it was there already.
    pub cache: CacheResult,
    /// How long it was waited for; `None` if it was there.
    pub waited: Option<Duration>,
    /// Its exchange's id in the IdP's logs; `None` if it was there.
    pub correlation_id: Option<Arc<str>>,
    /// When it was asked for.
    pub asked_at: Instant,
}

/// What callers and flights share.
#[derive(Debug)]
struct Shared {
    providers: HashMap<Name, Known>,
    cache: config::Cache,
    /// Under whose name cache keys are kept with the claims they were made of.
    deriver: Deriver,
    memory: Memory,
    /// What proxies share; `None` = each has its own.
    redis: Option<Arc<Redis>>,
    rounds: Rounds,
    advice: Arc<Advice>,
    flights: Arc<Flights<Landed>>,
    endpoint: TokenEndpoint,
    provers: Arc<Provers>,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Where flights run: those who wait may be on runtimes of their own.
    runtime: Option<Handle>,
}

impl Exchanger {
    /// An exchanger for these providers; `metadata` is of those among them that are found by discovery. Exchanges run on the runtime this is called in, if any, whatever runtime
    /// their callers are on.
    pub fn new(
        providers: &[Arc<IdentityProvider>],
        metadata: &HashMap<Name, Metadata>,
        cache: &config::Cache,
        clients: Clients,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let provers = Arc::new(Provers::new(providers, clients.direct(), &clock, &metrics));
        let shared = Shared {
            providers: known(providers, metadata),
            cache: cache.clone(),
            deriver: Deriver::new(),
            memory: Memory::new(cache, clock.clone(), metrics.clone()),
            redis: redis(cache, &clock, &metrics),
            rounds: Rounds::new(cache, clock.clone()),
            advice: Arc::default(),
            flights: Arc::new(Flights::new()),
            endpoint: TokenEndpoint::new(clients, provers.clone(), clock.clone(), metrics.clone()),
            provers,
            clock,
            metrics,
            runtime: Handle::try_current().ok(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Begins to read our certificates, so that their end is known before one is used, and connects to Redis.
    pub fn start(&self) {
        let provers = self.shared.provers.clone();
        self.shared.spawn(async move { provers.start().await });
        if let Some(redis) = self.shared.redis.clone() {
            self.shared.spawn(async move { redis.start().await });
        }
    }

    /// The token B that `exchange` gives `caller`: from memory, or from the exchange that is under way, or from a new
    /// one. Dropping the future ends the waiting, not the exchange.
    ///
    /// # Errors
    /// If there is none to be had: [`Error::kind`] says what the caller can do about it.
    pub async fn token(&self, caller: &Caller, exchange: &Arc<config::Exchange>) -> Result<Exchanged, Error> {
        self.token_for(caller, exchange, None).await
    }

    /// The same, because of the request of `asker`.
    ///
    /// # Errors
    /// If there is none to be had: [`Error::kind`] says what the caller can do about it.
    pub async fn token_for(
        &self,
        caller: &Caller,
        exchange: &Arc<config::Exchange>,
        asker: Option<Asker<'_>>,
    ) -> Result<Exchanged, Error> {
        let key = self.shared.key(caller, exchange)?;
        let wanted = Wanted { key, errand: Errand::Caller(caller, exchange), instead: None, asker };
        let result = self.shared.had(wanted).await;
        let cache = result.as_ref().map_or(CacheResult::Miss, |exchanged| exchanged.cache);
        self.shared.metrics.cache_request(cache);
        result
    }

    /// The token B that is held for `caller` at this moment. Nothing is asked for.
    pub fn held(&self, caller: &Caller, exchange: &Arc<config::Exchange>) -> Option<Exchanged> {
        let key = self.shared.key(caller, exchange).ok()?;
        let wanted = Wanted { key, errand: Errand::Caller(caller, exchange), instead: None, asker: None };
        self.shared.known(wanted)?.ok()
    }

    /// Our credentials, for whoever else asks an identity provider in our name.
    pub fn client_authentication(&self) -> Arc<dyn ClientAuthentication> {
        self.shared.provers.clone()
    }

    /// How many tokens are held.
    pub fn cached(&self) -> u64 {
        self.shared.memory.tokens()
    }
}

impl Shared {
    /// The key of the token B that `exchange` gives `caller`: made once, and kept with the claims it is made of.
    fn key(&self, caller: &Caller, exchange: &Arc<config::Exchange>) -> Result<CacheKey, Error> {
        let claims = &caller.claims;
        let digest = claims.derived.digest(&self.deriver, exchange, || {
            let known = self.known_to(caller)?;
            let key = CacheKey::new(self.cache.key, &known.provider, exchange, claims);
            // authentication gives every caller of an Entra provider a tenant
            key.map(|key| key.digest()).ok_or_else(|| Error::ours(Kind::Internal))
        });
        digest.map(CacheKey::from)
    }

    /// Whose caller it is.
    fn known_to(&self, caller: &Caller) -> Result<&Known, Error> {
        let known = self.providers.get(&caller.claims.identity_provider);
        // authentication gives every caller a provider
        known.ok_or_else(|| Error::ours(Kind::Internal))
    }

    /// The token that is wanted: from memory, or from a flight.
    async fn had(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<Exchanged, Error> {
        if let Some(known) = self.known(wanted) {
            return known;
        }
        let started = self.clock.monotonic();
        // on the heap: most requests have no need of it
        let fetched = Box::pin(self.fetched(wanted)).await;
        let waited = Some(self.clock.monotonic().saturating_duration_since(started));
        fetched.map(|exchanged| Exchanged { waited, ..exchanged }).map_err(|error| error.after(waited))
    }

    /// What memory has to say.
    fn known(self: &Arc<Self>, wanted: Wanted<'_>) -> Option<Result<Exchanged, Error>> {
        match self.find(wanted) {
            Found::Live(entry, age) => Some(Ok(self.serve(&entry, age, wanted))),
            Found::Refused(error) => Some(Err(error)),
            Found::Nothing => None,
        }
    }

    fn find(&self, wanted: Wanted<'_>) -> Found {
        let found = self.memory.find(wanted.key, wanted.assertion());
        match &found {
            Found::Live(entry, _) if wanted.is_met_by(&entry.token, entry.claims) => found,
            _ if wanted.instead.is_none() => found,
            _ => self.refusal(wanted).map_or(Found::Nothing, Found::Refused),
        }
    }

    fn refusal(&self, wanted: Wanted<'_>) -> Option<Error> {
        self.memory.refusal(wanted.key, wanted.flight(), wanted.assertion())
    }

    async fn fetched(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<Exchanged, Error> {
        for _ in 0..MOST_FLIGHTS {
            if let Some(waiter) = self.board(wanted)? {
                let landed = waiter.landed().await.ok_or_else(|| Error::ours(Kind::Internal))?;
                // where it says nothing of this token A, or will not do here, there is a flight of its own
                if landed.answers(&wanted) {
                    return landed.result.map(|granted| Exchanged {
                        token: granted.token,
                        cache: granted.cache,
                        waited: None,
                        correlation_id: granted.correlation_id,
                        asked_at: granted.asked_at,
                    });
                }
            }
            // it may have been found in between
            if let Some(known) = self.known(wanted) {
                return known;
            }
        }
        Err(Error::ours(Kind::Overloaded { retry_after: OVERLOADED }))
    }

    fn serve(self: &Arc<Self>, entry: &Entry, age: Age, wanted: Wanted<'_>) -> Exchanged {
        // it is renewed for everyone, who need not want it instead of another one
        let wanted = Wanted { instead: None, ..wanted };
        let is_open = || self.refusal(wanted).is_none();
        let cache = match age {
            Age::Fresh => CacheResult::Hit,
            Age::Due => CacheResult::Stale,
        };
        if age == Age::Due && is_open() && entry.may_be_renewed(self.clock.monotonic()) {
            self.renew(wanted);
        }
        Exchanged {
            token: entry.token.clone(),
            cache,
            waited: None,
            correlation_id: None,
            asked_at: entry.asked_at,
        }
    }

    /// Fetches a new token while the old one serves. Nobody waits for it, so its failure is told here.
    fn renew(self: &Arc<Self>, wanted: Wanted<'_>) {
        // that there is an entry to be renewed means that its provider is known
        let Ok(journey) = self.journey(wanted).map(Journey::renewing) else { return };
        let Boarding::Started(ticket, waiter) = self.flights.board(wanted.flight(), || false) else {
            return;
        };
        let identity_provider = journey.known.provider.name.clone();
        self.spawn(self.clone().fly(journey, ticket));
        self.spawn(async move {
            if let Some(Landed { result: Err(error), .. }) = waiter.landed().await {
                let cause = logs::report(&error);
                tracing::warn!(%identity_provider, reason = error.kind.reason(), cause, "a token was not renewed");
            }
        });
    }

    /// A place on the flight for what is wanted; `None` if there is no need any more.
    fn board(self: &Arc<Self>, wanted: Wanted<'_>) -> Result<Option<Waiter<Landed>>, Error> {
        let journey = self.journey(wanted)?;
        let is_needless = || !matches!(self.find(wanted), Found::Nothing);
        Ok(match self.flights.board(wanted.flight(), is_needless) {
            Boarding::Needless => None,
            Boarding::Joined(waiter) => {
                self.metrics.exchange_coalesced();
                Some(waiter)
            }
            Boarding::Started(ticket, waiter) => {
                self.spawn(self.clone().fly(journey, ticket));
                Some(waiter)
            }
        })
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.runtime {
            Some(runtime) => runtime.spawn(task),
            None => tokio::spawn(task),
        };
    }

    fn journey(&self, wanted: Wanted<'_>) -> Result<Journey, Error> {
        match wanted.errand {
            Errand::Caller(caller, exchange) => {
                Journey::of_caller(&wanted, self.known_to(caller)?, caller, exchange)
            }
            Errand::Actor(known) => Journey::of_actor(&wanted, known),
        }
    }
}

#[cfg(test)]
mod tests;
