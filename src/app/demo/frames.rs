//! A response body whose every frame is a write of its own: for answers that drip, break off or have trailers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body::Frame;
use tokio::time::Sleep;

use crate::net::BoxError;

/// Frames that are known beforehand, each sent after a pause.
pub struct Frames {
    frames: VecDeque<Result<Frame<Bytes>, BoxError>>,
    pause: Duration,
    pausing: Option<Pin<Box<Sleep>>>,
}

impl Frames {
    /// `frames`, with `pause` before each of them. An error among them breaks the connection off.
    pub fn new(frames: impl IntoIterator<Item = Result<Frame<Bytes>, BoxError>>, pause: Duration) -> Self {
        // a millisecond at least: only a frame that is not ready makes hyper flush the one before
        let pause = pause.max(Duration::from_millis(1));
        Self { frames: frames.into_iter().collect(), pause, pausing: None }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.frames.is_empty() {
            return Poll::Ready(None);
        }
        let pausing = this.pausing.get_or_insert_with(|| Box::pin(tokio::time::sleep(this.pause)));
        std::task::ready!(pausing.as_mut().poll(context));
        this.pausing = None;
        Poll::Ready(this.frames.pop_front())
    }
}
