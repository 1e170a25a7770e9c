//! The request goes on to the upstream, and the answer comes back.
//!
//! **In:** a request, its route, the `Authorization` it is to carry. **Out:** the upstream's answer, streamed.
//! **Never:** buffers a body; leaks token A; passes a hop-by-hop field on.

use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;

use aws_lc_rs::error::Unspecified;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Version;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::uri::PathAndQuery;
use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;

use crate::config::Route;
use crate::config::Scheme;
use crate::config::Upstream;
use crate::domain::caller::Claims;
use crate::domain::peer::Peer;
use crate::domain::websocket::WebSocket;
use crate::net;
use crate::net::BoxError;
use crate::net::budget::Budget;
use crate::net::tls;
use crate::net::tunnel::Tunnel;
use crate::pipeline::forward::limit::TooLong;
use crate::pipeline::forward::traffic::Late;
use crate::pipeline::forward::traffic::Traffic;
use crate::pipeline::forward::tunnel::Terms;
use crate::pipeline::forward::tunnel::WebSocketFar;
use crate::pipeline::forward::upgrade::Handshake;
use crate::telemetry::trace::recording::Outgoing;

mod body;
pub mod capture;
mod failure;
pub mod headers;
pub mod limit;
mod pace;
mod pool;
pub mod retry;
pub mod target;
mod traffic;
pub mod tunnel;
mod upgrade;
pub mod websocket;

pub use headers::can_say;

/// Sends requests on, over pooled connections.
#[derive(Debug)]
pub struct Forwarder {
    pools: pool::Pools,
}

/// What is known of a request that goes on.
#[derive(Clone, Copy, Debug)]
pub struct Onward<'a> {
    /// Its route.
    pub route: &'a Route,
    /// Its path, in canonical form.
    pub path: &'a str,
    /// What the upstream sees in place of token A.
    pub authorization: Authorization<'a>,
    /// What its token says, where that was validated.
    pub caller: Option<&'a Claims>,
    /// Who sent it.
    pub peer: &'a Peer,
    /// How they sent it.
    pub scheme: Scheme,
    /// Its `x-request-id`.
    pub request_id: &'a HeaderValue,
    /// In which trace it goes on; `None` = in that which the caller says, if any.
    pub trace: Option<&'a Outgoing>,
    /// Whether it wants to go on as a WebSocket, and how long that may.
    pub websocket: Option<(WebSocket, &'a Terms)>,
}

