//! Anything happens on any way at any time. A seed repeats the order of the faults, not the moment of each.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use obo_proxy::net::client;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::faults::network::FAR;
use crate::faults::network::NEAR;
use crate::faults::network::Network;
use crate::faults::network::Plan;
use crate::support::fleet::lookups;
use crate::support::idp::parts;
use crate::support::relay::CLEAR;
use crate::support::relay::Conduct;
use crate::support::relay::Fault;
use crate::support::relay::Relay;
use crate::support::until;

/// How long it goes on, in seconds, unless this says otherwise.
const SECONDS: (&str, u64) = ("FAULTS_SECONDS", 15);

/// What the faults are drawn from, if it is to be those of another time.
const SEED: &str = "FAULTS_SEED";

/// How many users have a token B from before.
const CACHED: usize = 4;

/// How many callers there are of each other kind.
const OTHERS: usize = 2;

/// How many of them have no token B from before, on both paths.
const STRANGERS: usize = 2 * OTHERS;

/// How many callers there are on both paths.
const CALLERS: usize = 2 * CACHED + STRANGERS;

/// How many connections more than callers may rest on a way.
const AT_ONCE: usize = 2;

/// How long there is nothing wrong, and then something, at most.
const SPELL_MS: u64 = 600;

/// Numbers that look random (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// What is garbled is somebody's token for all that a proxy can see where there is no TLS: answers of the identity provider
    /// and of upstreams are not.
    fn fault(&mut self, may_garble: bool) -> Fault {
        let after = match self.below(3) {
            0 => 0,
            1 => self.below(40),
            _ => self.below(600),
        };
        let pause = Duration::from_millis(self.below(40));
        match self.below(if may_garble { 9 } else { 8 }) {
            0 => Fault::None,
            1 => Fault::Late(pause * 5),
            2 => Fault::Drip(pause / 10),
            3 => Fault::Stall(after),
            4 => Fault::HalfClose(after),
            5 => Fault::Cut(after),
            6 => Fault::Reset(after),
            7 => Fault::ResetNow,
            _ => Fault::Garble(after),
        }
    }

    fn conduct(&mut self, may_garble: bool) -> Conduct {
        match self.below(3) {
            0 => Conduct::up(self.fault(may_garble)),
            1 => Conduct::down(self.fault(may_garble)),
            _ => Conduct::both(self.fault(may_garble)),
        }
    }

    /// Does something to the way.
    fn trouble(&mut self, relay: &Relay, may_garble: bool) -> String {
        let conduct = self.conduct(may_garble);
        match self.below(5) {
            0 => {
                relay.refuse();
                return "refused".into();
            }
            1 => relay.open_ones(conduct),
            2 => relay.new_ones(conduct),
            _ => relay.all(conduct),
        }
        format!("{conduct:?}")
    }
}

/// What callers were told, of those that may be told something else than 200.
#[derive(Default)]
struct Told(Mutex<BTreeMap<String, usize>>);

impl Told {
    fn note(&self, what: String) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_random_faults() {
    let seconds = said(SECONDS.0).unwrap_or(SECONDS.1);
    let seed = said(SEED).unwrap_or_else(|| std::process::id().into());
    eprintln!("{SEED}={seed}");
    let network = Arc::new(Network::start(Plan { idp: "1s", far: "1s", with_redis: true }).await);
    let cached: Vec<String> = (0..CACHED).map(|user| network.token(user)).collect();
    for token in &cached {
        network.serves(token).await;
    }
    let at_first = other_descriptors(&network).await;
    let connections_at_first = network.to_idp.connections();
    let lost_at_first = lookups(&network.proxy).await.errors;
    let (is_over, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Told::default()));
    let mut callers = JoinSet::new();
    for token in cached.clone() {
        callers.spawn(cached_user(network.clone(), token.clone(), is_over.clone()));
        callers.spawn(anybody(network.clone(), FAR, Some(token), is_over.clone(), told.clone()));
    }
    for path in [NEAR, FAR] {
        for _ in 0..OTHERS {
            callers.spawn(anybody(network.clone(), path, None, is_over.clone(), told.clone()));
        }
    }
    let history = weather(&network, Random(seed), Duration::from_secs(seconds)).await;
    is_over.store(true, Ordering::SeqCst);
    let mut calls = 0;
    for one in callers.join_all().await {
        calls += one.unwrap_or_else(|wrong| panic!("{SEED}={seed}: {wrong}\n{history:#?}"));
    }
    let told = std::mem::take(&mut *told.0.lock().unwrap());
    eprintln!("{calls} calls of cached users; others: {told:?}; {} faults", history.len());
    assert!(calls > 0);
    // the faults were felt on each way; a second try may have got round all those on the way to the identity provider
    let seen = |which: &[&str]| told.keys().any(|told| which.iter().any(|which| told.ends_with(which)));
    let (connections, lost) = (network.to_idp.connections(), lookups(&network.proxy).await.errors);
    eprintln!("{connections} connections to the identity provider, {lost} look-ups lost");
    assert!(seen(&["idp_unavailable", "idp_bad_response"]) || connections > connections_at_first + STRANGERS);
    assert!(seen(&["upstream_unreachable", "upstream_timeout", "cut"]));
    assert!(lost > lost_at_first);
    // everything heals
    network.proxy.until(FAR, &network.stranger(), |answer| answer.status == StatusCode::OK).await;
    until("Redis is of use again", async || {
        let before = lookups(&network.proxy).await;
        network.proxy.ask(NEAR, Some(&network.stranger())).await;
        lookups(&network.proxy).await.misses > before.misses
    })
    .await;
    // as many connections may rest on each way as it had callers, and a few that were made while others were on their way back;
    // none is left of what went wrong
    until("no descriptor is lost", async || {
        let (_, to_redis) = network.redis.as_ref().unwrap();
        [
            (network.to_idp.open(), STRANGERS),
            (network.to_far.open(), CACHED + OTHERS),
            (to_redis.open(), 1),
            (callers_connected(&network).await, CALLERS),
            // those to the other upstream
            (other_descriptors(&network).await, at_first + CACHED + OTHERS),
        ]
        .iter()
        .all(|(open, callers)| *open <= callers + AT_ONCE)
    })
    .await;
    let log = network.proxy.proxy.log();
    for wrong in ["panicked", "internal_error", "eyJ", "s3cret"] {
        assert!(!log.contains(wrong), "{SEED}={seed}: {wrong}");
    }
}

