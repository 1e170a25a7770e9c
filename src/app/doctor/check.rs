//! One look at one thing, what it showed, and how long it took.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::clock::Clock;
use crate::domain::printable;

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// All is well.
    Well,
    /// It works, but not for ever, or not as it should.
    Doubtful,
    /// It is not there, or does not answer.
    Unreachable,
    /// It is there, and wrong.
    Wrong,
}

impl Finding {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Doubtful => "warning",
            Self::Unreachable => "unreachable",
            Self::Wrong => "failed",
        }
    }
}

/// A finding, what was seen, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub(super) finding: Finding,
    pub(super) seen: String,
    pub(super) remedy: Option<String>,
}

impl Verdict {
    /// All is well.
    pub fn well(seen: impl Into<String>) -> Self {
        Self::new(Finding::Well, seen.into(), None)
    }

    /// It works, and something should be done all the same.
    pub fn doubtful(seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Finding::Doubtful, seen.into(), Some(remedy.into()))
    }

    /// It is wrong.
    pub fn wrong(seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Finding::Wrong, seen.into(), Some(remedy.into()))
    }

    /// It is not there.
    pub fn unreachable(seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Finding::Unreachable, seen.into(), Some(remedy.into()))
    }

    /// Some of what is seen are words of servers', which must not move about on a terminal.
    fn new(finding: Finding, seen: String, remedy: Option<String>) -> Self {
        let letter = |own: char| if printable::is_printable(own) { own } else { ' ' };
        let remedy = remedy.map(|text| printable::lines(&text));
        Self { finding, seen: seen.chars().map(letter).collect(), remedy }
    }
}

/// What one look showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How that ended.
    pub finding: Finding,
    /// How long it took.
    pub took: Duration,
    /// What was seen.
    pub seen: String,
    /// What to do, if anything is to be done.
    pub remedy: Option<String>,
}

impl Check {
    /// A look that took no time.
    pub fn at_once(name: impl Into<String>, verdict: Verdict) -> Self {
        let Verdict { finding, seen, remedy } = verdict;
        Self { name: printable::line(&name.into()), finding, took: Duration::ZERO, seen, remedy }
    }
}

/// What was looked at of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it is, as the operator calls it.
    pub name: String,
    /// The looks, in their order.
    pub checks: Vec<Check>,
}

impl Group {
    /// The looks at the `kind` of thing of that name, which may have none.
    pub fn new(kind: &str, name: &str, checks: Vec<Check>) -> Self {
        let kind = kind.replace('_', " ");
        Self { name: if name.is_empty() { kind } else { format!("{kind} {name}") }, checks }
    }
}

/// One run: it has an end, whatever hangs.
#[derive(Clone, Debug)]
pub struct Round {
    /// The time.
    pub clock: Clock,
    end: Instant,
}

impl Round {
    /// One that ends then.
    pub fn lasting(patience: Duration, clock: &Clock) -> Self {
        Self { clock: clock.clone(), end: Instant::now() + patience }
    }

    /// Takes a look, which may take so long.
    pub async fn check(
        &self,
        name: impl Into<String>,
        limit: Duration,
        look: impl Future<Output = Verdict>,
    ) -> Check {
        let (check, _) = self.check_for(name, limit, async { Err::<(Verdict, ()), _>(look.await) }).await;
        check
    }

    /// Takes a look that finds something when all is well.
    pub async fn check_for<T>(
        &self,
        name: impl Into<String>,
        limit: Duration,
        look: impl Future<Output = Result<(Verdict, T), Verdict>>,
    ) -> (Check, Option<T>) {
        let begun = self.clock.monotonic();
        let end = self.end.min(Instant::now() + limit);
        let (verdict, found) = match tokio::time::timeout_at(end, look).await {
            Ok(Ok((verdict, found))) => (verdict, Some(found)),
            Ok(Err(verdict)) => (verdict, None),
            Err(_) => (late(limit), None),
        };
        let took = self.clock.monotonic().saturating_duration_since(begun);
        (Check { took, ..Check::at_once(name, verdict) }, found)
    }
}

fn late(limit: Duration) -> Verdict {
    let seen = format!("nothing came within {limit:?}");
    Verdict::unreachable(
        seen,
        "something on the way swallows it, or it hangs: look at firewalls, NetworkPolicies and its own log",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_told_of_a_look_is_obeyed_by_a_terminal() {
        let odd = "a\u{1b}[31m\u{9b}\u{2066}";
        let told = Check::at_once(odd, Verdict::wrong(odd, odd));
        for text in [told.name, told.seen, told.remedy.unwrap()] {
            assert!(text.starts_with('a') && text.chars().all(printable::is_printable), "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_given_up_after_its_own_time_and_at_the_end_of_the_round() {
        let round = Round::lasting(Duration::from_secs(5), &Clock::system());
        let begun = Instant::now();
        for (limit, ends_at) in [(2, 2), (2, 4), (2, 5), (2, 5)] {
            let check = round.check("x", Duration::from_secs(limit), std::future::pending()).await;
            assert_eq!(check.finding, Finding::Unreachable);
            assert_eq!(begun.elapsed().as_secs(), ends_at);
        }
    }
}
