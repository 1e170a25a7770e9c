//! HTTP/1 on one connection. While it rests it is a socket and little else: hyper, whose buffers are some 20 KiB, comes
//! with the first byte of a request and goes when the answer is out.

use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::Limits;
use crate::net::BoxError;
use crate::pipeline::accept::activity::Activity;
use crate::pipeline::accept::activity::Noted;

/// More fields than this in one head are answered 431.
const MAX_HEADERS: usize = 128;
/// hyper wants no less.
const SMALLEST_BUFFER: usize = 8192;

/// Answers the requests of one connection, one after the other. As a future: until either side ends it.
pub struct Http1<S: HttpService<Incoming>> {
    limits: Limits,
    activity: Arc<Activity>,
    state: State<S>,
}

enum State<S: HttpService<Incoming>> {
    /// Nothing of a request has come.
    Resting(Noted<TcpStream>, S),
    /// Something has, and its answer is not out.
    Busy(Box<http1::Connection<TokioIo<Noted<TcpStream>>, S>>),
    /// No more.
    Ended,
}

impl<S, B> Http1<S>
where
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    /// Of a connection whose first bytes have come. What is sent on it is noted in `activity`.
    pub fn new(stream: TcpStream, service: S, limits: Limits, activity: Arc<Activity>) -> Self {
        let stream = Noted::new(stream, Arc::clone(&activity));
        Self { limits, activity, state: busy(limits, stream, service) }
    }

    /// Finishes the request under way and takes nothing new.
    pub fn finish(&mut self) {
        self.wake();
        if let State::Busy(connection) = &mut self.state {
            Pin::new(connection.as_mut()).graceful_shutdown();
        }
    }

    fn wake(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Ended) {
            State::Resting(stream, service) => busy(self.limits, stream, service),
            state => state,
        };
    }

    /// Only for a connection hyper is done with.
    fn rest(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Ended) {
            State::Busy(connection) => {
                let http1::Parts { io, read_buf, service, .. } = connection.into_parts();
                let stream = io.into_inner();
                if read_buf.is_empty() {
                    State::Resting(stream, service)
                } else {
                    busy(self.limits, stream.preceded_by(read_buf), service)
                }
            }
            state => state,
        };
    }
}

fn busy<S, B>(limits: Limits, stream: Noted<TcpStream>, service: S) -> State<S>
where
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let connection = http1::Builder::new()
        // the watchdog keeps all deadlines, also the one before the first byte, which hyper has none for
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(SMALLEST_BUFFER))
        .max_headers(MAX_HEADERS)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    State::Busy(Box::new(connection))
}

impl<S, B> Future for Http1<S>
where
    S: HttpService<Incoming, ResBody = B, Error = Infallible> + Unpin,
    S::Future: Unpin,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Resting(stream, _) => {
                    ready!(stream.poll_readable(cx));
                    this.wake();
                }
                State::Busy(connection) => {
                    if let Poll::Ready(ended) = Pin::new(connection.as_mut()).poll(cx) {
                        return Poll::Ready(ended);
                    }
                    if !this.activity.is_between_requests() {
                        return Poll::Pending;
                    }
                    // hyper has the last word: it ends here at once if it too sees no request under way
                    Pin::new(connection.as_mut()).graceful_shutdown();
                    ready!(connection.poll_without_shutdown(cx))?;
                    this.rest();
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}
