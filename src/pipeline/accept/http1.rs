//! HTTP/1 on one connection. While it rests it is a socket (or TLS on one) and little else: hyper, whose buffers are some 20 KiB, comes
//! with the first byte of a request and goes a moment after the answer. The next request of a busy connection comes before
//! that, and finds it there.

use std::convert::Infallible;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use tokio::time::Sleep;

use crate::config::Limits;
use crate::net::BoxError;
use crate::pipeline::accept::activity::Activity;
use crate::pipeline::accept::activity::Pending;
use crate::pipeline::accept::noted::Noted;
use crate::pipeline::accept::stream::Stream;

/// More fields than this in one head are answered 431.
const MAX_HEADERS: usize = 128;
/// hyper wants no less.
const SMALLEST_BUFFER: usize = 8192;
/// How long a connection rests before it is reduced to a socket. Longer than a busy caller pauses: to make hyper's part
/// anew costs some 5 % of a request.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers the requests of one connection, one after the other. As a future: until either side ends it.
pub struct Http1<I: Stream, S: HttpService<Incoming>> {
    limits: Limits,
    activity: Arc<Activity>,
    state: State<I, S>,
    /// When to see whether it rests. Not moved by each request, but made again when it rings too early.
    alarm: Option<Pin<Box<Sleep>>>,
}

enum State<I: Stream, S: HttpService<Incoming>> {
    /// Nothing of a request has come.
    Resting(Noted<I>, S),
    /// Something has, and its answer is not out.
    Busy(Box<http1::Connection<TokioIo<Noted<I>>, S>>),
    /// Its last answer announced another protocol.
    Tunnelled(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// Its last answer is out.
    Closing(Noted<I>),
    /// No more.
    Ended,
}

impl<I, S, B> Http1<I, S>
where
    I: Stream,
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    /// Of a connection whose first bytes have come. What is sent on it is noted in `activity`.
    pub fn new(stream: I, service: S, limits: Limits, activity: Arc<Activity>) -> Self {
        let stream = Noted::new(stream, Arc::clone(&activity)).noticing_resets();
        Self { limits, activity, state: busy(limits, stream, service), alarm: None }
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

    /// Ready once the connection, which is between two requests, has been so for long enough.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let until = || self.activity.since() + PAUSE;
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until())));
            ready!(alarm.as_mut().poll(cx));
            self.alarm = None;
            if until() <= Instant::now() {
                return Poll::Ready(());
            }
        }
    }

    /// Only for a connection hyper is done with.
    fn rest(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Ended) {
            State::Busy(connection) => {
                let http1::Parts { io, read_buf, service, .. } = connection.into_parts();
                let stream = io.into_inner();
                if self.activity.had_trailers() {
                    self.activity.expects_more();
                    State::Closing(stream)
                } else if read_buf.is_empty() {
                    self.activity.upgrade_is_over();
                    self.activity.forget_fragments();
                    State::Resting(stream, service)
                } else if self.activity.is_upgrading() {
                    self.activity.expects_more();
                    State::Closing(stream)
                } else {
                    busy(self.limits, stream.preceded_by(read_buf), service)
                }
            }
            state => state,
        };
    }

    /// After hyper's last word. It leaves a connection open on which another protocol was ever asked for.
    fn leave(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Ended) {
            State::Busy(connection) => match self.activity.take_tunnel() {
                Some(Pending { tunnel, drain }) => {
                    let http1::Parts { io, read_buf, .. } = connection.into_parts();
                    let caller = io.into_inner().preceded_by(read_buf).without_requests();
                    let leaving = Box::pin(async move { drain.ended().await });
                    tunnel.join(Box::new(caller), leaving).map_or(State::Ended, State::Tunnelled)
                }
                None if self.activity.is_closing() => State::Ended,
                None => State::Closing(connection.into_parts().io.into_inner()),
            },
            state => state,
        };
    }
}

