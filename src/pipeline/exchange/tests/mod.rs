//! The whole stage against a token endpoint of our own on loopback.

use std::error::Error as _;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use serde_json::json;
use tokio::task::JoinHandle;

use super::*;
use crate::config::Credential;
use crate::domain::clock::UnixTime;
use crate::pipeline::exchange::tests::idp::Answer;
use crate::pipeline::exchange::tests::idp::Idp;
use crate::pipeline::exchange::tests::idp::granted;
use crate::pipeline::exchange::tests::idp::granted_for;
use crate::pipeline::exchange::tests::idp::json;
use crate::pipeline::exchange::tests::idp::refused;
use crate::pipeline::exchange::tests::sample::caller;

pub mod idp;
pub mod sample;

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
        let client = Client::new().unwrap();
        let exchanger = Exchanger::new(&[provider.into()], cache, client, clock.clone(), metrics.clone());
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
async fn in_mode_assertion_every_token_a_has_its_own_token_b() {
    let idp = Idp::open(granted).await;
    let cache = config::Cache { key: CacheKeyMode::Assertion, ..sample::cache() };
    let world = World::new(sample::provider(&idp.authority()), &cache);
    assert_eq!(world.fetch(&caller("alice", 1)).await, ("b:alice.1:a".into(), CacheResult::Miss));
    assert_eq!(world.fetch(&caller("alice", 2)).await, ("b:alice.2:a".into(), CacheResult::Miss));
    assert_eq!(world.fetch(&caller("alice", 1)).await, ("b:alice.1:a".into(), CacheResult::Hit));
}

