//! One direction of a WebSocket.

use std::io;
use std::mem;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use crate::pipeline::forward::websocket::Frames;

/// Most that is read at a time, and so most that is held of one direction.
const MOST: usize = 16 * 1024;
/// How often one direction is served before others get their turn.
const TURNS: usize = 16;

/// Bytes from one side to the other. Holds none while there are none.
#[derive(Debug, Default)]
pub struct Flow {
    stage: Stage,
    frames: Frames,
    /// What was read and is not written: nothing more is read before.
    unwritten: Vec<u8>,
    /// Since when the receiver has taken nothing of that.
    stalled: Option<Instant>,
    /// The frame that ends this direction, once it is to end.
    farewell: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Bytes pass.
    #[default]
    Passing,
    /// No more do: the receiver is told.
    Closing,
    /// Whatever the sender still sends is read for nobody: closed with bytes unread, the kernel would send a reset, which
    /// can overtake what was written.
    Lingering,
    /// The sender is done too.
    Over,
}

impl Flow {
    /// Ends it after the frame under way, with `farewell` if it has not been closed by then.
    pub fn end(&mut self, farewell: Vec<u8>) {
        self.farewell = Some(farewell);
    }

    /// Since when the receiver has taken nothing of what there is for it, if it is so.
    pub fn stalled(&self) -> Option<Instant> {
        self.stalled
    }

    /// Moves what can be moved, and notes in `moved` that something was. Ready when it is over.
    ///
    /// # Errors
    /// If the sender's side broke. Where the receiver's did, it is over: what comes from there tells the rest.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin + ?Sized),
        to: &mut (impl AsyncWrite + Unpin + ?Sized),
        moved: &mut bool,
    ) -> Poll<io::Result<()>> {
        for _ in 0..TURNS {
            match self.stage {
                Stage::Over => return Poll::Ready(Ok(())),
                _ if !self.unwritten.is_empty() => {
                    let unwritten = mem::take(&mut self.unwritten);
                    *moved |= self.write(cx, to, &unwritten);
                    if !self.unwritten.is_empty() {
                        return Poll::Pending;
                    }
                }
                Stage::Passing if self.farewell.is_some() && self.frames.is_between() => {
                    if !self.frames.is_closed() {
                        self.unwritten = self.farewell.clone().unwrap_or_default();
                    }
                    self.stage = Stage::Closing;
                }
                Stage::Passing => {
                    let Poll::Ready(read) = self.poll_pass(cx, from, to) else {
                        // what a TLS session holds back does not go by itself
                        if ready!(Pin::new(&mut *to).poll_flush(cx)).is_err() {
                            self.stage = Stage::Over;
                        }
                        return Poll::Pending;
                    };
                    match read? {
                        0 => self.stage = Stage::Closing,
                        _ => *moved = true,
                    }
                }
                Stage::Closing => {
                    let is_closed = ready!(Pin::new(&mut *to).poll_shutdown(cx)).is_ok();
                    let lingers = is_closed && self.farewell.is_some();
                    self.stage = if lingers { Stage::Lingering } else { Stage::Over };
                }
                Stage::Lingering => {
                    let mut nowhere = [MaybeUninit::uninit(); MOST];
                    let mut nowhere = ReadBuf::uninit(&mut nowhere);
                    ready!(Pin::new(&mut *from).poll_read(cx, &mut nowhere))?;
                    if nowhere.filled().is_empty() {
                        self.stage = Stage::Over;
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, and writes as much of that as goes. How much was read.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin + ?Sized),
        to: &mut (impl AsyncWrite + Unpin + ?Sized),
    ) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); MOST];
        let mut space = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut *from).poll_read(cx, &mut space))?;
        let mut bytes = space.filled();
        let read = bytes.len();
        if self.farewell.is_some() {
            let frame = self.frames.follow_one(bytes);
            bytes = bytes.get(..frame).unwrap_or_default();
        } else {
            self.frames.follow(bytes);
        }
        self.write(cx, to, bytes);
        Poll::Ready(Ok(read))
    }

    /// Writes what goes of `bytes` and keeps the rest. Whether any went.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin + ?Sized),
        bytes: &[u8],
    ) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, rest) {
                Poll::Ready(Ok(count)) if count > 0 => rest = rest.get(count..).unwrap_or_default(),
                Poll::Ready(_) => {
                    self.stage = Stage::Over;
                    break;
                }
                Poll::Pending => {
                    self.unwritten = rest.to_vec();
                    break;
                }
            }
        }
        let went = rest.len() < bytes.len();
        if went {
            self.stalled = None;
        }
        if !self.unwritten.is_empty() {
            self.stalled.get_or_insert_with(Instant::now);
        }
        went
    }
}
