//! What moved when in one exchange with an upstream, and until when to wait for more.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Timeouts;
use crate::net::BoxError;

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
    /// Whether it is the caller that we wait for, not the upstream.
    awaits_caller: AtomicBool,
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
            awaits_caller: AtomicBool::new(false),
            broke: Mutex::new(None),
        })
    }

    /// When to look at it for the first time.
    pub fn first_look(&self) -> Instant {
        self.began + self.timeouts.response.min(self.timeouts.idle)
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

    /// The caller was asked for more of its body, and had none yet or had some.
    pub fn asked_caller(&self, had_none: bool) {
        self.awaits_caller.store(had_none, Ordering::Relaxed);
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
    pub fn idle_deadline(&self) -> Instant {
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
            None if self.awaits_caller.load(Ordering::Relaxed) => (self.idle_deadline(), Late::Caller),
            None => (self.idle_deadline(), Late::Upstream),
        };
        if deadline <= now {
            return Err(late);
        }
        // soon enough for a wait that begins in between
        Ok(deadline.min(now + self.timeouts.response.min(self.timeouts.idle)))
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
        for (had_none, expected) in [(true, Late::Caller), (false, Late::Upstream)] {
            let traffic = traffic();
            tokio::time::advance(Duration::from_secs(20)).await;
            traffic.moved();
            traffic.asked_caller(had_none);
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
}
