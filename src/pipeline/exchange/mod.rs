//! Fourth stage: a caller becomes token B.
//!
//! **In:** a validated [`Caller`] and what the route wants. **Out:** a live token B that was issued for this very
//! caller, or why there is none. **Never:** token A in its place, a token past its end, another user's token.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::config;
use crate::config::CacheKeyMode;
use crate::config::IdentityProvider;
use crate::domain::caller::Caller;
use crate::domain::caller::Claims;
use crate::domain::clock::Clock;
use crate::domain::derived::Deriver;
use crate::domain::digest::Digest;
use crate::domain::name::Name;
use crate::domain::tenant::TenantId;
use crate::domain::token::DownstreamToken;
use crate::net::client::Client;
use crate::pipeline::exchange::endpoint::Question;
use crate::pipeline::exchange::endpoint::TokenEndpoint;
use crate::pipeline::exchange::flight::Boarding;
use crate::pipeline::exchange::flight::Flights;
use crate::pipeline::exchange::flight::Ticket;
use crate::pipeline::exchange::flight::Waiter;
use crate::pipeline::exchange::key::CacheKey;
use crate::pipeline::exchange::lifetime::lifetime;
use crate::pipeline::exchange::memory::Age;
use crate::pipeline::exchange::memory::Entry;
use crate::pipeline::exchange::memory::Found;
use crate::pipeline::exchange::memory::Memory;
use crate::pipeline::exchange::renewal::spread;
use crate::pipeline::exchange::row::Sharing;
use crate::pipeline::exchange::weather::Tries;
use crate::telemetry::logs;
use crate::telemetry::metrics::CacheResult;
use crate::telemetry::metrics::Metrics;

mod breaker;
pub mod classify;
mod credential;
mod endpoint;
mod error;
mod flight;
pub mod grant;
pub mod key;
pub mod lifetime;
mod memory;
mod renewal;
mod request;
pub mod row;
mod weather;

pub use error::Error;
pub use error::OAuthError;
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
    /// Where flights run: those who wait may be on runtimes of their own.
    runtime: Option<Handle>,
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
}

/// What callers and flights share.
#[derive(Debug)]
struct Shared {
    providers: HashMap<Name, Arc<IdentityProvider>>,
    mode: CacheKeyMode,
    /// Under whose name cache keys are kept with the claims they were made of.
    deriver: Deriver,
    margin: Duration,
    memory: Memory,
    flights: Arc<Flights<Landed>>,
    endpoint: TokenEndpoint,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// A token B that is wanted.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    key: CacheKey,
    caller: &'a Caller,
    exchange: &'a Arc<config::Exchange>,
}

/// All that a flight needs to go on without its caller.
#[derive(Clone, Debug)]
struct Journey {
    key: CacheKey,
    url: String,
    provider: Arc<IdentityProvider>,
    exchange: Arc<config::Exchange>,
    caller: Caller,
    tries: Tries,
}

/// How a flight ended.
#[derive(Clone, Debug)]
struct Landed {
    /// Whose token A it used.
    assertion: Digest,
    result: Result<Granted, Error>,
}

/// What a flight brings home.
#[derive(Clone, Debug)]
struct Granted {
    token: DownstreamToken,
    correlation_id: Arc<str>,
}

impl Exchanger {
    /// An exchanger for these providers. Exchanges run on the runtime this is called in, if any, whatever runtime
    /// their callers are on.
    pub fn new(
        providers: &[Arc<IdentityProvider>],
        cache: &config::Cache,
        client: Client,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let shared = Shared {
            providers: providers.iter().map(|provider| (provider.name.clone(), provider.clone())).collect(),
            mode: cache.key,
            deriver: Deriver::new(),
            margin: cache.expiry_margin,
            memory: Memory::new(cache, clock.clone(), metrics.clone()),
            flights: Arc::new(Flights::new()),
            endpoint: TokenEndpoint::new(client, clock.clone(), metrics.clone()),
            clock,
            metrics,
        };
        Self { shared: Arc::new(shared), runtime: Handle::try_current().ok() }
    }

