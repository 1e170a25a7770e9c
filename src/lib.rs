//! obo-proxy: a reverse proxy that exchanges the caller's bearer token On-Behalf-Of the user.
//!
//! A request's life is a straight line, and each step is one directory of [`pipeline`]:
//!
//! ```text
//! accept -> route -> authenticate -> exchange -> forward -> (anything refused) respond
//! ```
//!
//! The crate has floors, and a floor uses only lower ones (a test reads every `use` line):
//!
//! | Floor | Module | Holds |
//! |---|---|---|
//! | 5 | [`app`] | wiring: builds the machine and runs it; commands; the demo |
//! | 4 | [`pipeline`] | the life of one request |
//! | 3 | [`net`] | outbound HTTP and TLS; knows nothing of tokens |
//! | 2 | [`telemetry`] | metrics and logs |
//! | 1 | [`config`] | from text to a configuration that cannot be wrong |
//! | 0 | [`domain`] | words: token, caller, scope, secret, clock |
//!
//! What never happens: token A goes upstream in place of token B; one user is answered with another's token; token B
//! outlives its `expires_on`; a claim is used before its signature was verified; input makes the process panic.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))] // they panic where nobody reads

pub mod app;
pub mod config;
pub mod domain;
pub mod net;
pub mod pipeline;
pub mod telemetry;
