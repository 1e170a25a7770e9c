//! The target that takes the whole proxy, in a program of its own: the more there is in one, the longer libFuzzer looks at what
//! was reached, after each of its millions of runs.
#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a property may fail loudly

use libfuzzer_sys::fuzz_target;

mod connection;

fuzz_target!(|bytes: &[u8]| connection::check(bytes));
