//! A cache with every bound there is: so many entries, so many bytes, so many entries a holder.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use moka::Entry;
use moka::Expiry;
use moka::notification::RemovalCause;
use moka::ops::compute::CompResult;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::domain::capacity::Capacity;
use crate::domain::digest::Digest;
use crate::domain::digest::DigestHashing;
use crate::domain::holdings::Holdings;

/// A value that knows whose it is, its size and its time.
pub trait Kept: Send + Sync + 'static {
    /// Whose bound it counts against; `None` = nobody's.
    fn holder(&self) -> Option<Digest>;

    /// Bytes of memory it takes, the cache's own included.
    fn size(&self) -> usize;

    /// For how long it is worth keeping, from when it is inserted.
    fn kept_for(&self) -> Duration;
}

/// Why an entry left that nobody removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// There was no room for it.
    Size,
    /// Its time was up.
    Expired,
    /// Its holder had too many.
    Holder,
}

/// A cache that drops the least recently used beyond its capacity, and a holder's oldest beyond what it may hold.
pub struct Bounded<K, V> {
    entries: Cache<K, Arc<V>, DigestHashing>,
    holdings: Arc<Mutex<Holdings<K>>>,
    left: Arc<dyn Fn(Departure) + Send + Sync>,
}

/// Clones share what is in it.
impl<K, V> Clone for Bounded<K, V> {
    fn clone(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            holdings: Arc::clone(&self.holdings),
            left: Arc::clone(&self.left),
        }
    }
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static, V: Kept> Bounded<K, V> {
    /// Nothing yet. At most `most` entries are one holder's; `left` is told of each entry that leaves by itself.
    pub fn new(capacity: Capacity, most: usize, left: impl Fn(Departure) + Send + Sync + 'static) -> Self {
        let holdings = Arc::new(Mutex::new(Holdings::<K>::new(most)));
        let left: Arc<dyn Fn(Departure) + Send + Sync> = Arc::new(left);
        let (released, told) = (holdings.clone(), left.clone());
        let entries = Cache::builder()
            .max_capacity(capacity.total())
            .weigher(move |_: &K, value: &Arc<V>| capacity.weight(value.size()))
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Housekeeping)
            // each entry comes here once, whatever it leaves for
            .eviction_listener(move |key: Arc<K>, value: Arc<V>, cause| {
                if let Some(holder) = value.holder() {
                    lock(&released).release(holder, &key);
                }
                match cause {
                    RemovalCause::Size => told(Departure::Size),
                    RemovalCause::Expired => told(Departure::Expired),
                    // who removes knows why
                    RemovalCause::Explicit | RemovalCause::Replaced => {}
                }
            })
            .build_with_hasher(DigestHashing::default());
        Self { entries, holdings, left }
    }

    /// The value for `key`. Takes no lock and reads no clock but the cache's own.
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        self.entries.get(key)
    }

    /// Keeps `value` for `key`.
    pub fn insert(&self, key: K, value: Arc<V>) {
        let holder = value.holder();
        self.make_room(holder, &key);
        self.entries.insert(key, value);
        self.trim(holder);
    }

    /// Keeps what `make` makes of the value for `key`: a value of `holder`. Two who do this at once do it in turn.
    pub fn update(&self, key: K, holder: Option<Digest>, make: impl FnOnce(Option<Arc<V>>) -> V) {
        self.make_room(holder, &key);
        self.entries.entry(key).and_upsert_with(|known| Arc::new(make(known.map(Entry::into_value))));
        self.trim(holder);
    }

    /// Removes what is there for `key`. Whether anything was.
    pub fn remove(&self, key: &K) -> bool {
        self.entries.remove(key).is_some()
    }

    /// Lets go of what was removed, which else stays until the cache is used again.
    pub fn settle(&self) {
        self.entries.run_pending_tasks();
    }

    /// Removes the value for `key` if it is the one that is meant. Whether it did.
    pub fn remove_if(&self, key: &K, is_meant: impl Fn(&V) -> bool) -> bool {
        let outcome = self.entries.entry_by_ref(key).and_compute_with(|entry| match entry {
            Some(entry) if is_meant(entry.value()) => Op::Remove,
            _ => Op::Nop,
        });
        // another one may have come in between and be the one that is gone: it will be missed, no more
        matches!(outcome, CompResult::Removed(_))
    }

    /// All that is there.
    pub fn iter(&self) -> impl Iterator<Item = (Arc<K>, Arc<V>)> + '_ {
        self.entries.iter()
    }

    /// How many entries there are.
    pub fn count(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }

    /// What all entries weigh together, in bytes.
    pub fn weight(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.weighted_size()
    }

    /// Makes room for an entry of `key` among those of its holder: no other holder's entry need yield for it.
    fn make_room(&self, holder: Option<Digest>, key: &K) {
        if let Some(holder) = holder {
            let excess = self.holdings().take(holder, key.clone());
            self.drop_excess(&excess);
        }
    }

    /// Drops what was in excess before it was there to be dropped.
    fn trim(&self, holder: Option<Digest>) {
        if let Some(holder) = holder {
            let excess = self.holdings().excess(holder);
            self.drop_excess(&excess);
        }
    }

    fn drop_excess(&self, keys: &[K]) {
        for key in keys {
            if self.remove(key) {
                (self.left)(Departure::Holder);
            }
        }
    }

    /// Not to be held while the cache is called, which calls its listener, which locks.
    fn holdings(&self) -> MutexGuard<'_, Holdings<K>> {
        lock(&self.holdings)
    }
}

/// Nothing that can fail happens under this lock, so a poisoned one is whole.
fn lock<K>(holdings: &Mutex<Holdings<K>>) -> MutexGuard<'_, Holdings<K>> {
    holdings.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K, V> fmt::Debug for Bounded<K, V>
where
    K: fmt::Debug + Eq + Hash + Send + Sync + 'static,
    V: fmt::Debug + Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.fmt(f)
    }
}

/// Drops what is over, some time. What still counts is decided on every read, by the proxy's own clock.
struct Housekeeping;

impl<K, V: Kept> Expiry<K, Arc<V>> for Housekeeping {
    fn expire_after_create(&self, _: &K, value: &Arc<V>, _: Instant) -> Option<Duration> {
        Some(value.kept_for())
    }

    fn expire_after_update(
        &self,
        _: &K,
        value: &Arc<V>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        // the new value's time, not what was left of the old one's
        Some(value.kept_for())
    }
}

#[cfg(test)]
mod tests;
