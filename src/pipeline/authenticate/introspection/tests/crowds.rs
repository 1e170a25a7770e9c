//! One token's trouble is not another's, and an issuer in trouble is not made to have more.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use serde_json::json;

use crate::pipeline::authenticate::Kind;
use crate::pipeline::authenticate::introspection::Fault;
use crate::pipeline::authenticate::introspection::MOST_QUESTIONS;
use crate::pipeline::authenticate::introspection::tests::Running;
use crate::pipeline::authenticate::introspection::tests::SECOND;
use crate::pipeline::authenticate::introspection::tests::partners;
use crate::pipeline::authenticate::testing::name;

#[tokio::test]
async fn a_token_that_the_issuer_chokes_on_keeps_no_other_waiting() {
    let running = Running::saying(json!({})).await;
    for status in [400, 403, 413, 414, 431] {
        running.server.replies(status, &[], "");
        assert_eq!(running.refused("odd").await, Some(Kind::Misconfigured), "{status}");
        running.says(json!({}));
        assert_eq!(running.refused(&format!("good-{status}")).await, None, "{status}");
    }
}

#[tokio::test]
async fn an_issuer_that_asks_to_wait_is_left_alone_whatever_else_it_answers() {
    let running = Running::saying(json!({})).await;
    let introspector =
        running.authenticator.provider(&name("partner")).unwrap().introspector.clone().unwrap();
    let shared = &introspector.shared;
    shared.rest(Fault::Throttled { retry_after: Duration::from_secs(20) });
    shared.rest(Fault::Refused);
    shared.rest(Fault::Failed);
    running.clock.advance(Duration::from_secs(19));
    let throttled = Some(Kind::IdpThrottled { retry_after: Duration::from_secs(20) });
    assert_eq!(running.refused("opaque").await, throttled);
    running.clock.advance(SECOND);
    assert_eq!(running.refused("opaque").await, None);
}

#[tokio::test]
async fn those_who_hang_up_leave_no_crowd_of_questions_behind() {
    let running = Running::saying(json!({})).await;
    running.server.close_gate();
    let policy = partners();
    for number in 0..MOST_QUESTIONS + 10 {
        let token = format!("token-{number}");
        let mut hanging = std::pin::pin!(running.caller(&token, &policy));
        let polled = poll_fn(|cx| Poll::Ready(hanging.as_mut().poll(cx))).await;
        assert_eq!(polled.is_ready(), number >= MOST_QUESTIONS, "{number}");
    }
    assert_eq!(running.refused("more").await, Some(Kind::IdpUnavailable { retry_after: SECOND }));
    running.server.open_gate();
    while running.refused("more").await.is_some() {
        tokio::task::yield_now().await;
    }
}
