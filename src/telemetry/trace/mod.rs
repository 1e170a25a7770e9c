//! Traces: which requests are recorded (W3C Trace Context), and what is recorded of them.
//!
//! **In:** the marks of a request. **Out:** spans, in a queue that an exporter empties. **Never:** waits for the exporter;
//! costs a request that is not recorded more than a look at its `traceparent`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use aws_lc_rs::error::Unspecified;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;

use crate::config::OnParent;
use crate::config::Sampler;
use crate::domain::clock::Clock;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::SpanResult;

pub mod otlp;
pub mod recording;

/// The header that says which trace a request belongs to.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What others know of a trace besides its ids. Without a `traceparent` that can be read it means nothing.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// So many spans wait to be exported; what comes on top is dropped.
pub const LONGEST_QUEUE: usize = 2_048;

/// So many bytes the spans take at most that wait or are being exported: what they say of a request, callers choose.
pub const LARGEST_QUEUE: usize = 4 * 1024 * 1024;

/// The id of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

/// The id of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(u64);

impl TraceId {
    /// 32 hexadecimal digits.
    pub fn hex(self) -> String {
        format!("{:032x}", self.0)
    }
}

impl SpanId {
    /// 16 hexadecimal digits.
    pub fn hex(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// Where a request comes from, as its `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace: TraceId,
    /// The caller's span.
    pub span: SpanId,
    /// Whether the caller records it.
    pub is_sampled: bool,
}

/// The only `traceparent` of a request: one that has several has none, and its trace begins anew (W3C Trace Context
/// section 3.2.1, RFC 9110 section 5.3).
pub fn sole(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    all.next().filter(|_| all.next().is_none())
}

/// The trace id of a well-formed `traceparent`: 32 hexadecimal digits, not all zero.
pub fn trace_id(traceparent: &HeaderValue) -> Option<&str> {
    let text = traceparent.to_str().ok()?;
    parent(text)?;
    text.get(3..35)
}

/// What a well-formed `traceparent` says (version 00).
fn parent(traceparent: &str) -> Option<Parent> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || parts.next().is_some() {
        return None;
    }
    let trace = hex(trace, 32).filter(|id| *id != 0)?;
    let span = u64::try_from(hex(span, 16)?).ok().filter(|id| *id != 0)?;
    Some(Parent { trace: TraceId(trace), span: SpanId(span), is_sampled: hex(flags, 2)? & 1 == 1 })
}

/// The number that so many lower-case hexadecimal digits are.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (text.len() == digits && is_hex).then(|| u128::from_str_radix(text, 16).ok())?
}

/// The `traceparent` of a request that is recorded, for whoever gets it next.
pub fn traceparent(trace: TraceId, span: SpanId) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(format!("00-{}-{}-01", trace.hex(), span.hex()))).ok()
}

/// Decides which requests are recorded, and takes what is recorded of them.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    ids: Ids,
    queue: mpsc::Sender<Kept>,
    room: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Tracer {
    /// One that records what `sampler` picks, and the queue from which its spans are taken.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(
        sampler: Sampler,
        metrics: Arc<Metrics>,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Kept>), Unspecified> {
        let (queue, spans) = mpsc::channel(LONGEST_QUEUE);
        let room = Arc::new(Semaphore::new(LARGEST_QUEUE));
        Ok((Arc::new(Self { sampler, ids: Ids::new()?, queue, room, metrics }), spans))
    }

    /// The trace that a request with this `traceparent` is to be recorded in, if it is.
    fn pick(&self, traceparent: Option<&HeaderValue>) -> Option<(TraceId, Option<SpanId>)> {
        let parent = traceparent.and_then(|value| parent(value.to_str().ok()?));
        match (parent, self.sampler.on_parent) {
            (Some(parent), OnParent::Follow) => {
                parent.is_sampled.then_some((parent.trace, Some(parent.span)))
            }
            (Some(parent), OnParent::Ignore) => {
                self.is_among(parent.trace).then_some((parent.trace, Some(parent.span)))
            }
            (None, _) => {
                let trace = self.ids.trace();
                self.is_among(trace).then_some((trace, None))
            }
        }
    }

    /// Whether `trace` is among those of which a part is recorded: its last seven bytes are random by the standard
    /// (W3C Trace Context level 2, section 2.2.3), so that all who go by them pick the same.
    fn is_among(&self, trace: TraceId) -> bool {
        const RANDOM: u128 = (1 << 56) - 1;
        // as exact as a fraction of 2^56 is in a float
        ((trace.0 & RANDOM) as f64) < self.sampler.ratio * (RANDOM as f64 + 1.0)
    }

    fn record(&self, span: Span) {
        let kept = || {
            let bytes = u32::try_from(span.bytes()).ok()?;
            let room = self.room.clone().try_acquire_many_owned(bytes).ok()?;
            self.queue.try_send(Kept { span, _room: room }).ok()
        };
        if kept().is_none() {
            self.metrics.spans(SpanResult::Dropped, 1);
        }
    }
}

