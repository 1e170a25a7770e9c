//! What comes before the first request: a PROXY protocol header, a TLS handshake.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::config::Limits;
use crate::config::Listener;
use crate::config::ProxyProtocol;
use crate::domain::peer::Peer;
use crate::domain::peer::Trust;
use crate::pipeline::accept::Drain;
use crate::pipeline::accept::proxy_protocol;
use crate::pipeline::accept::proxy_protocol::Parsed;
use crate::pipeline::accept::proxy_protocol::Source;

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
    drain: &'a Drain,
}

impl<'a> Opening<'a> {
    /// It begins now.
    pub fn new(limits: Limits, drain: &'a Drain) -> Self {
        let opened = Instant::now();
        Self { opened, until: opened + limits.header_timeout, drain }
    }

    /// What comes of `step`, if it comes in time.
    ///
    /// # Errors
    /// If it does not, or fails.
    pub async fn within<T, E: Into<Error>>(
        &self,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            done = step => done.map_err(Into::into),
            () = tokio::time::sleep_until(self.until) => Err(Error::TooLate),
            () = over(self.drain) => Err(Error::TooLate),
        }
    }

    /// Whom the connection of `peer` is for, which its first bytes say if `listener` wants them to.
    ///
    /// # Errors
    /// If they do not, or `peer` may not say so.
    pub async fn peer(&self, peer: Peer, listener: &Listener, stream: &mut TcpStream) -> Result<Peer, Error> {
        match (listener.proxy_protocol, peer.trust) {
            (ProxyProtocol::Off, _) => Ok(peer),
            (ProxyProtocol::Required, Trust::Untrusted) => Err(Error::NotTrusted),
            // seldom there: others need not carry its buffers
            (ProxyProtocol::Required, Trust::Trusted) => {
                let source = self.within(Box::pin(header(stream))).await?;
                Ok(relayed(peer, source, listener))
            }
        }
    }
}

/// Who stands behind `proxy`. That one is trusted to say for whom it connects; what then comes is not its own.
fn relayed(proxy: Peer, source: Source, listener: &Listener) -> Peer {
    match source {
        Source::Itself => proxy,
        Source::Somebody => Peer { trust: Trust::Untrusted, ..proxy },
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
