//! What a route's requests may take: how long their bodies are, and how many go on at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use bytes::Bytes;
use http::HeaderMap;
use http::Response;
use http::header;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::config::Route;
use crate::net;
use crate::net::BoxError;
use crate::pipeline::forward::Error;

/// A body is longer than its route allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request body is longer than {0} bytes")]
pub struct TooLong(pub u64);

/// Refuses a request whose head says that its body is longer than `route` allows.
///
/// # Errors
/// [`Error::BodyTooLarge`].
pub fn check_length(route: &Route, headers: &HeaderMap) -> Result<(), Error> {
    let Some(most) = route.treatment.limits.request_body else { return Ok(()) };
    let stated = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match stated {
        Some(length) if most < length => Err(Error::BodyTooLarge(TooLong(most))),
        _ => Ok(()),
    }
}

/// How many requests of each route go on at a time. All workers share it.
#[derive(Debug)]
pub struct Turnstiles(Vec<(Arc<Route>, Arc<Semaphore>)>);

/// A request's place among those of its route.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Turnstiles {
    /// Those of the `routes` that have a limit.
    pub fn new(routes: &[Arc<Route>]) -> Self {
        let one = |route: &Arc<Route>| {
            let most = route.treatment.limits.concurrency?;
            Some((Arc::clone(route), Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))))
        };
        Self(routes.iter().filter_map(one).collect())
    }

    /// A place for one more request of `route`; `None` if the route has no limit.
    ///
    /// # Errors
    /// [`Error::Crowded`] if there is none.
    pub fn enter(&self, route: &Route) -> Result<Option<Place>, Error> {
        if route.treatment.limits.concurrency.is_none() {
            return Ok(None);
        }
        let places = self.0.iter().find(|(known, _)| std::ptr::eq(&**known, route)).map(|(_, places)| places);
        let permit = Arc::clone(places.ok_or(Error::UnknownRoute)?).try_acquire_owned();
        permit.map(|permit| Some(Place { _permit: permit })).map_err(|_| Error::Crowded)
    }
}

impl Place {
    /// `response`, whose body keeps the place until it has ended or is dropped.
    pub fn kept_by(self, response: Response<net::Body>) -> Response<net::Body> {
        response.map(|body| match body.is_end_stream() {
            true => body,
            false => Keeping { body, place: Some(self) }.boxed_unsync(),
        })
    }
}

/// A body that keeps a place until its end.
struct Keeping {
    body: net::Body,
    place: Option<Place>,
}

impl Body for Keeping {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.place = None;
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
