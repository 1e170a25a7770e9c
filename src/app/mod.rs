//! Floor 5: builds the machine and runs it.
//!
//! **In:** a checked [`Config`]. **Out:** open listeners, then a clean end. **Never:** decides anything about a
//! request; that is the pipeline's.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config;
use crate::config::Address;
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::name::Name;
use crate::net::client::Client;
use crate::pipeline::Pipeline;
use crate::pipeline::accept;
use crate::pipeline::accept::Drain;
use crate::pipeline::accept::LocalAddress;
use crate::telemetry::metrics::Metrics;

pub mod admin;
pub mod cli;
pub mod demo;
pub mod server;
pub mod workers;

use admin::Probes;
use server::Server;
use server::Transport;
use workers::Workers;

/// How long WebSockets have to close once the drain time is over.
const FAREWELL: Duration = Duration::from_secs(1);

/// The proxy with its listeners bound, ready to serve.
pub struct App {
    config: Config,
    metrics: Arc<Metrics>,
    pipeline: Arc<Pipeline>,
    listeners: Vec<accept::Listener>,
    telemetry: TcpListener,
}

impl App {
    /// Builds every stage and binds every listener. No identity provider is contacted yet.
    ///
    /// # Errors
    /// If TLS cannot be set up, a listener's certificate cannot be used or an address cannot be bound.
    pub async fn bind(config: Config, clock: Clock) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new());
        metrics.config_loaded(clock.now());
        // without a TLS identity provider the system's roots are not needed, and need not be there
        let https = config.identity_providers.iter().any(|provider| provider.server.speaks_tls());
        let client = if https { Client::new()? } else { Client::plain()? };
        let pipeline = Arc::new(Pipeline::new(&config, &client, &clock, &metrics)?);
        let telemetry = bind(&config.telemetry.address).await?;
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push(accept::Listener::bind(listener).await?);
        }
        Ok(Self { config, metrics, pipeline, listeners, telemetry })
    }

    /// Where callers connect: listener names with the addresses they got.
    ///
    /// # Errors
    /// If the system does not know.
    pub fn listeners(&self) -> std::io::Result<Vec<(Name, LocalAddress)>> {
        self.listeners
            .iter()
            .map(|listener| Ok((listener.settings().name.clone(), listener.local_address()?)))
            .collect()
    }

    /// Where probes and metrics are served.
    ///
    /// # Errors
    /// If the system does not know.
    pub fn telemetry(&self) -> std::io::Result<SocketAddr> {
        self.telemetry.local_addr()
    }

    /// The probes: whether the proxy lives, has started, is ready.
    pub fn probes(&self) -> Probes {
        Probes::new(self.pipeline.clone(), self.metrics.clone())
    }

    /// Serves until `stop`, then drains: not ready at once; `shutdown.delay` later no new connection; then requests
    /// in flight have `shutdown.drain` to end.
    ///
    /// # Errors
    /// If a worker cannot be started.
    pub async fn serve(self, probes: Probes, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        self.pipeline.start();
        let drain = Drain::new();
        let count = self.config.workers.unwrap_or_else(cores);
        let workers = Arc::new(Workers::start(count, &self.config, &self.pipeline, &drain)?);
        let permits = Arc::new(Semaphore::new(self.config.limits.connections));
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            let dealer = workers.clone();
            let deal = move |connection| dealer.deal(connection);
            accepting.spawn(accept::accept(
                listener,
                permits.clone(),
                self.metrics.clone(),
                drain.clone(),
                deal,
            ));
        }
        let answers = probes.clone();
        let _telemetry = Server::start(self.telemetry, Transport::Plain, move |request| {
            std::future::ready(answers.answer(request.uri().path()))
        })?;
        stop.await;
        probes.drain();
        drain.announce();
        let config::Shutdown { delay, drain: patience } = self.config.shutdown;
        tracing::info!(?delay, drain = ?patience, "stopping");
        tokio::time::sleep(delay).await;
        drain.start();
        while accepting.join_next().await.is_some() {}
        let Some(workers) = Arc::into_inner(workers) else { return Ok(()) };
        let mut finished = pin!(workers.finish());
        if tokio::time::timeout(patience, finished.as_mut()).await.is_err() {
            drain.end();
            if tokio::time::timeout(FAREWELL, finished).await.is_err() {
                tracing::warn!("requests were still in flight when the drain time ended; they are cut");
            }
        }
        Ok(())
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

/// Binds `address`.
///
/// # Errors
/// If it cannot be resolved or is taken.
pub async fn bind(address: &Address) -> anyhow::Result<TcpListener> {
    TcpListener::bind((address.host.as_str(), address.port))
        .await
        .with_context(|| format!("cannot bind {address}"))
}
