//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::header::CONNECTION;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;
use hyper::server::conn::http2;
use hyper::service::HttpService;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::config::Limits;
use crate::domain::peer::Peer;
use crate::net;
use crate::net::BoxError;
use crate::net::tunnel::Tunnel;
use crate::pipeline::accept::Drain;
use crate::pipeline::accept::Incoming;
use crate::pipeline::accept::activity::Activity;
use crate::pipeline::accept::activity::Answering;
use crate::pipeline::accept::activity::Protocol;
use crate::pipeline::accept::activity::longest_stall;
use crate::pipeline::accept::fragment::Fragment;
use crate::pipeline::accept::frames::Policed;
use crate::pipeline::accept::http1::Http1;
use crate::pipeline::accept::noted::Noted;
use crate::pipeline::accept::opening::over;
use crate::pipeline::accept::stream::Stream;
use crate::pipeline::accept::streams::Asked;
use crate::pipeline::accept::streams::Streams;
use crate::pipeline::accept::unread;
use crate::pipeline::accept::upgrade;

/// Most requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// How much of a request's body, and of all bodies of a connection, HTTP/2 peers may send unasked.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Most of an answer that is held for an HTTP/2 peer who does not read.
const SEND_BUFFER: usize = 64 * 1024;
/// How often an HTTP/2 peer is asked whether it is still there, and how long it may think about it.
const PING: Duration = Duration::from_secs(20);
/// What HTTP/2 by prior knowledge begins with (RFC 9113 section 3.4); no HTTP/1.1 method ends after these letters.
const PREFACE: &[u8] = b"PRI ";
/// How much of the first bytes is looked at.
const FIRST_LINE: usize = 64;
/// How long to wait at first for the rest of a preface whose first bytes came alone, and at most: who sends no more of it has
/// not to cost anything.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The conversation on one connection, whose requests `handler` answers, and what is known of its course.
pub fn conversation<'h, I, H, F>(
    stream: I,
    protocol: Protocol,
    opened: Instant,
    limits: Limits,
    handler: H,
    drain: &Drain,
) -> (Pin<Box<dyn Conversation + Send + 'h>>, Arc<Activity>)
where
    I: Stream,
    H: Fn(Request<Incoming>) -> F + Send + Unpin + 'h,
    F: Future<Output = Response<net::Body>> + Send + Unpin + 'static,
{
    let activity = Activity::new(opened, limits, protocol);
    let seen = Arc::clone(&activity);
    let ending = drain.clone();
    let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
        // what came with a request for another protocol, before it was answered, may be of that protocol; what came after
        // trailers, of them
        if seen.is_upgrading() || seen.had_trailers() {
            seen.spoil();
            return Reply {
                response: None,
                answering: None,
                upgrade: None,
                protocol,
                ending: ending.clone(),
            };
        }
        let answering = seen.answering(!request.body().is_end_stream());
        let upgrade = match upgrade::asked(&request) {
            None => None,
            Some(websocket) => {
                request.extensions_mut().insert(websocket);
                match protocol {
                    Protocol::Http1 => {
                        seen.asked_for_upgrade();
                        None
                    }
                    Protocol::Http2 => Some(hyper::upgrade::on(&mut request)),
                }
            }
        };
        if seen.has_fragment(request.method(), request.uri()) {
            request.extensions_mut().insert(Fragment);
        }
        let request = request.map(|body| Incoming::new(body, &seen));
        let (response, ending) = (Some(handler(request)), ending.clone());
        Reply { response, answering: Some(answering), upgrade, protocol, ending }
    });
    // on the heap, each at its own size: a resting connection costs what it is, not what it might have been
    let conversation: Pin<Box<dyn Conversation + Send + 'h>> = match protocol {
        Protocol::Http1 => Box::pin(Http1::new(stream, service, limits, Arc::clone(&activity))),
        Protocol::Http2 => Box::pin(
            http2::Builder::new(Streams::new(longest_stall(limits)))
                .timer(TokioTimer::new())
                .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
                .max_concurrent_streams(MAX_STREAMS)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_send_buf_size(SEND_BUFFER)
                .keep_alive_interval(PING)
                .keep_alive_timeout(PING)
                .enable_connect_protocol()
                .serve_connection(
                    TokioIo::new(Noted::new(Policed::new(stream), Arc::clone(&activity))),
                    service,
                ),
        ),
    };
    (conversation, activity)
}

