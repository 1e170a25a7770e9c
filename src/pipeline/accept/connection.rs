//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::header::CONNECTION;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::config::Limits;
use crate::domain::peer::Peer;
use crate::net;
use crate::net::BoxError;
use crate::pipeline::accept::Drain;
use crate::pipeline::accept::activity::Activity;
use crate::pipeline::accept::activity::Answering;
use crate::pipeline::accept::activity::Noted;

/// More fields than this in one head are answered 431.
const MAX_HEADERS: usize = 128;
/// How long a connection without a request is kept once the drain started: a request may be on its way.
const GRACE: Duration = Duration::from_millis(500);
/// hyper wants no less.
const SMALLEST_BUFFER: usize = 8192;

/// Answers the requests of one connection with `handler` until either side ends it or its time is up.
pub async fn serve<H, F>(stream: TcpStream, peer: Peer, limits: Limits, handler: H, drain: Drain)
where
    H: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Response<net::Body>> + Send,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(peer = %peer.address, %error, "cannot set TCP_NODELAY");
    }
    let activity = Activity::new(limits);
    let noted = Noted::new(stream, Arc::clone(&activity));
    let seen = Arc::clone(&activity);
    let ending = drain.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let answering = seen.answering(!request.body().is_end_stream());
        let response = handler(request);
        let ending = ending.clone();
        async move {
            let mut response = response.await.map(|body| Answer { body, _answering: answering });
            if ending.is_announced() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        // the watchdog below keeps all deadlines, also the one before the first byte, which hyper has none for
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(SMALLEST_BUFFER))
        .max_headers(MAX_HEADERS)
        .half_close(false)
        .serve_connection(TokioIo::new(noted), service);
    let watchdog = tokio::time::sleep_until(activity.next_look());
    let mut draining = std::pin::pin!(async {
        drain.started().await;
        tokio::time::sleep(GRACE).await;
    });
    let mut is_draining = false;
    tokio::pin!(connection, watchdog);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %peer.address, %error, "a connection ended early");
                }
                return;
            }
            () = watchdog.as_mut() => {
                if activity.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                    tracing::debug!(peer = %peer.address, "a connection's time was up");
                    return;
                }
                watchdog.as_mut().reset(activity.next_look());
            }
            () = draining.as_mut(), if !is_draining => {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A response body that ends the request's answering when hyper is done with it.
struct Answer {
    body: net::Body,
    _answering: Answering,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
