//! What became of each request, by its callers and by the log: both must say the same.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Mutex;

use crate::faults::Fault;

/// How many wrong answers are told of.
const TOLD: usize = 12;

/// What a caller makes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is what it should be.
    Right,
    /// It is a refusal, or an end, for which there is a reason.
    Explained(String, By),
    Wrong(String),
}

/// Whose doing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Fault(Fault),
    /// The key of the caller's token is new, or withdrawn.
    Key,
}

#[derive(Default)]
pub struct Ledger(Mutex<Book>);

#[derive(Clone, Default)]
pub struct Book {
    /// Answers by status, as callers saw them.
    pub answers: BTreeMap<u16, u64>,
    /// Lines of the access log by status.
    pub lines: BTreeMap<u16, u64>,
    /// What has an answer or a line, and not yet the other.
    halves: HashMap<u64, Half>,
    /// What its caller did not wait for.
    given_up: HashSet<u64>,
    /// How many calls of each kind had which verdict: right, explained, wrong.
    pub calls: BTreeMap<&'static str, [u64; 3]>,
    /// The explanations.
    pub explanations: BTreeMap<String, u64>,
    /// Some of the wrong answers.
    pub wrong: Vec<String>,
    /// Where callers and log differ.
    pub differences: Vec<String>,
    /// Requests whose token was kept, but for those that upstream or key failed; and how those failed that did.
    pub kept: u64,
    pub kept_failed: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Answered(u16),
    Logged(u16),
}

impl Ledger {
    /// The head of an answer came.
    pub fn answered(&self, request: u64, status: u16) {
        let mut book = self.0.lock().unwrap();
        *book.answers.entry(status).or_default() += 1;
        book.half(request, Half::Answered(status));
    }

    /// A line of the access log.
    pub fn logged(&self, request: u64, status: u16) {
        let mut book = self.0.lock().unwrap();
        *book.lines.entry(status).or_default() += 1;
        book.half(request, Half::Logged(status));
    }

    /// Nobody waited for its answer, or none came.
    pub fn gave_up(&self, request: u64) {
        self.0.lock().unwrap().given_up.insert(request);
    }

    pub fn judged(&self, kind: &'static str, verdict: Verdict) {
        let mut book = self.0.lock().unwrap();
        let column = match &verdict {
            Verdict::Right => 0,
            Verdict::Explained(..) => 1,
            Verdict::Wrong(_) => 2,
        };
        book.calls.entry(kind).or_default()[column] += 1;
        match verdict {
            Verdict::Right => {}
            Verdict::Explained(what, by) => {
                *book.explanations.entry(format!("{what}: {by:?}")).or_default() += 1;
            }
            Verdict::Wrong(text) if book.wrong.len() < TOLD => book.wrong.push(format!("{kind}: {text}")),
            Verdict::Wrong(_) => {}
        }
    }

    /// A request whose token was kept: why it failed, if it did.
    pub fn kept(&self, failed: Option<String>) {
        let mut book = self.0.lock().unwrap();
        book.kept += 1;
        book.kept_failed.extend(failed);
    }

    pub fn book(&self) -> Book {
        self.0.lock().unwrap().clone()
    }
}

impl Book {
    fn half(&mut self, request: u64, half: Half) {
        match (self.halves.remove(&request), half) {
            (None, half) => drop(self.halves.insert(request, half)),
            (Some(Half::Answered(seen)), Half::Logged(logged))
            | (Some(Half::Logged(logged)), Half::Answered(seen)) => {
                if seen != logged {
                    self.differences
                        .push(format!("request {request} was answered {seen} and logged as {logged}"));
                }
            }
            (Some(first), second) => {
                self.differences.push(format!("request {request} twice: {first:?} {second:?}"));
            }
        }
    }

    /// Where callers and log differ, now that all is over.
    pub fn all_differences(&self) -> Vec<String> {
        let lone = self.halves.iter().filter(|(request, half)| match half {
            Half::Answered(_) => true,
            Half::Logged(_) => !self.given_up.contains(request),
        });
        let lone = lone.map(|(request, half)| format!("request {request} is only {half:?}"));
        self.differences.iter().cloned().chain(lone).collect()
    }

    /// How many answers there were.
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    pub fn lines(&self) -> u64 {
        self.lines.values().sum()
    }

    pub fn given_up(&self) -> u64 {
        self.given_up.len() as u64
    }

    /// How many answers were under way when the proxy was told to stop.
    pub fn under_way(&self) -> u64 {
        self.calls.get("under way").map_or(0, |counts| counts.iter().sum())
    }

    /// How many calls had that verdict: 0 right, 1 explained, 2 wrong.
    pub fn verdicts(&self, column: usize) -> u64 {
        self.calls.values().map(|counts| counts[column]).sum()
    }
}
