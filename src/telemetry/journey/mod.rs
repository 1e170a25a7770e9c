//! What happened to one request so far: the source of its log line and of its metric.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use aws_lc_rs::error::Unspecified;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
use http::Uri;
use http::request::Parts;

use crate::config::Route;
use crate::domain::caller::Caller;
use crate::domain::clock::Clock;
use crate::domain::digest::Digest;
use crate::domain::name::Name;
use crate::domain::printable;
use crate::telemetry::access_log;
use crate::telemetry::access_log::Fault;
use crate::telemetry::access_log::Line;
use crate::telemetry::access_log::UserHash;
use crate::telemetry::events::Events;
use crate::telemetry::journey::refused::Details;
use crate::telemetry::labels::known_method;
use crate::telemetry::lead::Asker;
use crate::telemetry::metrics::CacheResult;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::Requests;
use crate::telemetry::trace;
use crate::telemetry::trace::Tracer;
use crate::telemetry::trace::Value;
use crate::telemetry::trace::recording::Begun;
use crate::telemetry::trace::recording::Call;
use crate::telemetry::trace::recording::Outgoing;
use crate::telemetry::trace::recording::Point;
use crate::telemetry::trace::recording::Recording;

mod record;
mod refused;

/// The header that carries a request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a request is logged and counted as whose caller hung up: no answer of that status is ever sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Watches requests come and go.
#[derive(Debug)]
pub struct Observer {
    routes: Vec<(Arc<Route>, Requests)>,
    unrouted: Requests,
    clock: Clock,
    user_hash: UserHash,
    events: Events,
    /// Records requests, if there are traces.
    tracer: Option<Arc<Tracer>>,
    /// Makes the ids of two processes differ.
    origin: [u8; 8],
    requests: AtomicU64,
}

impl Observer {
    /// An observer of `routes`, with a fresh key for users and a fresh origin for request ids.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(
        routes: &[Arc<Route>],
        tracer: Option<Arc<Tracer>>,
        metrics: &Metrics,
        clock: Clock,
    ) -> Result<Self, Unspecified> {
        Self::calling(UserHash::new()?, Events::default(), routes, tracer, metrics, clock)
    }

    /// An observer of `routes` in its place, to which users are called as before.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn succeeding(
        &self,
        routes: &[Arc<Route>],
        tracer: Option<Arc<Tracer>>,
        metrics: &Metrics,
    ) -> Result<Self, Unspecified> {
        let (user_hash, events, clock) = (self.user_hash.clone(), self.events.clone(), self.clock.clone());
        Self::calling(user_hash, events, routes, tracer, metrics, clock)
    }

    fn calling(
        user_hash: UserHash,
        events: Events,
        routes: &[Arc<Route>],
        tracer: Option<Arc<Tracer>>,
        metrics: &Metrics,
        clock: Clock,
    ) -> Result<Self, Unspecified> {
        let mut origin = [0; 8];
        aws_lc_rs::rand::fill(&mut origin)?;
        let requests =
            |route: &Arc<Route>| metrics.requests(Some(&route.name), Some(route.upstream.address()));
        Ok(Self {
            routes: routes.iter().map(|route| (route.clone(), requests(route))).collect(),
            unrouted: metrics.requests(None, None),
            clock,
            user_hash,
            events,
            tracer,
            origin,
            requests: AtomicU64::new(0),
        })
    }

    /// What users are called in the log.
    pub fn user_hash(&self) -> &UserHash {
        &self.user_hash
    }

    /// What was refused lately.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The metrics of `route`, which is told by where it is.
    fn requests_of(&self, route: Option<&Arc<Route>>) -> &Requests {
        let known = route.and_then(|route| self.routes.iter().find(|(known, _)| Arc::ptr_eq(known, route)));
        known.map_or(&self.unrouted, |(_, requests)| requests)
    }

    /// A request has come from that address.
    pub fn begin(&self, head: &Parts, client: Option<IpAddr>) -> Journey<'_> {
        let request_id = inbound_id(&head.headers).unwrap_or_else(|| self.fresh_id());
        let asked = Some((head.method.clone(), head.uri.clone()));
        self.journey(request_id, trace::sole(&head.headers), asked, client)
    }

    /// A request has come whose head nobody could read.
    pub fn begin_unread(&self) -> Journey<'_> {
        self.journey(self.fresh_id(), None, None, None)
    }

    fn journey(
        &self,
        request_id: HeaderValue,
        traceparent: Option<&HeaderValue>,
        asked: Option<(Method, Uri)>,
        client: Option<IpAddr>,
    ) -> Journey<'_> {
        let started = self.clock.monotonic();
        Journey {
            request_id,
            recording: self
                .tracer
                .as_ref()
                .and_then(|tracer| Recording::begin(tracer, traceparent, started, &self.clock)),
            traceparent: traceparent.cloned(),
            asked,
            client,
            started,
            observer: self,
            route: None,
            identity_provider: None,
            caller: None,
            user: None,
            cache: None,
            reason: None,
            details: None,
            upstream: None,
            exchange: None,
            correlation_id: None,
            ended: Ended::No,
        }
    }

    fn fresh_id(&self) -> HeaderValue {
        let number = self.requests.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut hex = Vec::with_capacity(32);
        for byte in self.origin.iter().chain(&number) {
            hex.extend(
                [byte >> 4, byte & 15].map(|digit| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }),
            );
        }
        HeaderValue::from_maybe_shared(Bytes::from(hex)).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// The inbound `x-request-id` if there is one and it is 1 to 128 visible ASCII characters.