#[tokio::test]
async fn a_thousand_callers_of_one_cold_key_make_one_request() {
    let idp = Idp::closed(granted).await;
    let world = World::of(&idp);
    let callers: Vec<_> = (0..1000).map(|uti| world.begin(caller("alice", uti))).collect();
    world.until("obo_exchanges_coalesced_total 999").await;
    idp.open_gate();
    for waiting in callers {
        assert!(text(&waiting.await.unwrap().unwrap()).starts_with("b:alice."));
    }
    assert_eq!(idp.requests(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_keys_make_a_hundred_requests_however_many_call() {
    let idp = Idp::open(granted).await;
    let world = World::of(&idp);
    let callers: Vec<_> =
        (0..2000).map(|n| (n % 100, world.begin(caller(&format!("user{}", n % 100), n)))).collect();
    for (user, waiting) in callers {
        assert!(text(&waiting.await.unwrap().unwrap()).starts_with(&format!("b:user{user}.")));
    }
    assert_eq!(idp.requests(), 100);
    assert_eq!(world.exchanger.cached(), 100);
}

#[tokio::test]
async fn a_leader_that_hangs_up_changes_nothing_for_the_others() {
    let idp = Idp::closed(granted).await;
    let world = World::of(&idp);
    let leader = world.begin(caller("alice", 1));
    idp.arrived(1).await;
    let waiter = world.begin(caller("alice", 2));
    world.until("obo_exchanges_coalesced_total 1").await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    idp.open_gate();
    assert_eq!(text(&waiter.await.unwrap().unwrap()), "b:alice.1:a");
    assert_eq!(idp.requests(), 1);
}

#[tokio::test]
async fn an_exchange_nobody_waits_for_still_fills_the_cache() {
    let idp = Idp::closed(granted).await;
    let world = World::of(&idp);
    let leader = world.begin(caller("alice", 1));
    idp.arrived(1).await;
    leader.abort();
    idp.open_gate();
    world.until_that("the token is cached", || world.exchanger.cached() == 1).await;
    assert_eq!(world.fetch(&caller("alice", 2)).await.1, CacheResult::Hit);
    assert_eq!(idp.requests(), 1);
}

#[test]
fn exchanges_outlive_the_runtime_of_their_callers() {
    let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (idp, world) = control.block_on(async {
        let idp = Idp::closed(granted).await;
        let world = World::of(&idp);
        (idp, world)
    });
    let worker = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    worker.block_on(async {
        let _leader = world.begin(caller("alice", 1));
        idp.arrived(1).await;
    });
    drop(worker);
    let waiter = control.spawn({
        let world = world.clone();
        async move { world.fetch(&caller("alice", 2)).await.0 }
    });
    control.block_on(world.until("obo_exchanges_coalesced_total 1"));
    idp.open_gate();
    assert_eq!(control.block_on(waiter).unwrap(), "b:alice.1:a");
    assert_eq!(idp.requests(), 1);
}

#[tokio::test]
async fn a_refusal_of_one_token_a_does_not_answer_another() {
    let idp = Idp::closed(|received| match received.assertion() {
        "alice.1" => refused("interaction_required"),
        _ => granted(received),
    })
    .await;
    let world = World::of(&idp);
    let leader = world.begin(caller("alice", 1));
    idp.arrived(1).await;
    let same = world.begin(caller("alice", 1));
    let others: Vec<_> = (0..50).map(|n| world.begin(caller("alice", 2 + n % 2))).collect();
    world.until("obo_exchanges_coalesced_total 51").await;
    idp.open_gate();
    assert_eq!(leader.await.unwrap().unwrap_err().kind, Kind::InteractionRequired);
    assert_eq!(same.await.unwrap().unwrap_err().kind, Kind::InteractionRequired);
    for other in others {
        assert_ne!(text(&other.await.unwrap().unwrap()), "b:alice.1:a");
    }
    assert_eq!(idp.requests(), 2); // one for the refusal, one for all the others
}

#[tokio::test]
async fn a_refusal_of_the_proxy_itself_answers_everyone_who_waits() {
    let idp = Idp::closed(|_| refused("invalid_scope")).await;
    let world = World::of(&idp);
    let leader = world.begin(caller("alice", 1));
    idp.arrived(1).await;
    let other = world.begin(caller("alice", 2));
    world.until("obo_exchanges_coalesced_total 1").await;
    idp.open_gate();
    assert_eq!(leader.await.unwrap().unwrap_err().kind, Kind::Misconfigured);
    assert_eq!(other.await.unwrap().unwrap_err().kind, Kind::Misconfigured);
    assert_eq!(idp.requests(), 1);
}

#[tokio::test]
async fn a_refusal_is_remembered_for_its_token_a_and_its_time() {
    let idp = Idp::open(|received| match received.assertion() {
        "alice.1" => json(400, &json!({"error": "invalid_grant", "claims": "{\"a\":1}"})),
        _ => granted(received),
    })
    .await;
    let world = World::of(&idp);
    for _ in 0..3 {
        let error = world.get(&caller("alice", 1)).await.unwrap_err();
        assert_eq!(error.kind, Kind::ClaimsChallenge);
        assert_eq!(error.answer.unwrap().claims.as_deref(), Some("{\"a\":1}"));
    }
    assert_eq!(idp.requests(), 1);
    world.pass(29);
    assert_eq!(world.kind(&caller("alice", 1)).await, Kind::ClaimsChallenge);
    assert_eq!(idp.requests(), 1);
    world.pass(1);
    assert_eq!(world.kind(&caller("alice", 1)).await, Kind::ClaimsChallenge);
    assert_eq!(idp.requests(), 2);
    // a user who has stepped up is not answered from before, and then all the session's tokens are
    assert_eq!(world.fetch(&caller("alice", 2)).await.1, CacheResult::Miss);
    assert_eq!(idp.requests(), 3);
}

#[tokio::test]
async fn what_says_nothing_about_the_next_try_is_not_remembered() {
    let idp = Idp::open(in_turn(vec![
        |_| json(500, &json!({})),
        |_| json(200, &json!({})),
        |_| json(400, &json!({"error": "invalid_grant", "suberror": "token_expired"})),
        |_| Answer { status: 302, headers: vec![("location", "/elsewhere".into())], body: String::new() },
        |_| Answer { status: 200, headers: vec![], body: "x".repeat(256 * 1024 + 1) },
        granted,
    ]))
    .await;
    let world = World::of(&idp);
    let user = caller("alice", 1);
    for expected in [
        Kind::Unavailable { retry_after: Duration::from_secs(1) },
        Kind::BadResponse,
        Kind::AssertionRejected,
        Kind::BadResponse,
        Kind::BadResponse,
    ] {
        assert_eq!(world.kind(&user).await, expected);
    }
    assert_eq!(world.fetch(&user).await.1, CacheResult::Miss);
    assert_eq!(idp.requests(), 6); // the redirect was not followed
}

#[tokio::test]
async fn throttling_blocks_its_key_for_everyone_and_no_other_key() {
    let idp = Idp::open(in_turn(vec![
        |_| Answer {
            status: 429,
            headers: vec![("retry-after", "20".into())],
            body: "Too Many Requests".into(),
        },
        granted,
    ]))
    .await;
    let world = World::of(&idp);
    let throttled = |seconds| Kind::Throttled { retry_after: Duration::from_secs(seconds) };
    assert_eq!(world.kind(&caller("alice", 1)).await, throttled(20));
    world.pass(15);
    assert_eq!(world.kind(&caller("alice", 2)).await, throttled(5));
    assert_eq!(idp.requests(), 1);
    assert_eq!(world.fetch(&caller("bob", 1)).await.1, CacheResult::Miss);
    assert_eq!(idp.requests(), 2);
    world.pass(5);
    assert_eq!(world.fetch(&caller("alice", 2)).await.1, CacheResult::Miss);
    assert_eq!(idp.requests(), 3);
}

#[tokio::test]
async fn a_token_is_never_served_at_or_past_its_end() {
    let idp =
        Idp::open(in_turn(vec![|received| granted_for(received, 100), |_| json(503, &json!({}))])).await;
    let world = World::of(&idp);
    let user = caller("alice", 1);
    let start = world.clock.now();
    assert_eq!(world.fetch(&user).await.1, CacheResult::Miss);
    world.pass(99);
    assert_eq!(world.fetch(&user).await.1, CacheResult::Stale); // the IdP is down; the token lives
    world.pass(1);
    let down = Kind::Unavailable { retry_after: Duration::from_secs(1) };
    assert_eq!(world.kind(&user).await, down);
    world.clock.set_wall(start); // setting the clock back revives nothing
    assert_eq!(world.kind(&user).await, down);
}

#[tokio::test]
async fn a_token_is_renewed_ahead_while_the_old_one_serves() {
    let idp = Idp::closed(granted).await;
    let world = World::of(&idp);
    idp.open_gate_once();
    assert_eq!(world.fetch(&caller("alice", 1)).await.1, CacheResult::Miss);
    world.pass(3299);
    assert_eq!(world.fetch(&caller("alice", 2)).await, ("b:alice.1:a".into(), CacheResult::Hit));
    world.pass(1);
    for _ in 0..5 {
        assert_eq!(world.fetch(&caller("alice", 3)).await, ("b:alice.1:a".into(), CacheResult::Stale));
    }
    idp.arrived(2).await;
    idp.open_gate();
    world.until("obo_exchanges_in_flight 0").await;
    world
        .until_that("the new token is there", || {
            world.metrics.encode().contains("outcome=\"ok\"} 2") && idp.requests() == 2
        })
        .await;
    world.pass(300); // the old one is over now
    assert_eq!(world.fetch(&caller("alice", 4)).await, ("b:alice.3:a".into(), CacheResult::Hit));
    assert_eq!(idp.requests(), 2);
}

#[tokio::test]
async fn a_renewal_that_fails_is_tried_again_after_ten_seconds() {
    let idp = Idp::open(in_turn(vec![granted, |_| json(500, &json!({}))])).await;
    let world = World::of(&idp);
    let user = caller("alice", 1);
    world.fetch(&user).await;
    world.pass(3300);
    for attempts in 1..=3 {
        for _ in 0..5 {
            assert_eq!(world.fetch(&user).await.1, CacheResult::Stale);
        }
        let failed = format!(
            "obo_exchanges_total{{identity_provider=\"contoso\",outcome=\"idp_unavailable\"}} {attempts}"
        );
        world.until(&failed).await;
        assert_eq!(world.fetch(&user).await.1, CacheResult::Stale);
        assert_eq!(idp.requests(), 1 + attempts);
        world.pass(10);
    }
}

#[tokio::test]
async fn a_renewal_that_is_refused_ends_the_old_token() {
    let idp = Idp::open(in_turn(vec![granted, |_| refused("interaction_required")])).await;
    let world = World::of(&idp);
    let user = caller("alice", 1);
    world.fetch(&user).await;
    world.pass(3300);
    assert_eq!(world.fetch(&user).await.1, CacheResult::Stale);
    world.until_that("the token is gone", || world.exchanger.cached() == 0).await;
    assert_eq!(world.kind(&user).await, Kind::InteractionRequired);
    assert_eq!(idp.requests(), 2);
    world.until("obo_cache_evictions_total{reason=\"explicit\"} 1").await;
}

#[tokio::test]
async fn a_token_without_a_usable_life_serves_its_flight_only() {
    let idp = Idp::closed(|received| granted_for(received, u64::MAX)).await;
    let world = World::of(&idp);
    let leader = world.begin(caller("alice", 1));
    idp.arrived(1).await;
    let waiter = world.begin(caller("alice", 2));
    world.until("obo_exchanges_coalesced_total 1").await;
    idp.open_gate();
    assert_eq!(text(&leader.await.unwrap().unwrap()), "b:alice.1:a");
    assert_eq!(text(&waiter.await.unwrap().unwrap()), "b:alice.1:a");
    assert_eq!(world.exchanger.cached(), 0);
    assert_eq!(world.fetch(&caller("alice", 3)).await, ("b:alice.3:a".into(), CacheResult::Miss));
}

#[tokio::test]
async fn the_cache_keeps_the_most_recent_within_its_bounds() {
    let idp = Idp::open(granted).await;
    for cache in [
        config::Cache { max_entries: 10, ..sample::cache() },
        config::Cache { max_bytes: 5 * 1024, ..sample::cache() },
    ] {
        let world = World::new(sample::provider(&idp.authority()), &cache);
        for user in 0..40 {
            world.fetch(&caller(&format!("user{user}"), 1)).await;
        }
        let held = world.exchanger.cached();
        assert!((8..=10).contains(&held), "{held}");
        assert_eq!(world.fetch(&caller("user39", 1)).await.1, CacheResult::Hit);
        assert_eq!(world.fetch(&caller("user0", 1)).await.1, CacheResult::Miss);
        assert!(world.metrics.encode().contains("obo_cache_evictions_total{reason=\"size\"}"));
    }
}

fn only_right(received: &idp::Received) -> Answer {
    match received.form["client_secret"].as_str() {
        "right" => granted(received),
        _ => json(401, &json!({"error": "invalid_client", "error_codes": [7_000_215]})),
    }
}

fn with_credentials(idp: &Idp, credentials: Vec<Credential>) -> World {
    World::new(IdentityProvider { credentials, ..sample::provider(&idp.authority()) }, &sample::cache())
}

#[tokio::test]
async fn a_wrong_secret_is_the_proxys_fault_and_not_tried_for_half_a_minute() {
    let idp = Idp::open(only_right).await;
    let world = with_credentials(&idp, vec![sample::secret("wrong")]);
    let user = caller("alice", 1);
    for _ in 0..3 {
        let error = world.get(&user).await.unwrap_err();
        assert_eq!(error.kind, Kind::Misconfigured);
        assert_eq!(error.answer.unwrap().error_codes, [7_000_215]);
    }
    world.pass(29);
    assert_eq!(world.kind(&user).await, Kind::Misconfigured);
    assert_eq!(idp.requests(), 1);
    world.pass(1);
    assert_eq!(world.kind(&user).await, Kind::Misconfigured);
    assert_eq!(idp.requests(), 2);
}

#[tokio::test]
async fn while_a_secret_is_rotated_the_one_that_works_is_found() {
    let idp = Idp::open(only_right).await;
    let missing = Credential::SecretFile("/nonexistent/secret".into());
    for (credentials, requests) in [
        (vec![sample::secret("right"), sample::secret("wrong")], 1),
        (vec![sample::secret("wrong"), sample::secret("right")], 2),
        (vec![missing, sample::secret("right")], 1),
    ] {
        let before = idp.requests();
        let world = with_credentials(&idp, credentials);
        assert_eq!(world.fetch(&caller("alice", 1)).await.1, CacheResult::Miss);
        assert_eq!(idp.requests() - before, requests);
    }
    let world = with_credentials(&idp, vec![sample::secret("wrong"), sample::secret("wrong too")]);
    let before = idp.requests();
    assert_eq!(world.kind(&caller("alice", 1)).await, Kind::Misconfigured);
    assert_eq!(idp.requests() - before, 2);
}

#[tokio::test]
async fn a_secret_file_is_read_anew_for_each_exchange() {
    let idp = Idp::open(only_right).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    let world = with_credentials(&idp, vec![Credential::SecretFile(path.clone())]);
    let error = world.get(&caller("alice", 1)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Misconfigured);
    assert!(error.source().unwrap().to_string().contains("cannot read the client secret"));
    assert_eq!(idp.requests(), 0);
    std::fs::write(&path, "right\n").unwrap();
    assert_eq!(world.fetch(&caller("alice", 1)).await.1, CacheResult::Miss);
    std::fs::write(&path, "wrong\n").unwrap();
    assert_eq!(world.kind(&caller("bob", 1)).await, Kind::Misconfigured);
}

#[tokio::test]
async fn an_idp_that_is_not_there_is_unavailable() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::new(sample::provider(&format!("http://{nowhere}")), &sample::cache());
    let error = world.get(&caller("alice", 1)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable { retry_after: Duration::from_secs(1) });
    assert!(error.source().is_some() && error.correlation_id.is_some());
}

#[tokio::test]
async fn a_caller_of_no_known_provider_or_tenant_is_our_own_fault() {
    let idp = Idp::open(granted).await;
    let world = World::of(&idp);
    let homeless = sample::caller_of("a.b.c", &json!({"oid": "alice"}));
    assert_eq!(world.kind(&homeless).await, Kind::Internal);
    let stranger =
        IdentityProvider { name: Name::parse("other").unwrap(), ..sample::provider(&idp.authority()) };
    let world = World::new(stranger, &sample::cache());
    assert_eq!(world.kind(&caller("alice", 1)).await, Kind::Internal);
    assert_eq!(idp.requests(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn whoever_calls_gets_the_token_that_was_issued_for_them(
        calls in proptest::collection::vec((0_u8..6, 0_u32..3, 0_u8..4), 1..150),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let idp = Idp::open(granted).await;
            let world = World::of(&idp);
            let running: Vec<_> = calls
                .into_iter()
                .map(|(user, uti, scope)| {
                    let (world, user, scope) = (world.clone(), format!("user{user}"), format!("api://s{scope}/x"));
                    tokio::spawn(async move {
                        let exchange = sample::exchange(&[&scope]);
                        let exchanged = world.exchanger.token(&caller(&user, uti), &exchange).await.unwrap();
                        (text(&exchanged), user, scope)
                    })
                })
                .collect();
            for call in running {
                let (token, user, scope) = call.await.unwrap();
                assert!(token.starts_with(&format!("b:{user}.")) && token.ends_with(&format!(":{scope}")), "{token}");
            }
        });
    }
}
