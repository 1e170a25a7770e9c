//! `token decode`: what a token says.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::app::cli::Failure;
use crate::app::cli::input;
use crate::app::cli::paint;
use crate::app::cli::print;
use crate::app::cli::print_json;
use crate::app::decode::Decoded;
use crate::domain::clock::Clock;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo \"$TOKEN\" | obo-proxy token decode
  obo-proxy token decode --token-file token.txt --json | jq .claims.aud

Exit codes: 0 it can be read; 1 it is no JWT; 2 usage, or there is none; 74 the file cannot be read.

Read on: `obo-proxy token verify` says whether it would be let in; docs/troubleshooting.md has the usual mistakes.")]
pub(super) struct Arguments {
    /// The file that holds the token; `-` = standard input [default: -]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// One JSON object: `header`, `claims`, `times` in words, `remarks`
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let token = input::given(arguments.token_file.as_ref())?;
    let decoded = Decoded::of(token.expose(), Clock::system().now())
        .map_err(|error| Failure::No(anyhow::Error::new(error)))?;
    match arguments.json {
        true => print_json(format!("{:#}", decoded.to_json()))?,
        false => print(&decoded.to_text(paint::of_stdout()))?,
    }
    Ok(ExitCode::SUCCESS)
}
