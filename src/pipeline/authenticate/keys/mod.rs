//! The keys of one issuer: fetched in the background, held, and looked up by every request.
//!
//! **In:** a provider, and by which name a token calls its key. **Out:** the key set that holds it. **Never:** fetches more
//! often than the cooldown allows, however many unknown names come; loses good keys to a bad answer; keeps a withdrawn key;
//! calls a key unknown that the issuer could not be asked about.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::sync::watch;

use crate::config::Algorithm;
use crate::config::IdentityProvider;
use crate::domain::clock::Clock;
use crate::domain::tenant::TenantId;
use crate::net::client::Client;
use crate::pipeline::authenticate::error::Kind;
use crate::pipeline::authenticate::jwks::KeySet;
use crate::pipeline::authenticate::jws::KeyName;
use crate::pipeline::authenticate::keys::fetch::Fetched;
use crate::pipeline::authenticate::keys::fetch::Fetcher;
use crate::pipeline::authenticate::keys::fetch::Origin;
use crate::pipeline::authenticate::keys::trouble::Trouble;
use crate::pipeline::authenticate::survey::FailingFetches;
use crate::pipeline::authenticate::survey::HeldKeys;
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;

pub mod fetch;
mod trouble;

#[cfg(test)]
mod tests;

/// How long the last good keys serve while no new ones can be had.
const LAST_KNOWN_GOOD: Duration = Duration::from_secs(24 * 60 * 60);

/// One set of keys of one provider: Entra has one for each version of its tokens, any other server one in all.
#[derive(Debug)]
pub struct KeySource {
    provider: Arc<IdentityProvider>,
    fetcher: Fetcher,
    clock: Clock,
    metrics: Arc<Metrics>,
    held: RwLock<Option<Arc<Held>>>,
    fetching: Mutex<Fetching>,
    /// Wakes [`Self::keep_fresh`] before its time.
    wanted: Notify,
    /// Counts the fetches that ended, well or not.
    ended: watch::Sender<u64>,
}

/// A key set in use.
#[derive(Debug)]
pub struct Held {
    /// The keys.
    pub keys: KeySet,
    /// The tenant whose they are; `None` at an endpoint that several share.
    pub tenant: Option<TenantId>,
    /// Which of the sets held so far it is.
    pub generation: Generation,
    fetched_at: Instant,
}

/// Numbers the different key sets of one source: a set that was fetched again unchanged keeps its number, and no
/// other ever gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

/// How the fetches go.
#[derive(Debug, Default)]
struct Fetching {
    is_under_way: bool,
    /// Since when nobody may ask for another one.
    forced_at: Option<Instant>,
    /// Those that ended last have failed.
    trouble: Option<Trouble>,
}

/// Whether a fetch will end that is worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prospect {
    Fetch,
    Nothing,
}

