//! The whole stage against a token endpoint of our own on loopback.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tokio::task::JoinHandle;

use super::*;
use crate::domain::clock::UnixTime;
use crate::pipeline::exchange::tests::idp::Answer;
use crate::pipeline::exchange::tests::idp::Idp;
use crate::pipeline::exchange::tests::idp::granted;
use crate::pipeline::exchange::tests::sample::caller;

mod assertions;
mod credentials;
mod elsewhere;
pub mod idp;
mod idps;
mod lives;
mod ourselves;
mod outages;
mod purging;
mod refusals;
mod rejected;
pub mod sample;
pub mod server;
mod shared;
mod sharing;

/// An exchanger, and all that a test turns.
#[derive(Clone)]
struct World {
    exchanger: Arc<Exchanger>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl World {
    fn new(provider: IdentityProvider, cache: &config::Cache) -> Self {
        let clock = Clock::manual(UnixTime::from_seconds(1_700_000_000));
        let metrics = Arc::new(Metrics::new());
        let clients = Clients::system().unwrap();
        let provider = Arc::new(provider);
        let metadata = Metadata::of(&provider, clients.of(&provider), clock.clone());
        let metadata = metadata.into_iter().map(|metadata| (provider.name.clone(), metadata)).collect();
        let exchanger =
            Exchanger::new(&[provider], &metadata, cache, clients, clock.clone(), metrics.clone());
        Self { exchanger: Arc::new(exchanger), clock, metrics }
    }

    fn of(idp: &Idp) -> Self {
        Self::new(sample::provider(&idp.authority()), &sample::cache())
    }

    async fn get(&self, caller: &Caller) -> Result<Exchanged, Error> {
        self.exchanger.token(caller, &sample::exchange(&["a"])).await
    }

    /// The token as it goes upstream, and how it was come by.
    async fn fetch(&self, caller: &Caller) -> (String, CacheResult) {
        let exchanged = self.get(caller).await.unwrap();
        (text(&exchanged), exchanged.cache)
    }

    async fn kind(&self, caller: &Caller) -> Kind {
        self.get(caller).await.unwrap_err().kind
    }

    /// Whether an exchange for that caller is under way.
    fn is_flying(&self, caller: &Caller) -> bool {
        let shared = &self.exchanger.shared;
        let key = shared.key(caller, &sample::exchange(&["a"])).unwrap();
        matches!(shared.flights.board(key, || true), Boarding::Joined(_))
    }

    fn begin(&self, caller: Caller) -> JoinHandle<Result<Exchanged, Error>> {
        let world = self.clone();
        tokio::spawn(async move { world.get(&caller).await })
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Lets other tasks run until a metric has its value.
    async fn until(&self, line: &str) {
        self.until_that(line, || self.metrics.encode().contains(&format!("\n{line}\n"))).await;
    }

    async fn until_that(&self, what: &str, condition: impl Fn() -> bool) {
        for _ in 0..1_000_000 {
            if condition() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("never: {what}\n{}", self.metrics.encode());
    }
}

fn text(exchanged: &Exchanged) -> String {
    exchanged.token.authorization().to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
}

/// An endpoint that gives its n-th request the n-th answer, and goes on with the last.
fn in_turn(answers: Vec<fn(&idp::Received) -> Answer>) -> impl Fn(&idp::Received) -> Answer + Send + Sync {
    let turn = AtomicUsize::new(0);
    move |received| answers[turn.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)](received)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_then_remembered() {
    let idp = Idp::open(granted).await;
    let world = World::of(&idp);
    let first = world.get(&caller("alice", 1)).await.unwrap();
    assert_eq!((text(&first).as_str(), first.cache), ("b:alice.1:a", CacheResult::Miss));
    assert!(first.waited.is_some() && first.correlation_id.is_some());
    // another token of the same session
    let second = world.get(&caller("alice", 2)).await.unwrap();
    assert_eq!((text(&second).as_str(), second.cache), ("b:alice.1:a", CacheResult::Hit));
    assert!(second.waited.is_none() && second.correlation_id.is_none());
    assert_eq!(idp.requests(), 1);
    assert_eq!(idp.received()[0].path, format!("/{}/oauth2/v2.0/token", sample::TENANT));
    assert_eq!(world.exchanger.cached(), 1);
    let metrics = world.metrics.encode();
    for line in [
        "obo_exchanges_total{identity_provider=\"contoso\",outcome=\"ok\"} 1",
        "obo_exchange_duration_seconds_count{identity_provider=\"contoso\"} 1",
        "obo_exchanges_in_flight 0",
        "obo_cache_requests_total{tier=\"memory\",result=\"miss\"} 1",
        "obo_cache_requests_total{tier=\"memory\",result=\"hit\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}

#[tokio::test]
async fn one_caller_gets_each_exchange_s_own_token_however_often_they_alternate() {
    let idp = Idp::open(granted).await;
    let world = World::of(&idp);
    let exchanges = ["a", "b", "c"].map(|scope| sample::exchange(&[scope]));
    let [alice, bob] = ["alice", "bob"].map(|user| caller(user, 1));
    for round in 0..3 {
        for (exchange, scope) in exchanges.iter().zip(["a", "b", "c"]) {
            for (user, name) in [(&alice, "alice"), (&bob, "bob")] {
                let exchanged = world.exchanger.token(user, exchange).await.unwrap();
                assert_eq!(text(&exchanged), format!("b:{name}.1:{scope}"));
                assert_eq!(exchanged.cache == CacheResult::Miss, round == 0);
            }
        }
    }
    // the same scopes in another place are the same exchange
    let elsewhere = world.exchanger.token(&alice, &sample::exchange(&["b"])).await.unwrap();
    assert_eq!((text(&elsewhere).as_str(), elsewhere.cache), ("b:alice.1:b", CacheResult::Hit));
    assert_eq!(idp.requests(), 6);
}

#[tokio::test]
async fn two_exchangers_keep_their_keys_for_one_caller_apart() {
    let idp = Idp::open(granted).await;
    let by_user = World::of(&idp);
    let cache = config::Cache { key: config::CacheKeyMode::Assertion, ..sample::cache() };
    let by_assertion = World::new(sample::provider(&idp.authority()), &cache);
    let (alice, exchange) = (caller("alice", 1), sample::exchange(&["a"]));
    let keys = [&by_user, &by_assertion, &by_user, &by_assertion]
        .map(|world| world.exchanger.shared.key(&alice, &exchange).unwrap());
    assert_eq!((keys[0], keys[1]), (keys[2], keys[3]));
    assert_ne!(keys[0], keys[1]);
}

#[tokio::test]
async fn in_mode_assertion_every_token_a_has_its_own_token_b() {
    let idp = Idp::open(granted).await;
    let cache = config::Cache { key: config::CacheKeyMode::Assertion, ..sample::cache() };
    let world = World::new(sample::provider(&idp.authority()), &cache);
    assert_eq!(world.fetch(&caller("alice", 1)).await, ("b:alice.1:a".into(), CacheResult::Miss));
    assert_eq!(world.fetch(&caller("alice", 2)).await, ("b:alice.2:a".into(), CacheResult::Miss));
    assert_eq!(world.fetch(&caller("alice", 1)).await, ("b:alice.1:a".into(), CacheResult::Hit));
}

#[tokio::test]
async fn nothing_that_debug_shows_holds_a_token_a_secret_or_a_claim() {
    let idp = Idp::open(|received| match received.assertion() {
        "mallory.1" => {
            idp::json(400, &serde_json::json!({"error": "invalid_grant", "claims": "{\"hidden\":1}"}))
        }
        _ => granted(received),
    })
    .await;
    let world = World::of(&idp);
    let exchanged = world.get(&caller("alice", 1)).await.unwrap();
    let error = world.get(&caller("mallory", 1)).await.unwrap_err();
    let shown = format!("{:?} {exchanged:?} {error:?} {error}", world.exchanger);
    assert!(shown.contains("invalid_grant")); // the refusals are shown, what they hold is not
    for secret in ["alice", "mallory", "right", "hidden"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
