//! Floor 5: builds the machine and runs it.
//!
//! **In:** a checked [`Config`]. **Out:** open listeners, then a clean end. **Never:** decides anything about a
//! request; that is the pipeline's.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::config;
use crate::config::Address;
use crate::config::Config;
use crate::config::problem::Problem;
use crate::domain::clock::Clock;
use crate::domain::name::Name;
use crate::net::binding;
use crate::pipeline::Pipeline;
use crate::pipeline::accept::LocalAddress;
use crate::telemetry::dial::Dial;
use crate::telemetry::metrics::Metrics;

pub mod admin;
pub mod cli;
pub mod decode;
pub mod demo;
mod descriptors;
pub mod doctor;
pub mod explain;
pub mod gate;
pub mod init;
pub mod lines;
pub mod machine;
pub mod panics;
pub mod reload;
pub mod seclusion;
pub mod server;
pub mod supervisor;
pub mod traces;
pub mod words;
pub mod workers;

use admin::Desk;
use admin::Probes;
use lines::Prepared;
use machine::Machine;
use machine::Outbound;
use machine::Parts;
use machine::exporter;
use reload::Watch;
use supervisor::Supervisor;
use traces::Exporter;
use workers::Workers;

/// The proxy with its listeners bound, ready to serve.
pub struct App {
    machine: Machine,
    listeners: Prepared,
    watch: Option<Watch>,
    supervisor: Supervisor,
}

impl App {
    /// Builds every stage and binds every listener. No identity provider is contacted yet.
    ///
    /// # Errors
    /// If TLS cannot be set up, a listener's certificate cannot be used or an address cannot be bound.
    pub async fn bind(config: Config, clock: Clock) -> anyhow::Result<Self> {
        let (config, metrics) = (Arc::new(config), Arc::new(Metrics::new()));
        metrics.config_loaded(clock.now());
        let client = Outbound::for_providers(&config, None)?;
        let exporter = exporter(&config, &metrics)?;
        let tracer = exporter.as_ref().map(Exporter::tracer);
        let first = Arc::new(Pipeline::new(&config, client.clients(), tracer, &clock, &metrics)?);
        let others = (1..config.workers.unwrap_or_else(cores)).map(|_| Arc::new(first.for_worker(None)));
        let pipelines: Vec<_> = std::iter::once(first.clone()).chain(others).collect();
        let workers = Workers::start(pipelines.len())?;
        let probes = Probes::new(first, metrics.clone(), workers.pulse());
        let desk = Desk::new(probes.clone(), config.clone(), pipelines.len(), clock);
        let parts = Parts { pipelines, client, probes, metrics, desk };
        let machine = Machine::new(config, parts, workers, exporter).await?;
        let listeners = machine.bind().await?;
        Ok(Self { machine, listeners, watch: None, supervisor: Supervisor::default() })
    }

    /// The same, which runs under another configuration whenever there is one for `watch` to find. What is logged then
    /// stands on `dial`.
    pub fn watching(self, watch: Watch, dial: Dial) -> Self {
        Self { watch: Some(watch), ..self.logging_by(dial) }
    }

    /// The same, which tells `supervisor` how things go.
    pub fn supervised_by(self, supervisor: Supervisor) -> Self {
        Self { supervisor, ..self }
    }

    /// The same, whose log stands on `dial`, which operators may turn.
    pub fn logging_by(mut self, dial: Dial) -> Self {
        self.machine.log_by(dial);
        self
    }

    /// The same, in whose configuration that is probably not meant.
    pub fn warned(self, warnings: &[Problem]) -> Self {
        self.machine.desk().warned(warnings);
        self
    }

    /// Where callers connect: listener names with the addresses they got.
    ///
    /// # Errors
    /// If the system does not know.
    pub fn listeners(&self) -> std::io::Result<Vec<(Name, LocalAddress)>> {
        self.listeners.addresses()
    }

    /// Where probes and metrics are served.
    pub fn telemetry(&self) -> SocketAddr {
        self.machine.telemetry()
    }

    /// Where operators look and steer, if anywhere.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.machine.admin()
    }

    /// The probes: whether the proxy lives, has started, is ready.
    pub fn probes(&self) -> Probes {
        self.machine.probes().clone()
    }

    /// Serves until `stop`, then drains: not ready at once; `shutdown.delay` later no new connection; then requests
    /// in flight have `shutdown.drain` to end.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { mut machine, listeners, watch, supervisor } = self;
        machine.begin(listeners);
        let (desk, pulse) = (machine.desk().clone(), machine.probes().pulse().clone());
        let life = async {
            let reloading = async {
                match watch {
                    Some(watch) => watch.over(&mut machine, &supervisor).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = reloading => {}
                () = supervisor.tell_of_start(&desk) => {}
                () = stop => {}
            }
            let config::Shutdown { delay, drain } = machine.config().shutdown;
            supervisor.tell_of_end(delay.saturating_add(drain));
            machine.drain().await;
        };
        tokio::select! {
            () = life => {}
            () = supervisor.reassure(&pulse) => {}
        }
    }

    /// Resolves once the proxy is ready, or after `patience`.
    pub async fn until_ready(probes: &Probes, patience: Duration) -> bool {
        let ready = async {
            while !probes.is_ready() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(patience, ready).await.is_ok()
    }
}

/// As many as the cgroup allows.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Binds `address`, which `setting` says.
///
/// # Errors
/// If it cannot be resolved or is taken.
pub async fn bind(setting: &str, address: &Address) -> anyhow::Result<TcpListener> {
    TcpListener::bind((address.host.as_str(), address.port))
        .await
        .map_err(binding::explained)
        .with_context(|| format!("cannot bind `{setting}` ({address})"))
}
