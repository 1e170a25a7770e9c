//! The keys that session tickets are sealed with.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;
use rustls::ticketer::TicketRotator;

/// For how long a key seals tickets, in seconds. It opens them for as long again: no ticket outlives six hours.
const TURN: u32 = 3 * 60 * 60;

/// Tickets under keys that take turns.
///
/// # Errors
/// If the system gives no random numbers.
pub fn tickets() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    let key = || match Ticketer::new() {
        Ok(key) => Ok(Box::new(Key(key)) as Box<dyn ProducesTickets>),
        Err(_) => Err(rustls::crypto::GetRandomFailed),
    };
    Ok(Arc::new(TicketRotator::new(TURN, key)?))
}

/// Lets a key take its turn. Without traffic nothing else does, and the next caller would still find the old one.
pub fn turn(tickets: &dyn ProducesTickets) {
    let _ = tickets.decrypt(&[]);
}

/// A key, as rustls makes them. It would take turns of its own, but is gone before the first.
#[derive(Debug)]
struct Key(Arc<dyn ProducesTickets>);

impl ProducesTickets for Key {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_lives_six_hours_at_most_and_opens_under_its_own_keys_only() {
        let (ours, others) = (tickets().unwrap(), tickets().unwrap());
        assert!(ours.enabled() && ours.lifetime() <= 6 * 60 * 60);
        let ticket = ours.encrypt(b"session").unwrap();
        turn(&*ours);
        assert_eq!(ours.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(others.decrypt(&ticket), None);
    }
}
