//! A refusal in memory, and how long it still holds.

use std::time::Duration;
use std::time::Instant;

use crate::domain::bounded::Kept;
use crate::domain::digest::Digest;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::key::CacheKey;
use crate::pipeline::exchange::row::Kind;

/// Bytes an entry takes besides the IdP's words. An entry of nothing takes half of it, as measured by
/// `cargo bench --bench memory`.
const OVERHEAD: usize = 1024;

/// Whom a refusal holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Whoever would get that token.
    Key(CacheKey),
    /// Who would get it for that token A.
    Assertion(CacheKey, Digest),
}

/// A refusal that is remembered.
#[derive(Debug)]
pub struct Refusal {
    /// What was refused, and why.
    pub error: Error,
    /// Whose token was.
    pub holder: Option<Digest>,
    /// Until when it holds.
    pub until: Instant,
    /// How long that is from the beginning.
    pub kept_for: Duration,
}

impl Refusal {
    /// The error, if it still holds; one that says how long to wait says how long is left.
    pub fn holding(&self, now: Instant) -> Option<Error> {
        let left = self.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        let mut error = self.error.clone();
        if let Kind::Throttled { retry_after } = &mut error.kind {
            // whole seconds, rounded up: that is how the header counts
            *retry_after = Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0));
        }
        Some(error)
    }
}

impl Kept for Refusal {
    fn holder(&self) -> Option<Digest> {
        self.holder
    }

    fn size(&self) -> usize {
        self.error.answer.as_ref().map_or(0, |answer| answer.size()) + OVERHEAD
    }

    fn kept_for(&self) -> Duration {
        self.kept_for
    }
}
