//! Single flight: however many callers want one token, one of them has it fetched, and all get it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::watch;

use crate::pipeline::exchange::key::CacheKey;

/// The flights under way, one a key.
#[derive(Debug)]
pub struct Flights<T> {
    running: Mutex<HashMap<CacheKey, watch::Receiver<Option<T>>>>,
}

/// How someone who wants a flight for a key fares.
#[derive(Debug)]
pub enum Boarding<T> {
    /// There is no need any more.
    Needless,
    /// A flight is under way already.
    Joined(Waiter<T>),
    /// The flight is to be made, by whoever holds the ticket.
    Started(Ticket<T>, Waiter<T>),
}

/// The duty to make a flight. Dropped without a result, as by a panic, it tells the waiters so.
#[derive(Debug)]
pub struct Ticket<T> {
    flights: Arc<Flights<T>>,
    key: CacheKey,
    result: Option<T>,
    announce: watch::Sender<Option<T>>,
}

/// The right to a flight's result.
#[derive(Debug)]
pub struct Waiter<T>(watch::Receiver<Option<T>>);

impl<T: Clone> Flights<T> {
    /// None under way.
    pub fn new() -> Self {
        Self { running: Mutex::new(HashMap::new()) }
    }

    /// Joins the flight for `key`, or starts one, unless it `is_needless`: asked while nobody else can start or end one.
    pub fn board(self: &Arc<Self>, key: CacheKey, is_needless: impl FnOnce() -> bool) -> Boarding<T> {
        let mut running = self.lock();
        if let Some(flight) = running.get(&key) {
            return Boarding::Joined(Waiter(flight.clone()));
        }
        if is_needless() {
            return Boarding::Needless;
        }
        let (announce, flight) = watch::channel(None);
        running.insert(key, flight.clone());
        drop(running);
        Boarding::Started(Ticket { flights: self.clone(), key, result: None, announce }, Waiter(flight))
    }
}

impl<T> Flights<T> {
    /// Nothing that can fail happens under this lock, so a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<CacheKey, watch::Receiver<Option<T>>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Ticket<T> {
    /// The flight's result. It must be in the cache already: from now on others may start a flight for the key.
    pub fn land(mut self, result: T) {
        self.result = Some(result);
    }
}

impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        // first the entry, then the announcement: a waiter that is not content must not find this flight again
        self.flights.lock().remove(&self.key);
        if let Some(result) = self.result.take() {
            self.announce.send_replace(Some(result));
        }
    }
}

impl<T: Clone> Waiter<T> {
    /// The flight's result; `None` if it crashed.
    pub async fn landed(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|result| result.clone())
    }
}
