//! How long it goes on: as long as it is to, and until everything has happened once, however busy the machine is.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

pub struct Span {
    end: Instant,
    /// How many of those who do one thing after the other have not done all of them once.
    first_rounds: AtomicUsize,
}

impl Span {
    /// From now on, with so many who do one thing after the other.
    pub fn new(lasting: Duration, parties: usize) -> Self {
        Self { end: Instant::now() + lasting, first_rounds: AtomicUsize::new(parties) }
    }

    /// Whether who has done everything so many times is done.
    pub fn is_enough(&self, rounds: usize) -> bool {
        rounds > 0 && Instant::now() >= self.end
    }

    /// One of them has done everything so many times.
    pub fn did(&self, rounds: usize) {
        if rounds == 1 {
            self.first_rounds.fetch_sub(1, Ordering::SeqCst);
        }
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.end && self.first_rounds.load(Ordering::SeqCst) == 0
    }
}