impl KeySource {
    /// The keys of `provider` from there. None are held until [`Self::keep_fresh`] ran.
    pub fn new(
        provider: Arc<IdentityProvider>,
        origin: Origin,
        client: Client,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            fetcher: Fetcher::new(client, provider.clone(), origin),
            provider,
            clock,
            metrics,
            held: RwLock::default(),
            fetching: Mutex::default(),
            wanted: Notify::new(),
            ended: watch::Sender::new(0),
        }
    }

    /// Takes over the keys of `older`, which has them from the same place: they serve until they are fetched anew.
    pub fn inherit(&self, older: &Self) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = older.latest();
    }

    /// Whether keys were ever fetched.
    pub fn is_ready(&self) -> bool {
        self.latest().is_some()
    }

    /// Whether there is anything left to wait for at the start: a fetch has ended, however it did.
    pub fn was_tried(&self) -> bool {
        self.is_ready() || *self.ended.borrow() > 0
    }

    /// What is in use, also if it is too old to be believed.
    pub fn held(&self) -> Option<HeldKeys> {
        let held = self.latest()?;
        let age = self.clock.monotonic().saturating_duration_since(held.fetched_at);
        Some(HeldKeys { count: held.keys.count(), age })
    }

    /// Since when no keys can be fetched, if that is so.
    pub fn failing(&self) -> Option<FailingFetches> {
        let trouble = self.fetching().trouble.clone()?;
        let age = self.clock.monotonic().saturating_duration_since(trouble.since);
        Some(FailingFetches { age, count: trouble.failures, cause: trouble.cause })
    }

    /// The tenant the metadata speaks of, once it was fetched.
    pub fn tenant(&self) -> Option<TenantId> {
        self.latest().and_then(|held| held.tenant.clone())
    }

    /// The generation of the keys in use; `None` if there are none, or only too old ones.
    pub fn generation(&self) -> Option<Generation> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().filter(|held| self.is_fresh(held)).map(|held| held.generation)
    }

    /// The key set that holds the key of that name. If none does, a fetch is forced, unless one is under way or the last
    /// forced one is too recent; everybody waits for the same fetch. Dropping this future changes nothing for the others.
    ///
    /// # Errors
    /// [`Kind::UnknownKey`] if the issuer was asked since, and has no such key; [`Kind::KeysUnavailable`] if it could not be
    /// asked, or there are no keys at all, or only too old ones.
    pub async fn holding(&self, name: KeyName<'_>, algorithm: Algorithm) -> Result<Arc<Held>, Kind> {
        let held = self.usable()?;
        // Entra's tokens always name their key by its id
        if self.provider.entra().is_some() && !matches!(name, KeyName::Id(_)) {
            return Err(Kind::UnknownKey);
        }
        if held.keys.find(name, algorithm).is_some() {
            return Ok(held);
        }
        // a key without a name is not unknown but ambiguous, which no fetch is likely to change
        if name == KeyName::Not {
            return Err(Kind::UnknownKey);
        }
        tokio::time::timeout(self.provider.timeout, self.after_a_fetch(name, algorithm))
            .await
            .unwrap_or(Err(Kind::KeysUnavailable))
    }

    /// Fetches now, on demand and on schedule, for as long as it is polled.
    pub async fn keep_fresh(&self) {
        let mut trouble = None;
        loop {
            self.fetching().is_under_way = true;
            let outcome = self.fetcher.fetch().await;
            let pause = match outcome {
                Ok(fetched) => {
                    self.hold(fetched);
                    self.metrics.jwks_refreshed(&self.provider.name, self.clock.now());
                    self.log_success(trouble.take().as_ref());
                    self.provider.jwks.refresh
                }
                // a server that is only asked about opaque tokens needs no keys
                Err(error) if error.is_lasting() => {
                    self.log_lasting(&error);
                    self.provider.jwks.refresh
                }
                Err(error) => {
                    self.metrics.jwks_failed(&self.provider.name);
                    let now = self.clock.monotonic();
                    let mut after = Trouble::after(trouble.take(), now, logs::report(&error));
                    self.log_failure(&mut after, now);
                    let pause = retry_after(after.failures, self.longest_pause());
                    trouble = Some(after);
                    pause
                }
            };
            self.end(trouble.clone());
            tokio::select! {
                biased;
                () = self.wanted.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// What a fetch brought that somebody has forced just now.
    #[cfg(test)]
    pub(super) fn bring(&self, fetched: Fetched) {
        self.hold(fetched);
        self.fetching().forced_at = Some(self.clock.monotonic());
    }

    /// Puts `fetched` in the place of what was held: a key that is gone from it is gone.
    fn hold(&self, fetched: Fetched) {
        let Fetched { keys, tenant } = fetched;
        let fetched_at = self.clock.monotonic();
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let generation = match held.as_deref() {
            None => Generation(0),
            Some(last) if last.tenant == tenant && last.keys.is_same_as(&keys) => last.generation,
            Some(last) => Generation(last.generation.0.wrapping_add(1)),
        };
        *held = Some(Arc::new(Held { keys, tenant, generation, fetched_at }));
    }

    /// Whoever waits is woken, and who comes after that finds how it went.
    fn end(&self, trouble: Option<Trouble>) {
        let mut fetching = self.fetching();
        fetching.is_under_way = false;
        fetching.trouble = trouble;
        self.ended.send_modify(|fetches| *fetches = fetches.wrapping_add(1));
    }

    async fn after_a_fetch(&self, name: KeyName<'_>, algorithm: Algorithm) -> Result<Arc<Held>, Kind> {
        // The first fetch to end may have begun before the key was published: it is worth a second one of our own.
        for _ in 0..2 {
            let mut ended = self.ended.subscribe();
            let has_ended = self.prospect() == Prospect::Fetch && ended.changed().await.is_ok();
            // also without a fetch of our own: another's may have ended since the keys were looked at
            let held = self.usable()?;
            if held.keys.find(name, algorithm).is_some() {
                return Ok(held);
            }
            if !has_ended {
                break;
            }
        }
        // that nobody knows the key is only said by who was asked
        Err(if self.fetching().trouble.is_none() { Kind::UnknownKey } else { Kind::KeysUnavailable })
    }

    /// Whether there is a fetch to wait for: one under way, or one that this call is allowed to force.
    fn prospect(&self) -> Prospect {
        let now = self.clock.monotonic();
        let cooldown = self.provider.jwks.cooldown;
        let mut fetching = self.fetching();
        if fetching.is_under_way {
            return Prospect::Fetch;
        }
        if fetching.forced_at.is_some_and(|last| now.saturating_duration_since(last) < cooldown) {
            return Prospect::Nothing;
        }
        fetching.is_under_way = true;
        fetching.forced_at = Some(now);
        self.wanted.notify_one();
        Prospect::Fetch
    }

    fn usable(&self) -> Result<Arc<Held>, Kind> {
        let held = self.latest().ok_or(Kind::KeysUnavailable)?;
        if self.is_fresh(&held) { Ok(held) } else { Err(Kind::KeysUnavailable) }
    }

    fn is_fresh(&self, held: &Held) -> bool {
        self.clock.monotonic().saturating_duration_since(held.fetched_at) <= LAST_KNOWN_GOOD
    }

    fn latest(&self) -> Option<Arc<Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fetching(&self) -> MutexGuard<'_, Fetching> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn longest_pause(&self) -> Duration {
        match self.is_ready() {
            // nobody can be let in: whoever waits for us is to notice within a second that the provider is back
            false => Duration::from_secs(1),
            true => Duration::from_secs(30),
        }
    }

    fn log_success(&self, after: Option<&Trouble>) {
        let (identity_provider, source) = (&self.provider.name, self.fetcher.source());
        match after.map(|trouble| trouble.failures) {
            None => tracing::debug!(%identity_provider, source, "keys fetched"),
            Some(failures) => tracing::info!(%identity_provider, source, failures, "keys fetched again"),
        }
    }

    fn log_failure(&self, trouble: &mut Trouble, now: Instant) {
        let (identity_provider, url) = (&self.provider.name, self.fetcher.source());
        let is_news = trouble.is_news(now);
        let Trouble { failures, cause: error, .. } = trouble;
        match is_news {
            true => tracing::warn!(%identity_provider, url, error, failures, "keys cannot be fetched"),
            false => tracing::debug!(%identity_provider, url, error, failures, "keys cannot be fetched"),
        }
    }

    fn log_lasting(&self, error: &fetch::Error) {
        let (identity_provider, error) = (&self.provider.name, logs::report(error));
        tracing::warn!(%identity_provider, error, "keys cannot be fetched");
    }
}

/// 100 ms after the first failure, then twice as long each time, `longest` at most.
fn retry_after(failures: u32, longest: Duration) -> Duration {
    let doubled = failures.saturating_sub(1).min(16);
    Duration::from_millis(100).saturating_mul(1 << doubled).min(longest)
}
