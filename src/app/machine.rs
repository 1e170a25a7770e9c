//! The machine while it runs, and how it comes to run under another configuration.
//!
//! **In:** a checked configuration. **Out:** the machine under it, without a request lost or delayed. **Never:** half of a
//! change: all that can fail is done before anything is replaced.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::app::admin::Desk;
use crate::app::admin::Lobby;
use crate::app::admin::Probes;
use crate::app::admin::lobby::Newcomers;
use crate::app::lines::Behind;
use crate::app::lines::Lines;
use crate::app::lines::Prepared;
use crate::app::traces::Exporter;
use crate::app::workers::Workers;
use crate::config;
use crate::config::Config;
use crate::config::Scheme;
use crate::config::Upstream;
use crate::domain::name::Name;
use crate::net::clients::Clients;
use crate::net::tls;
use crate::pipeline::Pipeline;
use crate::pipeline::accept::LocalAddress;
use crate::telemetry::dial::Dial;
use crate::telemetry::dial::Setting;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

/// How long the identity providers that are new may take to give us their keys before requests come that need them.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long everything may take that a configuration is made of, before it is given up: a file system can hang, and so can who
/// knows the address of a name.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a collector of traces that is not used any more may take for the last of them.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often to see whether they did, and whether anyone still uses what was replaced.
const GLANCE: Duration = Duration::from_millis(20);

/// Everything that runs.
pub struct Machine {
    config: Arc<Config>,
    parts: Parts,
    lines: Lines,
    lobby: Lobby,
    /// What a log shows; `None` = that is not ours to say.
    dial: Option<Dial>,
    /// Sends traces, if there are any.
    exporter: Option<Exporter>,
    /// What others still use, to be let go after them.
    leaving: JoinSet<()>,
}

/// All that can fail of another configuration, done, and nothing of it in use.
struct Change {
    config: Arc<Config>,
    setting: Setting,
    listeners: Prepared,
    /// Those of the listeners that are new.
    addresses: Vec<(Name, LocalAddress)>,
    newcomers: Newcomers,
    traces: Traces,
    parts: Parts,
}

/// What becomes of traces.
enum Traces {
    /// They go on.
    Same,
    /// They go there from now on, if anywhere.
    Other(Option<Exporter>),
}

/// What is made of a configuration and outlives it in part.
#[derive(Clone)]
pub struct Parts {
    /// One for each worker.
    pub pipelines: Vec<Arc<Pipeline>>,
    /// Talk to the identity providers.
    pub client: Outbound,
    /// Speaks of the first of the pipelines.
    pub probes: Probes,
    /// Counts everything.
    pub metrics: Arc<Metrics>,
    /// Knows what operators may ask.
    pub desk: Desk,
}

/// Clients for identity providers, and whether they can speak TLS: where none does, the system's roots are not needed, and
/// need not be there.
#[derive(Clone)]
pub struct Outbound(Clients, Scheme);

impl Outbound {
    /// Clients for the identity providers of `config`: those before, if there are some that can.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn for_providers(config: &Config, before: Option<&Self>) -> Result<Self, tls::Error> {
        let providers = &config.identity_providers;
        let https = providers.iter().any(|provider| provider.server.speaks_tls());
        let Self(clients, scheme) = match before {
            Some(able) if !https || able.1 == Scheme::Https => able.clone(),
            _ if https => Self(Clients::system()?, Scheme::Https),
            _ => Self(Clients::plain()?, Scheme::Http),
        };
        Ok(Self(clients.toward(providers), scheme))
    }

    /// The clients.
    pub fn clients(&self) -> &Clients {
        &self.0
    }
}

impl Machine {
    /// A machine of these `parts` with these `workers`, which serves probes and metrics, and nobody else yet.
    ///
    /// # Errors
    /// If an address cannot be bound or a thread not be started.
    pub async fn new(
        config: Arc<Config>,
        parts: Parts,
        workers: Workers,
        exporter: Option<Exporter>,
    ) -> anyhow::Result<Self> {
        let lobby = Lobby::open(&config, &parts.probes, &parts.desk).await?;
        let lines =
            Lines::new(workers, config.limits, parts.first()?.budget().clone(), parts.metrics.clone());
        let leaving = JoinSet::new();
        Ok(Self { config, parts, lines, lobby, dial: None, exporter, leaving })
    }

