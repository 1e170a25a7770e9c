//! Floor 2: what operators see.
//!
//! **In:** facts the stages found out. **Out:** metrics, log lines, spans. **Never:** a token, a secret, a query string or a
//! user's name; a label value from outside.

pub mod access_log;
pub mod audit;
pub mod catalogue;
pub mod dial;
pub mod ends;
pub mod events;
mod exposition;
pub mod figures;
mod flood;
pub mod interventions;
pub mod journey;
mod labels;
pub mod lead;
pub mod logs;
pub mod metrics;
pub mod outlet;
pub mod process;
pub mod rates;
pub mod trace;
