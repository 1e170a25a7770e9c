//! TCP connections to hosts that may have several addresses.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tower_service::Service;

use crate::net::BoxError;
use crate::net::budget::Share;
use crate::net::names::Names;
use crate::net::sockets;

/// How long an address may take before the next one is tried beside it (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the host of a URL.
#[derive(Clone, Debug)]
pub struct Connector {
    names: Names,
    timeout: Duration,
    share: Share,
}

impl Connector {
    /// One that asks `names`, takes no longer than `timeout`, and leave of `share` for each address it tries beside another.
    pub fn new(names: Names, timeout: Duration, share: Share) -> Self {
        Self { names, timeout, share }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let Self { names, timeout, share } = self.clone();
        Box::pin(async move {
            let connecting = connected(&names, &server, &share);
            let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
            tokio::time::timeout(timeout, connecting).await.unwrap_or_else(late).map(TokioIo::new)
        })
    }
}

async fn connected(names: &Names, server: &Uri, share: &Share) -> Result<TcpStream, BoxError> {
    let host = server.host().ok_or("the URL has no host")?;
    // RFC 3986 section 3.2.2
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let default = if server.scheme_str() == Some("https") { 443 } else { 80 };
    let port = server.port_u16().unwrap_or(default);
    let stream = first(&names.addresses(host).await?, port, share).await?;
    if let Err(error) = stream.set_nodelay(true).and_then(|()| sockets::ask(&stream)) {
        tracing::debug!(%error, "a connection's options cannot be set");
    }
    Ok(stream)
}

/// A connection to the first of `addresses` that has one. Each has a head start before the next.
async fn first(addresses: &[IpAddr], port: u16, share: &Share) -> io::Result<TcpStream> {
    let mut left = addresses.iter().map(|address| SocketAddr::new(*address, port));
    // nearly always there is one
    if let [only] = addresses {
        return TcpStream::connect((*only, port)).await;
    }
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        // the caller has leave for one
        let leave = match (left.len(), attempts.is_empty()) {
            (0, _) => None,
            (_, true) => Some(None),
            (_, false) => share.take().map(Some),
        };
        if let Some(leave) = leave
            && let Some(address) = left.next()
        {
            attempts.spawn(async move {
                let _kept = leave;
                TcpStream::connect(address).await
            });
        }
        tokio::select! {
            biased;
            outcome = attempts.join_next() => match outcome {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => failure = error,
                Some(Err(broke)) => failure = io::Error::other(broke),
                None => return Err(failure),
            },
            () = tokio::time::sleep(HEAD_START), if left.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests;
