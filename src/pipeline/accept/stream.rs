//! What the bytes of a connection come through.

use std::pin::pin;
use std::task::Context;
use std::task::Poll;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A socket, or TLS on one.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Ready when there may be something to read, or the peer is gone. What is wrong with it, reading it tells.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether the peer has reset the connection. If not, and nothing is there to be read, whoever asks is woken when it does.
    /// It takes no call to the system.
    fn is_reset(&self, cx: &mut Context<'_>) -> bool;
}

impl Stream for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_read_ready(cx).map(drop)
    }

    fn is_reset(&self, cx: &mut Context<'_>) -> bool {
        if self.poll_read_ready(cx).is_pending() {
            return false;
        }
        // who closes its own side alone can still be written to
        let ready = pin!(self.ready(Interest::WRITABLE)).poll(cx);
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_write_closed())
    }
}

impl Stream for TlsStream<TcpStream> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let (socket, session) = self.get_ref();
        // it wants no more while there is something that it has decrypted, or after the peer said farewell
        if session.wants_read() { socket.poll_readable(cx) } else { Poll::Ready(()) }
    }

    fn is_reset(&self, cx: &mut Context<'_>) -> bool {
        self.get_ref().0.is_reset(cx)
    }
}
