//! The way to Redis fails: no request fails for it, none waits long, nobody gets another's token, and when all is well again
//! tokens are shared again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::faults::network::NEAR;
use crate::faults::network::Network;
use crate::faults::network::Plan;
use crate::support::fleet::lookups;
use crate::support::fleet::served;
use crate::support::relay::CLEAR;
use crate::support::relay::Conduct;
use crate::support::relay::Fault;
use crate::support::until;

/// No request takes longer, whatever Redis does: it is given 50 ms. The rest is for a machine that is busy.
const BUDGET: Duration = Duration::from_secs(2);

/// What is done to the way.
const CASES: [(&str, Conduct); 14] = [
    ("reset", Conduct::both(Fault::ResetNow)),
    ("reset before the answer", Conduct::down(Fault::Reset(0))),
    ("reset within the question", Conduct::up(Fault::Reset(20))),
    ("cut before the answer", Conduct::down(Fault::Cut(0))),
    ("cut within the length of an answer", Conduct::down(Fault::Cut(2))),
    ("cut in the middle of an answer", Conduct::down(Fault::Cut(100))),
    ("half closed before the answer", Conduct::down(Fault::HalfClose(0))),
    ("half closed within the question", Conduct::up(Fault::HalfClose(20))),
    ("half open", Conduct::both(Fault::Stall(0))),
    ("held up in the middle of an answer", Conduct::down(Fault::Stall(100))),
    ("five seconds late", Conduct::down(Fault::Late(Duration::from_secs(5)))),
    ("byte by byte", Conduct::down(Fault::Drip(Duration::from_millis(20)))),
    ("the first byte of an answer is another", Conduct::down(Fault::Garble(0))),
    ("a byte in the middle is another", Conduct::down(Fault::Garble(100))),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_way_costs_no_request_and_little_time() {
    let network = Arc::new(Network::start(Plan { with_redis: true, ..Plan::default() }).await);
    let (_, relay) = network.redis.as_ref().unwrap();
    let cached = network.token(1);
    let first = network.serves(&cached).await;
    for (of, conduct) in CASES {
        until_shared(&network).await;
        let before = network.exchanges();
        relay.all(conduct);
        for _ in 0..4 {
            let stranger = network.stranger();
            let asked = Instant::now();
            network.serves(&stranger).await;
            assert!(asked.elapsed() < BUDGET, "{of}: {:?}", asked.elapsed());
            // whose token is in memory does not notice
            assert_eq!(network.serves(&cached).await, first, "{of}");
        }
        assert_eq!(network.exchanges() - before, 4, "{of}");
        relay.all(CLEAR);
    }
    until_shared(&network).await;
    let log = network.proxy.proxy.log();
    assert!(!log.contains("panicked") && !log.contains("eyJ"), "{log}");
}

/// Waits until Redis answers the proxy again.
async fn until_shared(network: &Network) {
    until("Redis answers the proxy", async || {
        let before = lookups(&network.proxy).await;
        served(&network.proxy, NEAR, &network.stranger()).await;
        lookups(&network.proxy).await.misses > before.misses
    })
    .await;
}

/// Every answer after it would be taken for that to the next question, if answers were counted alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_too_many_gives_nobody_anothers_token() {
    const USERS: usize = 12;
    let network = Network::start(Plan { with_redis: true, ..Plan::default() }).await;
    let (redis, relay) = network.redis.as_ref().unwrap();
    let tokens: Vec<_> = (0..USERS).map(|user| network.token(user)).collect();
    until_shared(&network).await;
    for token in &tokens {
        network.serves(token).await;
    }
    until("all are there", async || redis.entries().len() >= USERS).await;
    // a proxy that finds all of them there, on a way that adds an answer now and then
    let other = network.another_proxy().await;
    for (number, token) in tokens.iter().enumerate() {
        if number % 3 == 0 {
            relay.open_ones(Conduct::down(Fault::Say(b"$-1\r\n")));
        }
        served(&other, NEAR, token).await;
    }
    // and it gets over that
    until("what is shared is found again", async || {
        let stranger = network.stranger();
        network.serves(&stranger).await;
        let before = lookups(&other).await.hits;
        served(&other, NEAR, &stranger).await;
        lookups(&other).await.hits > before
    })
    .await;
}
