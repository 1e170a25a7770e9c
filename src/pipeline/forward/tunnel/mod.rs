//! A WebSocket between a caller and an upstream.
//!
//! **In:** both connections, at the first byte after their handshake, and the terms. **Out:** the same bytes, both ways.
//! **Never:** holds more than one read of a direction; cuts a frame in two, unless it goes on for too long.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::Sleep;

use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::net::tunnel::Duplex;
use crate::net::tunnel::Far;
use crate::pipeline::forward::tunnel::flow::Flow;
use crate::pipeline::forward::websocket::Close;
use crate::pipeline::forward::websocket::GOING_AWAY;
use crate::pipeline::forward::websocket::TOKEN_ENDED;

mod flow;

/// How long both sides have, once it is to end, to finish their frames and to close.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a caller may leave unread what there is for it, while it goes on sending.
const LONGEST_STALL: Duration = Duration::from_secs(30);
/// How long to trust that the wall clock goes as fast as ours.
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// When a token lets nobody in any more.
#[derive(Clone, Debug)]
pub struct Expiry {
    /// The moment.
    pub at: UnixTime,
    /// By this clock.
    pub clock: Clock,
}

impl Expiry {
    /// How long until then.
    fn left(&self) -> Duration {
        let at = Duration::from_secs(u64::try_from(self.at.as_seconds()).unwrap_or(0));
        at.saturating_sub(self.clock.since_epoch())
    }
}

/// How long a WebSocket may go on.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Without a byte either way.
    pub idle: Duration,
    /// In any case.
    pub expiry: Option<Expiry>,
}

/// The upstream's side of a WebSocket.
pub struct WebSocketFar<U> {
    upstream: U,
    terms: Terms,
}

impl<U: Duplex + 'static> WebSocketFar<U> {
    /// Of a connection that is one from its next byte on.
    pub fn new(upstream: U, terms: Terms) -> Self {
        Self { upstream, terms }
    }
}

impl<U: Duplex + 'static> Far for WebSocketFar<U> {
    fn join(
        self: Box<Self>,
        near: Box<dyn Duplex>,
        leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Self { upstream, terms } = *self;
        let now = Instant::now();
        let look = terms.next_look(now, now);
        Box::pin(Joined {
            caller: near,
            upstream,
            up: Flow::default(),
            down: Flow::default(),
            moved: now,
            terms,
            leaving: Some(leaving),
            alarm: Box::pin(tokio::time::sleep_until(look)),
        })
    }
}

impl Terms {
    fn next_look(&self, moved: Instant, now: Instant) -> Instant {
        let idle = moved + self.idle;
        match &self.expiry {
            Some(expiry) => idle.min(now + expiry.left().min(LONGEST_LOOK)),
            None => idle,
        }
    }
}

/// Both sides of a WebSocket. As a future: until it is over.
struct Joined<U> {
    caller: Box<dyn Duplex>,
    upstream: U,
    up: Flow,
    down: Flow,
    /// When a byte last did.
    moved: Instant,
    terms: Terms,
    /// Resolves when it is to end. `None` = it is ending.
    leaving: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// When to look at the terms, or when it is cut.
    alarm: Pin<Box<Sleep>>,
}

impl<U> Joined<U> {
    fn is_ending(&self) -> bool {
        self.leaving.is_none()
    }

    /// Ends both directions, each when its frame is over.
    fn end(&mut self, close: Close) {
        let mut key = [0; 4];
        // what is masked is known to everyone: a key of zeros is as good where there is no other
        let _ = aws_lc_rs::rand::fill(&mut key);
        self.up.end(close.masked_frame(key));
        self.down.end(close.frame());
        self.leaving = None;
        self.alarm.as_mut().reset(Instant::now() + FAREWELL);
    }

    /// Looks at the terms when it is time to. Ready if nothing may go on.
    fn poll_terms(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.leaving.as_mut().is_some_and(|leaving| leaving.as_mut().poll(cx).is_ready()) {
            self.end(GOING_AWAY);
        }
        let stalled = self.down.stalled().map(|since| since + LONGEST_STALL);
        if let Some(end) = stalled.filter(|end| *end < self.alarm.deadline()) {
            self.alarm.as_mut().reset(end);
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let is_stalled = stalled.is_some_and(|end| end <= now);
            if self.is_ending() || is_stalled || self.moved + self.terms.idle <= now {
                return Poll::Ready(());
            }
            if self.terms.expiry.as_ref().is_some_and(|expiry| expiry.left().is_zero()) {
                self.end(TOKEN_ENDED);
            } else {
                let look = self.terms.next_look(self.moved, now);
                self.alarm.as_mut().reset(stalled.map_or(look, |end| end.min(look)));
            }
        }
        Poll::Pending
    }
}

impl<U: Duplex> Future for Joined<U> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut moved = false;
        let up = this.up.poll(cx, &mut this.caller, &mut this.upstream, &mut moved);
        let down = this.down.poll(cx, &mut this.upstream, &mut this.caller, &mut moved);
        if moved {
            this.moved = Instant::now();
        }
        match (up, down) {
            // the other side learns of it by the end of its own connection
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(()),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(()),
            _ => {}
        }
        let was_ending = this.is_ending();
        let over = this.poll_terms(cx);
        if this.is_ending() != was_ending {
            cx.waker().wake_by_ref();
        }
        over
    }
}

#[cfg(test)]
mod tests;
