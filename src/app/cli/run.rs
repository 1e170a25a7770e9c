//! `run`: the proxy, until SIGTERM or SIGINT; a second signal ends it at once.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::Notify;

use crate::app::App;
use crate::app::cli::Failure;
use crate::app::cli::source;
use crate::app::reload::Watch;
use crate::app::reload::report;
use crate::config::Config;
use crate::config::Loaded;
use crate::domain::clock::Clock;
use crate::telemetry::dial::Dial;
use crate::telemetry::dial::Setting;
use crate::telemetry::logs;

pub(super) fn run(files: &[PathBuf]) -> Result<(), Failure> {
    let (clock, bell) = (Clock::system(), Arc::new(Notify::new()));
    let begun = Watch::begin(source(files).map_err(Failure::Config)?, bell.clone(), clock.clone());
    let (watch, Loaded { config, warnings, .. }) = begun.map_err(Failure::Config)?;
    let dial = log_to_stderr(&config, &clock)?;
    warnings.iter().for_each(report::problem);
    let runtime = runtime()?;
    runtime.block_on(async {
        // before anything else: without a handler SIGHUP ends the process
        ring_on_hangup(bell)?;
        let app = App::bind(config, clock).await?;
        serve(app.warned(&warnings).watching(watch, dial)).await
    })?;
    // what is still running was cut by the end of the drain; it must not hold the process
    runtime.shutdown_background();
    Ok(())
}

async fn serve(app: App) -> anyhow::Result<()> {
    // before anybody is told that it listens: what comes before somebody waits for it is lost, or ends the process
    let (stopped, stopped_twice) = (stopped()?, stopped_twice()?);
    for (listener, address) in app.listeners()? {
        tracing::info!(%listener, %address, "listening");
    }
    tracing::info!(address = %app.telemetry(), "probes and metrics");
    if let Some(address) = app.admin() {
        tracing::info!(%address, "admin interface");
    }
    tokio::select! {
        () = app.serve(stopped) => {}
        () = stopped_twice => {}
    }
    Ok(())
}

/// Sends log lines to stderr as the configuration says, and as the dial says later.
pub(super) fn log_to_stderr(config: &Config, clock: &Clock) -> anyhow::Result<Dial> {
    let setting = Setting::of(&config.telemetry.logs).context("telemetry.logs.level is no log filter")?;
    let dial = Dial::at(setting);
    let subscriber = logs::subscriber(dial.clone(), clock.clone());
    tracing::subscriber::set_global_default(subscriber).context("logging is set up already")?;
    Ok(dial)
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

/// Waits from now on for the first SIGTERM or SIGINT, also while nobody asks.
///
/// # Errors
/// If the system does not say when signals come.
pub(super) fn stopped() -> anyhow::Result<impl Future<Output = ()>> {
    let mut signals = Signals::from_now_on()?;
    Ok(async move { signals.next().await })
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

/// Waits from now on for the second one.
fn stopped_twice() -> anyhow::Result<impl Future<Output = ()>> {
    let mut signals = Signals::from_now_on()?;
    Ok(async move {
        signals.next().await;
        signals.next().await;
        tracing::warn!("second signal: stopping at once");
    })
}

/// What asks the process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn from_now_on() -> anyhow::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
