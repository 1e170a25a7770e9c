//! What memory says after all that can happen to it.

use zeroize::Zeroizing;

use super::*;
use crate::domain::clock::UnixTime;
use crate::pipeline::exchange::row::Row;
use crate::pipeline::exchange::tests::sample;

mod clocks;
mod crowds;
mod forgiving;
mod model;
mod purging;

/// Where every clock here starts.
const START: UnixTime = UnixTime::from_seconds(1_700_000_000);

/// A memory of so many tokens, so many a user, and what a test turns.
struct World {
    memory: Memory,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl World {
    fn of(max_entries: u64, most: usize) -> Self {
        let (clock, metrics) = (Clock::manual(START), Arc::new(Metrics::new()));
        let cache = config::Cache { max_entries, ..sample::cache() };
        let memory = Memory::with(&cache, most, clock.clone(), metrics.clone());
        Self { memory, clock, metrics }
    }

    /// The contract's bounds.
    fn new() -> Self {
        Self::of(10_000, holdings::MOST)
    }

    fn now(&self) -> Moment {
        Moment { wall: self.clock.now(), monotonic: self.clock.monotonic() }
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Keeps a token that is asked for now and lives that long.
    fn keep(&self, filed: Filed, text: &str, seconds: u64) -> bool {
        self.keep_of(filed, text, seconds, self.now())
    }

    fn keep_of(&self, filed: Filed, text: &str, seconds: u64, asked_at: Moment) -> bool {
        self.memory.keep(filed, token(text), None, life(asked_at, seconds), asked_at)
    }

    /// The token that is served for that key.
    fn served(&self, filed: Filed) -> Option<String> {
        match self.memory.find(filed.key, Digest::of(b"a")) {
            Found::Live(entry, _) => Some(entry.token.expose().to_owned()),
            Found::Refused(_) | Found::Nothing => None,
        }
    }

    fn refuse(&self, filed: Filed, row: Row) {
        self.memory.refuse(filed, filed.key, Digest::of(b"a"), &Error::of(row, None));
    }

    fn is_refused(&self, filed: Filed) -> bool {
        matches!(self.memory.find(filed.key, Digest::of(b"a")), Found::Refused(_))
    }

    /// How many tokens left for that reason.
    fn evicted(&self, reason: &str) -> u64 {
        let name = format!("obo_cache_evictions_total{{reason=\"{reason}\"}} ");
        let text = self.metrics.encode();
        text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |number| number.parse().unwrap())
    }
}

fn user(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// The place of a user's token for that purpose.
fn filed(name: &str, purpose: u64) -> Filed {
    Filed {
        key: CacheKey::from(Digest::of(format!("{name} {purpose}").as_bytes())),
        holder: Some(user(name)),
    }
}

/// The place of a token of our own.
fn ours(purpose: u64) -> Filed {
    Filed { holder: None, ..filed("", purpose) }
}

fn token(text: &str) -> DownstreamToken {
    DownstreamToken::bearer(Zeroizing::new(text.to_owned())).unwrap()
}

/// A life of that many seconds that is due for renewal at nine tenths.
fn life(asked_at: Moment, seconds: u64) -> Lifetime {
    let margin = Duration::from_secs(seconds / 10);
    let expires_on = asked_at.wall.after(Duration::from_secs(seconds));
    Lifetime { expires_on, renew_at: expires_on.before(margin), margin }
}
