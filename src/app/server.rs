//! The small HTTP/1.1 server of everything that is not the data path: probes, the emulated Entra, the echo API.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::Response;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::net::Body;

/// Most connections at a time: the data path must not run out of descriptors because of probes.
const MOST: usize = 512;

/// Longest request head; tokens for the echo API are in it.
const LONGEST_HEAD: usize = 128 * 1024;

/// How the server is reached.
#[derive(Clone)]
pub enum Transport {
    /// Without TLS.
    Plain,
    /// Over TLS.
    Tls(Arc<rustls::ServerConfig>),
}

/// Whose socket a request came from: an extension of it.
#[derive(Clone, Copy, Debug)]
pub struct From(pub SocketAddr);

/// A running server. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Server {
    /// Serves what `listener` accepts with `answer`, on the current runtime.
    ///
    /// # Errors
    /// If the listener has no address.
    pub fn start<A, F>(listener: TcpListener, transport: Transport, answer: A) -> io::Result<Self>
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, transport, answer)).abort_handle();
        Ok(Self { address, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A body that is there already.
pub fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// The connections belong to this future: when it is aborted, so are they.
async fn accept<A, F>(listener: TcpListener, transport: Transport, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST => match accepted {
                Ok((socket, peer)) => {
                    let answer = answer.clone();
                    let answer = move |mut request: Request<Incoming>| {
                        request.extensions_mut().insert(From(peer));
                        answer(request)
                    };
                    connections.spawn(connect(socket, transport.clone(), answer));
                }
                // out of file descriptors, most likely: the next attempt would fail at once
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect<A, F>(socket: TcpStream, transport: Transport, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    // without it, answers written in two parts may wait for an acknowledgement; a failure only makes it slow
    let _ = socket.set_nodelay(true);
    match transport {
        Transport::Plain => converse(socket, answer).await,
        Transport::Tls(config) => match TlsAcceptor::from(config).accept(socket).await {
            Ok(socket) => converse(socket, answer).await,
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        },
    }
}

async fn converse<I, A, F>(io: I, answer: A)
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let response = answer(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(io), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to one of our own servers broke");
    }
}
