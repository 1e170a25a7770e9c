//! What was refused lately, for whoever looks at the admin page: the last challenges and failures, in memory.
//!
//! **In:** a refusal, as far as the log tells of it. **Out:** the last of them. **Never:** a claim, a token, a path, or text of an
//! identity provider beyond its short codes; work while nobody can look.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::domain::name::Name;

/// The most that are kept of what concerns a user whose token is good, an identity provider, an upstream or us.
const MOST: usize = 200;
/// The most that are kept of what anybody can provoke without a token: it must not crowd out the others.
const MOST_ANONYMOUS: usize = 50;
/// The most error codes that are kept of one answer.
const MOST_CODES: usize = 8;

/// The last events, oldest first. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// How many there are to show them to.
    watchers: AtomicUsize,
    rings: Mutex<Rings>,
}

#[derive(Debug, Default)]
struct Rings {
    telling: VecDeque<Event>,
    anonymous: VecDeque<Event>,
}

/// One refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, since 1970-01-01 UTC.
    pub at: Duration,
    /// The route, if one took the request.
    pub route: Option<Name>,
    /// Why.
    pub reason: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// Whose token came in, or was asked.
    pub identity_provider: Option<Name>,
    /// What the identity provider said.
    pub idp: Option<IdpError>,
    /// The id in the identity provider's logs.
    pub correlation_id: Option<Arc<str>>,
    /// The id that caller, log and upstream share.
    pub request_id: String,
    /// The user, hashed with a key.
    pub user: Option<String>,
    /// Whether it tells of more than somebody without a good token.
    pub weight: Weight,
}

/// Whether an event can be provoked by anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// By anybody, as often as they like.
    Anonymous,
    /// It takes a good token, or a failure of somebody else's.
    Telling,
}

/// What an identity provider said, in its codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdpError {
    /// `error`.
    pub error: String,
    /// `suberror`.
    pub suberror: Option<String>,
    /// `error_codes`.
    pub codes: Vec<u64>,
}

impl IdpError {
    /// Of these words, which may be long, as much as is worth keeping.
    pub fn new(error: &str, suberror: Option<&str>, codes: &[u64]) -> Self {
        Self {
            error: error.to_owned(),
            suberror: suberror.map(str::to_owned),
            codes: codes.iter().take(MOST_CODES).copied().collect(),
        }
    }
}

impl Events {
    /// There is somebody more to show them to.
    pub fn begin_to_watch(&self) {
        self.0.watchers.fetch_add(1, Ordering::Relaxed);
    }

    /// There is somebody less. With the last, those at hand are dropped.
    pub fn cease_to_watch(&self) {
        if self.0.watchers.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.rings() = Rings::default();
        }
    }

    /// Whether there is any use in making an event.
    pub fn is_watched(&self) -> bool {
        self.0.watchers.load(Ordering::Relaxed) > 0
    }

    /// Keeps an event in place of the oldest of its weight.
    pub fn keep(&self, event: Event) {
        let mut rings = self.rings();
        let (ring, most) = match event.weight {
            Weight::Telling => (&mut rings.telling, MOST),
            Weight::Anonymous => (&mut rings.anonymous, MOST_ANONYMOUS),
        };
        if ring.len() >= most {
            ring.pop_front();
        }
        ring.push_back(event);
    }

    /// Those at hand, newest first.
    pub fn latest(&self) -> Vec<Event> {
        let rings = self.rings();
        let mut all: Vec<Event> = rings.telling.iter().chain(&rings.anonymous).cloned().collect();
        drop(rings);
        all.reverse();
        all.sort_by_key(|event| std::cmp::Reverse(event.at));
        all
    }

    /// A ring is whole after each change, so a poisoned lock is too.
    fn rings(&self) -> std::sync::MutexGuard<'_, Rings> {
        self.0.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(second: u64, weight: Weight) -> Event {
        Event {
            at: Duration::from_secs(second),
            route: None,
            reason: "no_route",
            status: 404,
            identity_provider: None,
            idp: None,
            correlation_id: None,
            request_id: second.to_string(),
            user: None,
            weight,
        }
    }

    #[test]
    fn what_anybody_can_provoke_crowds_out_nothing_else() {
        let events = Events::default();
        events.keep(event(0, Weight::Telling));
        for second in 1..1_000 {
            events.keep(event(second, Weight::Anonymous));
        }
        let kept = events.latest();
        assert_eq!(kept.len(), MOST_ANONYMOUS + 1);
        assert_eq!((kept[0].at.as_secs(), kept[MOST_ANONYMOUS].at.as_secs()), (999, 0), "newest first");
        for second in 0..1_000 {
            events.keep(event(second, Weight::Telling));
        }
        assert_eq!(events.latest().len(), MOST_ANONYMOUS + MOST);
    }

    #[test]
    fn nothing_is_left_once_nobody_looks() {
        let events = Events::default();
        assert!(!events.is_watched());
        events.begin_to_watch();
        events.begin_to_watch();
        events.keep(event(1, Weight::Telling));
        events.cease_to_watch();
        assert!(events.is_watched() && events.latest().len() == 1);
        events.cease_to_watch();
        assert!(!events.is_watched() && events.latest().is_empty());
    }
}
