//! Whatever the servers are to each other, and however they are spoken to, proxies share through them.

use crate::support::certificates::Authority;
use crate::support::fleet::Fleet;
use crate::support::fleet::lookups;
use crate::support::redis::Redis;
use crate::support::redis::cluster::Cluster;
use crate::support::redis::sentinel::MASTER;
use crate::support::redis::sentinel::Watched;
use crate::support::until;

/// What a proxy's user must be allowed besides the names that begin with `obo:`.
const COMMANDS: [&str; 3] = ["+getrange", "+set", "+del"];

/// Two proxies, the second of which serves these users by what the first fetched.
async fn share(fleet: &Fleet, entries: impl AsyncFn() -> usize) {
    let [first, second] = [fleet.proxy().await, fleet.proxy().await];
    let fetched = fleet.serves_all(&first, 0..12).await;
    until("all are there", async || entries().await == 12).await;
    assert_eq!(fleet.serves_all(&second, 0..12).await, fetched);
    assert_eq!(fleet.exchanges_of(0..12), 12);
    assert_eq!((lookups(&second).await.hits, lookups(&second).await.errors), (12, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_few_rights_is_enough() {
    let redis = Redis::start();
    let user = ["ACL", "SETUSER", "obo", "reset", "on", ">s3cr3t:/@?#", "~obo:*"];
    redis.command::<()>(&[&user[..], &COMMANDS].concat());
    let fleet = Fleet::around("").await;
    let password = fleet.file("password", "s3cr3t:/@?#\n");
    let server = format!("url: \"{}/0\", username: obo, password: {{ file: \"{password}\" }}", redis.url());
    share(&fleet.at(&server), async || redis.entries().len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_user_s_password_is_read_anew_for_another_connection() {
    let mut redis = Redis::guarded("0ld");
    let fleet = Fleet::around("").await;
    let password = fleet.file("password", "0ld");
    let fleet = fleet.at(&format!("url: \"{}\", password: {{ file: \"{password}\" }}", redis.url()));
    let [one, other] = [fleet.proxy().await, fleet.proxy().await];
    fleet.file("password", "n3w");
    redis.restart_with_password("n3w");
    fleet.share(&one, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_show_certificates_where_they_are_told_to() {
    let fleet = Fleet::around("").await;
    let authority = Authority::new();
    let ca = fleet.file("ca.pem", &authority.pem());
    let files = |name: &str| {
        let pair = authority.issue(name);
        [("crt", pair.certificate), ("key", pair.key)]
            .map(|(end, pem)| fleet.file(&format!("{name}.{end}"), &pem))
    };
    let [[certificate, key], [ours, our_key]] = [files("127.0.0.1"), files("orders-proxy")];
    let options = ["--tls-auth-clients", "yes", "--tls-ca-cert-file", &ca];
    let redis = Redis::with_tls(&certificate, &key, &options);
    let server = format!(
        "url: \"{}\", tls: {{ ca: \"{ca}\", client_certificate: {{ file: \"{ours}\", key: \"{our_key}\" }} }}",
        redis.tls_url()
    );
    share(&fleet.at(&server), async || redis.entries().len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_spread_over_a_cluster() {
    let cluster = Cluster::start().await;
    let urls: Vec<String> = cluster.nodes().iter().map(|node| format!("\"{}\"", node.url())).collect();
    // two of them know of the third
    let fleet = Fleet::around(&format!("cluster: [{}]", urls[..2].join(", "))).await;
    share(&fleet, async || cluster.entries().len()).await;
    let counts: Vec<usize> = cluster.nodes().iter().map(|node| node.entries().len()).collect();
    assert!(counts.iter().filter(|count| **count > 0).count() > 1, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_leads_to_the_master_and_to_the_next_one() {
    let watched = Watched::start().await;
    let server = format!("sentinel: {{ urls: [\"{}\"], master: {MASTER} }}", watched.sentinel.url());
    let fleet = Fleet::around(&server).await;
    share(&fleet, async || watched.master().entries().len()).await;
    let [one, other] = [fleet.proxy().await, fleet.proxy().await];
    watched.fail_over().await;
    fleet.share(&one, &other).await;
    // what the old master had, the new one has
    let third = fleet.proxy().await;
    fleet.serves_all(&third, 0..12).await;
    assert_eq!(fleet.exchanges_of(0..12), 12);
}
