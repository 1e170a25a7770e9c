//! What operators see of the running proxy, and how they steer it: probes and metrics at one address, a status page and an
//! API at another.
//!
//! **In:** a request to one of the two. **Out:** how things stand, or that something was done. **Never:** a secret, a token, a
//! claim; a change by a request that does not prove that it is meant.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use anyhow::ensure;
use arc_swap::ArcSwap;
use tokio::task::AbortHandle;

use crate::app::bind;
use crate::app::server::Bound;
use crate::app::server::Server;
use crate::app::server::Transport;
use crate::app::server::Visitors;
use crate::config::Admin;
use crate::telemetry::rates::PERIOD;

pub mod api;
pub mod desk;
pub mod guard;
pub mod lobby;
pub mod page;
mod probes;
pub mod steer;
pub mod view;

pub use desk::Desk;
pub use lobby::Lobby;
pub use probes::Probes;

use lobby::Turns;

/// The admin interface, bound and not served yet.
pub struct Prepared {
    bound: Bound,
    admin: Admin,
}

/// The admin interface, served. Dropping it ends that.
pub struct Interface {
    server: Server,
    sampling: AbortHandle,
    desk: Desk,
    /// Who may use it. It stays with the interface: what another one asks for is nothing to this one's visitors.
    admin: Arc<ArcSwap<Admin>>,
}

impl Interface {
    /// Binds it where `admin` says, on the current runtime.
    ///
    /// # Errors
    /// If the address cannot be bound, or others can reach it and it has no token.
    pub async fn prepare(admin: &Admin) -> anyhow::Result<Prepared> {
        let bound = Bound::new(bind("admin.address", &admin.address).await?)
            .context("the admin interface has no address")?;
        check_guarded(bound.address(), admin)?;
        Ok(Prepared { bound, admin: admin.clone() })
    }

    /// Serves what is `prepared`, on the current runtime.
    pub fn serve(prepared: Prepared, desk: &Desk, turns: &Turns) -> Self {
        let Prepared { bound, admin } = prepared;
        let admin = Arc::new(ArcSwap::from_pointee(admin));
        let (answering, guarding, turns) = (desk.clone(), admin.clone(), turns.clone());
        let answer = move |request| {
            let (desk, admin, turns) = (answering.clone(), guarding.load_full(), turns.clone());
            async move { api::answer(&desk, &admin, &turns, request).await }
        };
        let server = bound.serve(Transport::Plain, Visitors::Anybody, answer);
        let sampled = desk.clone();
        let sampling = tokio::spawn(async move {
            let mut period = tokio::time::interval(PERIOD);
            loop {
                period.tick().await;
                sampled.sample();
            }
        });
        desk.begin_to_watch();
        Self { server, sampling: sampling.abort_handle(), desk: desk.clone(), admin }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Whether it may stay where it is and be guarded as `admin` says.
    ///
    /// # Errors
    /// If others can reach it, and would need no token.
    pub fn check(&self, admin: &Admin) -> anyhow::Result<()> {
        check_guarded(self.address(), admin)
    }

    /// From now on it is guarded as `admin` says.
    pub fn guard(&self, admin: Admin) {
        self.admin.store(Arc::new(admin));
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        self.sampling.abort();
        self.desk.cease_to_watch();
    }
}

/// What others can reach has a token, whatever the name of its address promised.
fn check_guarded(bound: SocketAddr, admin: &Admin) -> anyhow::Result<()> {
    ensure!(
        bound.ip().is_loopback() || admin.token.is_some(),
        "{} is no loopback address, and the admin interface has no token",
        admin.address
    );
    Ok(())
}
