//! Keys over a real connection to an identity provider that misbehaves as told.

mod idp;

use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::config::AuthorizationServer;
use crate::config::EntraVersion;
use crate::config::Oidc;
use crate::config::Tenancy;
use crate::net::metadata::Metadata;
use crate::pipeline::authenticate::Authenticator;
use crate::pipeline::authenticate::jwks;
use crate::pipeline::authenticate::keys::tests::idp::Answer;
use crate::pipeline::authenticate::keys::tests::idp::Idp;
use crate::pipeline::authenticate::testing::NOW;
use crate::pipeline::authenticate::testing::Signer;
use crate::pipeline::authenticate::testing::TENANT;
use crate::pipeline::authenticate::testing::cache;
use crate::pipeline::authenticate::testing::entra_at;
use crate::pipeline::authenticate::testing::oidc;
use crate::pipeline::authenticate::testing::outside;
use crate::pipeline::authenticate::testing::partner;
use crate::pipeline::authenticate::testing::policy;
use crate::pipeline::authenticate::testing::provider;
use crate::pipeline::authenticate::testing::tenant;
use crate::pipeline::authenticate::testing::user_claims;

/// The keys of version 2 tokens, kept fresh in the background, and the provider they come from.
struct Running {
    idp: Idp,
    source: Arc<KeySource>,
    clock: Clock,
    metrics: Arc<Metrics>,
    tasks: JoinSet<()>,
}

fn key(kid: &str) -> Value {
    Signer::rsa().jwk(kid)
}

fn at(idp: &Idp, tenancy: Tenancy) -> IdentityProvider {
    IdentityProvider { server: AuthorizationServer::Entra(entra_at(&idp.authority(), tenancy)), ..provider() }
}

impl Running {
    /// After the first fetch, which brought the key `old`.
    async fn with_timeout(timeout: Duration) -> Self {
        let idp = Idp::start(json!([key("old")])).await;
        let provider = IdentityProvider { timeout, ..at(&idp, Tenancy::Id(tenant(TENANT))) };
        Self::of(idp, provider).await
    }

    async fn start() -> Self {
        Self::with_timeout(Duration::from_secs(5)).await
    }

    async fn of(idp: Idp, provider: IdentityProvider) -> Self {
        let (clock, metrics) = (Clock::manual(NOW), Arc::new(Metrics::new()));
        let client = Client::new().unwrap();
        let provider = Arc::new(provider);
        let origin = Origin::Entra(EntraVersion::V2);
        let source = Arc::new(KeySource::new(provider, origin, client, clock.clone(), metrics.clone()));
        let mut ended = source.ended.subscribe();
        let mut tasks = JoinSet::new();
        let background = source.clone();
        tasks.spawn(async move { background.keep_fresh().await });
        ended.changed().await.unwrap();
        Self { idp, source, clock, metrics, tasks }
    }

    /// Lets the scheduled fetch happen now.
    async fn refresh(&self) {
        let mut ended = self.source.ended.subscribe();
        self.source.wanted.notify_one();
        ended.changed().await.unwrap();
    }

    async fn reason(&self, kid: &str) -> Option<Kind> {
        self.source.holding(KeyName::Id(kid), Algorithm::RS256).await.err()
    }

    fn waiting(&self, kid: &'static str) -> tokio::task::JoinHandle<Option<Kind>> {
        let source = self.source.clone();
        tokio::spawn(async move { source.holding(KeyName::Id(kid), Algorithm::RS256).await.err() })
    }

    /// Returns when that many callers wait for a fetch to end.
    async fn until_waiting(&self, callers: usize) {
        let all_wait = async {
            while self.source.ended.receiver_count() != callers {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), all_wait).await;
        assert!(in_time.is_ok(), "{} callers wait", self.source.ended.receiver_count());
    }

    fn fetches(&self, result: &str) -> usize {
        let wanted =
            format!("obo_jwks_refreshes_total{{identity_provider=\"contoso\",result=\"{result}\"}} ");
        let metrics = self.metrics.encode();
        metrics.lines().find_map(|line| line.strip_prefix(&wanted)).map_or(0, |count| count.parse().unwrap())
    }
}

