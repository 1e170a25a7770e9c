//! What the bytes of a connection come through.

use std::task::Context;
use std::task::Poll;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A socket, or TLS on one.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Ready when there may be something to read, or the peer is gone. What is wrong with it, reading it tells.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Stream for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(cx).map(drop)
    }
}

impl Stream for TlsStream<TcpStream> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let (socket, session) = self.get_ref();
        // it wants no more while there is something that it has decrypted, or after the peer said farewell
        if session.wants_read() { socket.poll_readable(cx) } else { Poll::Ready(()) }
    }
}
