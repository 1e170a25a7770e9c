//! `run`: the proxy, until SIGTERM or SIGINT; a second signal ends it at once.

use std::path::PathBuf;

use anyhow::Context;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::app::App;
use crate::app::cli::Failure;
use crate::app::cli::load;
use crate::config::Config;
use crate::config::Loaded;
use crate::domain::clock::Clock;
use crate::telemetry::logs;

pub(super) fn run(files: &[PathBuf]) -> Result<(), Failure> {
    let Loaded { config, warnings, .. } = load(files).map_err(Failure::Config)?;
    let clock = Clock::system();
    log_to_stderr(&config, &clock)?;
    for warning in &warnings {
        tracing::warn!(at = %warning.location, "{}", warning.message);
    }
    let runtime = runtime()?;
    runtime.block_on(serve(config, clock))?;
    // what is still running was cut by the end of the drain; it must not hold the process
    runtime.shutdown_background();
    Ok(())
}

async fn serve(config: Config, clock: Clock) -> anyhow::Result<()> {
    let app = App::bind(config, clock).await?;
    for (listener, address) in app.listeners()? {
        tracing::info!(%listener, %address, "listening");
    }
    tracing::info!(address = %app.telemetry()?, "probes and metrics");
    let probes = app.probes();
    tokio::spawn(explain_hangups());
    tokio::select! {
        result = app.serve(probes, stopped()) => result,
        result = stopped_twice() => result,
    }
}

/// Sends log lines to stderr as the configuration says.
pub(super) fn log_to_stderr(config: &Config, clock: &Clock) -> anyhow::Result<()> {
    let subscriber = logs::subscriber(&config.telemetry.logs, clock.clone())
        .context("telemetry.logs.level is no log filter")?;
    tracing::subscriber::set_global_default(subscriber).context("logging is set up already")
}

/// The runtime of everything but the requests themselves: one thread, as the workers have the cores.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start threads")
}

/// Resolves on the first SIGTERM or SIGINT.
pub(super) async fn stopped() {
    // without signal handling there is nothing to wait for: the default action ends the process
    if signals(1).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// SIGHUP would end the process; whoever sends it wants the configuration read anew.
async fn explain_hangups() {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        tracing::warn!("reloading is not supported yet: restart to use another configuration");
    }
}

async fn stopped_twice() -> anyhow::Result<()> {
    signals(2).await?;
    tracing::warn!("second signal: stopping at once");
    Ok(())
}

async fn signals(count: usize) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    for _ in 0..count {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    Ok(())
}
