//! What a test tells the emulated Entra to do for once.

use std::collections::VecDeque;
use std::time::Duration;

use http::HeaderMap;
use http::Response;
use http::StatusCode;
use tokio::sync::watch;

/// What is to happen out of the ordinary.
#[derive(Debug, Default)]
pub struct Script {
    answers: VecDeque<Response<String>>,
    delay: Duration,
    held: Option<watch::Receiver<()>>,
    keys: KeysEndpoint,
}

/// Whether the keys can be fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeysEndpoint {
    /// They can.
    #[default]
    Working,
    /// Metadata and keys are answered with 503.
    Failing,
}

/// Token requests wait until this is dropped.
#[derive(Debug)]
pub struct Hold {
    _gate: watch::Sender<()>,
}

impl Script {
    /// The next `times` token requests are answered with this, whatever they say.
    pub fn answer(&mut self, times: usize, status: StatusCode, headers: HeaderMap, body: impl Into<String>) {
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        self.answers.extend(std::iter::repeat_n(response, times));
    }

    /// Token requests are answered this late from now on.
    pub fn delay(&mut self, delay: Duration) {
        self.delay = delay;
    }

    /// Token requests are not answered while the returned value lives.
    pub fn hold(&mut self) -> Hold {
        let (gate, held) = watch::channel(());
        self.held = Some(held);
        Hold { _gate: gate }
    }

    /// Whether the keys can be fetched from now on.
    pub fn keys(&mut self, keys: KeysEndpoint) {
        self.keys = keys;
    }

    /// What to wait for before a token request is answered.
    pub(super) fn before_token(&self) -> (Duration, Option<watch::Receiver<()>>) {
        (self.delay, self.held.clone())
    }

    /// The answer a token request was to be given.
    pub(super) fn next_answer(&mut self) -> Option<Response<String>> {
        self.answers.pop_front()
    }

    /// Whether the keys can be fetched.
    pub(super) fn keys_endpoint(&self) -> KeysEndpoint {
        self.keys
    }
}
