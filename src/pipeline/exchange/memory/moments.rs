//! When something last happened to a key: of so many keys, of so many a user.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::domain::bounded::Bounded;
use crate::domain::bounded::Kept;
use crate::domain::capacity::Capacity;
use crate::domain::digest::Digest;
use crate::pipeline::exchange::filed::Filed;
use crate::pipeline::exchange::key::CacheKey;

/// The moments that are known. Clones share them.
#[derive(Clone, Debug)]
pub struct Moments {
    moments: Bounded<CacheKey, Moment>,
    span: Duration,
}

#[derive(Debug)]
struct Moment {
    holder: Option<Digest>,
    at: Instant,
    kept_for: Duration,
}

impl Moments {
    /// None yet. Of `total` keys, of `most` a user, the latest is known for `span`.
    pub fn new(total: u64, most: usize, span: Duration) -> Self {
        // each weighs the same
        Self { moments: Bounded::new(Capacity::new(total, total), most, |_| {}), span }
    }

    /// It happened to what is filed there, `now`.
    pub fn note(&self, filed: Filed, now: Instant) {
        let Filed { key, holder } = filed;
        self.moments.insert(key, Arc::new(Moment { holder, at: now, kept_for: self.span }));
    }

    /// When it last happened to that key, if that is known and was of late.
    pub fn of(&self, key: CacheKey, now: Instant) -> Option<Instant> {
        let at = self.moments.get(&key)?.at;
        (now.saturating_duration_since(at) < self.span).then_some(at)
    }
}

impl Kept for Moment {
    fn holder(&self) -> Option<Digest> {
        self.holder
    }

    fn size(&self) -> usize {
        1
    }

    fn kept_for(&self) -> Duration {
        self.kept_for
    }
}
