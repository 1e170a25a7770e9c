//! The network fails: what is promised for each fault is in docs/testing.md, with the tests that show it. Those that were not
//! shown elsewhere are here.

mod callers;
mod keys;
mod network;
mod random;
mod redis;
mod relay;
mod tls;
mod token_endpoint;
mod upstream;

use std::time::Duration;

use crate::support::Answer;

/// Where no time limit is above four seconds, or none is to be waited for, whoever asks is told by then. The rest is for a machine
/// that is busy.
const IN_TIME: Duration = Duration::from_secs(15);

/// Status and reason of a refusal.
fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.reason())
}
