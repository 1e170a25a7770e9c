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
use crate::pipeline::accept::activity::Protocol;

/// A body whose end is none: hyper takes whatever comes between the last chunk and an empty line for trailers, of which it
/// then finds none (RFC 9112 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what follows the last chunk is neither an end nor a trailer")]
struct NoTrailers;

/// The body of a request. That it was read to its end is noted: only what follows can be the next request.
///
/// In HTTP/2 a request ends apart from its content, and more may come than its `Content-Length` says: then it is
/// malformed (RFC 9113 section 8.1.1). In HTTP/1.1 it would be whole with the last byte of that length, so this byte is
/// not shown before the end is seen.
#[derive(Debug)]
pub struct Incoming {
    body: hyper::body::Incoming,
    /// Until its end is seen.
    unread: Option<Arc<Activity>>,
    /// The last of the content, until its end is seen.
    held: Option<Bytes>,
    /// What showed the end, if it is more than that.
    trailers: Option<Frame<Bytes>>,
}

impl Incoming {
    /// The body of the request that `activity` was just told of.
    pub(super) fn new(body: hyper::body::Incoming, activity: &Arc<Activity>) -> Self {
        let unread = (!body.is_end_stream()).then(|| {
            activity.began_body();
            Arc::clone(activity)
        });
        Self { body, unread, held: None, trailers: None }
    }

    fn poll_noted(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let trailers = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref());
        if let (Some(trailers), Some(activity)) = (trailers, &self.unread) {
            activity.read_trailers();
            if trailers.is_empty() && activity.protocol() == Protocol::Http1 {
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

    /// Whether all the content has come that there may be, and the end has not.
    fn is_unproven(&self) -> bool {
        self.body.size_hint().exact() == Some(0) && !self.body.is_end_stream()
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(trailers) = this.trailers.take_if(|_| this.held.is_none()) {
            return Poll::Ready(Some(Ok(trailers)));
        }
        loop {
            let frame = ready!(this.poll_noted(cx));
            let content = match frame {
                None => return Poll::Ready(this.held.take().map(|held| Ok(Frame::data(held)))),
                Some(Err(error)) => {
                    this.held = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(content) => content,
                    Err(trailers) => {
                        let Some(held) = this.held.take() else { return Poll::Ready(Some(Ok(trailers))) };
                        this.trailers = Some(trailers);
                        return Poll::Ready(Some(Ok(Frame::data(held))));
                    }
                },
            };
            // beside what is held, only nothing can come
            let content = this.held.take().unwrap_or(content);
            if !this.is_unproven() {
                return Poll::Ready(Some(Ok(Frame::data(content))));
            }
            this.held = Some(content);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.trailers.is_none() && self.body.is_end_stream()
    }

    /// Before the end of a content of no length is seen, nothing is promised: its length alone would be a whole request.
    fn size_hint(&self) -> SizeHint {
        match (&self.held, self.is_unproven()) {
            (Some(held), _) => SizeHint::with_exact(u64::try_from(held.len()).unwrap_or(u64::MAX)),
            (None, true) => SizeHint::default(),
            (None, false) => self.body.size_hint(),
        }
    }
}
