//! The body of an answer, and the connection it comes over.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Bytes;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;
use hyper::body::Incoming;

use crate::pipeline::forward::pool::Pool;
use crate::pipeline::forward::pool::connection::Http1;
use crate::pipeline::forward::pool::connection::Stake;

/// The body of an answer. An HTTP/1.1 connection goes back to its pool when the body has ended, and is closed when
/// the body is dropped before.
#[derive(Debug)]
pub struct Answer {
    body: Incoming,
    holds: Option<Holds>,
}

/// What the body keeps while it comes.
#[derive(Debug)]
pub enum Holds {
    /// A whole connection, and where it goes afterwards.
    Connection(Http1, Arc<Pool>),
    /// A part in a connection.
    Stake(Stake),
}

impl Answer {
    /// `body`, which comes over what it `holds`.
    pub fn new(body: Incoming, holds: Holds) -> Self {
        Self { body, holds: Some(holds) }
    }

    /// `body`, which comes over a connection that nobody uses again.
    pub fn of_its_own(body: Incoming) -> Self {
        Self { body, holds: None }
    }

    /// The head of this answer is fine: what it holds may be used again as soon as it can. Without this a body that
    /// is empty, and so is never read, would have its connection closed.
    pub fn accept(&mut self) {
        let has_come = matches!(&self.holds, Some(Holds::Connection(connection, _)) if connection.is_ready());
        if has_come || self.body.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        match self.holds.take() {
            Some(Holds::Connection(connection, pool)) if connection.is_ready() => pool.rest(connection),
            // its request is still being sent, or its task has yet to see the end
            Some(Holds::Connection(mut connection, pool)) if !connection.is_closed() => {
                tokio::spawn(async move {
                    if connection.ready().await.is_ok() {
                        pool.rest(connection);
                    }
                });
            }
            Some(Holds::Connection(..)) | None => {}
            Some(Holds::Stake(stake)) => drop(stake),
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            Some(Err(_)) => self.holds = None,
            // who sends a body on may stop at its last frame
            None | Some(Ok(_)) => self.release(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
