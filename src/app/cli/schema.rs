//! `schema`: the JSON Schema of the configuration, for editors.

use std::io::Write;

use anyhow::Context;

use crate::app::cli::Failure;
use crate::config;

pub(super) fn run() -> Result<(), Failure> {
    std::io::stdout().write_all(config::schema().as_bytes()).context("cannot write to stdout")?;
    Ok(())
}
