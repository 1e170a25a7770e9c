//! Connections to one server: TCP, and TLS where the scheme asks for it, or a Unix socket, within one time limit.

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::io::IoSlice;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::io::Take;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::config::Http2;
use crate::net::BoxError;
use crate::net::budget::Permit;
use crate::net::budget::Share;
use crate::net::causes;
use crate::net::connector;
use crate::net::gather;
use crate::net::lacks_descriptors;
use crate::net::names::Names;
use crate::net::sockets;
use crate::net::tcp::Connector;

/// Connects to one server.
#[derive(Clone, Debug)]
pub struct Dialer {
    way: Way,
    timeout: Duration,
}

#[derive(Clone, Debug)]
enum Way {
    Network(HttpsConnector<Connector>, Uri),
    /// The path of a Unix socket.
    Local(Arc<Path>),
}

/// Most bytes that are read at a time. hyper's buffers are powers of two, and it takes the next larger one when a buffer is
/// filled: one less than a power keeps them at that size. What a caller does not take fills two of them.
const MOST_AT_ONCE: u64 = 16 * 1024 - 1;
/// The same for TLS, whose records have that size: the last byte of each is not to be read alone.
const MOST_OF_TLS: u64 = 16 * 1024;
/// How long to wait before a Unix socket is tried again in which too many wait already: it does not let one queue.
const CROWDED: Duration = Duration::from_millis(5);

/// Why there is no connection. Cloned for everyone who waits for it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The name is unknown, or the connection was refused.
    #[error("cannot connect")]
    Connect(#[source] Arc<dyn StdError + Send + Sync>),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] Arc<dyn StdError + Send + Sync>),
    /// TCP and TLS together took too long.
    #[error("connecting took too long")]
    Timeout,
    /// That is our own limit: no more connections or files may be open.
    #[error("no more connections may be open")]
    NoRoom,
}

impl Dialer {
    /// A dialer for `server`, a URL's scheme and authority, whose host is one of `names`. `server_name` replaces its host in
    /// the TLS handshake. Of `share` it takes leave for what it tries beside the connection that it makes.
    pub fn new(
        server: Uri,
        tls: ClientConfig,
        http2: Http2,
        timeout: Duration,
        server_name: Option<ServerName<'static>>,
        names: Names,
        share: Share,
    ) -> Self {
        Self { way: Way::Network(connector(tls, http2, timeout, server_name, names, share), server), timeout }
    }

    /// A dialer for the Unix socket at `path`.
    pub fn local(path: &Path, timeout: Duration) -> Self {
        Self { way: Way::Local(path.into()), timeout }
    }

    /// A new connection.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn dial(&self) -> Result<Stream, Error> {
        let connecting = async {
            match &self.way {
                Way::Network(connector, server) => {
                    let mut connector = connector.clone();
                    poll_fn(|cx| connector.poll_ready(cx)).await.map_err(classify)?;
                    connector.call(server.clone()).await.map(Stream::new).map_err(classify)
                }
                Way::Local(path) => {
                    local(path).await.map(Stream::local).map_err(|error| classify(error.into()))
                }
            }
        };
        tokio::time::timeout(self.timeout, connecting).await.unwrap_or(Err(Error::Timeout))
    }
}

async fn local(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(CROWDED).await,
            outcome => return outcome,
        }
    }
}

fn classify(error: BoxError) -> Error {
    let is_tls = causes(error.as_ref()).any(|cause| cause.is::<rustls::Error>());
    let is_late = causes(error.as_ref())
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::TimedOut);
    match (is_tls, is_late, lacks_descriptors(error.as_ref())) {
        (_, _, true) => Error::NoRoom,
        (true, _, _) => Error::Tls(error.into()),
        (false, true, _) => Error::Timeout,
        (false, false, _) => Error::Connect(error.into()),
    }
}

/// How many bytes have come over a connection. Outlives the stream.
#[derive(Clone, Debug, Default)]
pub struct Received(Arc<AtomicU64>);

