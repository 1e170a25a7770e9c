//! Traces on their way to a collector.
//!
//! **In:** spans, from a queue. **Out:** batches, to where the configuration says. **Never:** delays a request; sends again
//! in haste what a collector does not take; keeps more than a batch and the queue.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::Full;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::config::Traces;
use crate::net::client;
use crate::net::client::Bounds;
use crate::net::client::Client;
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::SpanResult;
use crate::telemetry::trace::Kept;
use crate::telemetry::trace::Tracer;
use crate::telemetry::trace::otlp;

/// The most spans that are sent at once.
const LARGEST_BATCH: usize = 512;

/// How long a batch waits to be that large.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a collector that fails is left in peace, doubled each time it fails again.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// So often a batch is sent before it is given up.
const MOST_TRIES: u32 = 5;

/// Longest answer that is read: what a collector says of spans it took in part.
const LONGEST_ANSWER: usize = 64 * 1024;

/// A task that exports what the tracer records.
pub struct Exporter {
    traces: Arc<Traces>,
    tracer: Arc<Tracer>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Begins to export to where `traces` says. It contacts nobody before there is something to send.
    ///
    /// # Errors
    /// If TLS cannot be set up, or a header cannot be sent.
    pub fn start(traces: Arc<Traces>, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let client = match traces.endpoint.starts_with("https:") {
            true => Client::new(),
            false => Client::plain(),
        };
        let collector = Collector::new(&traces, client.context("TLS towards the collector of traces")?)?;
        metrics.has_traces();
        let (tracer, spans) =
            Tracer::new(traces.sampler, metrics.clone()).context("the system gives no random numbers")?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(Export { collector, metrics, spans, stopped, batch: Vec::new() }.run());
        Ok(Self { traces, tracer, stop, task })
    }

    /// What records for it.
    pub fn tracer(&self) -> Arc<Tracer> {
        self.tracer.clone()
    }

    /// Whether it does as `traces` says.
    pub fn is_as(&self, traces: &Traces) -> bool {
        *self.traces == *traces
    }

    /// Sends what is left, as far as that can be done in so much time.
    pub async fn finish(self, patience: Duration) {
        let Self { stop, mut task, .. } = self;
        let _ = stop.send(());
        if tokio::time::timeout(patience, &mut task).await.is_err() {
            tracing::warn!("the collector of traces did not take the last of them in time");
            task.abort();
        }
    }
}

/// Where traces go.
struct Collector {
    client: Client,
    request: Request<()>,
    resource: Vec<(String, String)>,
    timeout: Duration,
}

/// What became of a batch.
enum Sent {
    /// The collector has it, but for so many of its spans.
    Taken { rejected: usize },
    /// The collector does not want it.
    Refused(StatusCode),
    /// It may be taken later: not before that time, if the collector says so.
    Later { not_before: Option<Duration>, cause: String },
}

impl Collector {
    fn new(traces: &Traces, client: Client) -> anyhow::Result<Self> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&traces.endpoint)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("obo-proxy/", env!("CARGO_PKG_VERSION")))
            .body(())
            .context("the URL of the collector of traces cannot be used")?;
        for (name, value) in &traces.headers {
            let mut value =
                HeaderValue::from_str(value.expose()).context("a header of OTEL_EXPORTER_OTLP_HEADERS")?;
            value.set_sensitive(true);
            request.headers_mut().insert(name.clone(), value);
        }
        Ok(Self { client, request, resource: traces.resource.clone(), timeout: traces.timeout })
    }

    async fn send(&self, batch: &[Kept]) -> Sent {
        let spans = batch.iter().map(|kept| &kept.span);
        let body = Full::new(Bytes::from(otlp::body(&self.resource, spans)));
        let request = self.request.clone().map(|()| body);
        let bounds = Bounds { timeout: self.timeout, body: LONGEST_ANSWER };
        match self.client.send(request, bounds).await {
            Ok(answer) => sent(&answer),
            // what was too long to read was an answer all the same
            Err(client::Error::TooLong(_)) => Sent::Taken { rejected: 0 },
            Err(error) => Sent::Later { not_before: None, cause: logs::report(&error) },
        }
    }
}

/// What an answer means (OTLP specification, section OTLP/HTTP response).
fn sent(answer: &Response<Bytes>) -> Sent {
    let status = answer.status();
    match status.as_u16() {
        200..=299 => Sent::Taken { rejected: rejected(answer.body()) },
        429 | 502..=504 => {
            let after = answer.headers().get(header::RETRY_AFTER);
            let seconds = after.and_then(|value| value.to_str().ok()?.parse().ok());
            Sent::Later {
                not_before: seconds.map(Duration::from_secs),
                cause: format!("it answers {}", status.as_u16()),
            }
        }
        _ => Sent::Refused(status),
    }
}

