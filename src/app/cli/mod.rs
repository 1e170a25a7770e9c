//! The command line: one file per command.
//!
//! **In:** arguments and environment. **Out:** an exit code: 0 ok, 1 the answer is no, 2 usage, 69 nobody answers, 74 I/O,
//! 78 configuration. **Never:** takes a token or a secret as an argument.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use clap::Subcommand;

use crate::app::reload::Source;
use crate::config::Loaded;
use crate::config::Look;
use crate::config::problem::Cause;
use crate::config::problem::Location;
use crate::config::problem::Problem;
use crate::config::problem::Report;
use crate::config::problem::Severity;
use crate::domain::printable;

mod check;
mod completions;
mod config;
mod demo;
mod doctor;
mod explain;
mod health;
mod init;
mod input;
mod judge;
mod run;
mod schema;
mod token;

const DEFAULT_CONFIG: &str = "/etc/obo-proxy/config.yaml";

/// Exchanges each caller's bearer token On-Behalf-Of the user for the token the API behind wants.
#[derive(Debug, Parser)]
#[command(name = "obo-proxy", version, after_help = "Start here:  obo-proxy demo")]
struct Arguments {
    /// The configuration file; several are merged, later ones win
    #[arg(short, long = "config", global = true, env = "OBO_CONFIG", value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: Vec<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the proxy
    ///
    /// A configuration file that changes is used within seconds, or at once on SIGHUP, without a request lost; a bad one is refused, and
    /// the one before goes on. SIGTERM and SIGINT end the proxy when the requests under way are done; a second one ends it at once.
    Run,
    /// Start a complete playground on loopback: an emulated Entra, an echo API and the proxy
    Demo(demo::Arguments),
    /// Check a configuration: lists every problem, contacts nothing
    Check(check::Arguments),
    /// Contact everything that a configuration names, and say what is wrong and what to do
    Doctor(doctor::Arguments),
    /// Tell what the proxy would do with a request, and why; contacts nothing
    Explain(explain::Arguments),
    /// Decode, verify or exchange a token
    Token(token::Arguments),
    /// Print the configuration as it is in use, with where each value was written; secrets are masked
    Config(config::Arguments),
    /// Write a configuration to begin with
    Init(init::Arguments),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Ask a running proxy whether it is ready, for HEALTHCHECK and exec probes: 0 yes, 1 no
    Health(health::Arguments),
    /// Print what makes a shell complete our commands
    Completions(completions::Arguments),
}

/// How a command ends when it does not end well.
#[derive(Debug)]
enum Failure {
    /// The answer is no, or it could not go on.
    No(anyhow::Error),
    /// The configuration is wrong.
    Config(Report),
    /// The arguments are, in a way that only the configuration or the input shows.
    Usage(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::No(error)
    }
}

/// Runs the command the arguments name.
pub fn main() -> ExitCode {
    let Arguments { config, command } = Arguments::parse();
    let outcome = match command {
        Command::Run => run::run(&config),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Check(arguments) => return check::run(&config, &arguments),
        Command::Doctor(arguments) => return doctor::run(&config, &arguments),
        Command::Schema => schema::run(),
        Command::Health(arguments) => return health::run(&config, &arguments),
        Command::Explain(arguments) => return ended(explain::run(&config, &arguments)),
        Command::Token(arguments) => return ended(token::run(&config, &arguments)),
        Command::Config(arguments) => config::run(&config, &arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    ended(outcome.map(|()| ExitCode::SUCCESS))
}

/// The exit code of a command that has come to its end.
fn ended(outcome: Result<ExitCode, Failure>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(Failure::No(error)) => {
            complain(&error);
            ExitCode::from(failure_code(&error))
        }
        Err(Failure::Config(report)) => {
            eprint!("{report}");
            ExitCode::from(exit_code(&report))
        }
        Err(Failure::Usage(error)) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

/// Arguments and names of files are in errors, and go to a terminal.
fn complain(error: &anyhow::Error) {
    eprintln!("error: {}", printable::lines(&format!("{error:#}")));
}

/// Prints what a command has to say.
fn print(text: &str) -> Result<(), Failure> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to stdout")?;
    Ok(())
}

/// Prints JSON, of which no letter does anything to a terminal.
fn print_json(json: String) -> Result<(), Failure> {
    print(&(printable::json(json) + "\n"))
}

/// 74 for an address or stream that cannot be used, else 1.
fn failure_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<std::io::Error>()) { 74 } else { 1 }
}

/// 74 for a file that cannot be read, 78 for one that is wrong.
fn exit_code(report: &Report) -> u8 {
    match report.cause() {
        Cause::Unreadable => 74,
        Cause::Invalid => 78,
    }
}

/// Reads the configuration with this process's environment, looking that closely at the files it names.
fn load(files: &[PathBuf], look: Look) -> Result<Loaded, Report> {
    source(files)?.load(look)
}

/// What the configuration is read from, now and later.
///
/// # Errors
/// If a variable that is meant for us cannot be read.
fn source(files: &[PathBuf]) -> Result<Source, Report> {
    let environment = environment(std::env::vars_os())?;
    Ok(Source { files: files.to_vec(), environment })
}

/// The variables that are text. One of ours that is none would change nothing, and nobody would know.
fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, Report> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in variables {
        let shown = name.to_string_lossy().into_owned();
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => found.push((name, value)),
            _ if shown.starts_with("OBO__") => problems.push(Problem {
                severity: Severity::Error,
                location: Location::Environment(printable::line(&shown)),
                message: "this variable is not UTF-8 text".into(),
                help: Some("write its name and its value in UTF-8, or unset it".into()),
                excerpt: None,
            }),
            _ => {}
        }
    }
    match problems.is_empty() {
        true => Ok(found),
        false => Err(Report::new(Cause::Invalid, problems)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_variable_of_ours_that_is_no_text_is_an_error_and_anyone_elses_is_not_ours() {
        let raw = |name: &[u8], value: &[u8]| {
            (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()))
        };
        let fine = environment([raw(b"OBO__WORKERS", b"2"), raw(b"LESS", b"\xff")].into_iter());
        assert_eq!(fine.unwrap(), [("OBO__WORKERS".to_owned(), "2".to_owned())]);
        for (name, value, shown) in [
            (b"OBO__ADMIN__ADDRESS".as_slice(), b"hunter2\xff".as_slice(), "OBO__ADMIN__ADDRESS"),
            (b"OBO__X\xff", b"1", "OBO__X\u{fffd}"),
        ] {
            let told = environment([raw(name, value)].into_iter()).unwrap_err().to_string();
            assert!(told.contains(&format!("environment variable {shown}\n")), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
