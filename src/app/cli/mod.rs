//! The command line: one file per command.
//!
//! **In:** arguments and environment. **Out:** an exit code: 0 ok, 1 the answer is no, 2 usage, 69 nobody answers, 74 I/O,
//! 78 configuration. **Never:** takes a token or a secret as an argument.

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::app::cli::usage::Arguments;
use crate::app::cli::usage::Command;
use crate::app::cli::usage::Told;
use crate::app::panics;
use crate::app::reload::Source;
use crate::app::seclusion;
use crate::config::Environment;
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
mod paint;
mod run;
mod schema;
mod token;
mod usage;

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

/// Runs the command the arguments name. Nearly all of them get to see a secret or a token, so that all are secluded.
pub fn main() -> ExitCode {
    let open = seclusion::seclude();
    panics::tell_places_alone();
    let Arguments { config, command } = match usage::parse() {
        Ok(arguments) => arguments,
        Err(told) => return refused(&told),
    };
    let outcome = match command {
        Command::Run => run::run(&config, &open),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Check(arguments) => return check::run(&config, &arguments),
        Command::Doctor(arguments) => return doctor::run(&config, &arguments),
        Command::Schema => schema::run(),
        Command::Health(arguments) => return health::run(&config, &arguments),
        Command::Explain(arguments) => return ended(explain::run(&config, &arguments)),
        Command::Token(arguments) => return ended(token::run(&config, &arguments)),
        Command::Config(arguments) => config::run(&config, &arguments),
        Command::Init(arguments) => init::run(arguments),
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
            say(report.to_text(paint::of_stderr()));
            ExitCode::from(exit_code(&report))
        }
        Err(Failure::Usage(error)) => {
            complain(&error);
            ExitCode::from(2)
        }
    }
}

/// Tells what is wrong with the arguments, or what they ask to be told.
fn refused(told: &Told) -> ExitCode {
    if told.is_help {
        return ended(print(&told.painted(paint::of_stdout())).map(|()| ExitCode::SUCCESS));
    }
    say(told.painted(paint::of_stderr()));
    ExitCode::from(2)
}

/// Tells of an error. Arguments and names of files are in errors, and go to a terminal.
fn complain(error: &anyhow::Error) {
    let error = printable::lines(&format!("{error:#}"));
    say(format_args!("{}: {error}\n", paint::of_stderr().bad("error")));
}

/// Says something on stderr. Where nobody reads, the exit code still tells.
fn say(text: impl Display) {
    let _nobody_reads = write!(std::io::stderr(), "{text}");
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
    let environment = understood(std::env::vars_os().collect())?;
    Ok(Source { files: files.to_vec(), environment })
}

/// A variable of ours that is no text would change nothing, and nobody would know.
fn understood(environment: Environment) -> Result<Environment, Report> {
    let ours = environment.others.iter().filter(|name| name.starts_with("OBO__"));
    let problem = |name: &String| Problem {
        severity: Severity::Error,
        location: Location::Environment(printable::line(name)),
        message: "this variable is not UTF-8 text".into(),
        help: Some("write its name and its value in UTF-8, or unset it".into()),
        excerpt: None,
    };
    let problems: Vec<Problem> = ours.map(problem).collect();
    match problems.is_empty() {
        true => Ok(environment),
        false => Err(Report::new(Cause::Invalid, problems)),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::config::Variable;

    #[test]
    fn a_variable_of_ours_that_is_no_text_is_an_error_and_anyone_elses_is_not_ours() {
        let raw = |name: &[u8], value: &[u8]| {
            (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec()))
        };
        let fine =
            understood([raw(b"OBO__WORKERS", b"2"), raw(b"LESS", b"\xff")].into_iter().collect()).unwrap();
        assert_eq!(fine.texts, [("OBO__WORKERS".to_owned(), "2".to_owned())]);
        assert_eq!(fine.variable("LESS"), Some(Variable::NotText));
        for (name, value, shown) in [
            (b"OBO__ADMIN__ADDRESS".as_slice(), b"hunter2\xff".as_slice(), "OBO__ADMIN__ADDRESS"),
            (b"OBO__X\xff", b"1", "OBO__X\u{fffd}"),
        ] {
            let told = understood([raw(name, value)].into_iter().collect()).unwrap_err().to_string();
            assert!(told.contains(&format!("environment variable {shown}\n")), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
