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
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
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
mod frames;
pub mod head;
mod http1;
mod incoming;
mod spare;

pub use crate::pipeline::accept::incoming::Incoming;
pub use crate::pipeline::accept::spare::Spare;

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
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in tokio::net::lookup_host(address).await? {
            match listen(address) {
                Ok(socket) => return Ok(Self { socket, settings: Arc::new(settings.clone()) }),
                Err(error) => failure = error,
            }
        }
        Err(failure)
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

/// How many connections may wait in a socket to be accepted; the kernel bounds it by `net.core.somaxconn`. The usual
/// 128 are gone in one burst, and who is not let in tries again after a whole second.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // a restart must not wait for the last connections of the one before
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Tells every listener and connection to come to an end. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Drain(watch::Sender<Phase>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Announced,
    Draining,
}

impl Drain {
    /// A drain that has not started.
    pub fn new() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }

    /// Tells callers with their answers that connections come to an end: they are then not closed while the next
    /// request is on its way.
    pub fn announce(&self) {
        self.0.send_replace(Phase::Announced);
    }

    /// Whether callers are told.
    fn is_announced(&self) -> bool {
        *self.0.borrow() != Phase::Serving
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
    peer: Arc<Peer>,
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
        H: Fn(Request<Incoming>, Arc<Peer>) -> F + Send + Sync,
        F: Future<Output = Response<net::Body>> + Send + Unpin + 'static,
    {
        let peer = self.peer;
        match TcpStream::from_std(self.stream) {
            Ok(stream) => {
                let handler = |request| handler(request, Arc::clone(&peer));
                connection::serve(stream, &peer, limits, handler, drain).await;
            }
            Err(error) => tracing::debug!(peer = %peer.address, %error, "cannot watch a connection"),
        }
    }
}

/// Accepts connections and hands them to `deal` until `drain` starts, and then what has queued up. While `permits` has
/// none, accepting pauses.
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
    let name = settings.name.clone();
    let mut open = |stream, address: SocketAddr, permit| {
        let trust = if settings.trusts(address.ip()) { Trust::Trusted } else { Trust::Untrusted };
        deal(Accepted {
            stream,
            peer: Arc::new(Peer::new(address, trust)),
            listener: Arc::clone(&settings),
            _counted: metrics.connected(&settings.name),
            _permit: permit,
        });
    };
    let mut pause = Pause::default();
    // one connection may be accepted without a permit yet: one taken in advance would be lost to other listeners
    let mut waiting = None;
    let draining = drain.started();
    tokio::pin!(draining);
    loop {
        tokio::select! {
            biased;
            () = &mut draining => break,
            permit = Arc::clone(&permits).acquire_owned(), if waiting.is_some() => {
                if let (Ok(permit), Some((stream, address))) = (permit, waiting.take()) {
                    open(stream, address, permit);
                }
            }
            accepted = accept_one(&socket, pause), if waiting.is_none() => match accepted {
                Ok(accepted) => {
                    pause = Pause::default();
                    waiting = Some(accepted);
                }
                Err(error) => {
                    pause = pause.after(&error);
                    if pause.is_first() {
                        tracing::warn!(listener = %name, %error, "cannot accept connections");
                    }
                }
            }
        }
    }
    // who was let in before the end is served: closing the socket would reset what still queues in it
    for (stream, address) in waiting.into_iter().chain(queued(socket)) {
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            open(stream, address, permit);
        }
    }
}

async fn accept_one(socket: &TcpListener, pause: Pause) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    if let Some(pause) = pause.0 {
        tokio::time::sleep(pause).await;
    }
    let (stream, address) = socket.accept().await?;
    Ok((stream.into_std()?, address))
}

/// What queues in `socket`, which is closed when there is no more.
fn queued(socket: TcpListener) -> impl Iterator<Item = (std::net::TcpStream, SocketAddr)> {
    let socket = socket.into_std();
    std::iter::from_fn(move || {
        let (stream, address) = socket.as_ref().ok()?.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((stream, address))
    })
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