    /// The token B that `exchange` gives `caller`: from memory, or from the exchange that is under way, or from a new
    /// one. Dropping the future ends the waiting, not the exchange.
    ///
    /// # Errors
    /// If there is none to be had: [`Error::kind`] says what the caller can do about it.
    pub async fn token(&self, caller: &Caller, exchange: &Arc<config::Exchange>) -> Result<Exchanged, Error> {
        let wanted = Wanted { key: self.shared.key(caller, exchange)?, caller, exchange };
        let result = match self.known(wanted) {
            Some(known) => known,
            None => {
                let started = self.shared.clock.monotonic();
                // on the heap: most requests have no need of it
                let fetched = Box::pin(self.fetched(wanted)).await;
                let waited = Some(self.shared.clock.monotonic().saturating_duration_since(started));
                fetched
                    .map(|exchanged| Exchanged { waited, ..exchanged })
                    .map_err(|error| error.after(waited))
            }
        };
        let cache = result.as_ref().map_or(CacheResult::Miss, |exchanged| exchanged.cache);
        self.shared.metrics.cache_request(cache);
        result
    }

    /// How many tokens are held.
    pub fn cached(&self) -> u64 {
        self.shared.memory.tokens()
    }

    /// What memory has to say.
    fn known(&self, wanted: Wanted<'_>) -> Option<Result<Exchanged, Error>> {
        match self.shared.find(wanted) {
            Found::Live(entry, age) => Some(Ok(self.serve(&entry, age, wanted))),
            Found::Refused(error) => Some(Err(error)),
            Found::Nothing => None,
        }
    }

