//! A panic costs one request, not the process and not the connection's worker.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::task::Poll;

/// A bug of ours: it costs one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stage panicked")] // with what text, stays out of the log: it may hold anything
pub struct PanicError;

/// What `future` yields, or that it panicked. What it was working on is dropped with it.
pub async fn caught<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Result<T, PanicError> {
    std::future::poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        polled.map_or(Poll::Ready(Err(PanicError)), |poll| poll.map(Ok))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::pipeline::respond::refusal::Refusal;

    #[tokio::test]
    async fn a_panic_is_a_refusal_of_our_own_making() {
        assert_eq!(caught(pin!(async { 1 })).await, Ok(1));
        let panicking = pin!(async {
            tokio::task::yield_now().await;
            if true {
                panic!("of a test");
            }
        });
        let refusal = Refusal::from(caught(panicking).await.unwrap_err());
        assert_eq!(refusal.reason.as_str(), "internal_error");
    }
}
