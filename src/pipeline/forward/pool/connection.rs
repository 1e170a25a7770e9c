//! A connection to an upstream, in either version of HTTP, and why it may leave a request without an answer.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use http::Request;
use http::Response;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::time::Instant;

use crate::net;
use crate::net::causes;
use crate::net::dialer::Received;
use crate::net::dialer::Stream;

/// How often a busy HTTP/2 connection is asked whether its peer is still there, and how long it may think about it.
const PING: Duration = Duration::from_secs(20);
/// How much of an answer, and of all answers on a connection, an upstream may send in HTTP/2 before it is taken. What the
/// callers of one connection leave unread must not keep the others' answers back: it takes 64 of them to do so.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// Most of a request's body that is held for an HTTP/2 upstream that does not take it.
const SEND_BUFFER: usize = 64 * 1024;
/// Longest response head.
const MAX_HEAD: usize = 64 * 1024;

/// Why a request got no answer.
#[derive(Debug)]
pub enum Failure {
    /// Nothing of it was sent: here it is again.
    Unsent(Box<Request<net::Body>>, hyper::Error),
    /// The connection ended, or the upstream was to end it, before a byte of an answer.
    Lost(hyper::Error),
    /// Anything else.
    Other(hyper::Error),
}

impl Failure {
    fn new(mut error: TrySendError<Request<net::Body>>, is_lost: impl Fn(&hyper::Error) -> bool) -> Self {
        match error.take_message() {
            Some(request) => Self::Unsent(Box::new(request), error.into_error()),
            None if is_lost(error.error()) => Self::Lost(error.into_error()),
            None => Self::Other(error.into_error()),
        }
    }
}

/// An HTTP/1.1 connection: one request at a time. Closed when dropped.
#[derive(Debug)]
pub struct Http1 {
    sender: http1::SendRequest<net::Body>,
    received: Received,
}

impl Http1 {
    /// Begins to speak HTTP/1.1 over `stream`.
    ///
    /// # Errors
    /// If the client cannot be set up.
    pub async fn over(stream: Stream) -> Result<Self, hyper::Error> {
        let received = stream.received();
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        // how it ends is told to the request it carries
        tokio::spawn(async { drop(connection.await) });
        Ok(Self { sender, received })
    }

    /// Whether it waits for a request: the answer before is read, its request is sent, and it is open.
    pub fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// If it is closed instead.
    pub async fn ready(&mut self) -> Result<(), hyper::Error> {
        self.sender.ready().await
    }

    /// Sends `request`, which is in the origin form.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send(&mut self, request: Request<net::Body>) -> Result<Response<Incoming>, Failure> {
        let before = self.received.bytes();
        let sent = self.sender.try_send_request(request).await;
        sent.map_err(|error| {
            Failure::new(error, |error| {
                let broke = error.is_incomplete_message() || error.is_canceled() || is_io(error);
                broke && self.received.bytes() == before
            })
        })
    }
}

/// Sends `request`, which asks for another protocol and is in the origin form, over `stream`, which carries no other. A
/// 101 holds the stream (`hyper::upgrade`).
///
/// # Errors
/// If there is no answer.
pub async fn ask_for_upgrade(
    stream: Stream,
    request: Request<net::Body>,
) -> Result<Response<Incoming>, hyper::Error> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // how it ends is told to the request it carries
    tokio::spawn(async { drop(connection.with_upgrades().await) });
    sender.send_request(request).await
}

/// An HTTP/2 connection: many requests at a time. Closed when it was dropped and its answers have ended.
#[derive(Debug)]
pub struct Http2 {
    sender: http2::SendRequest<net::Body>,
    last_used: Mutex<Instant>,
}

impl Http2 {
    /// Begins to speak HTTP/2 over `stream`.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn over(stream: Stream) -> Result<Arc<Self>, hyper::Error> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        // how it ends is told to the requests it carries
        tokio::spawn(async { drop(connection.await) });
        Ok(Arc::new(Self { sender, last_used: Mutex::new(Instant::now()) }))
    }

    /// Whether it was closed, or takes no more requests.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// When the last answer ended.
    pub fn last_used(&self) -> Instant {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One use of an HTTP/2 connection, until its answer has ended.
#[derive(Debug)]
pub struct Stake(Arc<Http2>);

impl Stake {
    /// In `connection`.
    pub fn new(connection: Arc<Http2>) -> Self {
        Self(connection)
    }

    /// The connection.
    pub fn connection(&self) -> &Arc<Http2> {
        &self.0
    }

    /// Sends `request`, which has an authority.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send(&self, request: Request<net::Body>) -> Result<Response<Incoming>, Failure> {
        let sent = self.0.sender.clone().try_send_request(request).await;
        sent.map_err(|error| {
            Failure::new(error, |error| error.is_canceled() || is_io(error) || is_refused(error))
        })
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        *self.0.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

fn is_io(error: &hyper::Error) -> bool {
    causes(error).any(|cause| cause.is::<io::Error>())
}

/// Whether the upstream says that it did not and will not look at the request (RFC 9113 section 8.7), or does not
/// even answer a ping.
fn is_refused(error: &hyper::Error) -> bool {
    let is_said = causes(error).filter_map(|cause| cause.downcast_ref::<h2::Error>()).any(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    });
    is_said || error.is_timeout()
}
