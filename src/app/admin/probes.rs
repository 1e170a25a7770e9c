//! What probes and scrapers are told.
//!
//! **In:** a path. **Out:** a small text. **Never:** anything secret; anything that changes the proxy.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Full;

use crate::app::workers::Pulse;
use crate::net::Body;
use crate::pipeline::Pipeline;
use crate::telemetry::metrics::Metrics;

/// What scrapers get that do not ask for OpenMetrics: Prometheus' own text.
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A worker that takes longer to come round is hung.
const HUNG: Duration = Duration::from_secs(5);

/// The one thing here that takes a while to make.
const METRICS: &str = "/metrics";

/// Whether the proxy lives, has started and is ready. Cloning shares the state.
#[derive(Clone)]
pub struct Probes {
    pipeline: Arc<ArcSwap<Pipeline>>,
    metrics: Arc<Metrics>,
    draining: Arc<AtomicBool>,
    pulse: Pulse,
}

impl Probes {
    /// Probes of a proxy whose listeners are bound, and whose workers have that `pulse`.
    pub fn new(pipeline: Arc<Pipeline>, metrics: Arc<Metrics>, pulse: Pulse) -> Self {
        let pipeline = Arc::new(ArcSwap::new(pipeline));
        Self { pipeline, metrics, draining: Arc::new(AtomicBool::new(false)), pulse }
    }

    /// From now on it is this pipeline they speak of.
    pub fn follow(&self, pipeline: Arc<Pipeline>) {
        self.pipeline.store(pipeline);
    }

    /// From now on the proxy is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether requests should be sent here: not draining, and one provider's keys were loaded once. It stays ready
    /// when the provider goes away later, as cached keys and tokens still serve.
    pub fn is_ready(&self) -> bool {
        self.unready().is_none()
    }

    /// The pipeline they speak of.
    pub fn pipeline(&self) -> Arc<Pipeline> {
        self.pipeline.load_full()
    }

    /// Whether the workers turn over.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether the proxy comes to its end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    fn unready(&self) -> Option<&'static str> {
        if self.is_draining() {
            return Some("draining\n");
        }
        (!self.pipeline.load().is_ready()).then_some("no identity provider's keys could be loaded yet\n")
    }

    /// Whether the answer for `path` is more than a word.
    pub fn takes_a_while(path: &str) -> bool {
        path == METRICS
    }

    /// The answer for `path` to who takes what the field `Accept` says.
    pub async fn answer(&self, path: &str, accept: Option<&HeaderValue>) -> Response<Body> {
        match path {
            "/livez" => match tokio::time::timeout(HUNG, self.pulse.felt()).await {
                Ok(true) => text(StatusCode::OK, "ok\n".into()),
                _ => text(StatusCode::SERVICE_UNAVAILABLE, "a worker does not turn over\n".into()),
            },
            "/startupz" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => match self.unready() {
                None => text(StatusCode::OK, "ok\n".into()),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, why.into()),
            },
            METRICS => {
                self.metrics.cache_entries(self.pipeline.load().cached_tokens());
                let accepted = accept.and_then(|accept| accept.to_str().ok());
                let (metrics, form) = match accepted
                    .is_some_and(|accepted| accepted.contains("application/openmetrics-text"))
                {
                    true => (self.metrics.encode(), OPENMETRICS),
                    false => (self.metrics.encode_plain(), PLAIN),
                };
                let mut response = text(StatusCode::OK, metrics);
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(form));
                response
            }
            _ => text(StatusCode::NOT_FOUND, "there is /livez, /readyz, /startupz and /metrics\n".into()),
        }
    }
}

/// The answer to who wants more than to read.
pub fn not_allowed() -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "this can be read, and nothing else\n".into());
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
