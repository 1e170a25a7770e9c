//! Which causes of trouble the log was told of lately. Pure.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

/// How soon a cause is told again that others took turns with.
const LATELY: Duration = Duration::from_secs(30);
/// The most causes that are told apart: attempts are a second apart, and so are lines at worst.
const MOST: usize = 8;

/// The causes that were told, newest last.
#[derive(Debug, Default)]
pub struct Told(VecDeque<(String, Instant)>);

impl Told {
    /// Whether the log is to be told `now` that trouble goes on for that cause; then it counts as told.
    pub fn is_news(&mut self, cause: &str, now: Instant) -> bool {
        let is_last = self.0.back().is_some_and(|(last, _)| last == cause);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < LATELY;
        if is_last || self.0.iter().any(|(told, at)| told == cause && is_recent(at)) {
            return false;
        }
        self.0.retain(|(told, at)| told != cause && is_recent(at));
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((cause.to_owned(), now));
        true
    }

    /// Forgets all: what comes next is another trouble.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;
    use crate::domain::clock::UnixTime;

    #[test]
    fn a_cause_is_told_when_it_is_another_and_not_each_time_that_two_take_turns() {
        let start = Clock::manual(UnixTime::from_seconds(0)).monotonic();
        let mut told = Told::default();
        for (second, cause, is_news) in [
            (0, "refused", true),
            (1, "refused", false),
            (2, "NOAUTH", true),
            (3, "NOAUTH", false),
            (4, "refused", false),
            (5, "NOAUTH", false),
            (29, "refused", false),
            (30, "refused", true),
            (31, "refused", false),
            (3600, "refused", false),
            (3601, "NOAUTH", true),
        ] {
            assert_eq!(told.is_news(cause, start + Duration::from_secs(second)), is_news, "{second} {cause}");
        }
        told.forget();
        assert!(told.is_news("NOAUTH", start + Duration::from_secs(3602)));
    }

    #[test]
    fn however_many_causes_there_are_few_are_remembered() {
        let now = Clock::manual(UnixTime::from_seconds(0)).monotonic();
        let mut told = Told::default();
        for number in 0..1000 {
            assert!(told.is_news(&number.to_string(), now));
        }
        assert_eq!(told.0.len(), MOST);
    }
}
