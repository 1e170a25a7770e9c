//! The addresses of host names, by the system's resolver. Many who want to know at the same time are one look-up, and what was
//! found last serves on while the resolver fails or takes its time. No name leads to an address that is off limits, however
//! often what it resolves to changes.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::net::off_limits::is_off_limits;

/// How long an answer is as good as new. Where addresses come and go, as those of pods do, they are followed this closely.
const FRESH: Duration = Duration::from_secs(5);
/// How long the resolver may take where there is an answer from before.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it is left alone after it failed, where there is an answer from before.
const REST: Duration = Duration::from_secs(1);
/// How long an answer from before serves.
const LAST_GOOD: Duration = Duration::from_secs(5 * 60);
/// Most addresses of a name.
const MOST_ADDRESSES: usize = 32;
/// Most names that are remembered.
const MOST_NAMES: usize = 256;

/// Why there is no address.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The resolver does not know, or cannot be asked.
    #[error("the name cannot be resolved")]
    Unresolved(#[source] Arc<io::Error>),
    /// It knows the name, and no address.
    #[error("the name has no address")]
    NoAddress,
    /// It knows addresses that no name may have, and no other.
    #[error(
        "the name leads to {0}, which is link-local or a cloud's own: only an address in its place may lead there"
    )]
    OffLimits(IpAddr),
    /// Whoever was asking is gone.
    #[error("the look-up was given up")]
    GivenUp,
}

/// Who knows the addresses of names.
pub trait Lookup: Send + Sync {
    /// The addresses of `host`, the best ones first.
    fn look_up(&self, host: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
}

/// The resolver of the system.
struct System;

impl Lookup for System {
    fn look_up(&self, host: &str) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Names and their addresses. Clones share them, on every runtime.
#[derive(Clone)]
pub struct Names(Arc<Shared>);

struct Shared {
    lookup: Box<dyn Lookup>,
    /// Never held while anything is awaited.
    known: Mutex<HashMap<Box<str>, Known>>,
}

/// What is known of a name.
#[derive(Clone, Debug, Default)]
struct Known {
    good: Option<Good>,
    /// When a look-up last failed, if it was the last.
    failed: Option<Instant>,
    flight: Option<Flight>,
}

#[derive(Clone, Debug)]
struct Good {
    addresses: Arc<[IpAddr]>,
    since: Instant,
}

/// A look-up under way. It is a task: whoever waits for it may leave.
#[derive(Clone, Debug)]
struct Flight {
    began: Instant,
    landed: watch::Receiver<Option<Result<Arc<[IpAddr]>, Error>>>,
}

impl Names {
    /// Those that `lookup` knows.
    pub fn known_to(lookup: impl Lookup + 'static) -> Self {
        Self(Arc::new(Shared { lookup: Box::new(lookup), known: Mutex::default() }))
    }

    /// The addresses of `host`, in the order in which they are to be tried. Who has written an address means it.
    ///
    /// # Errors
    /// If there are none, nor were lately.
    pub async fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, Error> {
        if let Ok(address) = host.parse() {
            return Ok(Arc::new([address]));
        }
        let (flight, last) = {
            let mut names = self.names();
            let known = room_for(&mut names, host);
            let now = Instant::now();
            if let Some(addresses) = known.at_hand(now) {
                return Ok(addresses);
            }
            (known.flight(|| self.look_up(host)), known.last(now))
        };
        match last {
            None => flight.outcome().await,
            Some(last) => match tokio::time::timeout_at(flight.began + PATIENCE, flight.outcome()).await {
                Ok(Ok(found)) => Ok(found),
                Ok(Err(error)) => {
                    tracing::debug!(host, %error, "a name is not resolved: its last addresses serve");
                    Ok(last)
                }
                Err(_late) => {
                    tracing::debug!(host, "a name is not resolved in time: its last addresses serve");
                    Ok(last)
                }
            },
        }
    }