#[tokio::test]
async fn a_published_key_is_found_without_a_fetch() {
    let running = Running::start().await;
    assert!(running.source.is_ready());
    assert_eq!(running.source.tenant(), Some(tenant(TENANT)));
    for _ in 0..10 {
        assert_eq!(running.reason("old").await, None);
    }
    assert_eq!(running.idp.key_requests(), 1);
    assert_eq!(running.fetches("ok"), 1);
}

#[tokio::test]
async fn a_start_without_the_provider_heals_by_itself() {
    let idp = Idp::start(json!([key("old")])).await;
    idp.answer_metadata(Answer::Cut);
    let provider = at(&idp, Tenancy::Id(tenant(TENANT)));
    let running = Running::of(idp, provider).await;
    assert!(!running.source.is_ready());
    assert_eq!(running.reason("old").await, Some(Kind::KeysUnavailable));
    assert_eq!(
        running.source.holding(KeyName::Not, Algorithm::RS256).await.err(),
        Some(Kind::KeysUnavailable)
    );

    let mut ended = running.source.ended.subscribe();
    running.idp.answer_metadata(Answer::Good);
    while !running.source.is_ready() {
        ended.changed().await.unwrap();
    }
    assert_eq!(running.reason("old").await, None);
}

#[tokio::test]
async fn one_fetch_serves_every_caller_with_an_unknown_key() {
    let running = Running::start().await;
    running.idp.publish(json!([key("old"), key("new")]));
    running.idp.close_gate();
    let callers: Vec<_> = (0..200).map(|_| running.waiting("new")).collect();
    running.until_waiting(200).await;
    // nobody else waits for them
    assert_eq!(running.reason("old").await, None);
    running.idp.open_gate();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), None);
    }
    assert_eq!(running.idp.key_requests(), 2);
}

#[tokio::test]
async fn keys_that_do_not_exist_cost_one_fetch_per_cooldown() {
    let running = Running::start().await;
    for round in 2..5 {
        running.idp.close_gate();
        let callers: Vec<_> = (0..200).map(|_| running.waiting("nobody's")).collect();
        running.until_waiting(200).await;
        running.idp.open_gate();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), Some(Kind::UnknownKey));
        }
        running.clock.advance(Duration::from_secs(29));
        assert_eq!(running.reason("nobody's either").await, Some(Kind::UnknownKey));
        assert_eq!(running.idp.key_requests(), round);
        running.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_fetch_that_began_before_the_key_was_published_is_worth_a_second_one() {
    let running = Running::start().await;
    running.idp.close_gate();
    let mut ended = running.source.ended.subscribe();
    running.source.wanted.notify_one();
    while running.idp.key_requests() < 2 {
        tokio::task::yield_now().await;
    }
    let caller = running.waiting("new");
    running.until_waiting(2).await;
    running.idp.open_gate();
    ended.changed().await.unwrap();
    running.idp.publish(json!([key("old"), key("new")]));
    assert_eq!(caller.await.unwrap(), None);
    assert_eq!(running.idp.key_requests(), 3);
}

#[tokio::test]
async fn a_caller_who_leaves_takes_nobody_along() {
    let running = Running::start().await;
    running.idp.publish(json!([key("new")]));
    running.idp.close_gate();
    let first = running.waiting("new");
    running.until_waiting(1).await;
    let second = running.waiting("new");
    running.until_waiting(2).await;
    first.abort();
    running.until_waiting(1).await;
    running.idp.open_gate();
    assert_eq!(second.await.unwrap(), None);
    assert_eq!(running.idp.key_requests(), 2);
}

#[tokio::test]
async fn a_withdrawn_key_is_gone_with_the_next_refresh() {
    let running = Running::start().await;
    running.idp.publish(json!([key("new")]));
    running.refresh().await;
    assert_eq!(running.reason("new").await, None);
    assert_eq!(running.reason("old").await, Some(Kind::UnknownKey));
}