fn inbound_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut inbound = headers.get_all(REQUEST_ID).iter();
    let (Some(id), None) = (inbound.next(), inbound.next()) else { return None };
    let is_sane = (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic);
    is_sane.then(|| id.clone())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    Yes,
}

/// One request under way. Its log line is written when it ends, also when the caller hangs up before.
pub struct Journey<'a> {
    observer: &'a Observer,
    /// The id that caller, log and upstream share.
    pub request_id: HeaderValue,
    traceparent: Option<HeaderValue>,
    /// What is recorded of it, if it is: on the heap, as most are not.
    recording: Option<Box<Recording>>,
    /// Method and target, if they are known.
    asked: Option<(Method, Uri)>,
    /// Who asked, as far as that is known.
    client: Option<IpAddr>,
    started: Instant,
    /// The route, once it is known.
    pub route: Option<Arc<Route>>,
    /// Whose token came in, as far as that is known.
    pub identity_provider: Option<Name>,
    /// Who is calling, once that is proven.
    pub caller: Option<Caller>,
    /// Who it is, also if the route does not admit them.
    pub user: Option<Digest>,
    /// How the token cache answered.
    pub cache: Option<CacheResult>,
    /// Why the request was refused.
    pub reason: Option<&'static str>,
    /// What the reason does not say: on the heap, as most requests are not refused.
    details: Option<Box<Details>>,
    /// Until the upstream's response head.
    upstream: Option<Duration>,
    /// Waiting for token B.
    pub exchange: Option<Duration>,
    /// The identity provider's correlation id.
    pub correlation_id: Option<Arc<str>>,
    ended: Ended,
}

