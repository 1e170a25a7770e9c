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

use crate::pipeline::accept::activity::Activity;

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
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let is_over = match &frame {
            None => true,
            Some(Ok(_)) => self.body.is_end_stream(),
            // where the request ends is not known
            Some(Err(_)) => false,
        };
        if is_over && let Some(activity) = self.unread.take() {
            activity.ended_body();
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
