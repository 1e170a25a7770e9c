//! When a token endpoint in trouble is left alone.
//!
//! **In:** how each answer of one endpoint went, and when. **Out:** whether it may be asked now. **Never:** more than one
//! question a second to an endpoint that has shown it cannot answer; silence towards one that answers again.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

/// How many of the last answers count.
const LOOKED_AT: usize = 10;

/// So many failures among them open the breaker,
const MOST_FAILURES: usize = 5;

/// if they came within this span.
const WITHIN: Duration = Duration::from_secs(10);

/// How often an open breaker lets one question through, to see whether the endpoint is back.
pub const PROBE_EVERY: Duration = Duration::from_secs(1);

/// What an answer says of the endpoint's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can answer. A refusal of a user or of our own request is as good a sign as a token.
    Well,
    /// It did not answer, or only to say that it cannot.
    Ill,
}

/// What an answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The endpoint is spared from now on.
    Opened,
    /// The endpoint is asked freely again.
    Closed,
}

/// The breaker of one token endpoint. Closed at first.
#[derive(Debug, Default)]
pub struct Breaker {
    /// The last answers, oldest first.
    answers: VecDeque<(Health, Instant)>,
    /// When the next probe is due; `None` while the breaker is closed.
    next_probe: Option<Instant>,
}

impl Breaker {
    /// Whether the endpoint may be asked `now`. A yes from an open breaker is used up by the one who gets it.
    pub fn admits(&mut self, now: Instant) -> bool {
        match &mut self.next_probe {
            None => true,
            Some(due) if *due <= now => {
                *due = now + PROBE_EVERY;
                true
            }
            Some(_) => false,
        }
    }

    /// Takes back the yes it gave at `admitted`, of which no use was made: the endpoint was not asked.
    pub fn unused(&mut self, admitted: Instant) {
        if self.next_probe == Some(admitted + PROBE_EVERY) {
            self.next_probe = Some(admitted);
        }
    }

    /// Whether the endpoint is being spared.
    pub fn is_open(&self) -> bool {
        self.next_probe.is_some()
    }

    /// Takes an answer into account, whoever asked for it and whenever. Says what that changed, if anything.
    pub fn note(&mut self, health: Health, now: Instant) -> Option<Change> {
        match (self.is_open(), health) {
            (true, Health::Ill) => None,
            (true, Health::Well) => {
                *self = Self::default();
                Some(Change::Closed)
            }
            (false, _) => self.count(health, now),
        }
    }

    fn count(&mut self, health: Health, now: Instant) -> Option<Change> {
        self.answers.push_back((health, now));
        if self.answers.len() > LOOKED_AT {
            self.answers.pop_front();
        }
        let recent = |at: &Instant| now.saturating_duration_since(*at) <= WITHIN;
        let failures =
            self.answers.iter().filter(|(health, at)| *health == Health::Ill && recent(at)).count();
        (failures >= MOST_FAILURES).then(|| {
            self.answers.clear();
            self.next_probe = Some(now + PROBE_EVERY);
            Change::Opened
        })
    }
}

#[cfg(test)]
mod tests;
