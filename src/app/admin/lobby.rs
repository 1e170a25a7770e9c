//! Where operators, probes and scrapers are received: a thread of its own, so that whatever they ask for, and how often, nobody
//! who brings a request waits for it.
//!
//! **In:** addresses and settings. **Out:** two servers on that thread. **Never:** an answer under other settings than those an
//! address came with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use http::Method;
use http::header;
use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;

use crate::app::admin::Desk;
use crate::app::admin::Interface;
use crate::app::admin::Prepared;
use crate::app::admin::Probes;
use crate::app::admin::probes;
use crate::app::bind;
use crate::app::server::Bound;
use crate::app::server::Server;
use crate::app::server::Transport;
use crate::app::server::Visitors;
use crate::config::Address;
use crate::config::Config;

/// Both servers. Dropping it ends them.
pub struct Lobby {
    telemetry: Server,
    admin: Option<Interface>,
    turns: Turns,
    thread: Thread,
}

/// What is to be served from now on, and is not yet.
pub struct Newcomers {
    /// `None` = as before.
    telemetry: Option<Bound>,
    admin: Change,
}

enum Change {
    /// It stays where it is, or is not there.
    Stays,
    Comes(Prepared),
    Goes,
}

/// A thread with a runtime, until it is dropped.
struct Thread {
    runtime: Handle,
    /// Dropped: it ends.
    _end: oneshot::Sender<()>,
}

/// What takes a while to make is made one at a time, and between two of them it is somebody else's turn: a probe waits for one of them
/// at most.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Semaphore>);

impl Turns {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Waits for a turn, which ends when this is dropped.
    pub async fn next(&self) -> Option<OwnedSemaphorePermit> {
        let turn = self.0.clone().acquire_owned().await.ok();
        // also where nobody else waits: one connection can bring a thousand requests
        tokio::task::yield_now().await;
        turn
    }
}

impl Lobby {
    /// Serves what `config` says.
    ///
    /// # Errors
    /// If an address cannot be bound or the thread not be started.
    pub async fn open(config: &Config, probes: &Probes, desk: &Desk) -> anyhow::Result<Self> {
        let (thread, turns) = (Thread::start()?, Turns::new());
        let telemetry = thread.bind("telemetry.address", &config.telemetry.address).await?;
        let admin = thread.prepare(config).await?;
        let _entered = thread.runtime.enter();
        let telemetry = serve(telemetry, probes, &turns);
        let admin = admin.map(|prepared| Interface::serve(prepared, desk, &turns));
        Ok(Self { telemetry, admin, turns, thread })
    }

    /// Where probes and metrics are.
    pub fn telemetry(&self) -> SocketAddr {
        self.telemetry.address()
    }

    /// Where operators look and steer, if anywhere.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Interface::address)
    }

    /// Binds what `config` says and `before` did not. Nothing else changes.
    ///
    /// # Errors
    /// If an address cannot be bound, or others could reach the admin interface and need no token.
    pub async fn prepare(&self, before: &Config, config: &Config) -> anyhow::Result<Newcomers> {
        let telemetry = match config.telemetry.address == before.telemetry.address {
            true => None,
            false => Some(self.thread.bind("telemetry.address", &config.telemetry.address).await?),
        };
        let stays = address_of_admin(config) == address_of_admin(before);
        let admin = match (&self.admin, &config.admin) {
            (Some(interface), Some(admin)) if stays => {
                interface.check(admin)?;
                Change::Stays
            }
            _ if stays => Change::Stays,
            _ => self.thread.prepare(config).await?.map_or(Change::Goes, Change::Comes),
        };
        Ok(Newcomers { telemetry, admin })
    }

    /// From now on `config` holds, and the `newcomers` are what it says.
    pub fn receive(&mut self, newcomers: Newcomers, config: &Config, probes: &Probes, desk: &Desk) {
        let _entered = self.thread.runtime.enter();
        if let Some(telemetry) = newcomers.telemetry {
            tracing::info!(address = %telemetry.address(), "probes and metrics");
            self.telemetry = serve(telemetry, probes, &self.turns);
        }
        match newcomers.admin {
            Change::Comes(prepared) => {
                let interface = Interface::serve(prepared, desk, &self.turns);
                tracing::info!(address = %interface.address(), "admin interface");
                self.admin = Some(interface);
            }
            Change::Goes => self.admin = None,
            Change::Stays => {
                if let (Some(interface), Some(admin)) = (&self.admin, &config.admin) {
                    interface.guard(admin.clone());
                }
            }
        }
    }
}

impl Thread {
    fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let life = move || {
            // nothing is ever sent
            let _ = runtime.block_on(ended);
            // a file that is being read may hang
            runtime.shutdown_background();
        };
        thread::Builder::new().name("operators".into()).spawn(life).context("cannot start a thread")?;
        Ok(Self { runtime: handle, _end: end })
    }

    async fn bind(&self, setting: &'static str, address: &Address) -> anyhow::Result<Bound> {
        let address = address.clone();
        let binding = self.runtime.spawn(async move { Ok(Bound::new(bind(setting, &address).await?)?) });
        binding.await.context("an address was not bound")?
    }

    /// Binds the admin interface where `config` says, if it does.
    async fn prepare(&self, config: &Config) -> anyhow::Result<Option<Prepared>> {
        let Some(admin) = config.admin.clone() else { return Ok(None) };
        let preparing = self.runtime.spawn(async move { Interface::prepare(&admin).await });
        preparing.await.context("an address was not bound")?.map(Some)
    }
}

fn address_of_admin(config: &Config) -> Option<&Address> {
    config.admin.as_ref().map(|admin| &admin.address)
}

/// Serves probes and metrics.
fn serve(bound: Bound, probes: &Probes, turns: &Turns) -> Server {
    let (probes, turns) = (probes.clone(), turns.clone());
    bound.serve(Transport::Plain, Visitors::Anybody, move |request: http::Request<_>| {
        let (probes, turns) = (probes.clone(), turns.clone());
        async move {
            let path = request.uri().path();
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                return probes::not_allowed();
            }
            let _turn = if Probes::takes_a_while(path) { turns.next().await } else { None };
            probes.answer(path, request.headers().get(header::ACCEPT)).await
        }
    })
}
