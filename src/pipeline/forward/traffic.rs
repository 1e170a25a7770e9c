//! What moved when in one exchange with an upstream, and until when to wait for more.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timeouts;
use crate::net::BoxError;
use crate::pipeline::forward::body::Cut;
use crate::pipeline::forward::pace::GRACE;
use crate::pipeline::forward::pace::Pace;

/// What moved when. Both bodies and the one who waits for the answer share it; it is written without a lock but
/// when a body breaks.
#[derive(Debug)]
pub struct Traffic {
    began: Instant,
    timeouts: Timeouts,
    /// Milliseconds after `began` at which a byte last moved, either way.
    moved: AtomicU64,
    /// 0, or 1 + the milliseconds after `began` at which the caller's body was sent to its end.
    uploaded: AtomicU64,
    /// Whether it is the caller that we wait for, not the upstream, and how long it was.
    pace: Pace,
    broke: Mutex<Option<BoxError>>,
}

/// What did not happen in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The upstream's answer, though it has the whole request.
    Answer,
    /// The upstream's reading of the request.
    Upstream,
    /// More of the caller's body.
    Caller,
}

impl Traffic {
    /// Of an exchange that begins now.
    pub fn new(timeouts: Timeouts) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            timeouts,
            moved: AtomicU64::new(0),
            uploaded: AtomicU64::new(0),
            pace: Pace::default(),
            broke: Mutex::new(None),
        })
    }

    /// When to look at it for the first time.
    pub fn first_look(&self) -> Instant {
        let soonest = self.timeouts.response.min(self.timeouts.idle);
        self.began + if self.pace.is_expected() { soonest.min(GRACE) } else { soonest }
    }

    /// A byte moved.
    pub fn moved(&self) {
        self.moved.store(self.elapsed(), Ordering::Relaxed);
    }

    /// There is no body: the answer is awaited from the beginning.
    pub fn has_nothing_to_upload(&self) {
        self.uploaded.store(1, Ordering::Relaxed);
    }

    /// The caller's body was sent to its end, or is not wanted any more. Only the first time counts.
    pub fn uploaded(&self) {
        if self.uploaded.load(Ordering::Relaxed) != 0 {
            return;
        }
        let now = self.elapsed().saturating_add(1);
        // a failure means that it was noted before
        let _ = self.uploaded.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The length of the caller's body is known: it must come in time.
    pub fn expects_pace(&self) {
        self.pace.expect();
    }

    /// The caller was asked for more of its body, and had none yet.
    pub fn awaits_caller(&self) {
        if !self.pace.is_waiting() {
            self.pace.awaits(self.elapsed());
        }
    }

    /// So many bytes of the caller's body came.
    pub fn came(&self, bytes: usize) {
        let now = self.elapsed();
        self.moved.store(now, Ordering::Relaxed);
        self.pace.came(bytes, now);
    }

    /// The caller's body broke.
    pub fn broke(&self, error: BoxError) {
        *self.broke.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// What broke the caller's body, if anything did.
    pub fn breakage(&self) -> Option<BoxError> {
        self.broke.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// When it will have been idle for too long.
    fn idle_deadline(&self) -> Instant {
        self.moment(self.moved.load(Ordering::Relaxed)) + self.timeouts.idle
    }

    /// When to look again while the answer is awaited.
    ///
    /// # Errors
    /// If something should have happened by now.
    pub fn next_look(&self) -> Result<Instant, Late> {
        let now = Instant::now();
        let (deadline, late) = match self.uploaded.load(Ordering::Relaxed).checked_sub(1) {
            Some(uploaded) => (self.moment(uploaded) + self.timeouts.response, Late::Answer),
            None if self.pace.is_over(self.elapsed()) => return Err(Late::Caller),
            None if self.pace.is_waiting() => (self.idle_deadline(), Late::Caller),
            None => (self.idle_deadline(), Late::Upstream),
        };
        if deadline <= now {
            return Err(late);
        }
        // soon enough for a wait that begins in between
        Ok(self.paced(deadline.min(now + self.timeouts.response.min(self.timeouts.idle))))
    }

    /// When to look again while more of the answer is awaited.
    pub fn next_look_at_body(&self) -> Instant {
        self.paced(self.idle_deadline())
    }

    /// Why the answer is not to go on, if it is not.
    pub fn late_body(&self, now: Instant) -> Option<Cut> {
        if self.is_uploading() && self.pace.is_over(self.elapsed()) {
            return Some(Cut::SlowCaller);
        }
        (self.idle_deadline() <= now).then_some(Cut::Idle)
    }

    /// `look`, or sooner if the caller may be found too slow before.
    fn paced(&self, look: Instant) -> Instant {
        if !self.pace.is_expected() || !self.is_uploading() {
            return look;
        }
        let next = self.pace.next_look(self.elapsed());
        next.map_or(look, |next| look.min(Instant::now() + next))
    }

    fn is_uploading(&self) -> bool {
        self.uploaded.load(Ordering::Relaxed) == 0
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn moment(&self, elapsed: u64) -> Instant {
        self.began + Duration::from_millis(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: Duration = Duration::from_secs(30);
    const IDLE: Duration = Duration::from_secs(90);

    fn traffic() -> Arc<Traffic> {
        Traffic::new(Timeouts { response: RESPONSE, idle: IDLE })
    }

    /// Looks again and again, as the waiting side does, until something is late.
    async fn first_late(traffic: &Traffic) -> (Late, Duration) {
        loop {
            match traffic.next_look() {
                Ok(next) => tokio::time::sleep_until(next).await,
                Err(late) => return (late, traffic.began.elapsed()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_awaited_from_the_end_of_the_upload() {
        let traffic = traffic();
        let uploading = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(60)).await;
                traffic.moved();
            }
            traffic.uploaded();
        };
        let ((late, when), ()) = tokio::join!(first_late(&traffic), uploading);
        assert_eq!((late, when), (Late::Answer, Duration::from_secs(600) + RESPONSE));
    }

    #[tokio::test(start_paused = true)]
    async fn who_stalls_an_upload_is_told_apart() {
        for (awaits_caller, expected) in [(true, Late::Caller), (false, Late::Upstream)] {
            let traffic = traffic();
            tokio::time::advance(Duration::from_secs(20)).await;
            traffic.moved();
            if awaits_caller {
                traffic.awaits_caller();
            }
            let (late, when) = first_late(&traffic).await;
            assert_eq!((late, when), (expected, Duration::from_secs(20) + IDLE));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_upload_later_does_not_restart_the_wait() {
        let traffic = traffic();
        traffic.uploaded();
        tokio::time::advance(Duration::from_secs(29)).await;
        traffic.uploaded();
        assert_eq!(first_late(&traffic).await, (Late::Answer, RESPONSE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_known_length_must_come_at_a_pace_until_it_is_there() {
        let seconds = Duration::from_secs;
        for (bytes, is_known, expected) in [
            (0, true, Some((Late::Caller, seconds(10)))),
            (512, true, Some((Late::Caller, seconds(19)))),
            (1024, true, None),
            (1, false, None),
        ] {
            let traffic = traffic();
            if is_known {
                traffic.expects_pace();
            }
            let uploading = async {
                for _ in 0..100 {
                    traffic.awaits_caller();
                    tokio::time::sleep(seconds(1)).await;
                    traffic.came(bytes);
                }
            };
            let late = tokio::select! {
                biased;
                late = first_late(&traffic) => Some(late),
                () = uploading => None,
            };
            let rounded = late.map(|(late, when)| (late, seconds(when.as_secs())));
            assert_eq!(rounded, expected, "{bytes}");
            traffic.uploaded();
            assert_eq!(traffic.late_body(Instant::now()), None, "it is there");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_has_begun_is_cut_where_the_body_does_not_come() {
        let traffic = traffic();
        traffic.expects_pace();
        traffic.awaits_caller();
        tokio::time::sleep_until(traffic.next_look_at_body()).await;
        assert_eq!(traffic.late_body(Instant::now()), Some(Cut::SlowCaller));
        assert_eq!(traffic.began.elapsed(), GRACE);
    }
}
