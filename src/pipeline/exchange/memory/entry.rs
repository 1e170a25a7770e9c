//! A token B in memory, and how old it is.

use std::time::Duration;
use std::time::Instant;

use crate::domain::bounded::Kept;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::token::DownstreamToken;
use crate::pipeline::exchange::endpoint::Moment;
use crate::pipeline::exchange::lifetime::Lifetime;
use crate::pipeline::exchange::renewal;

/// Bytes an entry takes besides its token: key, times, pointers, the cache's own lists. As measured by
/// `cargo bench --bench memory`.
const OVERHEAD: usize = 800;

/// Whether a new token should be looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Not yet.
    Fresh,
    /// The end is near.
    Due,
}

/// A cached token B.
#[derive(Debug)]
pub struct Entry {
    /// The token.
    pub token: DownstreamToken,
    /// When it was asked for.
    pub asked_at: Instant,
    /// The digest of the claims that it was asked to satisfy.
    pub claims: Option<Digest>,
    /// Whose it is.
    pub holder: Option<Digest>,
    lifetime: Lifetime,
    /// The same end in monotonic time: setting the clock back does not bring a dead token to life.
    deadline: Instant,
    /// The same moment of renewal in monotonic time: setting the clock back does not put renewal off.
    due: Instant,
    kept_for: Duration,
    renewals: renewal::Attempts,
}

impl Entry {
    /// The token of `holder` that was asked for at `asked_at` to satisfy the claims of that digest; `None` if it is over.
    pub fn new(
        holder: Option<Digest>,
        token: DownstreamToken,
        claims: Option<Digest>,
        lifetime: Lifetime,
        asked_at: Moment,
        clock: &Clock,
    ) -> Option<Self> {
        let monotonic = |moment: UnixTime| asked_at.monotonic.checked_add(moment.since(asked_at.wall));
        let (deadline, due) = (monotonic(lifetime.expires_on)?, monotonic(lifetime.renew_at)?);
        let entry = Self {
            token,
            asked_at: asked_at.monotonic,
            claims,
            holder,
            lifetime,
            deadline,
            due,
            kept_for: deadline.saturating_duration_since(clock.monotonic()),
            renewals: renewal::Attempts::default(),
        };
        entry.age(clock).is_some().then_some(entry)
    }

    /// Whether the one who asks may try to renew it now: only one may, and not soon again.
    pub fn may_be_renewed(&self, now: Instant) -> bool {
        self.renewals.begin(now)
    }

    /// How old it is; `None` if it is over.
    pub fn age(&self, clock: &Clock) -> Option<Age> {
        let (wall, monotonic) = (clock.now(), clock.monotonic());
        let is_live = wall < self.lifetime.expires_on && monotonic < self.deadline;
        let is_fresh = wall < self.lifetime.renew_at && monotonic < self.due;
        is_live.then_some(if is_fresh { Age::Fresh } else { Age::Due })
    }
}

impl Kept for Entry {
    fn holder(&self) -> Option<Digest> {
        self.holder
    }

    fn size(&self) -> usize {
        // the allocator rounds up
        self.token.size() + self.token.size() / 8 + OVERHEAD
    }

    fn kept_for(&self) -> Duration {
        self.kept_for
    }
}
