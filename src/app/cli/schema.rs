//! `schema`: the JSON Schema of the configuration, for editors.

use std::io::Write;

use anyhow::Context;

use crate::app::cli::Failure;
use crate::config;

pub(super) fn run() -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{:#}", config::schema()).context("cannot write to stdout")?;
    Ok(())
}
