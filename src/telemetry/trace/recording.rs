//! One request that is recorded.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use http::HeaderValue;
use http::StatusCode;

use crate::domain::clock::Clock;
use crate::telemetry::trace::Anchor;
use crate::telemetry::trace::Kind;
use crate::telemetry::trace::Span;
use crate::telemetry::trace::SpanId;
use crate::telemetry::trace::TraceId;
use crate::telemetry::trace::Tracer;
use crate::telemetry::trace::Value;
use crate::telemetry::trace::traceparent;

/// What is recorded of one request so far.
#[derive(Debug)]
pub struct Recording {
    /// In which trace, under which of its spans, and by what clock.
    point: Point,
    /// The span of whoever called.
    parent: Option<SpanId>,
    /// The trace's id in the log.
    trace: String,
    /// The call to the upstream that is under way.
    asking: Option<(SpanId, Instant)>,
}

/// A step of a request that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    id: SpanId,
    at: Instant,
}

/// A place in a trace, under which more is recorded, also after its request has ended.
#[derive(Clone, Debug)]
pub struct Point {
    tracer: Arc<Tracer>,
    trace: TraceId,
    span: SpanId,
    anchor: Anchor,
}

/// A call that was answered, or was not.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What the span is called.
    pub name: &'a str,
    /// The method.
    pub method: &'static str,
    /// Who was asked: `host:port`.
    pub server: &'a str,
    /// When.
    pub asked: Instant,
    /// Until the answer, or until it was clear that there is none.
    pub took: Duration,
    /// The answer's status.
    pub status: Option<StatusCode>,
    /// What came of it, if that is no success.
    pub error: Option<&'a str>,
}

/// What is sent on to the upstream.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its `traceparent`.
    pub traceparent: HeaderValue,
    /// Whether the trace begins here.
    pub is_root: bool,
}

impl Recording {
    /// Of a request that came at `started` with that `traceparent`; `None` if it is not recorded.
    pub fn begin(
        tracer: &Arc<Tracer>,
        traceparent: Option<&HeaderValue>,
        started: Instant,
        clock: &Clock,
    ) -> Option<Box<Self>> {
        let (trace, parent) = tracer.pick(traceparent)?;
        let (span, anchor) = (tracer.ids.span(), Anchor::new(started, clock));
        let point = Point { tracer: tracer.clone(), trace, span, anchor };
        Some(Box::new(Self { point, parent, trace: trace.hex(), asking: None }))
    }

    /// The trace's id: 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        &self.trace
    }

    /// A step begins.
    pub fn begun(&self, at: Instant) -> Begun {
        Begun { id: self.point.tracer.ids.span(), at }
    }

    /// Where in the trace that step is.
    pub fn within(&self, begun: Begun) -> Point {
        Point { span: begun.id, ..self.point.clone() }
    }

    /// A step has ended.
    pub fn step(
        &self,
        begun: Begun,
        name: &'static str,
        end: Instant,
        attributes: Vec<(&'static str, Value)>,
        error: Option<&str>,
    ) {
        let Begun { id, at } = begun;
        self.point.record(id, name.to_owned(), Kind::Internal, (at, end), attributes, error);
    }

    /// The upstream is about to be asked.
    pub fn asking(&mut self, at: Instant) -> Option<Outgoing> {
        let id = self.point.tracer.ids.span();
        self.asking = Some((id, at));
        let traceparent = traceparent(self.point.trace, id)?;
        Some(Outgoing { traceparent, is_root: self.parent.is_none() })
    }

    /// The upstream answered, or did not.
    pub fn asked(&mut self, call: &Call<'_>) {
        let id = self.asking.take().map_or_else(|| self.point.tracer.ids.span(), |(id, _)| id);
        self.point.call(id, call);
    }

    /// When the upstream was asked that has not answered.
    pub fn unanswered(&self) -> Option<Instant> {
        self.asking.map(|(_, at)| at)
    }

    /// The request has ended.
    pub fn end(
        self,
        name: String,
        (started, ended): (Instant, Instant),
        attributes: Vec<(&'static str, Value)>,
        is_error: bool,
    ) {
        let point = self.point;
        let span = Span {
            trace: point.trace,
            id: point.span,
            parent: self.parent,
            kind: Kind::Server,
            name,
            start: point.anchor.time_of(started),
            end: point.anchor.time_of(ended),
            attributes,
            is_error,
        };
        point.tracer.record(span);
    }
}

impl Point {
    /// The trace's id: 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.trace.hex()
    }

    /// A call from here was answered, or was not.
    pub fn called(&self, call: &Call<'_>) {
        self.call(self.tracer.ids.span(), call);
    }

    fn call(&self, id: SpanId, call: &Call<'_>) {
        let (host, port) = match call.server.rsplit_once(':') {
            Some((host, port)) => (host, port.parse::<u16>().ok()),
            None => (call.server, None),
        };
        let mut attributes =
            vec![("http.request.method", call.method.into()), ("server.address", host.into())];
        attributes.extend(port.map(|port| ("server.port", port.into())));
        attributes.extend(call.status.map(|status| ("http.response.status_code", status.as_u16().into())));
        let is_refusal = call.status.is_some_and(|status| status.as_u16() >= 400);
        let status = call.status.filter(|_| is_refusal).map(|status| status.as_str().to_owned());
        let error = call.error.or(status.as_deref());
        let end = call.asked.checked_add(call.took).unwrap_or(call.asked);
        self.record(id, call.name.to_owned(), Kind::Client, (call.asked, end), attributes, error);
    }

    fn record(
        &self,
        id: SpanId,
        name: String,
        kind: Kind,
        (start, end): (Instant, Instant),
        mut attributes: Vec<(&'static str, Value)>,
        error: Option<&str>,
    ) {
        attributes.extend(error.map(|error| ("error.type", error.into())));
        let Self { tracer, trace, span, anchor } = self;
        tracer.record(Span {
            trace: *trace,
            id,
            parent: Some(*span),
            kind,
            name,
            start: anchor.time_of(start),
            end: anchor.time_of(end),
            attributes,
            is_error: error.is_some(),
        });
    }
}
