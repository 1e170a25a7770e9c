//! A socket becomes a request.
//!
//! **In:** an address, the bounds on connections, a handler. **Out:** connections to deal out, then requests, each with its
//! peer, and their answers written back. **Never:** waits for ever; accepts past the limit; lets one connection's trouble reach another.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::Response;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::config;
use crate::config::Limits;
use crate::config::ProxyProtocol;
use crate::domain::name::Name;
use crate::domain::peer::Peer;
use crate::net;
use crate::net::binding;
use crate::telemetry::metrics::InFlight;
use crate::telemetry::metrics::Metrics;

mod activity;
pub mod certificate;
pub mod client;
mod connection;
pub mod fragment;
pub mod frames;
pub mod head;
mod http1;
mod incoming;
mod noted;
mod opening;
pub mod proxy_protocol;
mod socket;
mod spare;
mod stream;
mod streams;
pub mod tls;
pub mod unread;
mod upgrade;

pub use crate::pipeline::accept::incoming::Incoming;
pub use crate::pipeline::accept::socket::LocalAddress;
pub use crate::pipeline::accept::spare::Spare;

use opening::Opening;
use socket::Arrival;
use socket::Socket;
use tls::Terminator;

/// A bound address, not yet accepting.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    tls: Option<Arc<Terminator>>,
    settings: Arc<config::Listener>,
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its address.
    #[error("cannot bind `listeners.{listener}.address` ({address})")]
    Bind {
        /// Its name.
        listener: Name,
        /// What it should bind.
        address: config::ListenerAddress,
        /// Why.
        source: io::Error,
    },
    /// Its TLS.
    #[error("listener {listener} cannot speak TLS")]
    Tls {
        /// Its name.
        listener: Name,
        /// Why.
        source: Box<tls::Error>,
    },
}

impl Error {
    fn bind(settings: &config::Listener, source: io::Error) -> Self {
        let source = binding::explained(source);
        Self::Bind { listener: settings.name.clone(), address: settings.address.clone(), source }
    }

    fn tls(settings: &config::Listener, source: tls::Error) -> Self {
        Self::Tls { listener: settings.name.clone(), source: Box::new(source) }
    }
}

impl Listener {
    /// Reads the certificates and binds the address of `settings`.
    ///
    /// # Errors
    /// If a certificate cannot be used, or the address cannot be resolved or bound.
    pub async fn bind(settings: &config::Listener) -> Result<Self, Error> {
        let tls = Terminator::of(settings).await.map_err(|source| Error::tls(settings, source))?;
        let socket = Socket::bind(&settings.address).await.map_err(|source| Error::bind(settings, source))?;
        Ok(Self { socket, tls, settings: Arc::new(settings.clone()) })
    }

    /// What it was made from.
    pub fn settings(&self) -> &config::Listener {
        &self.settings
    }

    /// Where it can be reached.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_address(&self) -> io::Result<LocalAddress> {
        self.socket.local_address()
    }
}

/// Tells every listener and connection to come to an end. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Drain(watch::Sender<Phase>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Announced,
    Draining,
    Ended,
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
        let _ = self.0.subscribe().wait_for(|phase| matches!(phase, Phase::Draining | Phase::Ended)).await;
    }

    /// Its time is up: what has no end of its own takes its leave.
    pub fn end(&self) {
        self.0.send_replace(Phase::Ended);
    }

    /// Waits until its time is up.
    async fn ended(&self) {
        // as above
        let _ = self.0.subscribe().wait_for(|phase| *phase == Phase::Ended).await;
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
    tls: Option<Arc<Terminator>>,
    metrics: Arc<Metrics>,
    _counted: InFlight,
    _permit: OwnedSemaphorePermit,
}

impl Accepted {
    /// On which listener it came.
    pub fn listener(&self) -> &Arc<config::Listener> {
        &self.listener
    }

    /// Answers its requests with `handler`, on the current runtime, until either side ends it, its time is up, or
    /// `drain` starts and its last request is answered. Dropping the future cuts it. `tell_unread` is told of a head that was
    /// answered without becoming a request, which is the last thing that comes on a connection.
    pub async fn serve<H, F, U>(self, limits: Limits, handler: H, tell_unread: U, drain: Drain)
    where
        H: Fn(Request<Incoming>, Arc<Peer>) -> F + Send + Sync,
        U: Fn(unread::Error) + Send + Sync,
        F: Future<Output = Response<net::Body>> + Send + Unpin + 'static,
    {
        let Self { stream, peer, listener, tls, metrics, _counted, _permit } = self;
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%peer, %error, "cannot watch a connection"),
        };
        // a Unix socket has nothing of the kind
        let nodelay = peer.address.map_or(Ok(()), |_| stream.set_nodelay(true));
        if let Err(error) = nodelay {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let opening = Opening::new(limits, &drain, &metrics);
        if tls.is_some() || listener.proxy_protocol == ProxyProtocol::Required {
            // on the heap: connections that need nothing of it are not to be as large
            return Box::pin(opening.serve(stream, peer, listener, tls, handler, tell_unread)).await;
        }
        let Ok(protocol) = opening.within(connection::protocol(&stream)).await else { return };
        let handler = |request| handler(request, Arc::clone(&peer));
        let (conversation, activity) =
            connection::conversation(stream, protocol, opening.opened, limits, handler, &drain);
        connection::converse(conversation, &activity, &peer, &drain, &tell_unread).await;
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
    let Listener { socket, tls, settings } = listener;
    let name = settings.name.clone();
    let mut open = |(stream, address): Arrival, permit| {
        let trust = settings.trusted_proxies.trust(address.map(|address| address.ip()));
        deal(Accepted {
            stream,
            peer: Arc::new(Peer::new(address, trust)),
            listener: Arc::clone(&settings),
            tls: tls.clone(),
            metrics: Arc::clone(&metrics),
            _counted: metrics.connected(&settings.name),
            _permit: permit,
        });
    };
    let mut pause = Pause::default();
    // one connection may be accepted without a permit yet: one taken in advance would be lost to other listeners
    let mut waiting = None;
    let draining = drain.started();
    tokio::pin!(draining);
    let mut keeping_fresh = std::pin::pin!(async {
        match &tls {
            Some(tls) => tls.keep_fresh(&metrics).await,
            None => std::future::pending().await,
        }
    });
    loop {
        tokio::select! {
            biased;
            () = &mut draining => break,
            permit = Arc::clone(&permits).acquire_owned(), if waiting.is_some() => {
                if let (Ok(permit), Some(arrival)) = (permit, waiting.take()) {
                    open(arrival, permit);
                }
            }
            accepted = accept_one(&socket, pause), if waiting.is_none() => match accepted {
                Ok(arrival) => {
                    pause = Pause::default();
                    waiting = Some(arrival);
                }
                Err(error) => {
                    pause = pause.after(&error);
                    if pause.is_first() {
                        tracing::warn!(listener = %name, %error, "cannot accept connections");
                    }
                }
            },
            () = &mut keeping_fresh => {}
        }
    }
    metrics.ends().forget_listener(&name);
    // who was let in before the end is served: closing the socket would reset what still queues in it
    for arrival in waiting.into_iter().chain(socket.queued()) {
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            open(arrival, permit);
        }
    }
}

async fn accept_one(socket: &Socket, pause: Pause) -> io::Result<Arrival> {
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