impl Received {
    /// So many until now, TLS taken off.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection, plain or TLS.
pub struct Stream {
    kind: Kind,
    received: Received,
    /// Given back when it is closed.
    _permit: Option<Permit>,
}

/// Read no more than so much at a time.
enum Kind {
    Plain(Take<TcpStream>),
    Local(Take<UnixStream>),
    /// Boxed: it is twenty times the size of a plain one.
    Tls(Take<Box<TlsStream<TokioIo<TokioIo<TcpStream>>>>>),
}

impl Stream {
    fn new(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> Self {
        let kind = match stream {
            MaybeHttpsStream::Http(stream) => Kind::Plain(stream.into_inner().take(MOST_AT_ONCE)),
            MaybeHttpsStream::Https(stream) => Kind::Tls(Box::new(stream.into_inner()).take(MOST_OF_TLS)),
        };
        Self { kind, received: Received::default(), _permit: None }
    }

    fn local(stream: UnixStream) -> Self {
        let kind = Kind::Local(stream.take(MOST_AT_ONCE));
        Self { kind, received: Received::default(), _permit: None }
    }

    /// The same, which keeps `permit` until it is closed.
    pub fn keeping(self, permit: Permit) -> Self {
        Self { _permit: Some(permit), ..self }
    }

    /// The count of what comes.
    pub fn received(&self) -> Received {
        self.received.clone()
    }

    /// What the TLS handshake settled on (RFC 7301); nothing without TLS.
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Plain(_) | Kind::Local(_) => None,
            Kind::Tls(stream) => stream.get_ref().get_ref().1.alpn_protocol(),
        }
    }

    /// Ends it when the server does not acknowledge for a minute what it is sent: where requests are not waited for, nobody
    /// else notices that it is gone.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn expect_acknowledgements(&self) -> io::Result<()> {
        match &self.kind {
            Kind::Plain(stream) => sockets::expect_acknowledgements(stream.get_ref()),
            Kind::Local(_) => Ok(()),
            Kind::Tls(stream) => {
                sockets::expect_acknowledgements(stream.get_ref().get_ref().0.inner().inner())
            }
        }
    }
}

impl Stream {
    /// The certificates the server showed, its own first; nothing without TLS.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        match &self.kind {
            Kind::Plain(_) | Kind::Local(_) => &[],
            Kind::Tls(stream) => stream.get_ref().get_ref().1.peer_certificates().unwrap_or_default(),
        }
    }

    /// The version of TLS; nothing without.
    pub fn tls_version(&self) -> Option<ProtocolVersion> {
        match &self.kind {
            Kind::Plain(_) | Kind::Local(_) => None,
            Kind::Tls(stream) => stream.get_ref().get_ref().1.protocol_version(),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Plain(_) => "Stream(plain)",
            Kind::Local(_) => "Stream(local)",
            Kind::Tls(_) => "Stream(TLS)",
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(match &mut self.kind {
            Kind::Plain(stream) => {
                stream.set_limit(MOST_AT_ONCE);
                Pin::new(stream).poll_read(cx, buffer)
            }
            Kind::Local(stream) => {
                stream.set_limit(MOST_AT_ONCE);
                Pin::new(stream).poll_read(cx, buffer)
            }
            Kind::Tls(stream) => {
                stream.set_limit(MOST_OF_TLS);
                Pin::new(stream).poll_read(cx, buffer)
            }
        })?;
        let came = buffer.filled().len().saturating_sub(before);
        // nobody else writes it
        let bytes = self.received.bytes().saturating_add(u64::try_from(came).unwrap_or(u64::MAX));
        self.received.0.store(bytes, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream.get_mut()).poll_write(cx, bytes),
            Kind::Local(stream) => Pin::new(stream.get_mut()).poll_write(cx, bytes),
            Kind::Tls(stream) => Pin::new(stream.get_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Plain(stream) => gather::poll_write(Pin::new(stream.get_mut()), cx, slices),
            Kind::Local(stream) => gather::poll_write(Pin::new(stream.get_mut()), cx, slices),
            Kind::Tls(stream) => Pin::new(stream.get_mut()).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Plain(stream) => stream.get_ref().is_write_vectored(),
            Kind::Local(stream) => stream.get_ref().is_write_vectored(),
            Kind::Tls(stream) => stream.get_ref().is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream.get_mut()).poll_flush(cx),
            Kind::Local(stream) => Pin::new(stream.get_mut()).poll_flush(cx),
            Kind::Tls(stream) => Pin::new(stream.get_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(stream) => Pin::new(stream.get_mut()).poll_shutdown(cx),
            Kind::Local(stream) => Pin::new(stream.get_mut()).poll_shutdown(cx),
            Kind::Tls(stream) => Pin::new(stream.get_mut()).poll_shutdown(cx),
        }
    }
}