/// The number that the environment has under that name.
fn said(name: &str) -> Option<u64> {
    env::var_os(name).map(|text| text.to_str().unwrap().parse().unwrap())
}

/// How many callers have a connection.
async fn callers_connected(network: &Network) -> usize {
    usize::try_from(network.proxy.count("obo_connections{listener=\"default\"} ").await).unwrap()
}

/// How many descriptors are neither callers' nor those of a way that has a relay: those of the way to the other upstream are
/// among them.
async fn other_descriptors(network: &Network) -> usize {
    let (_, to_redis) = network.redis.as_ref().unwrap();
    let relayed = network.to_idp.open() + network.to_far.open() + to_redis.open();
    // they are not counted at the same moment
    descriptors(network).saturating_sub(relayed + callers_connected(network).await)
}

/// Does things to all ways for so long, and puts everything right in the end: what it did.
async fn weather(network: &Network, mut random: Random, time: Duration) -> Vec<String> {
    let (_, to_redis) = network.redis.as_ref().unwrap();
    let ways = [("idp", &network.to_idp, false), ("redis", to_redis, true), ("far", &network.to_far, false)];
    let (begun, mut history) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        for (name, relay, may_garble) in ways {
            // two of three ways at a time, on the average
            if random.below(3) > 0 {
                history.push(format!("{name}: {}", random.trouble(relay, may_garble)));
            }
        }
        tokio::time::sleep(Duration::from_millis(random.below(SPELL_MS))).await;
        for (_, relay, _) in ways {
            relay.all(CLEAR);
            relay.take();
        }
        tokio::time::sleep(Duration::from_millis(random.below(SPELL_MS))).await;
    }
    history
}

/// Calls the upstream with whose way nothing is wrong, and must be served each time.
async fn cached_user(
    network: Arc<Network>,
    token: String,
    is_over: Arc<AtomicBool>,
) -> Result<usize, String> {
    let mut calls = 0;
    while !is_over.load(Ordering::SeqCst) {
        let answer = network.proxy.ask(NEAR, Some(&token)).await;
        if answer.status != StatusCode::OK {
            return Err(format!("a user with a token was told {answer:?}"));
        }
        is_own(&answer.body, &token)?;
        calls += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(calls)
}

/// Calls `path` with that token, or each time with that of somebody new, and may be told that something is out of order.
async fn anybody(
    network: Arc<Network>,
    path: &'static str,
    token: Option<String>,
    is_over: Arc<AtomicBool>,
    told: Arc<Told>,
) -> Result<usize, String> {
    while !is_over.load(Ordering::SeqCst) {
        let token = token.clone().unwrap_or_else(|| network.stranger());
        match network.proxy.try_ask(path, &token).await {
            // an answer that was cut on its way is cut; some answer comes in any case
            Err(client::Error::Cut(_)) if path == FAR => told.note(format!("{path} cut")),
            Err(wrong) => return Err(format!("{path} was not answered: {wrong:?}")),
            Ok(answer) if answer.status == StatusCode::OK => {
                is_own(&answer.body, &token)?;
                told.note(format!("{path} 200"));
            }
            Ok(answer) => {
                let reason = answer.reason();
                let is_meant = match (answer.status.as_u16(), reason.as_str()) {
                    (503, "idp_unavailable") | (502, "idp_bad_response") => true,
                    (502, "upstream_unreachable") | (504, "upstream_timeout") => path == FAR,
                    _ => false,
                };
                if !is_meant {
                    return Err(format!("{path} was told {answer:?}"));
                }
                told.note(format!("{path} {reason}"));
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(0)
}

/// Whether the upstream saw a token B of the one who called.
fn is_own(body: &[u8], token: &str) -> Result<(), String> {
    let seen: Value = serde_json::from_slice(body).map_err(|error| format!("{error}: {body:?}"))?;
    let [_, claims] = parts(token);
    match seen["token"]["oid"] == claims["oid"] {
        true => Ok(()),
        false => Err(format!("{} was called with the token of {}", claims["oid"], seen["token"]["oid"])),
    }
}

/// How many descriptors the proxy has open.
fn descriptors(network: &Network) -> usize {
    network.proxy.proxy.descriptors()
}
