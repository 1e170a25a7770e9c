//! What goes wrong on purpose, and when: by this a refusal is explained, or is not.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// A fault of others that the proxy lives with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Token requests are answered late, and well.
    IdpSlow,
    /// They are answered with 503.
    IdpUnavailable,
    /// They are answered with 429 and `Retry-After`.
    IdpThrottles,
    /// Connections to the identity provider are reset.
    IdpResets,
    /// They stand still for longer than the proxy waits.
    IdpStandsStill,
    /// Keys cannot be fetched.
    KeysGone,
    /// The identity provider does not know the certificate in our files.
    WrongCredential,
    /// It has withdrawn the key that callers' tokens are signed with, of which the proxy has not heard.
    WithdrawnKey,
    /// Connections to the upstream are reset.
    UpstreamResets,
    /// What it says is late.
    UpstreamSlow,
    /// The shared cache is killed, and comes back empty.
    RedisRestarts,
    /// It stands still.
    RedisStandsStill,
    /// A configuration is wrong.
    BadConfiguration,
}

impl Fault {
    pub const ALL: [Self; 13] = [
        Self::IdpSlow,
        Self::IdpUnavailable,
        Self::IdpThrottles,
        Self::IdpResets,
        Self::IdpStandsStill,
        Self::KeysGone,
        Self::WrongCredential,
        Self::WithdrawnKey,
        Self::UpstreamResets,
        Self::UpstreamSlow,
        Self::RedisRestarts,
        Self::RedisStandsStill,
        Self::BadConfiguration,
    ];
}

/// All that keep a new token from being had.
pub const IDP: [Fault; 6] = [
    Fault::IdpUnavailable,
    Fault::IdpThrottles,
    Fault::IdpResets,
    Fault::IdpStandsStill,
    Fault::KeysGone,
    Fault::WrongCredential,
];

/// All of the upstream's.
pub const UPSTREAM: [Fault; 2] = [Fault::UpstreamResets, Fault::UpstreamSlow];

impl Fault {
    /// For how long what it did may still be seen: breakers ask once a second, second tries take one and a half.
    fn aftermath(self) -> Duration {
        match self {
            Self::UpstreamResets | Self::UpstreamSlow => Duration::from_secs(1),
            // keys are fetched every twenty seconds
            Self::WithdrawnKey => Duration::from_secs(25),
            // that we are not known is remembered for half a minute
            Self::WrongCredential => Duration::from_secs(35),
            _ => Duration::from_secs(5),
        }
    }
}

/// When there was which.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Window>>>);

#[derive(Clone, Copy)]
struct Window {
    fault: Fault,
    begun: Instant,
    ended: Option<Instant>,
}

/// One that goes on until this is dropped.
pub struct Ongoing {
    faults: Faults,
    at: usize,
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.faults.0.lock().unwrap()[self.at].ended = Some(Instant::now());
    }
}

impl Faults {
    pub fn begin(&self, fault: Fault) -> Ongoing {
        let mut windows = self.0.lock().unwrap();
        windows.push(Window { fault, begun: Instant::now(), ended: None });
        Ongoing { faults: self.clone(), at: windows.len() - 1 }
    }

    /// One of these that was there, or whose aftermath was, at some time since `begun`.
    pub fn since(&self, begun: Instant, of: &[Fault]) -> Option<Fault> {
        let windows = self.0.lock().unwrap();
        let is_over =
            |window: &Window| window.ended.is_some_and(|ended| ended + window.fault.aftermath() < begun);
        // none lasts for as long as sixty others
        let mut last = windows.iter().rev().take(60).filter(|window| of.contains(&window.fault));
        last.find(|window| !is_over(window)).map(|window| window.fault)
    }

    /// Whether one of these was there at that time, or its aftermath.
    pub fn at(&self, time: Instant, of: &[Fault]) -> bool {
        let windows = self.0.lock().unwrap();
        windows.iter().any(|window| {
            let is_over = window.ended.is_some_and(|ended| ended + window.fault.aftermath() < time);
            of.contains(&window.fault) && window.begun <= time && !is_over
        })
    }

    /// How many there were of each kind.
    pub fn count(&self, fault: Fault) -> usize {
        self.0.lock().unwrap().iter().filter(|window| window.fault == fault).count()
    }
}
