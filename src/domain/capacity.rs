//! How much a bounded cache may hold: so many entries and so many bytes, whichever comes first.

/// The two bounds of a cache as the weights of its entries: none weighs less than an equal share of the bytes, so
/// the one bound gives the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    share: u32,
    total: u64,
}

impl Capacity {
    /// Room for `max_entries`, one at least, as long as they take no more than `max_bytes`.
    pub fn new(max_entries: u64, max_bytes: u64) -> Self {
        let max_entries = max_entries.max(1);
        // a weight is 32 bits wide; no entry comes near that
        let share = u32::try_from(max_bytes / max_entries).unwrap_or(u32::MAX);
        let total = if share == 0 { max_bytes } else { u64::from(share).saturating_mul(max_entries) };
        Self { share, total }
    }

    /// What all entries together may weigh.
    pub fn total(self) -> u64 {
        self.total
    }

    /// What an entry of that many bytes weighs.
    pub fn weight(self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).max(self.share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_bound_is_reached_first() {
        let capacity = Capacity::new(100, 100_000);
        let fit = |bytes: usize| capacity.total() / u64::from(capacity.weight(bytes));
        assert_eq!((fit(1), fit(1_000), fit(2_000), fit(200_000)), (100, 100, 50, 0));
    }

    #[test]
    fn absurd_bounds_bound_all_the_same() {
        let none = Capacity::new(0, 0);
        assert_eq!((none.total(), none.weight(7)), (0, 7));
        let endless = Capacity::new(u64::MAX, u64::MAX);
        assert_eq!((endless.total(), endless.weight(0)), (u64::MAX, 1));
        let one = Capacity::new(1, u64::MAX);
        assert_eq!((one.total(), one.weight(7)), (u64::from(u32::MAX), u32::MAX));
    }
}
