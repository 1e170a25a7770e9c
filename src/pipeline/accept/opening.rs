//! What comes before the first request: a PROXY protocol header, a TLS handshake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::Response;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::config::Limits;
use crate::config::Listener;
use crate::config::ProxyProtocol;
use crate::domain::peer::Peer;
use crate::domain::peer::Trust;
use crate::net;
use crate::pipeline::accept::Drain;
use crate::pipeline::accept::Incoming;
use crate::pipeline::accept::activity::Protocol;
use crate::pipeline::accept::connection;
use crate::pipeline::accept::proxy_protocol;
use crate::pipeline::accept::proxy_protocol::Parsed;
use crate::pipeline::accept::proxy_protocol::Source;
use crate::pipeline::accept::stream::Stream;
use crate::pipeline::accept::tls;
use crate::pipeline::accept::tls::Terminator;
use crate::pipeline::accept::unread;
use crate::telemetry::metrics::Handshake;
use crate::telemetry::metrics::Metrics;

/// How long a connection without a request is kept once the drain started: a request may be on its way.
const GRACE: Duration = Duration::from_millis(500);

/// How much of a header is looked for at once: most are shorter.
const PIECE: usize = 512;

/// Why a connection does not come to its first request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its time is up, or the proxy ends.
    #[error("its time was up")]
    TooLate,
    /// Only trusted proxies may connect.
    #[error("it is none of the trusted proxies")]
    NotTrusted,
    /// No PROXY protocol header came.
    #[error(transparent)]
    Header(#[from] proxy_protocol::Error),
    /// It broke, or its handshake failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The time there is until the head of the first request must have come, whatever comes before it.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// When the connection was taken up.
    pub opened: Instant,
    until: Instant,
    limits: Limits,
    drain: &'a Drain,
    metrics: &'a Metrics,
}

impl<'a> Opening<'a> {
    /// It begins now.
    pub fn new(limits: Limits, drain: &'a Drain, metrics: &'a Metrics) -> Self {
        let opened = Instant::now();
        Self { opened, until: opened + limits.header_timeout, limits, drain, metrics }
    }

    /// What comes of `step`, if it comes in time; [`Error`] if not. On the heap: it lasts a moment, and what comes after it
    /// is not to be as large for as long as the connection rests.
    pub fn within<T, E: Into<Error>>(
        &self,
        step: impl Future<Output = Result<T, E>>,
    ) -> Pin<Box<impl Future<Output = Result<T, Error>>>> {
        Box::pin(async {
            tokio::select! {
                biased;
                done = step => done.map_err(Into::into),
                () = tokio::time::sleep_until(self.until) => Err(Error::TooLate),
                () = over(self.drain) => Err(Error::TooLate),
            }
        })
    }

    /// Serves a connection that begins with a PROXY protocol header, or a TLS handshake, or with both.
    pub async fn serve<H, F, U>(
        self,
        mut stream: TcpStream,
        mut peer: Arc<Peer>,
        listener: Arc<Listener>,
        tls: Option<Arc<Terminator>>,
        handler: H,
        tell_unread: U,
    ) where
        H: Fn(Request<Incoming>, Arc<Peer>) -> F + Send + Sync,
        F: Future<Output = Response<net::Body>> + Send + Unpin + 'static,
        U: Fn(unread::Error) + Send + Sync,
    {
        if listener.proxy_protocol == ProxyProtocol::Required {
            match self.within(relayed(&mut stream, &peer, &listener)).await {
                Ok(behind) => peer = Arc::new(behind),
                Err(error) => return self.refuse(&error, &peer, &listener),
            }
        }
        let Some(tls) = tls else {
            let Ok(protocol) = self.within(connection::protocol(&stream)).await else { return };
            return self.converse(stream, protocol, peer, handler, tell_unread).await;
        };
        let stream = match self.within(tls.accept(stream)).await {
            Ok(stream) => stream,
            Err(error) => {
                self.metrics.tls_handshake(&listener.name, Handshake::Failed);
                return tracing::debug!(%peer, %error, "a TLS handshake failed");
            }
        };
        self.metrics.tls_handshake(&listener.name, tls::handshake(&stream));
        // connections rest for long: what this one needs no more goes before
        drop(tls);
        if let Some(certificate) = tls::caller(&stream) {
            Arc::make_mut(&mut peer).certificate = Some(certificate);
        }
        let protocol = tls::protocol(&stream);
        self.converse(stream, protocol, peer, handler, tell_unread).await;
    }

