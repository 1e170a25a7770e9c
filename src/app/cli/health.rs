//! `health`: asks a running proxy's `/readyz`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use anyhow::ensure;
use bytes::Bytes;
use http_body_util::Full;

use crate::app::cli::complain;
use crate::app::cli::load;
use crate::app::cli::paint;
use crate::app::cli::say;
use crate::config::Look;
use crate::config::problem::Report;
use crate::net::client::Bounds;
use crate::net::client::Client;

const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(2), body: 64 * 1024 };

const EXAMPLES: &str = "\
Examples:
  obo-proxy health                                 asks where the configuration says that probes are served
  obo-proxy health --address 127.0.0.1:9902        needs no configuration
  HEALTHCHECK CMD [\"obo-proxy\", \"health\"]        in a Dockerfile

Exit codes: 0 it is ready; 1 in every other case: it is not, nobody answers, the configuration cannot be read; 2 usage.

Read on: docs/operations.md. When it is not ready, the answer says why; `obo-proxy doctor` says what to do.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The telemetry address to ask [default: the configuration's]
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

/// 0 if it is ready, 1 in every other case: Docker reserves the rest.
pub(super) fn run(files: &[PathBuf], arguments: &Arguments) -> ExitCode {
    let answer = address(files, arguments).and_then(|address| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(ask(&address))
    });
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error.downcast_ref::<Report>() {
                Some(report) => say(report.to_text(paint::of_stderr())),
                None => complain(&error),
            }
            ExitCode::from(1)
        }
    }
}

fn address(files: &[PathBuf], arguments: &Arguments) -> anyhow::Result<String> {
    if let Some(address) = &arguments.address {
        return Ok(address.clone());
    }
    let mut address = load(files, Look::Away)?.config.telemetry.address;
    match address.host.as_str() {
        "0.0.0.0" => address.host = "127.0.0.1".into(),
        "::" => address.host = "::1".into(),
        _ => {}
    }
    Ok(address.to_string())
}

async fn ask(address: &str) -> anyhow::Result<()> {
    let request = http::Request::get(format!("http://{address}/readyz")).body(Full::<Bytes>::default());
    let request = request.with_context(|| format!("{address} is not of the form host:port"))?;
    let response =
        Client::plain()?.send(request, BOUNDS).await.with_context(|| format!("no answer from {address}"))?;
    let said = String::from_utf8_lossy(response.body()).trim().to_owned();
    ensure!(response.status().is_success(), "not ready: {said}");
    Ok(())
}
