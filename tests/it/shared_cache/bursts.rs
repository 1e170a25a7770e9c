//! A morning: everybody comes at once.

use std::sync::Arc;

use crate::support::fleet::Fleet;
use crate::support::fleet::lookups;
use crate::support::redis::Redis;

/// So many that not all of them get their answer from Redis within the 50 ms that each is given.
const USERS: usize = 1500;

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_finds_what_is_there() {
    let redis = Redis::start();
    let fleet = Arc::new(Fleet::around(&format!("url: \"{}\"", redis.url())).await);
    let first = fleet.proxy().await;
    for start in (0..USERS).step_by(50) {
        fleet.serves_all(&first, start..start + 50).await;
    }
    let second = fleet.hasty_proxy().await;
    fleet.serves_all(&second, 0..USERS).await;
    // whoever waits too long is on their own, and does not take the connection from the others
    let hits = lookups(&second).await.hits;
    assert!(hits > 1000, "{hits} of {USERS}\n{}", second.proxy.log());
}
