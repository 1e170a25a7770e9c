//! Callers who do not stop asking, whatever becomes of Redis.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::fleet::Fleet;
use crate::support::fleet::served;
use crate::support::sidecar::Sidecar;

/// How many users call each proxy at the same time.
const USERS: usize = 3;

/// How many calls are made in a session: the first is cold.
const CALLS: usize = 4;

/// Each user calls each proxy, one call after the other, session after session.
pub struct Load {
    is_over: Arc<AtomicBool>,
    callers: JoinSet<Calls>,
}

/// What was called.
#[derive(Debug, Default)]
pub struct Calls {
    pub count: usize,
    pub longest: Duration,
}

impl Load {
    pub fn start(fleet: &Arc<Fleet>, proxies: &[Arc<Sidecar>]) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let callers = proxies.iter().flat_map(|proxy| (0..USERS).map(move |user| (proxy.clone(), user)));
        let callers = callers.map(|(proxy, user)| call(fleet.clone(), proxy, user, is_over.clone()));
        Self { callers: callers.collect(), is_over }
    }

    /// Ends it. A call that failed fails the test.
    pub async fn end(self) -> Calls {
        self.is_over.store(true, Ordering::SeqCst);
        let all = self.callers.join_all().await;
        all.into_iter().fold(Calls::default(), |sum, calls| Calls {
            count: sum.count + calls.count,
            longest: sum.longest.max(calls.longest),
        })
    }
}

async fn call(fleet: Arc<Fleet>, proxy: Arc<Sidecar>, user: usize, is_over: Arc<AtomicBool>) -> Calls {
    let mut calls = Calls::default();
    while !is_over.load(Ordering::SeqCst) {
        let token = fleet.token_of(user, &format!("session-{}", calls.count / CALLS));
        let begun = Instant::now();
        served(&proxy, "/", &token).await;
        calls.longest = calls.longest.max(begun.elapsed());
        calls.count += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    calls
}
