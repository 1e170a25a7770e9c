//! What becomes of a request body that nobody wanted: a little of it is read, so that the connection can go on and the
//! caller, who may still be sending, gets to read the answer.

use std::time::Duration;

use http_body::Body;
use http_body_util::BodyExt;
use http_body_util::Limited;

use crate::net::BoxError;

/// Most of a body that is read for nothing.
const MOST: usize = 64 * 1024;
/// How long it may take to come.
const LONGEST: Duration = Duration::from_secs(5);

/// Reads `body` to its end, up to 64 KiB. What is dropped unread makes hyper close the connection after the answer, so
/// that the rest is never taken for a request.
pub async fn drain<B>(body: B)
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    let mut body = Limited::new(body, MOST);
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    // too slow is as good as too long
    let _ = tokio::time::timeout(LONGEST, read).await;
}
