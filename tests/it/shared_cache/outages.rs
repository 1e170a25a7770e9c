//! Redis is slow, full, away, or lets us in nowhere: no request fails for it, and none waits long.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::shared_cache::load::Load;
use crate::support::certificates::Authority;
use crate::support::fleet::Fleet;
use crate::support::fleet::Lookups;
use crate::support::fleet::encryption_key;
use crate::support::fleet::lookups;
use crate::support::redis::Redis;
use crate::support::redis::free_port;
use crate::support::sidecar::Sidecar;

/// No request takes longer, whatever Redis does: it is given 50 ms. The rest is for a machine that is busy.
const BUDGET: Duration = Duration::from_secs(1);

/// A fleet of two, which give Redis as long as by default.
async fn pair(redis: &Redis) -> (Arc<Fleet>, [Arc<Sidecar>; 2]) {
    let fleet = Fleet::around(&format!("url: \"{}\"", redis.url())).await;
    let proxies = [fleet.hasty_proxy().await, fleet.hasty_proxy().await];
    fleet.share(&proxies[0], &proxies[1]).await;
    (Arc::new(fleet), proxies)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_redis_dies_and_comes_back() {
    let mut redis = Redis::start();
    let (fleet, proxies) = pair(&redis).await;
    let load = Load::start(&fleet, &proxies);
    let pause = async |ms: u64| tokio::time::sleep(Duration::from_millis(ms)).await;
    pause(500).await;
    redis.kill();
    pause(1500).await;
    redis.start_again();
    pause(500).await;
    let calls = load.end().await;
    assert!(calls.count > 100 && calls.longest < BUDGET, "{calls:?}");
    for proxy in &proxies {
        assert!(lookups(proxy).await.errors > 0);
    }
    fleet.share(&proxies[0], &proxies[1]).await;
    for proxy in &proxies {
        let told = |what: &str| proxy.proxy.lines(|line| line == what).len();
        assert_eq!(told("connected to Redis"), 1, "{}", proxy.proxy.log());
        assert!(told("Redis serves us again") >= 1, "{}", proxy.proxy.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_waits_long_for_a_redis_that_does_not_answer() {
    // none of those who call all the time
    const SEEN: usize = 100;
    let redis = Redis::start();
    let (fleet, proxies) = pair(&redis).await;
    for proxy in &proxies {
        fleet.serves(proxy, SEEN).await;
    }
    let load = Load::start(&fleet, &proxies);
    redis.pause();
    let begun = Instant::now();
    // whose token is in memory does not notice
    while begun.elapsed() < Duration::from_millis(1500) {
        for proxy in &proxies {
            let asked = Instant::now();
            fleet.serves(proxy, SEEN).await;
            assert!(asked.elapsed() < BUDGET, "{:?}", asked.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(fleet.exchanges(SEEN), 1);
    redis.resume();
    let calls = load.end().await;
    assert!(calls.count > 50 && calls.longest < BUDGET, "{calls:?}");
    for proxy in &proxies {
        assert!(lookups(proxy).await.errors > 0);
    }
    fleet.share(&proxies[0], &proxies[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_keeps_nothing_and_breaks_nothing() {
    let redis = Redis::start();
    let (fleet, proxies) = pair(&redis).await;
    redis.fill();
    let before = redis.entries().len();
    for proxy in &proxies {
        fleet.serves_all(proxy, 0..10).await;
        assert!(lookups(proxy).await.errors > 0);
    }
    assert_eq!(fleet.exchanges_of(0..10), 20);
    assert_eq!(redis.entries().len(), before);
    redis.make_room();
    fleet.share(&proxies[0], &proxies[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_that_began_without_redis_share_once_it_is_there() {
    let mut redis = Redis::start();
    redis.kill();
    let server = format!("url: \"{}\"", redis.url());
    let fleet = Fleet::around(&server).await;
    let [one, other] = [(); 2].map(|()| fleet.proxy_with(&server, &["key"], "50ms"));
    let [one, other] = [one.await, other.await];
    for proxy in [&one, &other] {
        fleet.serves(proxy, 1).await;
    }
    assert_eq!(fleet.exchanges(1), 2);
    redis.start_again();
    fleet.share(&one, &other).await;
}

const WRONG: &str = "wr0ng-passw0rd";

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_cannot_be_used_is_named_once_and_costs_no_request() {
    let fleet = Arc::new(Fleet::around("").await);
    let (trusted, untrusted) = (Authority::new(), Authority::new());
    let ca = format!("tls: {{ ca: \"{}\" }}", fleet.file("ca.pem", &trusted.pem()));
    let login = format!("password: {{ file: \"{}\" }}", fleet.file("password", WRONG));
    let tls = |authority: &Authority, name: &str| {
        let pair = authority.issue(name);
        let certificate = fleet.file(&format!("{name}.crt"), &pair.certificate);
        let key = fleet.file(&format!("{name}.key"), &pair.key);
        Redis::with_tls(&certificate, &key, &["--tls-auth-clients", "no"])
    };
    let [strange, misnamed] = [tls(&untrusted, "127.0.0.1"), tls(&trusted, "redis.example")];
    let [open, guarded] = [Redis::start(), Redis::guarded("r1ght-passw0rd")];
    open.command::<()>(&["ACL", "SETUSER", "obo", "on", &format!(">{WRONG}"), "~another:*", "+@all"]);
    let cases = [
        ("no server", format!("url: \"redis://127.0.0.1:{}\"", free_port())),
        ("no password", format!("url: \"{}\"", guarded.url())),
        ("a wrong password", format!("url: \"{}\", {login}", guarded.url())),
        ("an unknown user", format!("url: \"{}\", username: nobody, {login}", open.url())),
        ("no rights", format!("url: \"{}\", username: obo, {login}", open.url())),
        ("an untrusted certificate", format!("url: \"{}\", {ca}", strange.tls_url())),
        ("a certificate for another name", format!("url: \"{}\", {ca}", misnamed.tls_url())),
        ("no TLS where it is wanted", format!("url: \"redis://127.0.0.1:{}\"", strange.second_port())),
        ("TLS where there is none", format!("url: \"rediss://127.0.0.1:{}\", {ca}", open.port())),
    ];
    let cases = cases.into_iter().enumerate();
    let cases = cases.map(|(number, (of, server))| is_named_once(fleet.clone(), number * 100, of, server));
    cases.collect::<JoinSet<()>>().join_all().await;
}

async fn is_named_once(fleet: Arc<Fleet>, first_user: usize, of: &'static str, server: String) {
    let proxy = fleet.proxy_with(&server, &["key"], "50ms").await;
    let users = first_user..first_user + 20;
    for user in users.clone() {
        let asked = Instant::now();
        fleet.serves(&proxy, user).await;
        assert!(asked.elapsed() < BUDGET, "{of}: {:?}", asked.elapsed());
        // long enough for it to be tried again
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(fleet.exchanges_of(users), 20, "{of}");
    let Lookups { hits, misses, errors } = lookups(&proxy).await;
    assert!(hits + misses == 0 && errors > 0, "{of}: {hits} {misses} {errors}");
    let log = proxy.proxy.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    // what has a place is said of the configuration
    let is_meant = |line: &Value| line["level"] == "warn" && line["at"].is_null() && line["msg"] != "request";
    let warnings: Vec<Value> = lines.filter(is_meant).collect();
    assert!((1..=2).contains(&warnings.len()), "{of}: {warnings:#?}");
    for secret in [WRONG, "r1ght-passw0rd", "s3cret+/=", &encryption_key(1), "eyJ", "e30."] {
        assert!(!log.contains(secret), "{of}: {secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_that_goes_on_for_another_cause_is_told_again() {
    let mut redis = Redis::guarded("r1ght-passw0rd");
    redis.kill();
    let server = format!("url: \"{}\"", redis.url());
    let fleet = Fleet::around(&server).await;
    let proxy = fleet.proxy_with(&server, &["key"], "50ms").await;
    let mut users = 0..;
    let mut told = async |needle: &str| {
        let begun = Instant::now();
        loop {
            fleet.serves(&proxy, users.next().unwrap()).await;
            let log = proxy.proxy.log();
            let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let told: Vec<Value> = lines
                .filter(|line| line["msg"].as_str().unwrap().starts_with("Redis does not serve"))
                .collect();
            if told.last().is_some_and(|line| line["cause"].as_str().unwrap().contains(needle)) {
                return told;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{needle} is not told: {told:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(told("refused").await.len(), 1);
    redis.start_again();
    let told = told("NOAUTH").await;
    assert!(told.iter().all(|line| line["server"] == format!("127.0.0.1:{}", redis.port())), "{told:?}");
    // nobody was let in
    assert!(proxy.proxy.lines(|message| message.starts_with("connected")).is_empty());
}

/// Servers close connections that rest (`timeout`), and balancers drop them: each quiet hour would end with an error and two
/// lines in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_closes_is_made_anew_unnoticed() {
    let redis = Redis::start();
    let (fleet, [first, second]) = pair(&redis).await;
    for user in 10..13 {
        fleet.serves(&first, user).await;
        let closed: i64 = redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        assert!(closed >= 2, "{closed}");
        let before = lookups(&second).await;
        fleet.serves(&second, user).await;
        let after = lookups(&second).await;
        assert_eq!((after.hits - before.hits, after.errors - before.errors), (1, 0));
        assert_eq!(fleet.exchanges(user), 1);
    }
    let complaints =
        second.proxy.lines(|message| message.contains("Redis") && !message.starts_with("connected to Redis"));
    assert!(complaints.is_empty(), "{complaints:?}");
}