/// What the upstream sees in place of the caller's `Authorization`.
#[derive(Clone, Copy, Debug)]
pub enum Authorization<'a> {
    /// This, whatever the caller sent.
    Replace(&'a HeaderValue),
    /// This, which is what the caller sent, unless they said that it was meant for us alone.
    Keep(&'a HeaderValue),
    /// Nothing.
    Remove,
}

/// Why there is no answer to pass on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection: the name is unknown, or the connection was refused.
    #[error("cannot connect to the upstream")]
    Connect(#[source] BoxError),
    /// The TLS handshake failed.
    #[error("the upstream's TLS is not acceptable")]
    Tls(#[source] BoxError),
    /// The connection ended before there was an answer.
    #[error("the upstream ended the connection")]
    Reset(#[source] BoxError),
    /// The answer is no HTTP, or not an answer to what was asked.
    #[error("the upstream's answer is malformed")]
    BadReply(#[source] Option<BoxError>),
    /// Something took too long.
    #[error("the upstream took too long: {0}")]
    Timeout(Phase),
    /// The caller's body broke off, or is malformed.
    #[error("the caller's body is malformed or broke off")]
    RequestBody(#[source] BoxError),
    /// The caller's body does not come, or too slowly.
    #[error("the caller's body does not come in time")]
    SlowCaller,
    /// The caller's body is longer than the route allows.
    #[error("the caller's body is too long")]
    BodyTooLarge(#[source] TooLong),
    /// The route has as many requests on their way as it may.
    #[error("the route has as many requests at a time as it may")]
    Crowded,
    /// No more connections to upstreams may be open.
    #[error("the proxy has as many connections to upstreams as it may, or as many files open")]
    NoRoom,
    /// The URL would be longer than a URL may be.
    #[error("the URL for the upstream is too long")]
    Target(#[source] http::Error),
    /// The upstream speaks HTTP/2 only, in which we ask for no WebSocket.
    #[error("the upstream is not asked for WebSockets: it is spoken to in HTTP/2 only")]
    NoWebSocket,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[source] Unspecified),
    /// The route is none of those the forwarder was made for.
    #[error("the route has no upstream")]
    UnknownRoute,
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Phase {
    /// Connecting.
    #[error("to accept the connection")]
    Connect,
    /// The head of the answer.
    #[error("to answer")]
    Response,
    /// Any byte.
    #[error("to move a byte")]
    Idle,
}

impl Forwarder {
    /// A forwarder for `routes`, with one pool of connections per upstream.
    ///
    /// # Errors
    /// If an upstream's roots or our certificate for it cannot be used.
    pub fn new(routes: &[Arc<Route>]) -> Result<Self, tls::Error> {
        Ok(Self { pools: pool::Pools::new(routes, pool::Bounds::default())? })
    }

    /// A forwarder for `routes` in its place: it keeps the connections to each upstream that did not change and
    /// `is_current`.
    ///
    /// # Errors
    /// If an upstream's roots or our certificate for it cannot be used.
    pub fn succeeding(
        &self,
        routes: &[Arc<Route>],
        is_current: impl Fn(&Upstream) -> bool,
    ) -> Result<Self, tls::Error> {
        Ok(Self { pools: self.pools.succeeding(routes, pool::Bounds::default(), is_current)? })
    }

    /// One like it for another runtime, which keeps what connections `before` has to the same upstreams there.
    pub fn beside(&self, before: Option<&Self>) -> Self {
        Self { pools: self.pools.beside(before.map(|before| &before.pools)) }
    }

    /// How many connections there may be to upstreams, over all runtimes.
    pub fn budget(&self) -> &Budget {
        self.pools.budget()
    }

    /// Sends `request` on and waits for the head of the answer. Both bodies are streamed.
    ///
    /// # Errors
    /// If there is no answer that could be passed on.
    pub async fn send<B>(&self, request: Request<B>, onward: Onward<'_>) -> Result<Response<net::Body>, Error>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let pool = self.pools.of(onward.route).ok_or(Error::UnknownRoute)?;
        let traffic = Traffic::new(onward.route.timeouts);
        let request = rewritten(request, &onward, &traffic)?;
        match onward.websocket {
            // rare, and large
            Some((websocket, terms)) if pool.takes_upgrades() => {
                Box::pin(upgraded(pool, request, websocket, terms, traffic)).await
            }
            Some((WebSocket::ExtendedConnect, _)) => Err(Error::NoWebSocket),
            Some((WebSocket::Upgrade, _)) | None => {
                passed_on(answered(pin!(pool.request(request)), &traffic).await?, traffic)
            }
        }
    }
}

/// What the caller gets for an answer.
fn passed_on(answer: Response<pool::Answer>, traffic: Arc<Traffic>) -> Result<Response<net::Body>, Error> {
    let (mut head, mut body) = answer.into_parts();
    // an upstream that switches protocols here answers what nobody asked
    if head.status == StatusCode::SWITCHING_PROTOCOLS || !headers::is_plainly_framed(&head.headers) {
        return Err(Error::BadReply(None));
    }
    body.accept();
    headers::rewrite_response(&mut head.headers);
    head.version = Version::HTTP_11;
    Ok(Response::from_parts(head, body::Download::new(body, traffic).boxed_unsync()))
}

/// The answer to a request for a WebSocket. Where the upstream agrees it has a [`Tunnel`] among its extensions.
async fn upgraded(
    pool: &pool::Pool,
    mut request: Request<net::Body>,
    websocket: WebSocket,
    terms: &Terms,
    traffic: Arc<Traffic>,
) -> Result<Response<net::Body>, Error> {
    let handshake = Handshake::ask(request.headers_mut(), websocket).map_err(Error::Random)?;
    let asking = async {
        let mut answer = pool.upgrade(request).await?;
        let is_agreed =
            answer.status() == StatusCode::SWITCHING_PROTOCOLS && handshake.is_met(answer.headers());
        let stream = match is_agreed {
            true => Some(hyper::upgrade::on(&mut answer).await.map_err(failure::unanswered)?),
            false => None,
        };
        Ok((answer, stream))
    };
    let (answer, stream) = answered(pin!(asking), &traffic).await?;
    let Some(stream) = stream else {
        // to CONNECT, success says that there is a tunnel (RFC 9110 section 9.3.6)
        let is_misleading = websocket == WebSocket::ExtendedConnect && answer.status().is_success();
        return if is_misleading { Err(Error::BadReply(None)) } else { passed_on(answer, traffic) };
    };
    let (mut head, _) = answer.into_parts();
    headers::rewrite_response(&mut head.headers);
    head.version = Version::HTTP_11;
    handshake.tell(&mut head);
    head.extensions.insert(Tunnel::new(WebSocketFar::new(TokioIo::new(stream), terms.clone())));
    let nothing = Empty::new().map_err(|never| match never {});
    Ok(Response::from_parts(head, nothing.boxed_unsync()))
}

impl Error {
    /// The caller's body could not be read to its end, for that reason.
    fn of_body(breakage: BoxError) -> Self {
        match breakage.downcast() {
            Ok(too_long) => Self::BodyTooLarge(*too_long),
            Err(breakage) => Self::RequestBody(breakage),
        }
    }
}

fn rewritten<B>(
    request: Request<B>,
    onward: &Onward<'_>,
    traffic: &Arc<Traffic>,
) -> Result<Request<net::Body>, Error>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    let Rewritten { method, target, headers: mut fields } = preview(head, onward)?;
    let is_of_unknown_length = !body.is_end_stream() && body.size_hint().exact().is_none();
    if is_of_unknown_length {
        // in HTTP/2 one may be stated whose end has not come
        fields.remove(CONTENT_LENGTH);
        if matches!(method, Method::GET | Method::HEAD) {
            headers::frame_chunked(&mut fields);
        }
    }
    let upload = body::Upload::new(body, Arc::clone(traffic), &onward.route.treatment);
    let mut request = Request::new(upload.boxed_unsync());
    *request.method_mut() = method;
    *request.uri_mut() = target.into();
    *request.headers_mut() = fields;
    Ok(request)
}

/// The head of a request as its upstream gets it.
#[derive(Debug)]
pub struct Rewritten {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub target: PathAndQuery,
    /// Its fields.
    pub headers: HeaderMap,
}

/// What becomes of the head of a request that goes on, but for what depends on its body. Pure.
///
/// # Errors
/// If the URL would be longer than a URL may be.
pub fn preview(head: Parts, onward: &Onward<'_>) -> Result<Rewritten, Error> {
    let route = onward.route;
    let target = target::target(&route.upstream, &route.rewrite, onward.path, &head.uri);
    let mut headers = head.headers;
    headers::rewrite_request(&mut headers, onward);
    Ok(Rewritten { method: head.method, target: target.map_err(Error::Target)?, headers })
}

/// The answer, or what kept it.
async fn answered<T>(
    mut response: Pin<&mut impl Future<Output = Result<T, Error>>>,
    traffic: &Traffic,
) -> Result<T, Error> {
    let alarm = tokio::time::sleep_until(traffic.first_look());
    tokio::pin!(alarm);
    loop {
        tokio::select! {
            biased;
            answer = response.as_mut() => {
                // a broken body breaks the connection to the upstream too: the caller's fault comes first
                return answer.map_err(|error| traffic.breakage().map_or(error, Error::of_body));
            }
            () = alarm.as_mut() => match traffic.next_look() {
                Ok(next) => alarm.as_mut().reset(next),
                Err(Late::Answer) => return Err(Error::Timeout(Phase::Response)),
                Err(Late::Upstream) => return Err(Error::Timeout(Phase::Idle)),
                Err(Late::Caller) => return Err(Error::SlowCaller),
            },
        }
    }
}

#[cfg(test)]
mod tests;
