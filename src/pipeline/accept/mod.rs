//! A socket becomes a request.
//!
//! **In:** an address, the bounds on connections, a handler. **Out:** requests, each with its peer, and their answers
//! written back. **Never:** waits for ever; accepts past the limit; lets one connection's trouble reach another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::Response;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::task::JoinSet;

use crate::config;
use crate::config::Limits;
use crate::domain::name::Name;
use crate::domain::peer::Peer;
use crate::domain::peer::Trust;
use crate::net;
use crate::telemetry::metrics::Metrics;

mod activity;
mod connection;
pub mod head;

/// A bound address, not yet accepting.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    settings: config::Listener,
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
                Ok(socket) => return Ok(Self { socket, settings: settings.clone() }),
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

/// Accepts connections and answers their requests with `handler` until `drain` starts and the last of them is gone.
/// Dropping the future cuts what is left. While `permits` has none, accepting pauses.
pub async fn serve<H, F>(
    listener: Listener,
    limits: Limits,
    permits: Arc<Semaphore>,
    handler: H,
    metrics: Arc<Metrics>,
    drain: Drain,
) where
    H: Fn(Request<Incoming>, Peer, Name) -> F + Clone + Send + 'static,
    F: Future<Output = Response<net::Body>> + Send + 'static,
{
    let Listener { socket, settings } = listener;
    let mut connections = JoinSet::new();
    let mut pause = Pause::default();
    // one connection may be accepted without a permit yet: a permit taken in advance would be lost to other listeners
    let mut waiting = None;
    let ending = drain.clone();
    let draining = ending.started();
    tokio::pin!(draining);
    let name = settings.name.clone();
    let open =
        move |connections: &mut JoinSet<()>, stream, address: SocketAddr, permit: OwnedSemaphorePermit| {
            let trust = if settings.trusts(address.ip()) { Trust::Trusted } else { Trust::Untrusted };
            let peer = Peer { address, trust };
            let counted = metrics.connected(&settings.name);
            let (handler, listener, drain) = (handler.clone(), settings.name.clone(), drain.clone());
            connections.spawn(async move {
                let handler = move |request| handler(request, peer, listener.clone());
                connection::serve(stream, peer, limits, handler, drain).await;
                drop((counted, permit));
            });
        };
    loop {
        let (permit, (stream, address)) = tokio::select! {
            biased;
            () = &mut draining => break,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            permit = Arc::clone(&permits).acquire_owned(), if waiting.is_some() => match (permit, waiting.take()) {
                (Ok(permit), Some(accepted)) => (permit, accepted),
                _ => break,
            },
            accepted = accept(&socket, pause), if waiting.is_none() => {
                match accepted {
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
                continue;
            }
        };
        open(&mut connections, stream, address, permit);
    }
    // who was let in before the end is served: closing the socket would reset what still queues in it
    for (stream, address) in waiting.into_iter().chain(queued(socket)) {
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            open(&mut connections, stream, address, permit);
        }
    }
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

async fn accept(socket: &TcpListener, pause: Pause) -> io::Result<(TcpStream, SocketAddr)> {
    if let Some(pause) = pause.0 {
        tokio::time::sleep(pause).await;
    }
    socket.accept().await
}

/// What queues in `socket`, which is closed when there is no more.
fn queued(socket: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    let socket = socket.into_std();
    std::iter::from_fn(move || {
        let (stream, address) = socket.as_ref().ok()?.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, address))
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

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        // the text of a panic may hold anything: it stays out of the log
        tracing::error!("a connection ended in a panic");
    }
}

#[cfg(test)]
mod tests;
