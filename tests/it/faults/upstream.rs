//! The way to the upstream fails: the caller is told whose fault it is, what was cut is cut, and nothing that may change
//! something is sent twice.

use bytes::Bytes;
use http::Method;
use tokio::time::Instant;

use crate::faults::IN_TIME;
use crate::faults::network::FAR;
use crate::faults::network::Network;
use crate::faults::network::Plan;
use crate::faults::refusal;
use crate::support::raw;
use crate::support::relay::CLEAR;
use crate::support::relay::Conduct;
use crate::support::relay::Fault;
use crate::support::until;

const GONE: (u16, &str) = (502, "upstream_unreachable");
const LATE: (u16, &str) = (504, "upstream_timeout");

/// What is done to the way, and what the caller is told.
type Case = (&'static str, Conduct, (u16, &'static str));

const CASES: [Case; 10] = [
    ("reset at once", Conduct::both(Fault::ResetNow), GONE),
    ("reset within the request", Conduct::up(Fault::Reset(30)), GONE),
    ("half closed within the request", Conduct::up(Fault::HalfClose(30)), GONE),
    ("reset before the answer", Conduct::down(Fault::Reset(0)), GONE),
    ("cut before the answer", Conduct::down(Fault::Cut(0)), GONE),
    ("cut within the head", Conduct::down(Fault::Cut(30)), GONE),
    ("no HTTP", Conduct::down(Fault::Garble(0)), GONE),
    ("held up within the request", Conduct::up(Fault::Stall(30)), LATE),
    ("held up before the answer", Conduct::down(Fault::Stall(0)), LATE),
    ("held up within the head", Conduct::down(Fault::Stall(30)), LATE),
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_on_the_way_is_not_the_callers_fault_and_is_over_with_it() {
    for (far, hangs) in [("1s", true), ("60s", false)] {
        let network = Network::start(Plan { far, ..Plan::default() }).await;
        let cases = CASES.into_iter().filter(|(_, conduct, _)| conduct.hangs() == hangs);
        callers_are_told(&network, cases).await;
    }
}

async fn callers_are_told(network: &Network, cases: impl Iterator<Item = Case>) {
    let token = network.token(1);
    for (of, conduct, expected) in cases {
        for rested in [false, true] {
            // on a connection that rests, or on a new one
            if rested {
                until("a connection rests", async || network.far(&token).await.status == 200).await;
                network.to_far.all(conduct);
            } else {
                network.to_far.open_ones(Conduct::both(Fault::ResetNow));
                until("nothing rests", async || network.to_far.open() == 0).await;
                network.to_far.new_ones(conduct);
            }
            let asked = Instant::now();
            let told = network.far(&token).await;
            assert!(asked.elapsed() < IN_TIME, "{of}: {:?}", asked.elapsed());
            assert_eq!(refusal(&told), (expected.0, expected.1.to_owned()), "{of}, rested: {rested}");
            network.to_far.all(CLEAR);
            // a connection that was held up does not come back
            until("it is well again", async || network.far(&token).await.status == 200).await;
        }
    }
    assert_eq!(network.exchanges(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_change_something_is_not_sent_twice_once_the_upstream_may_have_seen_it() {
    let network = Network::start(Plan::default()).await;
    let token = network.token(1);
    // the answer is lost on a connection that rested: it may have been closed before the request came
    for (method, expected, seen) in [
        (Method::POST, 502, 1),
        (Method::PATCH, 502, 1),
        (Method::GET, 200, 2),
        (Method::PUT, 200, 2),
        (Method::DELETE, 200, 2),
    ] {
        assert_eq!(network.far(&token).await.status, 200);
        let before = network.far.requests();
        network.to_far.open_ones(Conduct::down(Fault::Reset(0)));
        let status = network.send(method.clone(), &token, Bytes::new()).await.status;
        assert_eq!((status.as_u16(), network.far.requests() - before), (expected, seen), "{method}");
    }
    // a body that was begun is sent by nobody but the caller
    for method in [Method::POST, Method::PUT] {
        assert_eq!(network.far(&token).await.status, 200);
        let (before, connections) = (network.far.requests(), network.to_far.connections());
        network.to_far.open_ones(Conduct::up(Fault::Reset(1000)));
        let status = network.send(method.clone(), &token, Bytes::from(vec![b'x'; 100_000])).await.status;
        assert_eq!(status, 502, "{method}");
        // its head may have arrived
        assert!(network.far.requests() - before <= 1, "{method}");
        assert_eq!(network.to_far.connections(), connections, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_held_up_or_cut_on_the_way_never_looks_whole() {
    let network = Network::start(Plan { far: "4s", ..Plan::default() }).await;
    let token = network.token(1);
    assert_eq!(network.far(&token).await.status, 200);
    for fault in [Fault::Cut(400), Fault::Reset(400), Fault::Stall(400), Fault::HalfClose(400)] {
        network.to_far.all(Conduct::down(fault));
        let request = format!(
            "GET {FAR}?{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n",
            "x".repeat(2000)
        );
        let got = raw(network.proxy.proxy.address.parse().unwrap(), &request).await;
        let (head, body) = got.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{fault:?}: {head}");
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        assert!(body.len() < length.parse().unwrap(), "{fault:?}: {got}");
        network.to_far.all(CLEAR);
        assert_eq!(network.far(&token).await.status, 200, "{fault:?}");
    }
}
