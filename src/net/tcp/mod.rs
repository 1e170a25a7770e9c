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
use crate::net::names::Names;
use crate::net::sockets;

/// How long an address may take before the next one is tried beside it (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the host of a URL.
#[derive(Clone, Debug)]
pub struct Connector {
    names: Names,
    timeout: Duration,
}

impl Connector {
    /// One that asks `names` and takes no longer than `timeout`.
    pub fn new(names: Names, timeout: Duration) -> Self {
        Self { names, timeout }
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
        let (names, timeout) = (self.names.clone(), self.timeout);
        Box::pin(async move {
            let connecting = connected(&names, &server);
            let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
            tokio::time::timeout(timeout, connecting).await.unwrap_or_else(late).map(TokioIo::new)
        })
    }
}

async fn connected(names: &Names, server: &Uri) -> Result<TcpStream, BoxError> {
    let host = server.host().ok_or("the URL has no host")?;
    // RFC 3986 section 3.2.2
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let default = if server.scheme_str() == Some("https") { 443 } else { 80 };
    let port = server.port_u16().unwrap_or(default);
    let stream = first(&names.addresses(host).await?, port).await?;
    if let Err(error) = stream.set_nodelay(true).and_then(|()| sockets::ask(&stream)) {
        tracing::debug!(%error, "a connection's options cannot be set");
    }
    Ok(stream)
}

/// A connection to the first of `addresses` that has one. Each has a head start before the next.
async fn first(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut left = addresses.iter().map(|address| SocketAddr::new(*address, port));
    // nearly always there is one
    if let [only] = addresses {
        return TcpStream::connect((*only, port)).await;
    }
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = left.next();
        if let Some(address) = next {
            attempts.spawn(TcpStream::connect(address));
        }
        tokio::select! {
            biased;
            outcome = attempts.join_next() => match outcome {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => failure = error,
                Some(Err(broke)) => failure = io::Error::other(broke),
                None => return Err(failure),
            },
            () = tokio::time::sleep(HEAD_START), if next.is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests;
