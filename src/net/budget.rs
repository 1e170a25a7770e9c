//! How many connections to upstreams may be open at a time. All workers share it, and no upstream has more than are left to
//! the others: one that never answers takes half of them at most.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

/// So many connections. Clones are one budget.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    most: AtomicUsize,
    taken: AtomicUsize,
}

impl Default for Budget {
    /// Without a limit.
    fn default() -> Self {
        Self(Arc::new(Counts { most: AtomicUsize::new(usize::MAX), taken: AtomicUsize::new(0) }))
    }
}

impl Budget {
    /// From now on there may be so many. Those that are open stay.
    pub fn allow(&self, most: usize) {
        self.0.most.store(most, Ordering::Relaxed);
    }

    /// The share of one upstream, which has no connection yet.
    pub fn share(&self) -> Share {
        Share { budget: self.clone(), held: Arc::default() }
    }
}

/// What one upstream has of a [`Budget`]; by default of one without a limit. Clones are one share.
#[derive(Clone, Debug, Default)]
pub struct Share {
    budget: Budget,
    held: Arc<AtomicUsize>,
}

impl Share {
    /// Leave for one more connection, if fewer are open than are left.
    pub fn take(&self) -> Option<Permit> {
        let Counts { most, taken } = &*self.budget.0;
        let (most, held) = (most.load(Ordering::Relaxed), self.held());
        let one_more = |taken: usize| (held < most.saturating_sub(taken)).then_some(taken + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        self.held.fetch_add(1, Ordering::Relaxed);
        Some(Permit(self.clone()))
    }

    /// How many connections the upstream has.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether both are of the same upstream.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.held, &other.held)
    }
}

/// Leave for one connection, until it is dropped.
#[derive(Debug)]
pub struct Permit(Share);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
        self.0.budget.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(share: &Share) -> Vec<Permit> {
        std::iter::from_fn(|| share.take()).collect()
    }

    #[test]
    fn each_upstream_takes_no_more_than_it_leaves_and_something_is_always_left() {
        let budget = Budget::default();
        budget.allow(12);
        let [one, two, three] = [(); 3].map(|()| budget.share());
        let of_one = all_of(&one);
        assert_eq!(of_one.len(), 6);
        let of_two = all_of(&two);
        assert_eq!(of_two.len(), 3);
        assert_eq!(all_of(&three).len(), 2);
        drop(of_one);
        assert_eq!((one.held(), two.held()), (0, 3));
        assert_eq!(all_of(&three).len(), 5);
    }

    #[test]
    fn with_a_smaller_budget_what_is_open_stays_and_nothing_is_added() {
        let budget = Budget::default();
        let share = budget.share();
        let mut permits: Vec<Permit> = (0..5).filter_map(|_| share.take()).collect();
        budget.allow(4);
        assert!(share.take().is_none());
        permits.truncate(1);
        assert!(share.take().is_some());
        budget.allow(1);
        permits.clear();
        assert!(share.take().is_some(), "the only one there is");
    }
}
