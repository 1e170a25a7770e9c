//! Who holds how many entries of a cache: a bound for each, so that nobody fills what all share.

use std::collections::HashMap;

use crate::domain::digest::Digest;
use crate::domain::digest::DigestHashing;

/// The most entries of one user in any one cache.
pub const MOST: usize = 64;

/// Which holder has which keys, the one it took first in front. A holder without any is forgotten.
#[derive(Clone, Debug)]
pub struct Holdings<K> {
    holders: HashMap<Digest, Vec<Held<K>>, DigestHashing>,
    most: usize,
}

/// A key, and how many entries there are of it: while one replaces another there are two.
#[derive(Clone, Debug)]
struct Held<K> {
    key: K,
    entries: u32,
}

impl<K: Clone + Eq> Holdings<K> {
    /// Nothing yet; `most` keys a holder are no excess, one at least.
    pub fn new(most: usize) -> Self {
        Self { holders: HashMap::default(), most: most.max(1) }
    }

    /// `holder` takes an entry of `key`, which is its newest key from now on. The keys that are to go for that, oldest
    /// first: they are held until they are released.
    pub fn take(&mut self, holder: Digest, key: K) -> Vec<K> {
        // most holders have a key or two, and there may be many of them
        let held = self.holders.entry(holder).or_insert_with(|| Vec::with_capacity(1));
        let known = held.iter().position(|held| held.key == key).map(|at| held.remove(at).entries);
        held.push(Held { key, entries: known.unwrap_or(0).saturating_add(1) });
        self.excess(holder)
    }

    /// The keys that `holder` has beyond the bound, oldest first.
    pub fn excess(&self, holder: Digest) -> Vec<K> {
        let held = self.holders.get(&holder).map_or(&[][..], Vec::as_slice);
        let excess = held.len().saturating_sub(self.most);
        held.iter().take(excess).map(|held| held.key.clone()).collect()
    }

    /// An entry of `key` that `holder` took is gone.
    pub fn release(&mut self, holder: Digest, key: &K) {
        let Some(held) = self.holders.get_mut(&holder) else { return };
        if let Some(at) = held.iter().position(|held| held.key == *key) {
            match held.get_mut(at) {
                Some(held) if held.entries > 1 => held.entries -= 1,
                _ => drop(held.remove(at)),
            }
        }
        if held.is_empty() {
            self.holders.remove(&holder);
        }
    }

    /// How many entries `holder` has.
    pub fn entries(&self, holder: Digest) -> u64 {
        self.holders.get(&holder).map_or(0, |held| held.iter().map(|held| u64::from(held.entries)).sum())
    }

    /// How many holders there are.
    pub fn holders(&self) -> usize {
        self.holders.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: [i32; 0] = [];

    fn holder(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    #[test]
    fn one_past_the_bound_names_the_oldest() {
        let (mut holdings, alice, bob) = (Holdings::new(2), holder("alice"), holder("bob"));
        for key in [1, 2] {
            assert_eq!(holdings.take(alice, key), NONE);
            assert_eq!(holdings.take(bob, key + 10), NONE);
        }
        assert_eq!(holdings.take(alice, 3), [1]);
        // until it is gone it is named again
        assert_eq!(holdings.excess(alice), [1]);
        assert_eq!(holdings.take(alice, 4), [1, 2]);
        holdings.release(alice, &1);
        holdings.release(alice, &2);
        assert_eq!((holdings.excess(alice), holdings.excess(bob)), (vec![], vec![]));
        assert_eq!((holdings.entries(alice), holdings.entries(bob)), (2, 2));
    }

    #[test]
    fn a_key_taken_anew_is_the_newest_and_no_excess() {
        let (mut holdings, alice) = (Holdings::new(2), holder("alice"));
        for key in [1, 2, 1] {
            assert_eq!(holdings.take(alice, key), NONE);
        }
        holdings.release(alice, &1); // the entry that was replaced
        assert_eq!(holdings.take(alice, 3), [2]);
    }

    #[test]
    fn a_bound_of_none_is_a_bound_of_one() {
        let (mut holdings, alice) = (Holdings::new(0), holder("alice"));
        assert_eq!(holdings.take(alice, 1), NONE);
        assert_eq!(holdings.take(alice, 2), [1]);
    }

    #[test]
    fn what_was_never_taken_cannot_be_released() {
        let (mut holdings, alice) = (Holdings::new(2), holder("alice"));
        holdings.release(alice, &1);
        assert_eq!(holdings.holders(), 0);
        holdings.take(alice, 1);
        holdings.release(alice, &2);
        holdings.release(holder("bob"), &1);
        assert_eq!((holdings.entries(alice), holdings.holders()), (1, 1));
    }

    proptest! {
        #[test]
        fn whoever_releases_all_it_took_is_forgotten(
            taken in prop::collection::vec((0_u8..4, 0_u8..6), 0..60),
            order in any::<prop::sample::Index>(),
        ) {
            let mut holdings = Holdings::new(3);
            for (name, key) in &taken {
                let excess = holdings.take(Digest::of(&[*name]), *key);
                prop_assert!(!excess.contains(key));
            }
            let turn = order.index(taken.len().max(1));
            for (at, (name, key)) in taken[turn..].iter().chain(&taken[..turn]).enumerate() {
                let left: u64 = (0..4).map(|name| holdings.entries(Digest::of(&[name]))).sum();
                prop_assert_eq!(left, (taken.len() - at) as u64);
                holdings.release(Digest::of(&[*name]), key);
            }
            prop_assert_eq!(holdings.holders(), 0);
        }
    }
}
