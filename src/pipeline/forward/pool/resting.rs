//! Connections that rest, the last to come the first to go: the fewest are kept awake, the others grow old and go.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How long, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long a connection may rest.
    pub rest: Duration,
    /// How many connections to one upstream may rest at a time.
    pub most: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { rest: Duration::from_secs(60), most: 128 }
    }
}

/// What rests, and since when: the oldest in front.
#[derive(Debug)]
pub struct Resting<T> {
    bounds: Bounds,
    items: VecDeque<(Instant, T)>,
}

impl<T> Resting<T> {
    /// Nothing yet.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, items: VecDeque::new() }
    }

    /// Lays `item` to rest. If there are too many, the oldest goes.
    pub fn push(&mut self, item: T) {
        self.items.push_back((Instant::now(), item));
        if self.items.len() > self.bounds.most {
            self.items.pop_front();
        }
    }

    /// The last that was laid to rest, and not too long ago. Those that are not `usable` go.
    pub fn pop(&mut self, usable: impl Fn(&T) -> bool) -> Option<T> {
        while let Some((since, item)) = self.items.pop_back() {
            if since + self.bounds.rest <= Instant::now() {
                // the others have rested for longer still
                self.items.clear();
                return None;
            }
            if usable(&item) {
                return Some(item);
            }
        }
        None
    }

    /// Lets go what has rested the longest. Whether there was anything.
    pub fn shed(&mut self) -> bool {
        self.items.pop_front().is_some()
    }

    /// Lets go what has rested for too long, or is not `usable`. When to do so again, if anything is left.
    pub fn expire(&mut self, usable: impl Fn(&T) -> bool) -> Option<Instant> {
        let now = Instant::now();
        self.items.retain(|(since, item)| *since + self.bounds.rest > now && usable(item));
        if self.items.is_empty() {
            self.items.shrink_to_fit();
        }
        self.items.front().map(|(since, _)| *since + self.bounds.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { rest: Duration::from_secs(60), most: 3 };

    async fn after(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    fn any(_: &u8) -> bool {
        true
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_comes_first_and_the_useless_are_skipped() {
        let mut resting = Resting::new(BOUNDS);
        for item in [1, 2, 3] {
            resting.push(item);
        }
        assert_eq!(resting.pop(|item| *item != 3), Some(2));
        assert_eq!(resting.pop(any), Some(1), "3 is gone");
        assert_eq!(resting.pop(any), None);
    }

    #[tokio::test(start_paused = true)]
    async fn when_there_are_too_many_the_oldest_goes() {
        let mut resting = Resting::new(BOUNDS);
        for item in [1, 2, 3, 4, 5] {
            resting.push(item);
        }
        let left: Vec<u8> = std::iter::from_fn(|| resting.pop(any)).collect();
        assert_eq!(left, [5, 4, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_rested_too_long_is_not_used() {
        let mut resting = Resting::new(BOUNDS);
        resting.push(1);
        after(10).await;
        resting.push(2);
        after(59).await;
        assert_eq!(resting.pop(any), Some(2));
        assert_eq!(resting.pop(any), None, "1 rested for 69 seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn the_old_and_the_useless_expire_and_the_next_time_is_known() {
        let mut resting = Resting::new(BOUNDS);
        let first = Instant::now();
        for item in [1, 2, 3] {
            resting.push(item);
            after(10).await;
        }
        let ends = |after: u64| Some(first + Duration::from_secs(after));
        assert_eq!(resting.expire(any), ends(60));
        after(30).await;
        assert_eq!(resting.expire(any), ends(70), "1 rested for 60 seconds");
        assert_eq!(resting.expire(|item| *item != 2), ends(80), "2 is of no use");
        after(20).await;
        assert_eq!(resting.expire(any), None);
        assert_eq!(resting.pop(any), None);
    }
}
