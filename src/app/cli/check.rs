//! `check`: every problem of a configuration at once. Contacts nothing.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::app::cli::exit_code;
use crate::app::cli::load;
use crate::app::cli::paint;
use crate::config::Config;
use crate::config::Look;
use crate::config::problem::Problem;
use crate::domain::clock::Clock;
use crate::domain::printable;

const EXAMPLES: &str = "\
Examples:
  obo-proxy check --config config.yaml
  obo-proxy check --config base.yaml --config site.yaml --deny-warnings      before a roll-out
  obo-proxy check --format json | jq -r '.[] | \"\\(.file):\\(.line): \\(.message)\"'

Exit codes: 0 it can be used; 2 usage; 74 a file cannot be read, or stdout not be written to; 78 it is wrong, or warnings are denied.

It looks into the files that the configuration names, and contacts nobody: that is what `doctor` is for.
Read on: config/reference.yaml has every setting with an example, docs/configuration.md the same as a page.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
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
                    let paint = paint::of_stdout();
                    let warnings: String =
                        loaded.warnings.iter().map(|warning| warning.to_text(paint) + "\n").collect();
                    let summary = summary(&loaded.config, loaded.warnings.len());
                    format!("{warnings}{}: {summary}\n", paint.good("ok"))
                }
            };
            (text, code)
        }
        Err(report) => {
            let text = match arguments.format {
                Format::Json => json(report.problems()),
                Format::Human => report.to_text(paint::of_stdout()),
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
        "{}, {}, {}, {}",
        count(config.identity_providers.len(), "identity provider"),
        count(config.routes.len(), "route"),
        count(config.listeners.len(), "listener"),
        count(warnings, "warning")
    )
}
