//! The bounds hold, whatever comes, in whatever order, from however many at once.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use super::*;

/// A value that says which key it was kept for.
#[derive(Debug)]
struct Note {
    holder: Option<Digest>,
    key: u64,
    size: usize,
    kept_for: Duration,
}

impl Kept for Note {
    fn holder(&self) -> Option<Digest> {
        self.holder
    }

    fn size(&self) -> usize {
        self.size
    }

    fn kept_for(&self) -> Duration {
        self.kept_for
    }
}

fn user(number: u64) -> Option<Digest> {
    Some(Digest::of(&number.to_be_bytes()))
}

fn note(holder: Option<Digest>, key: u64) -> Arc<Note> {
    Arc::new(Note { holder, key, size: 1, kept_for: Duration::from_secs(3600) })
}

/// A cache of so many entries, so many a holder, and how many left it for what.
fn bounded(entries: u64, most: usize) -> (Bounded<u64, Note>, Arc<[AtomicU64; 3]>) {
    let left = Arc::new([0; 3].map(AtomicU64::new));
    let counted = left.clone();
    let cache = Bounded::new(Capacity::new(entries, entries), most, move |departure| {
        counted[departure as usize].fetch_add(1, Ordering::SeqCst);
    });
    (cache, left)
}

fn numbers(left: &[AtomicU64; 3]) -> [u64; 3] {
    [&left[0], &left[1], &left[2]].map(|number| number.load(Ordering::SeqCst))
}

/// The books agree with what is there.
fn assert_balanced(cache: &Bounded<u64, Note>, users: impl Iterator<Item = Option<Digest>>) {
    cache.entries.run_pending_tasks();
    let mut holders = 0;
    for user in users {
        let there = cache.iter().filter(|(_, note)| note.holder == user).count() as u64;
        assert_eq!(cache.holdings().entries(user.unwrap()), there);
        holders += usize::from(there > 0);
    }
    assert_eq!(cache.holdings().holders(), holders);
}

#[test]
fn a_holder_s_oldest_yields_and_everybody_else_s_stays() {
    let (cache, left) = bounded(100, 3);
    for key in [1, 2, 3] {
        cache.insert(key, note(user(1), key));
        cache.insert(key + 100, note(user(2), key + 100));
        cache.insert(key + 200, note(None, key + 200));
    }
    cache.insert(1, note(user(1), 1)); // anew: the newest now
    for key in [4, 5] {
        cache.insert(key, note(user(1), key));
        cache.insert(key + 200, note(None, key + 200));
    }
    let mut there: Vec<u64> = cache.iter().map(|(key, _)| *key).collect();
    there.sort_unstable();
    assert_eq!(there, [1, 4, 5, 101, 102, 103, 201, 202, 203, 204, 205]);
    assert_eq!(numbers(&left), [0, 0, 2]);
    assert_balanced(&cache, (1..=2).map(user));
}

#[test]
fn each_entry_is_accounted_for_once_whatever_it_leaves_for() {
    let (cache, left) = bounded(10, 3);
    for key in 0..20 {
        cache.insert(key, note(user(key), key));
    }
    assert_eq!(cache.count(), 10);
    assert_eq!(numbers(&left), [10, 0, 0]);
    assert!(cache.remove(&19));
    assert!(!cache.remove(&19));
    assert!(cache.remove_if(&18, |note| note.key == 18));
    assert!(!cache.remove_if(&17, |_| false));
    assert!(!cache.remove_if(&18, |_| true));
    // who removes knows why: nobody else is told
    assert_eq!(numbers(&left), [10, 0, 0]);
    assert_eq!(cache.count(), 8);
    assert_balanced(&cache, (0..20).map(user));
}

#[test]
fn an_entry_that_is_too_large_or_over_leaves_no_trace() {
    let (cache, left) = bounded(10, 3);
    cache.insert(1, Arc::new(Note { holder: user(1), key: 1, size: 11, kept_for: Duration::from_secs(60) }));
    assert_eq!((cache.count(), numbers(&left)), (0, [1, 0, 0]));
    cache.insert(2, Arc::new(Note { holder: user(1), key: 2, size: 1, kept_for: Duration::ZERO }));
    assert!(cache.get(&2).is_none());
    // it is swept some time; whoever comes first is the one who drops it
    assert!(cache.remove(&2));
    assert_balanced(&cache, (1..=1).map(user));
}

#[test]
fn what_is_updated_was_seen() {
    let (cache, left) = bounded(1000, 3);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    cache.update(7, user(1), |known| Note {
                        holder: user(1),
                        key: known.map_or(1, |known| known.key + 1),
                        size: 1,
                        kept_for: Duration::from_secs(3600),
                    });
                }
            });
        }
    });
    assert_eq!(cache.get(&7).unwrap().key, 2000);
    assert_eq!(numbers(&left), [0, 0, 0]);
    assert_balanced(&cache, (1..=1).map(user));
}

#[test]
fn a_flood_of_one_holder_takes_nothing_from_the_others_though_there_is_no_room() {
    let (cache, left) = bounded(1000, 64);
    for key in 0..936 {
        cache.insert(key, note(user(key), key));
    }
    for key in 1000..21_000 {
        cache.insert(key, note(user(u64::MAX), key));
    }
    assert!((0..936).all(|key| cache.get(&key).is_some()));
    assert_eq!(cache.count(), 1000);
    assert_eq!(numbers(&left), [0, 0, 20_000 - 64]);
    assert_balanced(&cache, (0..936).chain([u64::MAX]).map(user));
}

#[test]
fn threads_at_once_keep_the_bounds_and_the_books() {
    const KEYS: u64 = 40;
    let (cache, _) = bounded(100, 5);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                let mut random = thread + 1;
                for _ in 0..20_000 {
                    // xorshift: the same every time
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    // every key is one user's
                    let (name, key) = (random % 8, random % 8 + 8 * (random / 8 % KEYS));
                    match random / 1024 % 8 {
                        0..5 => cache.insert(key, note(user(name), key)),
                        5 => drop(cache.remove(&key)),
                        6 => drop(cache.remove_if(&key, |note| note.key == key)),
                        _ => assert!(cache.get(&key).is_none_or(|note| note.key == key)),
                    }
                }
            });
        }
    });
    for name in 0..8 {
        assert!(cache.iter().filter(|(_, note)| note.holder == user(name)).count() <= 5);
    }
    assert_balanced(&cache, (0..8).map(user));
    for (key, _) in cache.iter() {
        cache.remove(&key);
    }
    assert_eq!(cache.holdings().holders(), 0);
}
