//! `config`: the configuration as it is in use, secrets masked. Contacts nothing.

use std::path::PathBuf;

use crate::app::cli::Failure;
use crate::app::cli::load;
use crate::app::cli::print;
use crate::app::cli::print_json;
use crate::config;
use crate::config::Look;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  obo-proxy config                      what is in use, and behind each value where it was written
  obo-proxy config --defaults           with what nobody wrote, but holds
  OBO__WORKERS=2 obo-proxy config --json | jq .origins.workers

Exit codes: 0 it is printed; 2 usage; 74 a file cannot be read, or stdout not be written to; 78 the configuration is wrong.

Read on: config/reference.yaml has every setting with its default, docs/configuration.md the same as a page.")]
pub(super) struct Arguments {
    /// One JSON object: `values`, and `origins` by the path of each
    #[arg(long)]
    json: bool,
    /// Also what nobody wrote: what holds by default, or follows from other settings
    #[arg(long)]
    defaults: bool,
}

pub(super) fn run(files: &[PathBuf], arguments: &Arguments) -> Result<(), Failure> {
    let in_use = load(files, Look::Away).map_err(Failure::Config)?.config;
    let written = match arguments.defaults {
        true => config::with_defaults(&in_use),
        false => in_use.written,
    };
    match arguments.json {
        true => print_json(format!("{:#}", written.to_json())),
        false => print(&written.to_yaml()),
    }
}
