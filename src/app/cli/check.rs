//! `check`: every problem of a configuration at once. Contacts nothing.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::app::cli::exit_code;
use crate::app::cli::load;
use crate::config::Config;
use crate::config::Look;
use crate::config::problem::Problem;
use crate::domain::clock::Clock;
use crate::domain::printable;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Treat warnings as errors
    #[arg(long)]
    deny_warnings: bool,
    /// How to print problems
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person, with the source line
    Human,
    /// One JSON array
    Json,
}

pub(super) fn run(files: &[PathBuf], arguments: &Arguments) -> ExitCode {
    let (text, code) = match load(files, Look::Into(Clock::system().now())) {
        Ok(loaded) => {
            let code = if arguments.deny_warnings && !loaded.warnings.is_empty() { 78 } else { 0 };
            let text = match arguments.format {
                Format::Json => json(&loaded.warnings),
                Format::Human => {
                    let warnings: String =
                        loaded.warnings.iter().map(|warning| format!("{warning}\n")).collect();
                    format!("{warnings}{}\n", summary(&loaded.config, loaded.warnings.len()))
                }
            };
            (text, code)
        }
        Err(report) => {
            let text = match arguments.format {
                Format::Json => json(report.problems()),
                Format::Human => report.to_string(),
            };
            (text, exit_code(&report))
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::from(74),
    }
}

fn json(problems: &[Problem]) -> String {
    let problems: serde_json::Value = problems.iter().map(Problem::to_json).collect();
    printable::json(format!("{problems:#}\n"))
}

fn summary(config: &Config, warnings: usize) -> String {
    let count =
        |number: usize, thing: &str| format!("{number} {thing}{}", if number == 1 { "" } else { "s" });
    format!(
        "ok: {}, {}, {}, {}",
        count(config.identity_providers.len(), "identity provider"),
        count(config.routes.len(), "route"),
        count(config.listeners.len(), "listener"),
        count(warnings, "warning")
    )
}