/// Makes ids: nobody need be unable to guess them, but no two may be the same.
#[derive(Debug)]
struct Ids {
    seeds: [u64; 2],
    made: AtomicU64,
}

impl Ids {
    fn new() -> Result<Self, Unspecified> {
        let mut seeds = [0; 16];
        aws_lc_rs::rand::fill(&mut seeds)?;
        let seeds = u128::from_ne_bytes(seeds);
        Ok(Self { seeds: [seeds as u64, (seeds >> 64) as u64], made: AtomicU64::new(0) })
    }

    fn trace(&self) -> TraceId {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let [high, low] = self.seeds.map(|seed| u128::from(mixed(seed, number)));
        TraceId(((high << 64) | low).max(1))
    }

    fn span(&self) -> SpanId {
        let [seed, _] = self.seeds;
        SpanId(mixed(!seed, self.made.fetch_add(1, Ordering::Relaxed)).max(1))
    }
}

/// The number's place in a sequence that looks random and repeats nothing (SplitMix64, by Steele, Lea and Flood, 2014).
fn mixed(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One moment on both clocks, by which the marks of a request become times of day: all by the same one, so that what
/// happened within something lies within it.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    since_epoch: Duration,
    instant: Instant,
}

impl Anchor {
    fn new(instant: Instant, clock: &Clock) -> Self {
        let age = clock.monotonic().saturating_duration_since(instant);
        Self { since_epoch: clock.since_epoch().saturating_sub(age), instant }
    }

    fn time_of(&self, instant: Instant) -> Duration {
        match instant.checked_duration_since(self.instant) {
            Some(later) => self.since_epoch.saturating_add(later),
            None => self.since_epoch.saturating_sub(self.instant.saturating_duration_since(instant)),
        }
    }
}

/// A part of what happened.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its trace.
    pub trace: TraceId,
    /// Itself.
    pub id: SpanId,
    /// What it is a part of.
    pub parent: Option<SpanId>,
    /// Which side of a conversation it is.
    pub kind: Kind,
    /// What it is called: never by anything a caller sent.
    pub name: String,
    /// When it began, since the epoch.
    pub start: Duration,
    /// When it ended, since the epoch.
    pub end: Duration,
    /// What else is known.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it counts as an error.
    pub is_error: bool,
}

impl Span {
    /// How much memory it takes, about.
    fn bytes(&self) -> usize {
        let text = |(_, value): &(&str, Value)| match value {
            Value::Text(text) => text.capacity(),
            Value::Number(_) => 0,
        };
        let attributes = self.attributes.capacity() * size_of::<(&str, Value)>();
        let texts: usize = self.attributes.iter().map(text).sum();
        size_of::<Kept>() + self.name.capacity() + attributes + texts
    }
}

/// A span that waits or is being exported, with the room it takes until it is dropped.
#[derive(Debug)]
pub struct Kept {
    /// The span.
    pub span: Span,
    _room: OwnedSemaphorePermit,
}

/// Which side of a conversation a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Neither.
    Internal,
    /// Who was asked.
    Server,
    /// Who asked.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

#[cfg(test)]
mod tests;
