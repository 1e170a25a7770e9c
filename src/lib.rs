//! obo-proxy.
pub mod config;
pub mod domain;
pub mod net;
pub mod pipeline;
pub mod telemetry;
