//! `health`: asks a running proxy's `/readyz`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use anyhow::ensure;
use bytes::Bytes;
use http_body_util::Full;

use crate::app::cli::Failure;
use crate::app::cli::load;
use crate::net::client::Bounds;
use crate::net::client::Client;

const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(2), body: 64 * 1024 };

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The telemetry address to ask [default: the configuration's]
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

pub(super) fn run(files: &[PathBuf], arguments: &Arguments) -> Result<(), Failure> {
    let address = match &arguments.address {
        Some(address) => address.clone(),
        None => {
            let mut address = load(files).map_err(Failure::Config)?.config.telemetry.address;
            match address.host.as_str() {
                "0.0.0.0" => address.host = "127.0.0.1".into(),
                "::" => address.host = "::1".into(),
                _ => {}
            }
            address.to_string()
        }
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    Ok(runtime.block_on(ask(&address))?)
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