impl Journey<'_> {
    /// The request is answered with `status`, by whose fault if it was refused.
    pub fn end(mut self, status: StatusCode, fault: Option<Fault>) {
        self.over(status.as_u16(), fault);
    }

    fn over(&mut self, status: u16, fault: Option<Fault>) {
        self.ended = Ended::Yes;
        let ended = self.observer.clock.monotonic();
        let took = ended.saturating_duration_since(self.started);
        self.observer.requests_of(self.route.as_ref()).answered(self.method(), status, took);
        self.log(status, fault, took);
        if let Some(recording) = self.recording.take() {
            self.record(*recording, status, ended);
        }
    }

    /// A step of it begins, if it is recorded.
    pub fn begin(&self) -> Option<Begun> {
        let recording = self.recording.as_ref()?;
        Some(recording.begun(self.observer.clock.monotonic()))
    }

    /// Where in its trace that step is, for what others do within it.
    pub fn within(&self, begun: Option<Begun>) -> Option<Box<Point>> {
        // on the heap, as most requests have none
        Some(Box::new(self.recording.as_ref()?.within(begun?)))
    }

    /// Who asks, for whoever does something because of it; `point` is where in its trace.
    pub fn asker<'j>(&'j self, point: Option<&'j Point>) -> Asker<'j> {
        Asker { request_id: &self.request_id, user_hash: &self.observer.user_hash, point }
    }

    /// Its token was looked at: `refused` is why it is not accepted.
    pub fn authenticated(&self, begun: Option<Begun>, refused: Option<&str>) {
        self.step(begun, "authenticate", None, refused);
    }

    /// Token B was there or was fetched, or `refused` is why there is none.
    pub fn exchanged(&self, begun: Option<Begun>, cache: Option<CacheResult>, refused: Option<&str>) {
        self.step(begun, "exchange", cache.map(|cache| ("obo.cache", cache.as_str().into())), refused);
    }

    fn step(
        &self,
        begun: Option<Begun>,
        name: &'static str,
        attribute: Option<(&'static str, Value)>,
        error: Option<&str>,
    ) {
        if let (Some(recording), Some(begun)) = (&self.recording, begun) {
            let end = self.observer.clock.monotonic();
            recording.step(begun, name, end, attribute.into_iter().collect(), error);
        }
    }

    /// The upstream is asked now, and told in which trace, if the request is recorded.
    pub fn asking(&mut self) -> (Instant, Option<Outgoing>) {
        let asked = self.observer.clock.monotonic();
        (asked, self.recording.as_mut().and_then(|recording| recording.asking(asked)))
    }

    /// The upstream answered with a status, or failed to, after it was asked at `asked`; it may be asked again.
    pub fn upstream_answered(&mut self, asked: Instant, answer: Result<StatusCode, &'static str>) {
        let took = self.observer.clock.monotonic().saturating_duration_since(asked);
        self.observer.requests_of(self.route.as_ref()).upstream_answered(took);
        self.upstream = Some(self.upstream.unwrap_or_default().saturating_add(took));
        if let (Some(recording), Some(route)) = (&mut self.recording, &self.route) {
            let method = known_method(self.asked.as_ref().map(|(method, _)| method));
            recording.asked(&Call {
                name: method,
                method,
                server: route.upstream.address(),
                asked,
                took,
                status: answer.ok(),
                error: answer.err(),
            });
        }
    }

    /// It was left in peace for so long before it was asked once more.
    pub fn upstream_spared(&mut self, pause: Duration) {
        self.upstream = Some(self.upstream.unwrap_or_default().saturating_add(pause));
    }

    fn method(&self) -> Option<&Method> {
        self.asked.as_ref().map(|(method, _)| method)
    }

    /// The path, as far as it is kept.
    fn path(&self) -> Option<Cow<'_, str>> {
        self.asked.as_ref().map(|(_, target)| printable::cut(target.path()))
    }

    fn log(&self, status: u16, fault: Option<Fault>, took: Duration) {
        if !access_log::is_on(fault) {
            return;
        }
        let user = self.user.map(|user| self.observer.user_hash.word(user));
        let details = self.details.as_deref();
        let recorded = self.recording.as_ref().map(|recording| recording.trace_id());
        let (method, path) = (self.method().map(|method| printable::cut(method.as_str())), self.path());
        let line = Line {
            request_id: self.request_id.to_str().unwrap_or_default(),
            trace_id: recorded.or_else(|| self.traceparent.as_ref().and_then(trace::trace_id)),
            method: method.as_deref(),
            path: path.as_deref(),
            client: self.client,
            route: self.route.as_ref().map(|route| (route.name.as_str(), route.matches.path.as_str())),
            identity_provider: self.identity_provider.as_ref().map(Name::as_str),
            reason: self.reason,
            cause: details.and_then(|details| details.cause.as_deref()),
            error_codes: details.map_or(&[], |details| &details.error_codes),
            cache: self.cache.map(CacheResult::as_str),
            upstream: self.upstream,
            exchange: self.exchange,
            user: user.as_deref(),
            correlation_id: self.correlation_id.as_deref(),
        };
        line.write(status, fault, took);
    }
}

/// The caller hung up: that is counted and logged as what other proxies count it as.
impl Drop for Journey<'_> {
    fn drop(&mut self) {
        if self.ended == Ended::No {
            self.over(CLIENT_CLOSED_REQUEST, Some(Fault::Client));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::UnixTime;

    fn id_for(inbound: &[&str]) -> String {
        let clock = Clock::manual(UnixTime::from_seconds(0));
        let observer = Observer::new(&[], None, &Metrics::new(), clock).unwrap();
        let mut request = http::Request::new(());
        for value in inbound {
            request.headers_mut().append(REQUEST_ID, value.parse().unwrap());
        }
        let journey = observer.begin(&request.into_parts().0, None);
        journey.request_id.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_sane_inbound_id_is_kept_and_any_other_replaced() {
        assert_eq!(id_for(&["abc-123"]), "abc-123");
        let long = "a".repeat(129);
        for inbound in [&[][..], &[""], &["a b"], &[&long], &["a", "a"]] {
            let fresh = id_for(inbound);
            assert!(fresh.len() == 32 && fresh.bytes().all(|byte| byte.is_ascii_hexdigit()), "{fresh}");
        }
    }

    #[test]
    fn no_two_requests_get_the_same_id() {
        let clock = Clock::manual(UnixTime::from_seconds(0));
        let observer = Observer::new(&[], None, &Metrics::new(), clock).unwrap();
        assert_ne!(observer.fresh_id(), observer.fresh_id());
        assert_ne!(id_for(&[]), id_for(&[]));
    }
}