fn busy<I, S, B>(limits: Limits, stream: Noted<I>, service: S) -> State<I, S>
where
    I: Stream,
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

impl<I, S, B> Future for Http1<I, S>
where
    I: Stream,
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
                        ended?;
                        this.leave();
                        continue;
                    }
                    if this.activity.is_spoilt() {
                        this.activity.expects_more();
                        this.leave();
                        continue;
                    }
                    if !this.activity.is_between_requests() {
                        return Poll::Pending;
                    }
                    if !this.activity.is_upgrading() {
                        ready!(this.poll_rest(cx));
                    }
                    let State::Busy(connection) = &mut this.state else { continue };
                    // hyper has the last word: it ends here at once if it too sees no request under way
                    Pin::new(connection.as_mut()).graceful_shutdown();
                    ready!(connection.poll_without_shutdown(cx))?;
                    this.rest();
                }
                State::Tunnelled(tunnel) => {
                    ready!(tunnel.as_mut().poll(cx));
                    this.state = State::Ended;
                }
                State::Closing(stream) => {
                    // a peer that is gone already is none to tell
                    let _ = ready!(Pin::new(stream).poll_shutdown(cx));
                    this.state = State::Ended;
                }
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http::Response;
    use http_body_util::BodyExt;
    use http_body_util::Full;
    use hyper::service::service_fn;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    use crate::pipeline::accept::activity::Protocol;
    use crate::pipeline::accept::incoming;

    use super::*;

    /// What of a body the service reads before it answers.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Reads {
        All,
        Nothing,
    }

    /// What is left of a connection once `sent` was answered; `None` if it ended.
    async fn after(sent: &str, reads: Reads) -> Option<&'static str> {
        let limits = Limits {
            connections: 1,
            header_bytes: 8192,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let activity = Activity::new(Instant::now(), limits, Protocol::Http1);
        let seen = Arc::clone(&activity);
        let service = service_fn(move |request: Request<Incoming>| {
            let answering = seen.answering(!request.body().is_end_stream());
            let body = incoming::Incoming::new(request.into_body(), &seen);
            Box::pin(async move {
                let left = match reads {
                    Reads::All => body.collect().await.map(|_| None).unwrap(),
                    Reads::Nothing => Some(body),
                };
                // as a handler that goes on with the body on its own
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    drop(left);
                });
                drop(answering);
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"fine"))))
            })
        });
        peer.write_all(sent.as_bytes()).await.unwrap();
        let mut connection = Http1::new(stream, service, limits, activity);
        let mut answer = [0; 1024];
        let ended = tokio::select! {
            ended = &mut connection => Some(ended),
            read = peer.read(&mut answer) => {
                assert!(answer[..read.unwrap()].ends_with(b"fine"));
                // the answer may be here before its connection is
                tokio::time::timeout(PAUSE * 5, &mut connection).await.ok()
            }
        };
        match (ended, connection.state) {
            (Some(_), _) | (None, State::Ended | State::Tunnelled(_) | State::Closing(_)) => None,
            (None, State::Resting(..)) => Some("a socket"),
            (None, State::Busy(_)) => Some("all"),
        }
    }

    #[tokio::test]
    async fn only_a_connection_whose_request_was_read_to_its_end_is_taken_for_a_new_one() {
        let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let length = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";
        let chunked =
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
        let half = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nbody";
        let close = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        for (sent, reads, left) in [
            (get, Reads::All, Some("a socket")),
            (length, Reads::All, Some("a socket")),
            (chunked, Reads::All, Some("a socket")),
            (length, Reads::Nothing, Some("all")),
            (chunked, Reads::Nothing, Some("all")),
            (half, Reads::Nothing, Some("all")),
            (close, Reads::All, None),
            (&format!("{get}{get}"), Reads::All, Some("a socket")),
            (&format!("{get}GET / HTT"), Reads::All, Some("all")),
        ] {
            assert_eq!(after(sent, reads).await, left, "{sent:?} {reads:?}");
        }
    }
}