/// Which protocol the peer's first bytes speak. They stay where they are.
///
/// # Errors
/// If it is neither, or the connection broke.
pub async fn protocol(stream: &TcpStream) -> io::Result<Protocol> {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut start = [0; FIRST_LINE];
        let seen = stream.peek(&mut start).await?;
        let seen = start.get(..seen).unwrap_or_default();
        if seen.starts_with(PREFACE) {
            return Ok(Protocol::Http2);
        }
        if is_foreign(seen) {
            // what is left unread would turn the end into a reset
            stream.try_read(&mut start)?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        if seen.is_empty() || !PREFACE.starts_with(seen) {
            return Ok(Protocol::Http1);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether the first line is of a preface that is invalid, and none of HTTP/1.1, in which one could answer: three words, of which
/// the second is no target and the third no version. What is wrong with any other line, HTTP/1.1 says.
fn is_foreign(start: &[u8]) -> bool {
    let mut lines = start.split(|byte| *byte == b'\n');
    let (Some(line), Some(_)) = (lines.next(), lines.next()) else { return false };
    let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
    let (Some(_), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    let is_version = version.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP"));
    !is_version && target.iter().all(u8::is_ascii_alphanumeric) && !version.is_empty() && !target.is_empty()
}

/// A connection of either protocol.
pub trait Conversation: Future<Output = hyper::Result<()>> {
    /// Finishes what is under way and takes nothing new.
    fn finish(self: Pin<&mut Self>);
}

impl<I, S> Conversation for Http1<I, S>
where
    I: Stream,
    S: HttpService<hyper::body::Incoming, ResBody = Answer, Error = Infallible> + Unpin,
    S::Future: Unpin,
{
    fn finish(mut self: Pin<&mut Self>) {
        Self::finish(&mut self);
    }
}

impl<I, S, F> Conversation for http2::Connection<TokioIo<Noted<Policed<I>>>, S, Streams>
where
    I: Stream,
    S: HttpService<hyper::body::Incoming, ResBody = Answer, Error = Infallible, Future = F>,
    F: Future<Output = Result<Response<Answer>, Infallible>> + Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Goes on with a conversation until either side ends it or its time is up.
///
/// `tell_unread` is told of a head that was answered without becoming a request.
pub async fn converse(
    mut connection: Pin<Box<dyn Conversation + Send + '_>>,
    activity: &Activity,
    peer: &Peer,
    drain: &Drain,
    tell_unread: &(impl Fn(unread::Error) + Sync),
) {
    let watchdog = tokio::time::sleep_until(activity.next_look());
    let mut draining = std::pin::pin!(over(drain));
    let mut is_draining = false;
    tokio::pin!(watchdog);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    if let Some(why) = unread::Error::of(&error) {
                        tell_unread(why);
                    }
                    tracing::debug!(%peer, %error, "a connection ended early");
                }
                return;
            }
            () = watchdog.as_mut() => {
                if activity.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                    tracing::debug!(%peer, "a connection's time was up");
                    return;
                }
                watchdog.as_mut().reset(activity.next_look());
            }
            () = draining.as_mut(), if !is_draining => {
                is_draining = true;
                connection.as_mut().finish();
            }
        }
    }
}

/// The answer to one request, while it is being made.
struct Reply<F> {
    /// `None` = there is none: the connection ends.
    response: Option<F>,
    answering: Option<Answering>,
    /// The stream of an HTTP/2 request that wants to be more than a request.
    upgrade: Option<OnUpgrade>,
    protocol: Protocol,
    ending: Drain,
}

impl<F: Future<Output = Response<net::Body>> + Unpin> Future for Reply<F> {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(response) = &mut self.response else { return Poll::Pending };
        let mut response = ready!(Pin::new(response).poll(cx));
        let mut answering = self.answering.take();
        let tunnel = response.extensions_mut().remove::<Tunnel>();
        match (self.protocol, tunnel, self.upgrade.take()) {
            (Protocol::Http1, Some(tunnel), _) => {
                if let Some(answering) = &answering {
                    answering.activity().hand_over(tunnel, self.ending.clone());
                }
            }
            (Protocol::Http2, Some(tunnel), Some(stream)) => {
                tokio::spawn(join(tunnel, stream, self.ending.clone(), answering.take()));
            }
            (Protocol::Http1, None, _)
                if self.ending.is_announced()
                    || answering.as_ref().is_some_and(|answering| answering.activity().had_trailers()) =>
            {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            (Protocol::Http1 | Protocol::Http2, _, _) => {}
        }
        let protocol = self.protocol;
        Poll::Ready(Ok(response.map(|body| Answer { body, answering, protocol })))
    }
}

/// Joins a stream to its tunnel once the answer that announces it is sent. Until they part it is being answered.
async fn join(tunnel: Tunnel, stream: OnUpgrade, drain: Drain, answering: Option<Answering>) {
    // an error: there will be no stream
    let Ok(stream) = stream.await else { return };
    let leaving = Box::pin(async move { drain.ended().await });
    if let Some(joined) = tunnel.join(Box::new(TokioIo::new(stream)), leaving) {
        joined.await;
    }
    drop(answering);
}

/// A response body that ends the request's answering when hyper is done with it. Where the caller does not read, no more of it is
/// asked for: what hyper would take on all the same is memory that slow callers could fill.
struct Answer {
    body: net::Body,
    answering: Option<Answering>,
    protocol: Protocol,
}

impl Answer {
    /// Whether the caller, who gets one answer at a time, does not read.
    fn is_held_up(&self) -> bool {
        let is_stalled = |answering: &Answering| answering.activity().is_stalled();
        self.protocol == Protocol::Http1 && self.answering.as_ref().is_some_and(is_stalled)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_held_up() {
            // the connection's task is woken when the stall is over
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if self.protocol == Protocol::Http2 {
            Asked::note(&polled);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_without_any_word_of_http_is_foreign() {
        for (line, expected) in [
            ("INVALID CONNECTION PREFACE\r\n\r\n", true),
            ("HELO mail example\n", true),
            ("INVALID CONNECTION PREFACE", false),
            ("GET / HTTP/1.1\r\n", false),
            ("GET /\r\n", false),
            ("GET / XTTP/1.1\r\n", false),
            ("GET x http/1.1\r\n", false),
            ("GET  HTTP\r\n", false),
            ("GARBAGE\r\n\r\n", false),
            ("a b c d\r\n", false),
            ("\r\n", false),
            ("", false),
        ] {
            assert_eq!(is_foreign(line.as_bytes()), expected, "{line:?}");
        }
    }
}