    async fn converse<I, H, F, U>(
        self,
        stream: I,
        protocol: Protocol,
        peer: Arc<Peer>,
        handler: H,
        tell_unread: U,
    ) where
        I: Stream,
        H: Fn(Request<Incoming>, Arc<Peer>) -> F + Send + Sync,
        F: Future<Output = Response<net::Body>> + Send + Unpin + 'static,
        U: Fn(unread::Error) + Send + Sync,
    {
        let handler = |request| handler(request, Arc::clone(&peer));
        let (conversation, activity) =
            connection::conversation(stream, protocol, self.opened, self.limits, handler, self.drain);
        connection::converse(conversation, &activity, &peer, self.drain, &tell_unread).await;
    }

    /// Counts and logs a connection that is closed for what it begins with. One that just ends or says nothing is as likely a health
    /// check as a mistake.
    fn refuse(&self, error: &Error, peer: &Peer, listener: &Listener) {
        let reason = match error {
            Error::NotTrusted => "untrusted_proxy",
            Error::Header(_) => "no_proxy_header",
            Error::TooLate | Error::Io(_) => {
                return tracing::debug!(%peer, %error, "a connection is not taken");
            }
        };
        let name = &listener.name;
        self.metrics.connection_refused(name, reason);
        // of those with a reason one a second is written
        tracing::warn!(reason, listener = name.as_str(), %peer, %error, "a connection is refused");
    }
}

/// Who stands behind `proxy`, which must be trusted to say so.
async fn relayed(stream: &mut TcpStream, proxy: &Peer, listener: &Listener) -> Result<Peer, Error> {
    match proxy.trust {
        Trust::Untrusted => Err(Error::NotTrusted),
        Trust::Trusted => Ok(behind(proxy, header(stream).await?, listener)),
    }
}

/// Who stands behind `proxy`. That one is trusted to say for whom it connects; what then comes is not its own.
fn behind(proxy: &Peer, source: Source, listener: &Listener) -> Peer {
    match source {
        Source::Itself => proxy.clone(),
        Source::Somebody => Peer { trust: Trust::Untrusted, ..proxy.clone() },
        Source::Address(address) => {
            Peer::new(Some(address), listener.trusted_proxies.trust(Some(address.ip())))
        }
    }
}

/// Reads a PROXY protocol header, and nothing of what follows it.
async fn header(stream: &mut TcpStream) -> Result<Source, Error> {
    let mut seen = Vec::new();
    loop {
        let read = seen.len();
        seen.resize((read + PIECE).min(proxy_protocol::LONGEST), 0);
        let peeked = stream.peek(seen.get_mut(read..).unwrap_or_default()).await?;
        seen.truncate(read + peeked);
        if peeked == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let (source, end) = match proxy_protocol::parse(&seen)? {
            Parsed::Partial => (None, seen.len()),
            Parsed::Whole { source, length } => (Some(source), length),
        };
        // they have come: this waits for nothing
        stream.read_exact(seen.get_mut(read..end).unwrap_or_default()).await?;
        if let Some(source) = source {
            return Ok(source);
        }
    }
}

/// Resolves when a connection without a request is not kept any more.
pub async fn over(drain: &Drain) {
    drain.started().await;
    tokio::time::sleep(GRACE).await;
}
