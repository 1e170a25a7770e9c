//! obo-proxy.
pub mod app;
pub mod config;
pub mod domain;
pub mod net;
pub mod telemetry;
