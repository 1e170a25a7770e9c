//! What operators see of the running proxy, and how they steer it: probes and metrics at one address, a status page and an
//! API at another.
//!
//! **In:** a request to one of the two. **Out:** how things stand, or that something was done. **Never:** a secret, a token, a
//! claim; a change by a request that does not prove that it is meant.

use std::net::SocketAddr;

use anyhow::Context;
use anyhow::ensure;
use tokio::task::AbortHandle;

use crate::app::bind;
use crate::app::server::Server;
use crate::app::server::Transport;
use crate::config::Admin;
use crate::telemetry::rates::PERIOD;

pub mod api;
pub mod desk;
pub mod guard;
pub mod page;
mod probes;
pub mod steer;
pub mod view;

pub use desk::Desk;
pub use probes::Probes;

/// The admin interface, served. Dropping it ends that.
pub struct Interface {
    server: Server,
    sampling: AbortHandle,
    desk: Desk,
}

impl Interface {
    /// Serves it where `admin` says.
    ///
    /// # Errors
    /// If the address cannot be bound, or others can reach it and it has no token.
    pub async fn serve(admin: &Admin, desk: &Desk) -> anyhow::Result<Self> {
        let listener = bind("admin.address", &admin.address).await?;
        let is_loopback =
            listener.local_addr().context("the admin interface has no address")?.ip().is_loopback();
        ensure!(
            is_loopback || admin.token.is_some(),
            "{} is no loopback address, and the admin interface has no token",
            admin.address
        );
        let answering = desk.clone();
        let answer = move |request| {
            let desk = answering.clone();
            async move { api::answer(&desk, request).await }
        };
        let server = Server::start(listener, Transport::Plain, answer)?;
        let sampled = desk.clone();
        let sampling = tokio::spawn(async move {
            let mut period = tokio::time::interval(PERIOD);
            loop {
                period.tick().await;
                sampled.sample();
            }
        });
        desk.begin_to_watch();
        Ok(Self { server, sampling: sampling.abort_handle(), desk: desk.clone() })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        self.sampling.abort();
        self.desk.cease_to_watch();
    }
}
