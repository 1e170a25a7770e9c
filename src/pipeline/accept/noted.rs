//! What goes through a connection, noted as it does.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::time::Sleep;

use crate::net::gather;
use crate::pipeline::accept::activity::Activity;
use crate::pipeline::accept::activity::Protocol;
use crate::pipeline::accept::fragment::Search;
use crate::pipeline::accept::stream::Stream;

/// Longest time to listen to a peer that was answered before it had sent all it wanted.
const LINGER: Duration = Duration::from_secs(2);

/// A stream whose traffic is noted. Its shutdown lingers where a body may be on its way: closed with bytes unread, the
/// kernel would send a reset, which can overtake the answer (RFC 9112 section 9.6).
#[derive(Debug)]
pub struct Noted<S> {
    stream: S,
    /// Whether the peer has reset the connection, where that is looked for.
    is_reset: fn(&S, &mut Context<'_>) -> bool,
    activity: Arc<Activity>,
    /// Bytes that were read before, to be read again.
    again: Bytes,
    /// For fragments in what is read.
    search: Search,
    /// Made once our side is shut down.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl<S> Noted<S> {
    /// Notes the traffic of `stream` in `activity`.
    pub fn new(stream: S, activity: Arc<Activity>) -> Self {
        let search = match activity.protocol() {
            Protocol::Http1 => Search::new(),
            Protocol::Http2 => Search::Off,
        };
        Self { stream, is_reset: |_, _| false, activity, again: Bytes::new(), search, lingering: None }
    }

    /// The same, where no more requests are to come.
    pub fn without_requests(self) -> Self {
        Self { search: Search::Off, ..self }
    }

    /// The same, with `bytes` in front of what is still to be read.
    pub fn preceded_by(self, bytes: Bytes) -> Self {
        let again = match self.again.is_empty() {
            true => bytes,
            false => Bytes::from([bytes, self.again].concat()),
        };
        Self { again, ..self }
    }

    fn note<T>(&self, cx: &Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.activity.wrote(written.is_ready()) {
            // the answer, of which no more was taken meanwhile
            cx.waker().wake_by_ref();
        }
        written
    }
}

impl<S: Stream> Noted<S> {
    /// The same, where a peer that resets the connection is noticed also while nobody reads what it sent.
    pub fn noticing_resets(self) -> Self {
        Self { is_reset: S::is_reset, ..self }
    }

    /// Ready when there may be something to read, or the peer is gone.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_readable(cx)
    }
}

impl<S: AsyncRead + Unpin> Noted<S> {
    /// Reads for nobody until the peer ends its side or has had its time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = self.lingering.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut nowhere = [MaybeUninit::uninit(); 8192];
        while over.as_mut().poll(cx).is_pending() {
            let mut nowhere = ReadBuf::uninit(&mut nowhere);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut nowhere)) {
                Ok(()) if !nowhere.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.activity.is_upgrading() && self.activity.is_resting() {
            // what comes now comes in time: it is for whoever has this connection once hyper is found to hold nothing
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = if self.again.is_empty() {
            let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
            let Self { activity, search, .. } = &mut *self;
            let bytes = buffer.filled().get(before..).unwrap_or_default();
            match activity.is_out_of_bodies() {
                true => search.read(bytes, |found| activity.found_fragments(&found)),
                false => search.begin_anew(),
            }
            read
        } else {
            let count = self.again.len().min(buffer.remaining());
            buffer.put_slice(&self.again.split_to(count));
            Poll::Ready(Ok(()))
        };
        if buffer.filled().len() > before {
            self.activity.received();
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = gather::poll_write(Pin::new(&mut self.stream), cx, slices);
        self.note(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper reads nothing while nobody wants the body, but flushes whenever it looks: whoever is waited for may be gone
        if !self.activity.is_out_of_bodies() && (self.is_reset)(&self.stream, cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        // nobody flushes before all is written: what is left, TLS holds
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.activity.closes();
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.activity.lingers() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    use crate::config::Limits;

    use super::*;

    #[tokio::test]
    async fn bytes_given_back_come_before_those_given_back_earlier_and_none_is_lost() {
        let limits = Limits {
            connections: 1,
            header_bytes: 8192,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
        };
        let activity = Activity::new(Instant::now(), limits, Protocol::Http1);
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b"three").await.unwrap();
        drop(far);
        let near = Noted::new(near, activity).preceded_by(Bytes::from_static(b"one two "));
        let mut near = near.preceded_by(Bytes::from_static(b"zero "));
        let mut all = [0; 18];
        near.read_exact(&mut all).await.unwrap();
        assert_eq!(&all, b"zero one two three");
    }
}
