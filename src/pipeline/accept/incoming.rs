//! The body of a request, and whether all of it was read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Bytes;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;

use crate::net::BoxError;
use crate::pipeline::accept::activity::Activity;

/// A body whose end is none: hyper takes whatever comes between the last chunk and an empty line for trailers, of which it
/// then finds none (RFC 9112 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what follows the last chunk is neither an end nor a trailer")]
struct NoTrailers;

/// The body of a request. That it was read to its end is noted: only what follows can be the next request.
#[derive(Debug)]
pub struct Incoming {
    body: hyper::body::Incoming,
    /// Until its end is seen.
    unread: Option<Arc<Activity>>,
}

impl Incoming {
    /// The body of the request that `activity` was just told of.
    pub(super) fn new(body: hyper::body::Incoming, activity: &Arc<Activity>) -> Self {
        let unread = (!body.is_end_stream()).then(|| {
            activity.began_body();
            Arc::clone(activity)
        });
        Self { body, unread }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let trailers = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref());
        if let (Some(trailers), Some(activity)) = (trailers, &self.unread) {
            activity.read_trailers();
            if trailers.is_empty() {
                return Poll::Ready(Some(Err(NoTrailers.into())));
            }
        }
        let is_over = match &frame {
            None => true,
            Some(Ok(_)) => self.body.is_end_stream(),
            // where the request ends is not known
            Some(Err(_)) => false,
        };
        if is_over && let Some(activity) = self.unread.take() {
            activity.ended_body();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