#[tokio::test]
async fn no_answer_however_bad_loses_the_old_keys() {
    let running = Running::with_timeout(Duration::from_millis(300)).await;
    let set = json!({ "keys": [key("new")] }).to_string();
    let reply = |status, headers, body: &str| Answer::Reply(status, headers, body.to_owned());
    let huge = format!("{set}{}", " ".repeat(jwks::MAX_BYTES));
    let bad_keys = [
        reply(404, &[], &set),
        reply(500, &[], ""),
        reply(204, &[], ""),
        reply(302, &[("location", "/stray")], &set),
        reply(301, &[("location", "/stray")], &set),
        reply(200, &[("content-encoding", "gzip")], &set),
        reply(200, &[("content-encoding", "identity"), ("content-encoding", "br")], &set),
        reply(200, &[], &huge),
        reply(200, &[], "<html>maintenance</html>"),
        reply(200, &[], ""),
        reply(200, &[], r#"{"keys":[]}"#),
        reply(200, &[("content-length", "100000")], &set),
        Answer::Cut,
        Answer::Hang,
    ];
    let evil =
        json!({"issuer": "https://evil.example", "jwks_uri": format!("{}/keys", running.idp.authority())});
    let issuer = format!("{}/{TENANT}/v2.0", running.idp.authority());
    let unsafe_uri = json!({"issuer": issuer, "jwks_uri": "http://198.51.100.1/stray"});
    let bad_metadata = [
        reply(404, &[], ""),
        reply(302, &[("location", "/stray")], ""),
        reply(200, &[], "{"),
        reply(200, &[], &evil.to_string()),
        reply(200, &[], &unsafe_uri.to_string()),
        Answer::Cut,
        Answer::Hang,
    ];
    let mut failures = 0;
    for (keys, metadata) in bad_keys
        .into_iter()
        .map(|keys| (keys, Answer::Good))
        .chain(bad_metadata.into_iter().map(|metadata| (Answer::Good, metadata)))
    {
        running.idp.answer_keys(keys);
        running.idp.answer_metadata(metadata);
        running.refresh().await;
        failures += 1;
        assert_eq!(running.reason("old").await, None, "after bad answer {failures}");
    }
    assert!(running.fetches("error") >= failures);
    assert_eq!((running.fetches("ok"), running.idp.stray_requests()), (1, 0));

    running.idp.answer_keys(Answer::Reply(200, &[("content-encoding", "identity")], set));
    running.idp.answer_metadata(Answer::Good);
    running.refresh().await;
    assert_eq!(running.reason("new").await, None);
}

#[tokio::test]
async fn a_slow_provider_holds_callers_up_no_longer_than_its_timeout() {
    let running = Running::with_timeout(Duration::from_millis(100)).await;
    running.idp.answer_keys(Answer::Hang);
    let unknown = running.waiting("nobody's");
    running.until_waiting(1).await;
    assert_eq!(running.reason("old").await, None);
    assert_eq!(unknown.await.unwrap(), Some(Kind::KeysUnavailable));
}

#[tokio::test]
async fn a_key_is_unknown_only_if_its_issuer_could_be_asked() {
    let running = Running::start().await;
    running.idp.publish(json!([key("old"), key("new")]));
    running.idp.answer_keys(Answer::Cut);
    // whoever waits for the fetch that fails, and whoever comes within the cooldown after it
    for _ in 0..3 {
        assert_eq!(running.reason("new").await, Some(Kind::KeysUnavailable));
        assert_eq!(running.reason("old").await, None);
    }
    // the issuer is back: by the schedule of what failed, and without a key of that name
    running.idp.answer_keys(Answer::Good);
    running.refresh().await;
    assert_eq!(running.reason("new").await, None);
    assert_eq!(running.reason("nobody's").await, Some(Kind::UnknownKey));
    // and away again
    running.idp.answer_keys(Answer::Reply(503, &[], String::new()));
    running.refresh().await;
    assert_eq!(running.reason("nobody's").await, Some(Kind::KeysUnavailable));
    assert_eq!(running.reason("new").await, None);
}

#[tokio::test]
async fn trouble_is_told_from_its_first_failure_to_its_end() {
    let running = Running::start().await;
    assert_eq!(running.source.failing(), None);
    running.idp.answer_keys(Answer::Reply(503, &[], String::new()));
    running.refresh().await;
    running.clock.advance(Duration::from_secs(7));
    let failing = running.source.failing().unwrap();
    assert!(failing.age >= Duration::from_secs(7) && failing.count >= 1, "{failing:?}");
    assert_eq!(failing.cause, "the answer's status is 503 Service Unavailable");
    let named = json!({"issuer": "https://other.example/v2.0", "jwks_uri": "https://other.example/keys"});
    running.idp.answer_metadata(Answer::Reply(200, &[], named.to_string()));
    running.refresh().await;
    let later = running.source.failing().unwrap();
    assert!(later.count > failing.count && later.age >= failing.age, "{later:?}");
    let issuer = format!("{}/{TENANT}/v2.0", running.idp.authority());
    let told = format!("the metadata is of the issuer https://other.example/v2.0, and not of {issuer}");
    assert_eq!(later.cause, told);
    running.idp.answer_metadata(Answer::Good);
    running.idp.answer_keys(Answer::Good);
    running.refresh().await;
    assert_eq!(running.source.failing(), None);
}

#[tokio::test]
async fn the_last_good_keys_serve_for_a_day() {
    let running = Running::start().await;
    running.idp.answer_keys(Answer::Cut);
    running.clock.advance(LAST_KNOWN_GOOD);
    assert_eq!(running.reason("old").await, None);
    running.clock.advance(Duration::from_secs(1));
    assert_eq!(running.reason("old").await, Some(Kind::KeysUnavailable));
    assert_eq!(running.reason("new").await, Some(Kind::KeysUnavailable));
    running.idp.answer_keys(Answer::Good);
    running.refresh().await;
    assert_eq!(running.reason("old").await, None);
}

#[tokio::test]
async fn a_token_without_a_key_id_forces_no_fetch() {
    let running = Running::start().await;
    assert_eq!(running.source.holding(KeyName::Not, Algorithm::RS256).await.err(), Some(Kind::UnknownKey));
    assert_eq!(running.idp.key_requests(), 1);
}

#[tokio::test]
async fn the_tenant_of_a_domain_is_learnt_from_the_metadata() {
    let idp = Idp::start(json!([key("old")])).await;
    let provider = at(&idp, Tenancy::Domain("contoso.example".into()));
    let running = Running::of(idp, provider).await;
    assert_eq!(running.source.tenant(), Some(tenant(TENANT)));
    drop(running.tasks);
}

#[tokio::test]
async fn one_version_s_failure_does_not_lose_the_other() {
    let idp = Idp::start(json!([key("old")])).await;
    idp.answer_v1_metadata(Answer::Reply(404, &[], String::new()));
    let provider = Arc::new(at(&idp, Tenancy::Id(tenant(TENANT))));
    let clock = Clock::manual(NOW);
    let providers = [provider];
    let authenticator = Authenticator::new(&providers, &cache(), &outside(&providers, &clock));
    let [v1, v2] = [
        authenticator.providers[0].keys(Some(EntraVersion::V1)),
        authenticator.providers[0].keys(Some(EntraVersion::V2)),
    ];
    let mut ends = [v1.ended.subscribe(), v2.ended.subscribe()];
    assert!(!authenticator.ready());
    authenticator.start();
    authenticator.start();
    for ended in &mut ends {
        ended.changed().await.unwrap();
    }
    assert!(authenticator.ready());
    assert_eq!(idp.key_requests(), 1);

    let of = async |issuer: String, version: &str| {
        let claims = user_claims(json!({"iss": issuer, "ver": version})).to_string();
        let token = Signer::rsa().sign(json!({"kid": "old"}), &claims);
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        authenticator.caller(&headers, &policy(), None).await.err().map(|error| error.kind)
    };
    assert_eq!(of(format!("{}/{TENANT}/v2.0", idp.authority()), "2.0").await, None);
    let v1 = of(format!("https://sts.windows.net/{TENANT}/"), "1.0").await;
    assert_eq!(v1, Some(Kind::KeysUnavailable));
}

#[tokio::test]
async fn dropping_the_authenticator_ends_its_tasks() {
    let idp = Idp::start(json!([key("old")])).await;
    let provider = Arc::new(at(&idp, Tenancy::Id(tenant(TENANT))));
    let clock = Clock::manual(NOW);
    let providers = [provider];
    let authenticator = Authenticator::new(&providers, &cache(), &outside(&providers, &clock));
    authenticator.start();
    let source = authenticator.providers[0].keys.clone();
    source.ended.subscribe().changed().await.unwrap();
    drop(authenticator);
    // the task held the only other share
    while Arc::strong_count(&source) > 1 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn retries_slow_down_to_their_bound() {
    let pauses =
        |longest| [1, 2, 3, 4, 5, 9, 10, u32::MAX].map(|failures| retry_after(failures, longest).as_millis());
    assert_eq!(pauses(Duration::from_secs(1)), [100, 200, 400, 800, 1000, 1000, 1000, 1000]);
    assert_eq!(pauses(Duration::from_secs(30)), [100, 200, 400, 800, 1600, 25_600, 30_000, 30_000]);
}

/// The same identity provider as a server that is not Entra: its version 2 metadata is what discovery finds.
fn elsewhere(idp: &Idp, jwks_uri: Option<&str>) -> IdentityProvider {
    let issuer = format!("{}/{TENANT}/v2.0", idp.authority());
    let jwks_uri = jwks_uri.map(|path| format!("{}{path}", idp.authority()).parse().unwrap());
    IdentityProvider { server: AuthorizationServer::Oidc(Oidc { jwks_uri, ..oidc(&issuer) }), ..partner() }
}

async fn running_elsewhere(idp: Idp, elsewhere: IdentityProvider) -> Running {
    // the name that fetches are counted by
    let provider = IdentityProvider { name: provider().name, ..elsewhere };
    let (clock, metrics) = (Clock::manual(NOW), Arc::new(Metrics::new()));
    let (client, provider) = (Client::new().unwrap(), Arc::new(provider));
    let origin = Origin::Server(Metadata::of(&provider, client.clone(), clock.clone()).unwrap());
    let source = Arc::new(KeySource::new(provider, origin, client, clock.clone(), metrics.clone()));
    let mut ended = source.ended.subscribe();
    let mut tasks = JoinSet::new();
    let background = source.clone();
    tasks.spawn(async move { background.keep_fresh().await });
    ended.changed().await.unwrap();
    Running { idp, source, clock, metrics, tasks }
}

#[tokio::test]
async fn another_server_s_keys_are_found_by_discovery_and_kept_by_the_same_rules() {
    let idp = Idp::start(json!([key("old")])).await;
    let provider = elsewhere(&idp, None);
    let running = running_elsewhere(idp, provider).await;
    assert_eq!((running.reason("old").await, running.source.tenant()), (None, None));
    // a new key is worth one fetch, an invented one none within the cooldown
    running.idp.publish(json!([key("old"), key("new")]));
    assert_eq!(running.reason("new").await, None);
    assert_eq!(running.reason("invented").await, Some(Kind::UnknownKey));
    assert_eq!(running.idp.key_requests(), 2);
    // keys are not lost to bad answers
    for answer in [Answer::Cut, Answer::Reply(500, &[], String::new()), Answer::Reply(200, &[], "{}".into())]
    {
        running.idp.answer_keys(answer);
        running.refresh().await;
        assert_eq!(running.reason("old").await, None);
    }
    running.clock.advance(LAST_KNOWN_GOOD + Duration::from_secs(1));
    assert_eq!(running.reason("old").await, Some(Kind::KeysUnavailable));
}

#[tokio::test]
async fn configured_keys_need_no_discovery() {
    let idp = Idp::start(json!([key("k")])).await;
    idp.answer_metadata(Answer::Reply(404, &[], String::new()));
    let provider = elsewhere(&idp, Some("/keys"));
    let running = running_elsewhere(idp, provider).await;
    assert_eq!(running.reason("k").await, None);
}

#[tokio::test]
async fn metadata_of_another_issuer_brings_no_keys() {
    let idp = Idp::start(json!([key("k")])).await;
    let of_another = json!({"issuer": "https://id.example", "jwks_uri": format!("{}/keys", idp.authority())});
    idp.answer_metadata(Answer::Reply(200, &[], of_another.to_string()));
    let provider = elsewhere(&idp, None);
    let running = running_elsewhere(idp, provider).await;
    assert_eq!(running.reason("k").await, Some(Kind::KeysUnavailable));
    assert_eq!((running.idp.key_requests(), running.fetches("error") > 0), (0, true));
}

#[tokio::test]
async fn where_there_is_nothing_to_fetch_nobody_keeps_trying() {
    let idp = Idp::start(json!([])).await;
    let nowhere = AuthorizationServer::Oidc(oidc("urn:example:issuer"));
    let running = running_elsewhere(idp, IdentityProvider { server: nowhere, ..partner() }).await;
    assert!(running.source.was_tried() && !running.source.is_ready());
    assert_eq!((running.fetches("ok"), running.fetches("error")), (0, 0));
}
