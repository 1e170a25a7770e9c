//! The two bodies of an exchange, streamed, and the traffic they note.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;
use tokio::time::Instant;
use tokio::time::Sleep;

use crate::config::FieldRules;
use crate::config::Treatment;
use crate::net::BoxError;
use crate::pipeline::forward::headers;
use crate::pipeline::forward::limit::TooLong;
use crate::pipeline::forward::pool::Answer;
use crate::pipeline::forward::traffic::Traffic;

/// Why a body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// The caller's body broke, or is too long; what broke it is in the traffic.
    #[error("the caller's body broke off")]
    Caller,
    /// The caller's body comes too slowly.
    #[error("the caller's body comes too slowly")]
    SlowCaller,
    /// No byte moved for too long.
    #[error("no byte moved for too long")]
    Idle,
}

/// The caller's body on its way up.
#[derive(Debug)]
pub struct Upload<B> {
    body: B,
    traffic: Arc<Traffic>,
    /// How many bytes may come, and how many of them have not yet.
    limit: Option<(u64, u64)>,
    rules: Option<Arc<FieldRules>>,
}

impl<B: Body> Upload<B> {
    /// `body`, noted in `traffic` and treated as its route says.
    pub fn new(body: B, traffic: Arc<Traffic>, treatment: &Treatment) -> Self {
        if body.is_end_stream() {
            traffic.has_nothing_to_upload();
        } else if body.size_hint().exact().is_some() {
            traffic.expects_pace();
        }
        let limit = treatment.limits.request_body.map(|most| (most, most));
        Self { body, traffic, limit, rules: treatment.headers.clone() }
    }
}

impl<B> Upload<B> {
    /// Whether the body is still within its bounds after so many bytes more.
    fn grows(&mut self, by: usize) -> Result<(), TooLong> {
        let Some((most, left)) = &mut self.limit else { return Ok(()) };
        let by = u64::try_from(by).unwrap_or(u64::MAX);
        *left = left.checked_sub(by).ok_or(TooLong(*most))?;
        Ok(())
    }
}

impl<B> Drop for Upload<B> {
    fn drop(&mut self) {
        self.traffic.uploaded();
    }
}

impl<B> Body for Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending() {
            self.traffic.awaits_caller();
        }
        match ready!(polled) {
            None => {
                self.traffic.uploaded();
                Poll::Ready(None)
            }
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.traffic.came(length);
                if let Err(error) = self.grows(length) {
                    self.traffic.broke(error.into());
                    return Poll::Ready(Some(Err(Cut::Caller.into())));
                }
                if self.body.is_end_stream() {
                    self.traffic.uploaded();
                }
                let rules = self.rules.as_deref();
                Poll::Ready(Some(Ok(passed_on(frame, |it| headers::rewrite_request_trailers(it, rules)))))
            }
            Some(Err(error)) => {
                self.traffic.broke(error.into());
                Poll::Ready(Some(Err(Cut::Caller.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The upstream's body on its way down. Ends with [`Cut::Idle`] when no byte has moved either way for too long.
#[derive(Debug)]
pub struct Download {
    body: Answer,
    traffic: Arc<Traffic>,
    /// Made when the body is first waited for: most answers are there at once.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Download {
    /// `body`, noted in `traffic`.
    pub fn new(body: Answer, traffic: Arc<Traffic>) -> Self {
        Self { body, traffic, alarm: None }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Cut> {
        let traffic = &self.traffic;
        let alarm =
            self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(traffic.next_look_at_body())));
        loop {
            ready!(alarm.as_mut().poll(cx));
            match traffic.late_body(Instant::now()) {
                Some(cut) => return Poll::Ready(cut),
                None => alarm.as_mut().reset(traffic.next_look_at_body()),
            }
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.traffic.moved();
                Poll::Ready(Some(Ok(passed_on(frame, headers::rewrite_trailers))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.poll_idle(cx).map(|cut| Some(Err(cut.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn passed_on(frame: Frame<Bytes>, rewrite: impl FnOnce(&mut HeaderMap)) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            rewrite(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}
