//! Where HTTP/2 requests are answered: each in a task of its own, which ends when the caller leaves its answer unread. The windows
//! of HTTP/2 (RFC 9113 section 5.2) stop one stream while its connection goes on, so that the connection does not show it.

use std::cell::Cell;
use std::pin::Pin;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::Instant;
use tokio::time::Sleep;

thread_local! {
    /// What the stream that is being polled on this thread last did with its answer.
    static LAST: Cell<Asked> = const { Cell::new(Asked::Nothing) };
}

/// What a stream asked of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It did not ask.
    Nothing,
    /// It asked for more, and there is none yet.
    Waits,
    /// It got some. Who takes it asks for more at once.
    Got,
}

impl Asked {
    /// Notes that a part of an answer was asked for, with that outcome.
    pub fn note<T>(polled: &Poll<T>) {
        LAST.set(if polled.is_pending() { Self::Waits } else { Self::Got });
    }
}

/// Runs the streams of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    longest_stall: Duration,
}

impl Streams {
    /// An answer may be left unread for so long.
    pub fn new(longest_stall: Duration) -> Self {
        Self { longest_stall }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::spawn(unless_stalled(stream, self.longest_stall));
    }
}

/// Goes on with `stream` until it ends, or its caller has not taken for so long what it got. To drop it resets it.
async fn unless_stalled(stream: impl Future<Output = ()>, longest: Duration) {
    let mut stream = pin!(stream);
    let mut stall = Stall { since: None, alarm: None, longest };
    std::future::poll_fn(|cx| {
        LAST.set(Asked::Nothing);
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match LAST.get() {
            Asked::Nothing => {}
            Asked::Waits => stall.since = None,
            Asked::Got => stall.since = Some(Instant::now()),
        }
        stall.poll_over(cx)
    })
    .await;
}

/// How long a caller has not taken what there is for it.
struct Stall {
    since: Option<Instant>,
    /// Made at the first stall. It is not moved by each, but set again when it rings too early.
    alarm: Option<Pin<Box<Sleep>>>,
    longest: Duration,
}

impl Stall {
    /// Ready when it has lasted for too long.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(until) = self.since.map(|since| since + self.longest) else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        loop {
            ready!(alarm.as_mut().poll(cx));
            if until <= Instant::now() {
                tracing::debug!("a stream's answer is not read: it is reset");
                return Poll::Ready(());
            }
            alarm.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    /// A stream that does one thing a second with its answer, and how long it went on.
    async fn lasts(script: &[Asked]) -> Duration {
        let began = Instant::now();
        let stream = async {
            for asked in script {
                let mut asked = Some(*asked);
                let mut pause = pin!(tokio::time::sleep(Duration::from_secs(1)));
                std::future::poll_fn(|cx| {
                    match asked.take() {
                        Some(Asked::Waits) => Asked::note(&Poll::<()>::Pending),
                        Some(Asked::Got) => Asked::note(&Poll::Ready(())),
                        Some(Asked::Nothing) | None => {}
                    }
                    pause.as_mut().poll(cx)
                })
                .await;
            }
        };
        unless_stalled(stream, LONGEST).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_got_and_is_not_taken_is_a_stall() {
        use Asked::Got;
        use Asked::Nothing;
        use Asked::Waits;
        let seconds = Duration::from_secs;
        let with = |first: &[Asked], then: Asked, times| [first, &vec![then; times]].concat();
        assert_eq!(lasts(&with(&[], Nothing, 100)).await, seconds(100), "its answer is not there yet");
        assert_eq!(lasts(&with(&[Waits], Nothing, 99)).await, seconds(100), "the upstream is slow");
        assert_eq!(lasts(&with(&[], Got, 100)).await, seconds(100), "a part a second is taken");
        assert_eq!(lasts(&with(&[Got], Nothing, 99)).await, LONGEST);
        assert_eq!(lasts(&with(&[Got, Got, Waits, Got, Got], Nothing, 99)).await, seconds(4) + LONGEST);
        assert_eq!(lasts(&with(&[Got, Nothing, Nothing, Waits], Nothing, 99)).await, seconds(103));
        assert_eq!(lasts(&with(&[Got], Nothing, 28)).await, seconds(29), "its end came in time");
    }
}