/// How many spans of a batch the collector did not take.
fn rejected(body: &[u8]) -> usize {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let rejected = answer.pointer("/partialSuccess/rejectedSpans");
    // a 64-bit number is text, but not everybody's
    let number = rejected.and_then(|said| said.as_u64().or_else(|| said.as_str()?.parse().ok()));
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

/// The task.
struct Export {
    collector: Collector,
    metrics: Arc<Metrics>,
    spans: mpsc::Receiver<Kept>,
    stopped: oneshot::Receiver<()>,
    batch: Vec<Kept>,
}

impl Export {
    async fn run(mut self) {
        let mut health = Health::Unknown;
        let mut is_last = false;
        while !is_last {
            is_last = self.fill().await;
            while !self.batch.is_empty() {
                self.deliver(&mut health, &mut is_last).await;
                // what came meanwhile goes at once, if it is the end, or enough
                if is_last || self.spans.len() >= LARGEST_BATCH {
                    self.take_what_is_there();
                }
            }
        }
    }

    fn take_what_is_there(&mut self) {
        while self.batch.len() < LARGEST_BATCH {
            match self.spans.try_recv() {
                Ok(span) => self.batch.push(span),
                Err(_) => return,
            }
        }
    }

    /// Waits for a batch to be full, or for its time. Says whether there will be no other.
    async fn fill(&mut self) -> bool {
        let mut due: Option<Instant> = None;
        while self.batch.len() < LARGEST_BATCH {
            let room = LARGEST_BATCH - self.batch.len();
            let until_due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // dropped: nobody waits for the end
                _ = &mut self.stopped => {
                    self.take_what_is_there();
                    return true;
                }
                () = until_due => return false,
                received = self.spans.recv_many(&mut self.batch, room) => {
                    if received == 0 {
                        return true;
                    }
                    due = due.or_else(|| Some(Instant::now() + PATIENCE));
                }
            }
        }
        false
    }

    /// Sends the batch until it is taken or given up. At the end nobody waits for a collector that fails.
    async fn deliver(&mut self, health: &mut Health, is_last: &mut bool) {
        let mut pause = SHORTEST_PAUSE;
        for attempt in 1..=MOST_TRIES {
            let count = self.batch.len();
            match self.collector.send(&self.batch).await {
                Sent::Taken { rejected } => {
                    let rejected = rejected.min(count);
                    self.metrics.spans(SpanResult::Exported, count - rejected);
                    self.metrics.spans(SpanResult::Failed, rejected);
                    self.batch.clear();
                    return health.well();
                }
                Sent::Refused(status) => {
                    health.ill(&format!("it answers {}", status.as_u16()));
                    break;
                }
                Sent::Later { not_before, cause } => {
                    health.ill(&cause);
                    if attempt == MOST_TRIES || *is_last {
                        break;
                    }
                    let rest = not_before.unwrap_or_default().clamp(pause, LONGEST_PAUSE);
                    tokio::select! {
                        _ = &mut self.stopped => *is_last = true,
                        () = tokio::time::sleep(rest) => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        self.metrics.spans(SpanResult::Failed, self.batch.len());
        self.batch.clear();
    }
}

/// How the collector fares, as far as it was told: only a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Unknown,
    Well,
    Ill,
}

impl Health {
    fn well(&mut self) {
        match *self {
            Self::Ill => tracing::info!("the collector takes traces again"),
            Self::Unknown => tracing::info!("the collector takes traces"),
            Self::Well => {}
        }
        *self = Self::Well;
    }

    fn ill(&mut self, cause: &str) {
        if *self != Self::Ill {
            tracing::warn!(cause, "the collector does not take traces; requests go on, and spans are lost");
        }
        *self = Self::Ill;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>, body: &'static str) -> Response<Bytes> {
        let mut answer = Response::builder().status(status);
        if let Some(after) = retry_after {
            answer = answer.header(header::RETRY_AFTER, after);
        }
        answer.body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    #[test]
    fn only_what_may_pass_is_sent_again() {
        for status in [429, 502, 503, 504] {
            let later = sent(&answer(status, Some("7"), ""));
            let seven = Some(Duration::from_secs(7));
            assert!(matches!(later, Sent::Later { not_before, .. } if not_before == seven), "{status}");
            let later = sent(&answer(status, Some("soon"), ""));
            assert!(matches!(later, Sent::Later { not_before: None, .. }), "{status}");
        }
        for status in [301, 400, 401, 404, 415, 500] {
            assert!(matches!(sent(&answer(status, None, "")), Sent::Refused(_)), "{status}");
        }
    }

    #[test]
    fn spans_that_are_not_taken_are_known() {
        for (body, expected) in [
            ("", 0),
            ("{}", 0),
            ("{\"partialSuccess\":{\"rejectedSpans\":\"3\"}}", 3),
            ("{\"partialSuccess\":{\"rejectedSpans\":3,\"errorMessage\":\"x\"}}", 3),
        ] {
            let Sent::Taken { rejected } = sent(&answer(200, None, body)) else { panic!("{body}") };
            assert_eq!(rejected, expected, "{body}");
        }
    }
}
