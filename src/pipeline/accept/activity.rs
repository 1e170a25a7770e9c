//! What a connection is doing, and until when it may go on so.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use http::Uri;
use tokio::time::Instant;

use crate::config::Limits;
use crate::net::tunnel::Tunnel;
use crate::pipeline::accept::Drain;
use crate::pipeline::accept::fragment::Found;

/// Longest time a peer may leave what we write unread.
const WRITE_STALL: Duration = Duration::from_secs(30);

/// What a connection is doing. Kept current by whoever sees it; looked at by one watchdog, so that no timer is
/// touched per request. All sides run in the connection's task: the atomics only make it `Sync`.
#[derive(Debug)]
pub struct Activity {
    opened: Instant,
    limits: Limits,
    protocol: Protocol,
    /// Requests being answered: several at a time in HTTP/2.
    answers: AtomicU64,
    /// A [`Phase`] in the two lowest bits, above them the milliseconds after `opened` at which it began.
    phase: AtomicU64,
    /// 0, or 1 + the milliseconds after `opened` since which a write has made no progress.
    stalled: AtomicU64,
    /// Whether the last request had a body.
    had_body: AtomicBool,
    /// Bodies of requests that were not read to their end.
    unread: AtomicU64,
    /// Whether our side is being shut down.
    closing: AtomicBool,
    /// An [`Upgrading`].
    upgrading: AtomicU8,
    /// Whether a body ended with trailers, in HTTP/1.
    had_trailers: AtomicBool,
    /// Where the bytes go that come after the answer under way.
    tunnel: Mutex<Option<Pending>>,
    /// Whether there are any `fragments`.
    has_fragments: AtomicBool,
    /// Lines that may be those of requests whose target has a fragment.
    fragments: Mutex<Option<Box<Found>>>,
}

/// What became of the wish for another protocol, of which one is asked for at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Upgrading {
    /// There was none, or it is over and done with.
    No,
    /// It was asked for: what comes with the request or before the answer is no request.
    Asked,
    /// Something came all the same that looks like a request.
    Spoilt,
}

/// A tunnel that is to be joined once its announcement is sent.
#[derive(Debug)]
pub struct Pending {
    /// The tunnel.
    pub tunnel: Tunnel,
    /// What ends it early.
    pub drain: Drain,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Requests one after the other.
    Http1,
    /// Requests side by side, and frames that belong to none.
    Http2,
}

/// The bits of a phase.
struct Phase;

impl Phase {
    /// A request head is awaited, and the deadline runs.
    const HEAD: u64 = 0;
    /// Nothing of the next request has come.
    const RESTING: u64 = 1;
    /// A request is being answered.
    const ANSWERING: u64 = 2;
    const BITS: u32 = 2;
}

impl Activity {
    /// Of a connection that was `opened` a moment ago.
    pub fn new(opened: Instant, limits: Limits, protocol: Protocol) -> Arc<Self> {
        Arc::new(Self {
            opened,
            limits,
            protocol,
            answers: AtomicU64::new(0),
            phase: AtomicU64::new(Phase::HEAD),
            stalled: AtomicU64::new(0),
            had_body: AtomicBool::new(false),
            unread: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            upgrading: AtomicU8::new(Upgrading::No as u8),
            had_trailers: AtomicBool::new(false),
            tunnel: Mutex::new(None),
            has_fragments: AtomicBool::new(false),
            fragments: Mutex::new(None),
        })
    }

    /// A request head is complete; until the guard is dropped the request is being answered.
    pub fn answering(self: &Arc<Self>, has_body: bool) -> Answering {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.had_body.store(has_body, Ordering::Relaxed);
        self.enter(Phase::ANSWERING);
        Answering(Arc::clone(self))
    }

    /// The request has a body.
    pub fn began_body(&self) {
        self.unread.fetch_add(1, Ordering::Relaxed);
    }

    /// A body that was begun was read to its end. What in it looked like a request was none.
    pub fn ended_body(&self) {
        self.unread.fetch_sub(1, Ordering::Relaxed);
        self.forget_fragments();
    }

