//! `run`: the proxy, until SIGTERM or SIGINT; a second signal ends it at once.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::Notify;

use crate::app::App;
use crate::app::cli::Failure;
use crate::app::cli::paint;
use crate::app::cli::source;
use crate::app::reload::Watch;
use crate::app::reload::report;
use crate::app::seclusion;
use crate::app::supervisor::Supervisor;
use crate::config::Config;
use crate::config::Loaded;
use crate::domain::clock::Clock;
use crate::telemetry::dial::Dial;
use crate::telemetry::dial::Setting;
use crate::telemetry::logs;
use crate::telemetry::outlet::Outlet;

/// Where the process could not shut itself off, `open` says how.
pub(super) fn run(files: &[PathBuf], open: &[seclusion::Error]) -> Result<(), Failure> {
    let (clock, bell) = (Clock::system(), Arc::new(Notify::new()));
    let source = source(files).map_err(Failure::Config)?;
    let supervisor = Supervisor::of(&source.environment.texts, std::process::id());
    let begun = Watch::begin(source, bell.clone(), clock.clone());
    let (watch, Loaded { config, warnings, .. }) = begun.map_err(Failure::Config)?;
    let (dial, _outlet) = log_to_stderr(&config, &clock)?;
    warnings.iter().for_each(report::problem);
    for error in open {
        tracing::warn!(error = logs::report(error), "others may look into this process");
    }
    let supervisor = supervisor.unwrap_or_else(|error| {
        let error = logs::report(&error);
        tracing::warn!(error, "the service manager cannot be told how things go");
        Supervisor::default()
    });
    let runtime = runtime()?;
    runtime.block_on(async {
        // before anything else: without a handler SIGHUP ends the process
        ring_on_hangup(bell)?;
        let app = App::bind(config, clock).await?;
        serve(app.warned(&warnings).watching(watch, dial).supervised_by(supervisor)).await
    })?;
    // what is still running was cut by the end of the drain; it must not hold the process
    runtime.shutdown_background();
    Ok(())
}

async fn serve(app: App) -> anyhow::Result<()> {
    // before anybody is told that we listen: a signal that one of the two does not see would end nothing
    let (stopped, stopped_at_once) = (signals(1)?, signals(2)?);
    for (listener, address) in app.listeners()? {
        tracing::info!(%listener, %address, "listening");
    }
    tracing::info!(address = %app.telemetry(), "probes and metrics");
    if let Some(address) = app.admin() {
        tracing::info!(%address, "admin interface");
    }
    tokio::select! {
        () = app.serve(stopped) => {}
        () = stopped_at_once => tracing::warn!("second signal: stopping at once"),
    }
    Ok(())
}

/// Sends log lines to stderr as the configuration says, and as the dial says later. The outlet is kept until the end.
pub(super) fn log_to_stderr(config: &Config, clock: &Clock) -> anyhow::Result<(Dial, Outlet)> {
    let setting = Setting::of(&config.telemetry.logs).context("telemetry.logs.level is no log filter")?;
    let dial = Dial::at(setting);
    let outlet = logs::begin(dial.clone(), clock.clone(), paint::of_stderr())?;
    Ok((dial, outlet))
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

/// Has the configuration read anew whenever SIGHUP comes.
fn ring_on_hangup(bell: Arc<Notify>) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            bell.notify_one();
        }
    });
    Ok(())
}

/// Resolves once so many SIGTERM or SIGINT have come, those counted that come before it is awaited.
pub(super) fn signals(count: usize) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for _ in 0..count {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
    })
}
