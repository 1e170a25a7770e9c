//! `token`: what a token says, whether it is good, what it is exchanged for.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Subcommand;

use crate::app::cli::Failure;
use crate::config::Config;
use crate::config::Route;

mod decode;
mod exchange;
mod verify;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo \"$TOKEN\" | obo-proxy token decode                        what does it say?
  echo \"$TOKEN\" | obo-proxy token verify --route orders         would it be let in?
  echo \"$TOKEN\" | obo-proxy token exchange --route orders       what does the identity provider say?

Exit codes: 0 yes; 1 the answer is no; 2 usage; 69 the identity provider cannot be reached; 74 the file cannot be read;
            78 the configuration is wrong.

Read on: docs/troubleshooting.md, docs/answers.md.")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

impl Arguments {
    /// Whether the configuration matters.
    pub(super) fn reads_configuration(&self) -> bool {
        !matches!(self.command, Command::Decode(_))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what a token says, and what is odd about it; nothing is verified, nobody is contacted
    Decode(decode::Arguments),
    /// Validate a token as the proxy would; fetches the identity provider's keys
    Verify(verify::Arguments),
    /// Exchange a token On-Behalf-Of its user as the proxy would, and tell what came of it
    Exchange(exchange::Arguments),
}

pub(super) fn run(files: &[PathBuf], arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::Decode(arguments) => decode::run(arguments),
        Command::Verify(arguments) => verify::run(files, arguments),
        Command::Exchange(arguments) => exchange::run(files, arguments),
    }
}

/// The route of that name; the only one that `fits`, if none is named.
fn route<'c>(
    config: &'c Config,
    named: Option<&str>,
    fits: impl Fn(&Route) -> bool,
) -> Result<&'c Route, Failure> {
    let fitting: Vec<&Route> = config.routes.iter().map(AsRef::as_ref).filter(|route| fits(route)).collect();
    let names = || fitting.iter().map(|route| route.name.as_str()).collect::<Vec<_>>().join(", ");
    match (named, fitting.as_slice()) {
        (Some(named), _) => {
            let own = fitting.iter().find(|route| route.name.as_str() == named);
            own.copied().ok_or_else(|| {
                Failure::Usage(anyhow!("there is no such route `{named}`: there are {}", names()))
            })
        }
        (None, [only]) => Ok(only),
        (None, []) => Err(Failure::Usage(anyhow!("the configuration has no such route"))),
        (None, _) => Err(Failure::Usage(anyhow!("choose a route with --route: {}", names()))),
    }
}
