//! A socket becomes a request.
//!
//! **In:** an address, the bounds on connections, a handler. **Out:** connections to deal out, then requests, each with its
//! peer, and their answers written back. **Never:** waits for ever; accepts past the limit; lets one connection's trouble reach another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::Response;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::config;
use crate::config::Limits;
use crate::domain::peer::Peer;
use crate::domain::peer::Trust;
use crate::net;
use crate::telemetry::metrics::InFlight;
use crate::telemetry::metrics::Metrics;

mod activity;
mod connection;
pub mod head;

/// A bound address, not yet accepting.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    settings: Arc<config::Listener>,
}

impl Listener {
    /// Binds the address of `settings`.
    ///
    /// # Errors
    /// If the address cannot be resolved or bound.
    pub async fn bind(settings: &config::Listener) -> io::Result<Self> {
        let address = (settings.address.host.as_str(), settings.address.port);
        Ok(Self { socket: TcpListener::bind(address).await?, settings: Arc::new(settings.clone()) })
    }

    /// What it was made from.
    pub fn settings(&self) -> &config::Listener {
        &self.settings
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Tells every listener and connection to come to an end. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Drain(watch::Sender<Phase>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining,
}

impl Drain {
    /// A drain that has not started.
    pub fn new() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }

    /// Stops accepting: requests in flight are answered, resting connections closed.
    pub fn start(&self) {
        self.0.send_replace(Phase::Draining);
    }

    /// Waits until it starts.
    pub async fn started(&self) {
        // we hold the sender, so the channel cannot close first
        let _ = self.0.subscribe().wait_for(|phase| *phase == Phase::Draining).await;
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

/// An accepted connection and the permit it holds, to be served wherever there is room.
#[derive(Debug)]
pub struct Accepted {
    stream: std::net::TcpStream,
    peer: Peer,
    listener: Arc<config::Listener>,
    _counted: InFlight,
    _permit: OwnedSemaphorePermit,
}

impl Accepted {
    /// On which listener it came.
    pub fn listener(&self) -> &Arc<config::Listener> {
        &self.listener
    }

    /// Answers its requests with `handler`, on the current runtime, until either side ends it, its time is up, or
    /// `drain` starts and its last request is answered. Dropping the future cuts it.
    pub async fn serve<H, F>(self, limits: Limits, handler: H, drain: Drain)
    where
        H: Fn(Request<Incoming>, Peer) -> F + Send + Sync,
        F: Future<Output = Response<net::Body>> + Send + 'static,
    {
        let peer = self.peer;
        match TcpStream::from_std(self.stream) {
            Ok(stream) => {
                connection::serve(stream, peer, limits, |request| handler(request, peer), drain).await;
            }
            Err(error) => tracing::debug!(peer = %peer.address, %error, "cannot watch a connection"),
        }
    }
}

/// Accepts connections and hands them to `deal` until `drain` starts. While `permits` has none, accepting pauses.
pub async fn accept<D>(
    listener: Listener,
    permits: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    drain: Drain,
    mut deal: D,
) where
    D: FnMut(Accepted),
{
    let Listener { socket, settings } = listener;
    let mut pause = Pause::default();
    let draining = drain.started();
    tokio::pin!(draining);
    loop {
        // one connection may be accepted without a permit yet: one taken in advance would be lost to other listeners
        let accepted = tokio::select! {
            biased;
            () = &mut draining => return,
            accepted = accept_one(&socket, pause) => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause = pause.after(&error);
                if pause.is_first() {
                    tracing::warn!(listener = %settings.name, %error, "cannot accept connections");
                }
                continue;
            }
        };
        pause = Pause::default();
        let permit = tokio::select! {
            biased;
            () = &mut draining => return,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let (Ok(permit), Ok(stream)) = (permit, stream.into_std()) else { continue };
        let trust = if settings.trusts(address.ip()) { Trust::Trusted } else { Trust::Untrusted };
        deal(Accepted {
            stream,
            peer: Peer { address, trust },
            listener: Arc::clone(&settings),
            _counted: metrics.connected(&settings.name),
            _permit: permit,
        });
    }
}

async fn accept_one(socket: &TcpListener, pause: Pause) -> io::Result<(TcpStream, SocketAddr)> {
    if let Some(pause) = pause.0 {
        tokio::time::sleep(pause).await;
    }
    socket.accept().await
}

/// How long to wait before accepting again: without descriptors or memory, trying at once only burns CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pause(Option<Duration>);

impl Pause {
    const SHORTEST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(100);

    fn after(self, error: &io::Error) -> Self {
        match error.kind() {
            // the trouble of one peer that left before it was accepted
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted => self,
            _ => Self(Some(self.0.map_or(Self::SHORTEST, |pause| (pause * 2).min(Self::LONGEST)))),
        }
    }

    fn is_first(self) -> bool {
        self.0 == Some(Self::SHORTEST)
    }
}

#[cfg(test)]
mod tests;