    /// The body under way ends with trailers. In HTTP/1, hyper looks for the carriage return of their last line and takes no
    /// notice of a line feed that others take for it: where they end, and a request begins, is not certain.
    pub fn read_trailers(&self) {
        if self.protocol == Protocol::Http1 {
            self.had_trailers.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the request under way is the last: what follows it may not be one.
    pub fn had_trailers(&self) -> bool {
        self.had_trailers.load(Ordering::Relaxed)
    }

    /// A request asks for another protocol. Until it is known that nothing came with it, nothing can be the next request.
    pub fn asked_for_upgrade(&self) {
        self.upgrading.store(Upgrading::Asked as u8, Ordering::Relaxed);
    }

    /// The answer was another, and nothing came before it was out.
    pub fn upgrade_is_over(&self) {
        self.upgrading.store(Upgrading::No as u8, Ordering::Relaxed);
    }

    /// Whether it is not known that nothing came with a request for another protocol.
    pub fn is_upgrading(&self) -> bool {
        self.upgrading.load(Ordering::Relaxed) != Upgrading::No as u8
    }

    /// What came with a request for another protocol looks like a request.
    pub fn spoil(&self) {
        self.upgrading.store(Upgrading::Spoilt as u8, Ordering::Relaxed);
    }

    /// Whether that was so.
    pub fn is_spoilt(&self) -> bool {
        self.upgrading.load(Ordering::Relaxed) == Upgrading::Spoilt as u8
    }

    /// The answer under way is the last, and `tunnel` is what follows. The connection does not rest any more.
    pub fn hand_over(&self, tunnel: Tunnel, drain: Drain) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(Pending { tunnel, drain });
    }

    /// What follows the last answer, if it is not the end.
    pub fn take_tunnel(&self) -> Option<Pending> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Our side is being shut down.
    pub fn closes(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether a shutdown lingers.
    pub fn lingers(&self) -> bool {
        self.had_body.load(Ordering::Relaxed)
    }

    /// Whether our side was shut down, or is being.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Whether the target of a request that looks like this one has a fragment.
    pub fn has_fragment(&self, method: &Method, target: &Uri) -> bool {
        self.has_fragments.load(Ordering::Relaxed)
            && self.fragments().as_ref().is_some_and(|fragments| fragments.has(method, target))
    }

    /// All that was read was understood: what comes is another request.
    pub fn forget_fragments(&self) {
        if self.has_fragments.swap(false, Ordering::Relaxed) {
            *self.fragments() = None;
        }
    }

    /// These may be requests whose target has a fragment.
    pub fn found_fragments(&self, found: &Found) {
        self.fragments().get_or_insert_default().extend(found);
        self.has_fragments.store(true, Ordering::Relaxed);
    }

    fn fragments(&self) -> MutexGuard<'_, Option<Box<Found>>> {
        self.fragments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes may be on their way that nobody is going to read: a shutdown lingers.
    pub fn expects_more(&self) {
        self.had_body.store(true, Ordering::Relaxed);
    }

    /// Whether all bodies that were begun were read to their end.
    pub fn is_out_of_bodies(&self) -> bool {
        self.unread.load(Ordering::Relaxed) == 0
    }

    /// What is spoken.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether a request was read to its end and its answer written, and nothing of the next has come: the connection
    /// may go on as if it were new. A body given up half way leaves no such moment.
    pub fn is_between_requests(&self) -> bool {
        self.is_resting() && self.is_out_of_bodies() && !self.is_stalled() && !self.is_closing()
    }

    /// Whether the peer does not read: the last write made no progress. When that is over, whoever writes is woken.
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed) != 0
    }

    /// Whether nothing of the next request has come.
    pub fn is_resting(&self) -> bool {
        self.is_in(Phase::RESTING)
    }

    fn is_in_head(&self) -> bool {
        self.is_in(Phase::HEAD)
    }

    fn is_in(&self, phase: u64) -> bool {
        self.phase.load(Ordering::Relaxed) & ((1 << Phase::BITS) - 1) == phase
    }

    /// Since when it has been doing what it does.
    pub fn since(&self) -> Instant {
        self.moment(self.phase.load(Ordering::Relaxed) >> Phase::BITS)
    }

    /// When the connection's time is up, if things stay as they are.
    pub fn deadline(&self) -> Option<Instant> {
        let phase = self.phase.load(Ordering::Relaxed);
        let since = self.since();
        let of_phase = match phase & ((1 << Phase::BITS) - 1) {
            Phase::HEAD => since.checked_add(self.limits.header_timeout),
            Phase::RESTING => since.checked_add(self.limits.idle_timeout),
            _ => None,
        };
        let of_write = self
            .stalled
            .load(Ordering::Relaxed)
            .checked_sub(1)
            .and_then(|since| self.moment(since).checked_add(longest_stall(self.limits)));
        [of_phase, of_write].into_iter().flatten().min()
    }

    /// When to look again, at the latest: a phase that begins in between is not overrun.
    pub fn next_look(&self) -> Instant {
        let Limits { header_timeout, idle_timeout, .. } = self.limits;
        let latest = Instant::now() + header_timeout.min(idle_timeout).min(WRITE_STALL);
        self.deadline().map_or(latest, |deadline| deadline.min(latest))
    }

