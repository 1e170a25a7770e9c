//! What a route's requests may take: how long their bodies are, and how many go on at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
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

use crate::config::Route;
use crate::net;
use crate::net::BoxError;
use crate::net::tunnel::Duplex;
use crate::net::tunnel::Far;
use crate::net::tunnel::Tunnel;
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
pub struct Turnstiles(Vec<Turnstile>);

/// That of one route.
#[derive(Debug)]
struct Turnstile {
    route: Arc<Route>,
    /// How many places there are.
    most: usize,
    taken: Arc<AtomicUsize>,
}

/// A request's place among those of its route.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turnstiles {
    /// Those of the `routes` that have a limit.
    pub fn new(routes: &[Arc<Route>]) -> Self {
        Self(Vec::new()).succeeding(routes)
    }

    /// The same for other routes. Where a limited route of the same name was before, its requests still count.
    pub fn succeeding(&self, routes: &[Arc<Route>]) -> Self {
        let one = |route: &Arc<Route>| {
            let most = route.treatment.limits.concurrency?;
            let before = self.0.iter().find(|before| before.route.name == route.name);
            let taken = before.map(|before| Arc::clone(&before.taken)).unwrap_or_default();
            Some(Turnstile { route: Arc::clone(route), most, taken })
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
        let known = self.0.iter().find(|known| std::ptr::eq(&*known.route, route));
        let Turnstile { most, taken, .. } = known.ok_or(Error::UnknownRoute)?;
        let one_more = |taken: usize| (taken < *most).then_some(taken + 1);
        match taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Some(Place(Arc::clone(taken)))),
            Err(_) => Err(Error::Crowded),
        }
    }
}

impl Place {
    /// `response`, whose body keeps the place until it has ended or is dropped; so does a WebSocket it begins.
    pub fn kept_by(self, mut response: Response<net::Body>) -> Response<net::Body> {
        if let Some(tunnel) = response.extensions_mut().remove::<Tunnel>() {
            response.extensions_mut().insert(Tunnel::new(KeepingFar { tunnel, place: self }));
            return response;
        }
        response.map(|body| match body.is_end_stream() {
            true => body,
            false => Keeping { body, place: Some(self) }.boxed_unsync(),
        })
    }
}

/// The far end of a tunnel that keeps a place until its end.
struct KeepingFar {
    tunnel: Tunnel,
    place: Place,
}

impl Far for KeepingFar {
    fn join(
        self: Box<Self>,
        near: Box<dyn Duplex>,
        leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Self { tunnel, place } = *self;
        Box::pin(async move {
            let _kept = place;
            if let Some(joined) = tunnel.join(near, leaving) {
                joined.await;
            }
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
