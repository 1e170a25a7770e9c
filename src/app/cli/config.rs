//! `config`: the configuration as it is in use, secrets masked. Contacts nothing.

use std::path::PathBuf;

use crate::app::cli::Failure;
use crate::app::cli::print;
use crate::app::cli::print_json;
use crate::app::cli::source;
use crate::config;
use crate::config::Look;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  obo-proxy config                      what is in use, and behind each value where it was written
  obo-proxy config --defaults           with what nobody wrote, but holds
  OBO__WORKERS=2 obo-proxy config --json | jq .origins.workers")]
pub(super) struct Arguments {
    /// One JSON object: `values`, and `origins` by the path of each
    #[arg(long)]
    json: bool,
    /// Also what nobody wrote: what holds by default, or follows from other settings
    #[arg(long)]
    defaults: bool,
}

pub(super) fn run(files: &[PathBuf], arguments: &Arguments) -> Result<(), Failure> {
    let source = source(files).map_err(Failure::Config)?;
    let (loaded, mut written) =
        config::load_written(&source.files, &source.environment, Look::Away).map_err(Failure::Config)?;
    if arguments.defaults {
        written = config::with_defaults(written, &loaded.config);
    }
    match arguments.json {
        true => print_json(format!("{:#}", written.to_json())),
        false => print(&written.to_yaml()),
    }
}
