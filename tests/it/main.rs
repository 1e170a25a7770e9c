//! The integration tests: one binary, files named after the stages. Real sockets, the emulated Entra, the echo API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a test may fail loudly
#![allow(missing_docs)]

mod accept;
mod admin;
mod architecture;
mod authenticate;
mod bad_answers;
mod challenges;
mod cli;
mod commands;
mod configuration_page;
mod credential;
mod doctor;
mod documents;
mod egress_proxy;
mod exchange;
mod forward;
mod framing;
mod fuzzing;
mod grants;
mod http2_conformance;
mod http2_downgrade;
mod http2_floods;
mod identities;
mod issuers;
mod leaks;
mod listeners;
mod machine;
mod metrics;
mod pages;
mod peers;
mod reload;
mod respond;
mod route;
mod route_settings;
mod shared_cache;
mod streams;
mod supervised;
mod support;
mod telemetry;
mod tls;
mod traces;
mod unix;
mod websocket;