    fn look_up(&self, host: &str) -> Flight {
        let (landing, landed) = watch::channel(None);
        let asked = self.0.lookup.look_up(host);
        let (names, host) = (self.clone(), Box::<str>::from(host));
        tokio::spawn(async move {
            let found = match asked.await {
                Ok(found) => admitted(found).and_then(in_turn),
                Err(error) => Err(Error::Unresolved(Arc::new(error))),
            };
            if let Some(known) = names.names().get_mut(&host) {
                known.land(&found, Instant::now());
            }
            landing.send_replace(Some(found));
        });
        Flight { began: Instant::now(), landed }
    }

    fn names(&self) -> MutexGuard<'_, HashMap<Box<str>, Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::known_to(System)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names(..)")
    }
}

impl Known {
    /// The addresses, if there is no need to ask.
    fn at_hand(&self, now: Instant) -> Option<Arc<[IpAddr]>> {
        let good = self.good.as_ref()?;
        let is_fresh = now.saturating_duration_since(good.since) < FRESH;
        let rests = self.failed.is_some_and(|failed| now.saturating_duration_since(failed) < REST);
        (is_fresh || rests).then(|| self.last(now)).flatten()
    }

    /// The addresses of before, if they still serve.
    fn last(&self, now: Instant) -> Option<Arc<[IpAddr]>> {
        let good = self.good.as_ref()?;
        (now.saturating_duration_since(good.since) < LAST_GOOD).then(|| Arc::clone(&good.addresses))
    }

    /// The look-up under way, or the one that `begins`.
    fn flight(&mut self, begins: impl FnOnce() -> Flight) -> Flight {
        let under_way = self.flight.take().filter(|flight| flight.landed.has_changed().is_ok());
        self.flight.insert(under_way.unwrap_or_else(begins)).clone()
    }

    fn land(&mut self, found: &Result<Arc<[IpAddr]>, Error>, now: Instant) {
        self.flight = None;
        match found {
            Ok(addresses) => {
                self.good = Some(Good { addresses: Arc::clone(addresses), since: now });
                self.failed = None;
            }
            Err(_) => self.failed = Some(now),
        }
    }
}

impl Flight {
    async fn outcome(mut self) -> Result<Arc<[IpAddr]>, Error> {
        let landed = self.landed.wait_for(Option::is_some).await;
        landed.ok().and_then(|landed| landed.clone()).unwrap_or(Err(Error::GivenUp))
    }
}

/// What is known of `host`. Where there are too many names, those that nobody waits for go.
fn room_for<'n>(names: &'n mut HashMap<Box<str>, Known>, host: &str) -> &'n mut Known {
    if names.len() >= MOST_NAMES && !names.contains_key(host) {
        names.retain(|_, known| known.flight.is_some());
    }
    names.entry(host.into()).or_default()
}

/// Those of the addresses that a name may have.
///
/// # Errors
/// If it has others alone.
pub fn admitted(mut found: Vec<IpAddr>) -> Result<Vec<IpAddr>, Error> {
    let first = found.first().copied();
    found.retain(|address| !is_off_limits(*address));
    match first {
        Some(address) if found.is_empty() => Err(Error::OffLimits(address)),
        _ => Ok(found),
    }
}

/// The addresses that were found, one kind and the other by turns: where one does not work here, not all of its addresses are
/// tried before the other's (RFC 8305 section 4).
fn in_turn(found: Vec<IpAddr>) -> Result<Arc<[IpAddr]>, Error> {
    let first = found.first().ok_or(Error::NoAddress)?.is_ipv4();
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for address in found {
        let kind = if address.is_ipv4() == first { &mut ones } else { &mut others };
        if !kind.contains(&address) {
            kind.push(address);
        }
    }
    let (mut ones, mut others) = (ones.into_iter(), others.into_iter());
    let mut turns = Vec::new();
    loop {
        let turn = [ones.next(), others.next()];
        if turn == [None, None] || turns.len() >= MOST_ADDRESSES {
            return Ok(turns.into());
        }
        turns.extend(turn.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests;
