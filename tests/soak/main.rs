//! A long while in the life of a proxy, in short: `cargo test --test soak -- SECONDS [--rate N] [--seed N] [--binary PATH | --counted] [--log
//! FILE]`.
//!
//! The real binary is called at a steady rate, while everything around it goes wrong in turn and its operator changes
//! everything that can be changed. Every answer is checked, and at the end what it cost and what is left of it. The exit code
//! is 0 only if every check passed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // a test may fail loudly
#![allow(missing_docs)]

mod api;
mod callers;
mod calls;
mod checks;
mod faults;
mod judge;
mod ledger;
mod operator;
mod proxy;
mod random;
mod relay;
mod run;
mod span;
#[path = "../it/support/mod.rs"]
#[allow(dead_code)] // other tests use the rest of it
mod support;
mod users;
mod weather;
mod websocket;
mod world;

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cap::Cap;
use mimalloc::MiMalloc;

use crate::run::Plan;

const USAGE: &str = "usage: cargo test --test soak -- [SECONDS] [--rate REQUESTS_A_SECOND] [--seed NUMBER] [--binary PATH | --counted] [--log FILE]";

/// The proxy's allocator, which counts: what is resident says little of what is in use, as whoever frees a block keeps its page.
#[global_allocator]
static HEAP: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);

/// Set, if this very program is to be the proxy, and to log how much is allocated.
const COUNTED: &str = "SOAK_COUNTED";

fn main() -> ExitCode {
    if std::env::var_os(COUNTED).is_some() {
        std::thread::spawn(count);
        return obo_proxy::app::cli::main();
    }
    let Some(plan) = plan(std::env::args().skip(1)) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let report = runtime.block_on(run::run(plan));
    print!("{report}");
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn count() {
    loop {
        let line =
            format!("{{\"level\":\"debug\",\"msg\":\"{}\",\"bytes\":{}}}\n", proxy::HEAP, HEAP.allocated());
        let _nobody_reads_any_more = std::io::stderr().write_all(line.as_bytes());
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Option<Plan> {
    let mut plan = Plan {
        lasting: Duration::from_secs(60),
        rate: 300,
        seed: RandomState::new().hash_one(()) % 1_000_000,
        binary: PathBuf::from(env!("CARGO_BIN_EXE_obo-proxy")),
        is_counted: false,
        log: None,
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rate" => plan.rate = arguments.next()?.parse().ok().filter(|rate| *rate > 0)?,
            "--seed" => plan.seed = arguments.next()?.parse().ok()?,
            "--log" => plan.log = Some(arguments.next()?.into()),
            "--binary" => plan.binary = arguments.next()?.into(),
            "--counted" => {
                plan.is_counted = true;
                plan.binary = std::env::current_exe().ok()?;
            }
            // in less than a minute not everything happens
            seconds => {
                plan.lasting =
                    seconds.parse().ok().filter(|seconds| *seconds >= 60).map(Duration::from_secs)?
            }
        }
    }
    Some(plan)
}