    /// What is logged under another configuration is to stand on `dial`.
    pub fn log_by(&mut self, dial: Dial) {
        self.parts.desk.log_by(dial.clone());
        self.dial = Some(dial);
    }

    /// Binds the listeners.
    ///
    /// # Errors
    /// If an address cannot be bound.
    pub async fn bind(&self) -> anyhow::Result<Prepared> {
        self.lines.prepare(&self.config.listeners).await
    }

    /// Begins to accept, and to fetch the identity providers' keys.
    pub fn begin(&mut self, listeners: Prepared) {
        self.parts.pipelines.iter().take(1).for_each(|first| first.start());
        self.lines.publish(listeners, behind(&self.config, &self.parts.pipelines));
    }

    /// What it runs under.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// What it counts with.
    pub fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    /// What it says of itself.
    pub fn probes(&self) -> &Probes {
        &self.parts.probes
    }

    /// Where it says that.
    pub fn telemetry(&self) -> SocketAddr {
        self.lobby.telemetry()
    }

    /// Where operators look and steer, if anywhere.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.lobby.admin()
    }

    /// What operators may know.
    pub fn desk(&self) -> &Desk {
        &self.parts.desk
    }

    /// Runs under `config` from now on. What was made of the files in `renewed` is made anew.
    ///
    /// # Errors
    /// If an address cannot be bound, a file of an upstream cannot be used, or that takes too long: then nothing has changed.
    pub async fn adopt(&mut self, config: Arc<Config>, renewed: BTreeSet<PathBuf>) -> anyhow::Result<()> {
        let change = tokio::time::timeout(LIMIT, self.prepare(config, renewed)).await;
        let change = change.with_context(|| {
            format!("it could not be made ready within {LIMIT:?}: a file system hangs, or a name server")
        })??;
        self.publish(change);
        Ok(())
    }

    async fn prepare(&self, config: Arc<Config>, renewed: BTreeSet<PathBuf>) -> anyhow::Result<Change> {
        let setting = setting(&config)?;
        let listeners = self.lines.prepare(&config.listeners).await?;
        let newcomers = self.lobby.prepare(&self.config, &config).await?;
        let traces = match (&config.telemetry.traces, &self.exporter) {
            (Some(traces), Some(exporter)) if exporter.is_as(traces) => Traces::Same,
            _ => Traces::Other(exporter(&config, &self.parts.metrics)?),
        };
        let exporter = match &traces {
            Traces::Same => &self.exporter,
            Traces::Other(newer) => newer,
        };
        let tracer = exporter.as_ref().map(Exporter::tracer);
        let (parts, wanted) = (self.parts.clone(), config.clone());
        // certificates and roots are read from files
        let making = tokio::task::spawn_blocking(move || parts.under(&wanted, tracer, &renewed));
        let parts = making.await.context("the configuration's parts could not be made")??;
        until_warm(parts.first()?).await;
        let addresses = listeners.addresses()?;
        Ok(Change { config, setting, listeners, addresses, newcomers, traces, parts })
    }

    /// Nothing of it fails, and nothing is waited for.
    fn publish(&mut self, change: Change) {
        let Change { config, setting, listeners, addresses, newcomers, traces, parts } = change;
        self.lines.publish(listeners, behind(&config, &parts.pipelines));
        if let Some(first) = parts.pipelines.first() {
            parts.probes.follow(first.clone());
        }
        parts.desk.follow(config.clone());
        for (listener, address) in addresses {
            tracing::info!(%listener, %address, "listening");
        }
        self.lobby.receive(newcomers, &config, &parts.probes, &parts.desk);
        if let Some(dial) = &self.dial {
            dial.turn(setting);
        }
        if config.workers != self.config.workers {
            tracing::warn!(
                workers = parts.pipelines.len(),
                "`workers` takes a restart to change; there are as many as before"
            );
        }
        for gone in self.config.identity_providers.iter() {
            if !config.identity_providers.iter().any(|provider| provider.name == gone.name) {
                parts.metrics.forget(&gone.name);
            }
        }
        let before = std::mem::replace(&mut self.parts, parts).pipelines;
        self.config = config;
        while self.leaving.try_join_next().is_some() {}
        let gone = match traces {
            Traces::Same => None,
            Traces::Other(newer) => std::mem::replace(&mut self.exporter, newer),
        };
        self.leaving.spawn(async move {
            outlive(before).await;
            // requests that began before are recorded with it
            if let Some(gone) = gone {
                gone.finish(FAREWELL).await;
            }
        });
    }

    /// Has the certificates of the listeners looked at now.
    pub async fn refresh_certificates(&self) {
        self.lines.refresh_certificates().await;
    }

    /// Not ready at once; `shutdown.delay` later no new connection; then requests in flight have `shutdown.drain` to end.
    pub async fn drain(self) {
        self.parts.probes.drain();
        self.lines.announce();
        let config::Shutdown { delay, drain: patience } = self.config.shutdown;
        tracing::info!(?delay, drain = ?patience, "stopping");
        tokio::time::sleep(delay).await;
        let end = Instant::now() + patience;
        if let Some(closed) = self.lines.close().await
            && closed.finish(patience).await.is_err()
        {
            tracing::warn!("requests were still in flight when the drain time ended; they are cut");
        }
        if let Some(exporter) = self.exporter {
            exporter.finish(end.saturating_duration_since(Instant::now())).await;
        }
        // they answer until the end
        drop(self.lobby);
        tracing::info!("stopped");
    }
}