    /// Bytes have come. In HTTP/2 they need not be of a request: a peer that only sends PINGs goes on resting.
    pub fn received(&self) {
        if self.protocol == Protocol::Http1 && self.is_resting() {
            self.enter(Phase::HEAD);
        }
    }

    /// Something was written, or could not be. Whether a stall is over by that.
    pub fn wrote(&self, progress: bool) -> bool {
        if self.protocol == Protocol::Http1 && self.is_in_head() {
            // hyper answers a head itself, of which it has read no more than it could bear
            self.expects_more();
        }
        let was_stalled = self.is_stalled();
        if progress && was_stalled {
            self.stalled.store(0, Ordering::Relaxed);
        } else if !progress && !was_stalled {
            self.stalled.store(self.elapsed().saturating_add(1), Ordering::Relaxed);
        }
        progress && was_stalled
    }

    fn enter(&self, phase: u64) {
        self.phase.store(self.elapsed() << Phase::BITS | phase, Ordering::Relaxed);
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX >> Phase::BITS)
    }

    fn moment(&self, elapsed: u64) -> Instant {
        self.opened + Duration::from_millis(elapsed)
    }
}

/// How long a peer may leave unread what there is for it.
pub fn longest_stall(limits: Limits) -> Duration {
    limits.idle_timeout.min(WRITE_STALL)
}

/// A request is being answered until this is dropped.
#[derive(Debug)]
pub struct Answering(Arc<Activity>);

impl Answering {
    /// What the connection is doing.
    pub fn activity(&self) -> &Activity {
        &self.0
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if self.0.answers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.enter(Phase::RESTING);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;

    use crate::pipeline::accept::noted::Noted;

    use super::*;

    fn limits() -> Limits {
        Limits {
            connections: 1,
            header_bytes: 8192,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
        }
    }

    fn left(activity: &Activity) -> Option<Duration> {
        activity.deadline().map(|deadline| deadline - Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_deadline() {
        let activity = Activity::new(Instant::now(), limits(), Protocol::Http1);
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Noted::new(near, Arc::clone(&activity));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(left(&activity), Some(Duration::from_secs(7)), "the first head is awaited from the start");
        far.write_all(b"GET").await.unwrap();
        near.read_exact(&mut [0; 3]).await.unwrap();
        assert_eq!(left(&activity), Some(Duration::from_secs(7)), "a byte more is no time more");

        let answering = activity.answering(false);
        tokio::time::advance(Duration::from_secs(1000)).await;
        far.write_all(b"x").await.unwrap();
        near.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!(left(&activity), None);

        drop(answering);
        assert_eq!(left(&activity), Some(Duration::from_secs(90)));
        tokio::time::advance(Duration::from_secs(80)).await;
        far.write_all(b"G").await.unwrap();
        near.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!(left(&activity), Some(Duration::from_secs(10)), "the first byte of the next head counts");
    }

    #[tokio::test(start_paused = true)]
    async fn an_http_2_connection_rests_only_when_its_last_answer_is_done() {
        let activity = Activity::new(Instant::now(), limits(), Protocol::Http2);
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Noted::new(near, Arc::clone(&activity));
        let (first, second) = (activity.answering(false), activity.answering(false));
        drop(first);
        assert_eq!(left(&activity), None);
        drop(second);
        far.write_all(b"ping").await.unwrap();
        near.read_exact(&mut [0; 4]).await.unwrap();
        assert_eq!(left(&activity), Some(Duration::from_secs(90)), "a frame is not a request");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_nobody_reads_has_a_deadline() {
        let activity = Activity::new(Instant::now(), limits(), Protocol::Http1);
        let (near, mut far) = tokio::io::duplex(4);
        let mut near = Noted::new(near, Arc::clone(&activity));
        let _answering = activity.answering(false);
        near.write_all(b"full").await.unwrap();
        assert_eq!(left(&activity), None);
        let blocked = tokio::time::timeout(Duration::from_secs(20), near.write_all(b"more")).await;
        assert!(blocked.is_err());
        assert_eq!(left(&activity), Some(Duration::from_secs(10)));
        far.read_exact(&mut [0; 4]).await.unwrap();
        near.write_all(b"more").await.unwrap();
        assert_eq!(left(&activity), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_looks_again_before_any_new_phase_could_end() {
        let activity = Activity::new(Instant::now(), limits(), Protocol::Http1);
        let _answering = activity.answering(false);
        assert_eq!(activity.next_look() - Instant::now(), Duration::from_secs(10));
    }
}