    async fn fetched(&self, wanted: Wanted<'_>) -> Result<Exchanged, Error> {
        for _ in 0..MOST_FLIGHTS {
            if let Some(waiter) = self.board(wanted)? {
                let landed = waiter.landed().await.ok_or_else(|| Error::ours(Kind::Internal))?;
                // a refusal of someone else's token A says nothing about this one: it gets a flight of its own
                if landed.answers(wanted.assertion()) {
                    return landed.result.map(|granted| Exchanged {
                        token: granted.token,
                        cache: CacheResult::Miss,
                        waited: None,
                        correlation_id: Some(granted.correlation_id),
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

    fn serve(&self, entry: &Entry, age: Age, wanted: Wanted<'_>) -> Exchanged {
        let is_open = || self.shared.memory.refusal(wanted.key, wanted.assertion()).is_none();
        let cache = match age {
            Age::Fresh => CacheResult::Hit,
            Age::Due => CacheResult::Stale,
        };
        if age == Age::Due && is_open() && entry.may_be_renewed(self.shared.clock.monotonic()) {
            self.renew(wanted);
        }
        Exchanged { token: entry.token.clone(), cache, waited: None, correlation_id: None }
    }

    /// Fetches a new token while the old one serves. Nobody waits for it, so its failure is told here.
    fn renew(&self, wanted: Wanted<'_>) {
        // that there is an entry to be renewed means that its provider is known
        let Ok(journey) = self.shared.journey(wanted, Tries::One) else { return };
        let Boarding::Started(ticket, waiter) = self.shared.flights.board(wanted.key, || false) else {
            return;
        };
        let identity_provider = journey.provider.name.clone();
        self.spawn(self.shared.clone().fly(journey, ticket));
        self.spawn(async move {
            if let Some(Landed { result: Err(error), .. }) = waiter.landed().await {
                let cause = logs::report(&error);
                tracing::warn!(%identity_provider, reason = error.kind.reason(), cause, "a token was not renewed");
            }
        });
    }

    /// A place on the flight for what is wanted; `None` if there is no need any more.
    fn board(&self, wanted: Wanted<'_>) -> Result<Option<Waiter<Landed>>, Error> {
        let journey = self.shared.journey(wanted, Tries::Two)?;
        let is_needless = || !matches!(self.shared.find(wanted), Found::Nothing);
        Ok(match self.shared.flights.board(wanted.key, is_needless) {
            Boarding::Needless => None,
            Boarding::Joined(waiter) => {
                self.shared.metrics.exchange_coalesced();
                Some(waiter)
            }
            Boarding::Started(ticket, waiter) => {
                self.spawn(self.shared.clone().fly(journey, ticket));
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
}

impl Shared {
    /// The key of the token B that `exchange` gives `caller`: made once, and kept with the claims it is made of.
    fn key(&self, caller: &Caller, exchange: &Arc<config::Exchange>) -> Result<CacheKey, Error> {
        let claims = &caller.claims;
        let digest = claims.derived.digest(&self.deriver, exchange, || {
            let (provider, tenant) = self.authority(claims)?;
            Ok(CacheKey::new(self.mode, provider, exchange, claims, tenant).digest())
        });
        digest.map(CacheKey::from)
    }

    /// Where these claims are exchanged.
    fn authority<'a>(
        &'a self,
        claims: &'a Claims,
    ) -> Result<(&'a Arc<IdentityProvider>, &'a TenantId), Error> {
        let provider =
            self.providers.get(&claims.identity_provider).filter(|provider| provider.entra().is_some());
        let known = provider.zip(claims.tenant.as_ref());
        // authentication gives every caller of an Entra provider both
        known.ok_or_else(|| Error::ours(Kind::Internal))
    }

    fn journey(&self, wanted: Wanted<'_>, tries: Tries) -> Result<Journey, Error> {
        let Wanted { key, caller, exchange } = wanted;
        let (provider, tenant) = self.authority(&caller.claims)?;
        let entra = provider.entra().ok_or_else(|| Error::ours(Kind::Internal))?;
        Ok(Journey {
            key,
            url: entra.token_endpoint(exchange.entra_version(), tenant),
            provider: provider.clone(),
            exchange: exchange.clone(),
            caller: caller.clone(),
            tries,
        })
    }

    fn find(&self, wanted: Wanted<'_>) -> Found {
        self.memory.find(wanted.key, wanted.assertion())
    }

    async fn fly(self: Arc<Self>, journey: Journey, ticket: Ticket<Landed>) {
        let Journey { key, url, provider, exchange, caller, tries } = &journey;
        let question = Question { url, provider, exchange, assertion: &caller.token, tries: *tries };
        let result = match self.endpoint.ask(question).await {
            Ok(answer) => {
                let token = answer.success.token;
                match lifetime(answer.success.stated, answer.asked_at.wall, self.margin) {
                    Some(lifetime) => {
                        let lifetime = spread(lifetime, answer.asked_at.wall, key.digest());
                        self.memory.keep(*key, token.clone(), lifetime, answer.asked_at);
                    }
                    None => tracing::warn!(
                        identity_provider = %provider.name,
                        "a token's stated life is over or absurd; it is used once. Are the clocks right?"
                    ),
                }
                Ok(Granted { token, correlation_id: answer.correlation_id })
            }
            Err(error) => {
                self.memory.refuse(*key, journey.assertion(), &error);
                Err(error)
            }
        };
        ticket.land(Landed { assertion: journey.assertion(), result });
    }
}

impl Wanted<'_> {
    fn assertion(&self) -> Digest {
        self.caller.claims.token_digest
    }
}

impl Journey {
    fn assertion(&self) -> Digest {
        self.caller.claims.token_digest
    }
}

impl Landed {
    /// Whether it is also the answer for a caller with that token A.
    fn answers(&self, assertion: Digest) -> bool {
        match &self.result {
            Err(Error { row: Some(row), .. }) => row.sharing() == Sharing::All || self.assertion == assertion,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests;
