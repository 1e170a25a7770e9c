//! The way to the token endpoint fails. Whoever has a token B does not notice; whoever has none is told in time that it is not
//! their fault, nothing reaches the upstream for them, and the endpoint is asked twice at most.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::faults::IN_TIME;
use crate::faults::network::FAR;
use crate::faults::network::NEAR;
use crate::faults::network::Network;
use crate::faults::network::Plan;
use crate::faults::refusal;
use crate::support::fleet::granted;
use crate::support::fleet::name;
use crate::support::fleet::of;
use crate::support::fleet::served;
use crate::support::idp::Answer;
use crate::support::idp::Content;
use crate::support::relay::CLEAR;
use crate::support::relay::Conduct;
use crate::support::relay::Fault;
use crate::support::until;

const AWAY: (u16, &str) = (503, "idp_unavailable");

/// What is done to the way, what a user without a token B is told, and how often the endpoint gets to see a whole request.
type Case = (&'static str, Conduct, (u16, &'static str), usize);

const CASES: [Case; 13] = [
    ("reset at once", Conduct::both(Fault::ResetNow), AWAY, 0),
    ("reset within the request", Conduct::up(Fault::Reset(100)), AWAY, 0),
    ("cut within the request", Conduct::up(Fault::Cut(100)), AWAY, 0),
    ("half closed within the request", Conduct::up(Fault::HalfClose(100)), AWAY, 0),
    ("held up within the request", Conduct::up(Fault::Stall(100)), AWAY, 0),
    ("reset before the answer", Conduct::down(Fault::Reset(0)), AWAY, 2),
    ("cut within the head of the answer", Conduct::down(Fault::Cut(40)), AWAY, 2),
    ("half closed within the head of the answer", Conduct::down(Fault::HalfClose(40)), AWAY, 2),
    ("held up before the answer", Conduct::down(Fault::Stall(0)), AWAY, 2),
    ("held up within the answer", Conduct::down(Fault::Stall(40)), AWAY, 2),
    ("byte by byte", Conduct::down(Fault::Drip(Duration::from_millis(100))), AWAY, 2),
    // it has begun to answer: whatever it did is done
    ("reset within the body", Conduct::down(Fault::Reset(160)), AWAY, 1),
    ("no HTTP", Conduct::down(Fault::Garble(0)), (502, "idp_bad_response"), 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_way_is_noticed_by_nobody_with_a_token_and_told_in_time_to_all_others() {
    // who hangs up is not waited for
    for (idp, hangs) in [("1s", true), ("60s", false)] {
        let network = Network::start(Plan { idp, ..Plan::default() }).await;
        let cases = CASES.into_iter().filter(|(_, conduct, ..)| conduct.hangs() == hangs);
        the_cached_go_on_and_others_are_told(&network, cases).await;
    }
}

async fn the_cached_go_on_and_others_are_told(network: &Network, cases: impl Iterator<Item = Case>) {
    let cached = network.token(1);
    let first = network.serves(&cached).await;
    for (of, conduct, expected, most) in cases {
        network.to_idp.all(conduct);
        let (asked, forwarded) = (network.exchanges(), network.far.requests());
        let (proxy, stranger) = (network.proxy.clone(), network.stranger());
        let cold = tokio::spawn(async move {
            let asked = Instant::now();
            (proxy.ask(FAR, Some(&stranger)).await, asked.elapsed())
        });
        for _ in 0..10 {
            assert_eq!(network.serves(&cached).await, first, "{of}");
        }
        let (told, took) = cold.await.unwrap();
        assert!(took < IN_TIME, "{of}: {took:?}");
        assert_eq!(refusal(&told), (expected.0, expected.1.to_owned()), "{of}");
        assert_eq!(told.header("retry-after"), if expected.0 == 503 { "1" } else { "" }, "{of}");
        assert_eq!(told.header("www-authenticate"), "", "{of}");
        assert_eq!(network.far.requests(), forwarded, "{of}: something was forwarded");
        let asked = network.exchanges() - asked;
        assert!(asked <= most, "{of}: {asked} requests");
        network.heal_the_way_to_the_idp().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_an_endpoint_that_refuses_connections_and_it_is_found_again() {
    let network = Network::start(Plan::default()).await;
    let cached = network.token(1);
    network.serves(&cached).await;
    network.to_idp.refuse();
    network.to_idp.open_ones(Conduct::both(Fault::ResetNow));
    for _ in 0..10 {
        let asked = Instant::now();
        let told = network.far(&network.stranger()).await;
        assert!(asked.elapsed() < IN_TIME, "{:?}", asked.elapsed());
        assert_eq!(refusal(&told), (503, "idp_unavailable".into()));
        network.serves(&cached).await;
    }
    assert_eq!((network.exchanges(), network.far.requests()), (1, 0));
    network.heal_the_way_to_the_idp().await;
}

/// A router that forgets its connections, or a machine that is replaced: what rests in the pool leads nowhere, and nothing
/// says so.
#[tokio::test(flavor = "multi_thread")]
async fn of_the_connections_that_died_unseen_one_caller_meets_one_only() {
    const CONNECTIONS: usize = 5;
    let network = Network::start(Plan { idp: "5s", ..Plan::default() }).await;
    // so many exchanges at once, so that as many connections rest
    network.to_idp.all(Conduct::down(Fault::Stall(0)));
    let tokens: Vec<_> = (0..CONNECTIONS).map(|_| network.stranger()).collect();
    let calls = tokens.into_iter().map(|token| {
        let proxy = network.proxy.clone();
        async move { proxy.until(NEAR, &token, |answer| answer.status == 200).await }
    });
    let calls: JoinSet<_> = calls.collect();
    until("all have asked", async || network.exchanges() >= CONNECTIONS).await;
    network.to_idp.all(CLEAR);
    calls.join_all().await;
    assert!(network.to_idp.open() >= CONNECTIONS);
    network.to_idp.open_ones(Conduct::both(Fault::Stall(0)));
    for _ in 0..3 {
        served(&network.proxy, NEAR, &network.stranger()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_were_reset_while_they_rested_cost_nobody_a_try() {
    let network = Network::start(Plan::default()).await;
    for turn in 1..=5 {
        network.serves(&network.stranger()).await;
        assert_eq!(network.exchanges(), turn);
        network.to_idp.open_ones(Conduct::both(Fault::ResetNow));
        until("they are gone", async || network.to_idp.open() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_to_one_user_holds_up_no_other() {
    let network = Network::start(Plan::default()).await;
    network.idp.answers(|asked| match of(asked) == name(7) {
        true => Answer { content: Content::Never, ..granted(asked) },
        false => granted(asked),
    });
    let (proxy, token) = (network.proxy.clone(), network.token(7));
    let slow = tokio::spawn(async move { proxy.ask(NEAR, Some(&token)).await });
    until("it is asked", async || network.exchanges() == 1).await;
    for _ in 0..20 {
        network.serves(&network.stranger()).await;
    }
    assert!(!slow.is_finished());
    slow.abort();
}
