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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Digest;
    use crate::pipeline::exchange::key::Fields;

    fn key(subject: &str) -> CacheKey {
        CacheKey::of(&Fields {
            profile: "",
            token_endpoint: "",
            tenant: "",
            subject: subject.as_bytes(),
            binding: Digest::of(b""),
            client_id: "",
            target: "",
            requested_token_type: "",
            holder: "",
            scopes: "",
            capabilities: b"",
        })
    }

    fn start(flights: &Arc<Flights<u8>>, subject: &str) -> (Ticket<u8>, Waiter<u8>) {
        match flights.board(key(subject), || false) {
            Boarding::Started(ticket, waiter) => (ticket, waiter),
            other => panic!("{other:?}"),
        }
    }

    fn join(flights: &Arc<Flights<u8>>, subject: &str) -> Waiter<u8> {
        match flights.board(key(subject), || panic!("asked while a flight is under way")) {
            Boarding::Joined(waiter) => waiter,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn all_who_join_a_flight_get_its_result() {
        let flights = Arc::new(Flights::new());
        let (ticket, first) = start(&flights, "alice");
        let (other_ticket, other) = start(&flights, "bob");
        let second = join(&flights, "alice");
        ticket.land(1);
        other_ticket.land(2);
        assert_eq!(
            (first.landed().await, second.landed().await, other.landed().await),
            (Some(1), Some(1), Some(2))
        );
        let (_ticket, _) = start(&flights, "alice"); // the old flight is off the list
    }

    #[tokio::test]
    async fn a_flight_that_crashes_says_so_and_is_off_the_list() {
        let flights = Arc::new(Flights::new());
        let (ticket, waiter) = start(&flights, "alice");
        let crash = tokio::spawn(async move {
            let _ticket = ticket;
            panic!("crash");
        });
        assert_eq!(waiter.landed().await, None);
        assert!(crash.await.is_err());
        let (_ticket, _) = start(&flights, "alice");
    }

    #[tokio::test]
    async fn a_result_counts_after_the_next_flight_began() {
        let flights = Arc::new(Flights::new());
        let (ticket, late) = start(&flights, "alice");
        ticket.land(1);
        let (second_ticket, _) = start(&flights, "alice");
        assert_eq!(late.landed().await, Some(1));
        let joined = join(&flights, "alice");
        second_ticket.land(2);
        assert_eq!(joined.landed().await, Some(2));
    }

    #[test]
    fn no_flight_is_made_without_need() {
        let flights = Arc::new(Flights::<u8>::new());
        assert!(matches!(flights.board(key("alice"), || true), Boarding::Needless));
        let (_ticket, _) = start(&flights, "alice");
    }
}
