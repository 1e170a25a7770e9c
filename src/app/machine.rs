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
use http::header;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::app::admin::Desk;
use crate::app::admin::Interface;
use crate::app::admin::Probes;
use crate::app::bind;
use crate::app::lines::Behind;
use crate::app::lines::Lines;
use crate::app::lines::Prepared;
use crate::app::server::Server;
use crate::app::server::Transport;
use crate::app::traces::Exporter;
use crate::app::workers::Workers;
use crate::config;
use crate::config::Address;
use crate::config::Config;
use crate::config::Scheme;
use crate::config::Upstream;
use crate::net::clients::Clients;
use crate::net::tls;
use crate::pipeline::Pipeline;
use crate::telemetry::dial::Dial;
use crate::telemetry::dial::Setting;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

/// How long the identity providers that are new may take to give us their keys before requests come that need them.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a collector of traces that is not used any more may take for the last of them.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often to see whether they did, and whether anyone still uses what was replaced.
const GLANCE: Duration = Duration::from_millis(20);

/// Everything that runs.
pub struct Machine {
    config: Arc<Config>,
    parts: Parts,
    lines: Lines,
    telemetry: Server,
    admin: Option<Interface>,
    /// What a log shows; `None` = that is not ours to say.
    dial: Option<Dial>,
    /// Sends traces, if there are any.
    exporter: Option<Exporter>,
    /// What others still use, to be let go after them.
    leaving: JoinSet<()>,
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
    /// If an address cannot be bound.
    pub async fn new(
        config: Arc<Config>,
        parts: Parts,
        workers: Workers,
        exporter: Option<Exporter>,
    ) -> anyhow::Result<Self> {
        let telemetry = serve_telemetry(&config, &parts.probes).await?;
        let admin = serve_admin(&config, &parts.desk).await?;
        let lines = Lines::new(workers, config.limits, parts.metrics.clone());
        let leaving = JoinSet::new();
        Ok(Self { config, parts, lines, telemetry, admin, dial: None, exporter, leaving })
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
        self.telemetry.address()
    }

    /// Where operators look and steer, if anywhere.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Interface::address)
    }

    /// What operators may know.
    pub fn desk(&self) -> &Desk {
        &self.parts.desk
    }

    /// Runs under `config` from now on. What was made of the files in `renewed` is made anew.
    ///
    /// # Errors
    /// If an address cannot be bound or a file of an upstream cannot be used: then nothing has changed.
    pub async fn adopt(&mut self, config: Arc<Config>, renewed: BTreeSet<PathBuf>) -> anyhow::Result<()> {
        let setting = setting(&config)?;
        let listeners = self.lines.prepare(&config.listeners).await?;
        let telemetry = match config.telemetry.address == self.config.telemetry.address {
            true => None,
            false => Some(serve_telemetry(&config, &self.parts.probes).await?),
        };
        let admin = match address_of_admin(&config) == address_of_admin(&self.config) {
            true => None,
            false => Some(serve_admin(&config, &self.parts.desk).await?),
        };
        let newer = match (&config.telemetry.traces, &self.exporter) {
            (Some(traces), Some(exporter)) if exporter.is_as(traces) => None,
            _ => exporter(&config, &self.parts.metrics)?,
        };
        let are_same = newer.is_none() && config.telemetry.traces.is_some();
        let tracer = if are_same { &self.exporter } else { &newer }.as_ref().map(Exporter::tracer);
        let (parts, wanted) = (self.parts.clone(), config.clone());
        // certificates and roots are read from files
        let making = tokio::task::spawn_blocking(move || parts.under(&wanted, tracer, &renewed));
        let parts = making.await.context("the configuration's parts could not be made")??;
        let Some(first) = parts.pipelines.first().cloned() else { bail!("there is no worker") };
        until_warm(&first).await;

        let new = listeners.addresses()?;
        // from here on nothing fails and nothing is waited for
        self.lines.publish(listeners, behind(&config, &parts.pipelines));
        parts.probes.follow(first);
        parts.desk.follow(config.clone());
        for (listener, address) in new {
            tracing::info!(%listener, %address, "listening");
        }
        if let Some(telemetry) = telemetry {
            tracing::info!(address = %telemetry.address(), "probes and metrics");
            self.telemetry = telemetry;
        }
        if let Some(admin) = admin {
            self.replace_admin(admin);
        }
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
        let gone = if are_same { None } else { std::mem::replace(&mut self.exporter, newer) };
        self.leaving.spawn(async move {
            outlive(before).await;
            // requests that began before are recorded with it
            if let Some(gone) = gone {
                gone.finish(FAREWELL).await;
            }
        });
        Ok(())
    }

    /// From now on operators look and steer there.
    fn replace_admin(&mut self, admin: Option<Interface>) {
        if let Some(admin) = &admin {
            tracing::info!(address = %admin.address(), "admin interface");
        }
        self.admin = admin;
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
        drop((self.telemetry, self.admin));
        tracing::info!("stopped");
    }
}

impl Parts {
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

fn address_of_admin(config: &Config) -> Option<&Address> {
    config.admin.as_ref().map(|admin| &admin.address)
}

/// Serves the admin interface where `config` says, if it does.
async fn serve_admin(config: &Config, desk: &Desk) -> anyhow::Result<Option<Interface>> {
    match &config.admin {
        Some(admin) => Ok(Some(Interface::serve(admin, desk).await?)),
        None => Ok(None),
    }
}

/// Serves probes and metrics where `config` says.
async fn serve_telemetry(config: &Config, probes: &Probes) -> anyhow::Result<Server> {
    let answers = probes.clone();
    let listener = bind("telemetry.address", &config.telemetry.address).await?;
    let answer = move |request: http::Request<_>| {
        let (answers, (head, _)) = (answers.clone(), request.into_parts());
        async move { answers.answer(head.uri.path(), head.headers.get(header::ACCEPT)).await }
    };
    Ok(Server::start(listener, Transport::Plain, answer)?)
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
