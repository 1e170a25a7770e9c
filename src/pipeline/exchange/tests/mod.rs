//! The whole stage against a token endpoint of our own on loopback.

pub mod sample;