impl Parts {
    fn first(&self) -> anyhow::Result<&Pipeline> {
        self.pipelines.first().map(|first| &**first).context("there is no worker")
    }

    /// The parts that take the place of these under `config`.
    fn under(
        &self,
        config: &Config,
        tracer: Option<Arc<Tracer>>,
        renewed: &BTreeSet<PathBuf>,
    ) -> anyhow::Result<Self> {
        let client = Outbound::for_providers(config, Some(&self.client))?;
        let is_current = |upstream: &Upstream| !upstream.tls.files().any(|file| renewed.contains(file));
        let Some((first, others)) = self.pipelines.split_first() else { bail!("there is no worker") };
        let first = first.succeeding(config, client.clients(), tracer, is_current)?;
        let others: Vec<_> = others.iter().map(|before| Arc::new(first.for_worker(Some(before)))).collect();
        let pipelines = std::iter::once(Arc::new(first)).chain(others).collect();
        Ok(Self { pipelines, client, ..self.clone() })
    }
}

/// What sends traces to where `config` says, if it does.
///
/// # Errors
/// If TLS cannot be set up.
pub fn exporter(config: &Config, metrics: &Arc<Metrics>) -> anyhow::Result<Option<Exporter>> {
    let traces = config.telemetry.traces.clone();
    traces.map(|traces| Exporter::start(traces, metrics.clone())).transpose()
}

fn behind<'a>(config: &Config, pipelines: &'a [Arc<Pipeline>]) -> Behind<'a> {
    Behind { pipelines, limits: config.limits, delay: config.shutdown.delay }
}

fn setting(config: &Config) -> anyhow::Result<Setting> {
    Setting::of(&config.telemetry.logs).context("telemetry.logs.level is no log filter")
}

/// Keeps `pipelines` until nobody else does, and lets them go where nobody waits for it: all that one remembers takes a while
/// to forget, and the last to have it would else be a request.
async fn outlive(pipelines: Vec<Arc<Pipeline>>) {
    while pipelines.iter().any(|pipeline| Arc::strong_count(pipeline) > 1) {
        tokio::time::sleep(GLANCE).await;
    }
    // that it was done is all there is to know
    let _ = tokio::task::spawn_blocking(move || drop(pipelines)).await;
}

/// Has keys fetched that are new, and waits until they are there, though not for ever: requests come all the same.
async fn until_warm(pipeline: &Pipeline) {
    pipeline.start();
    let warm = async {
        while !pipeline.was_tried() {
            tokio::time::sleep(GLANCE).await;
        }
    };
    if tokio::time::timeout(PATIENCE, warm).await.is_err() {
        tracing::warn!("an identity provider that is new or changed has not answered yet");
    }
}
