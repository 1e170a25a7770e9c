//! All targets but one: `FUZZ_TARGET` says which. libFuzzer is its `main`.
#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a property may fail loudly

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

mod properties;

static CHECK: OnceLock<properties::Check> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let found = properties::ALL.iter().find(|(own, _)| *own == name);
        let (_, check) = found.expect("FUZZ_TARGET names one of the targets");
        CHECK.get_or_init(|| *check);
    },
    |bytes: &[u8]| {
        if let Some(check) = CHECK.get() {
            check(bytes);
        }
    }
);
