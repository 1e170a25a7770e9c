//! Whatever the servers are to each other, and however they are spoken to, proxies share through them.

use std::fs;

use crate::support::certificates::Authority;
use crate::support::fleet::Fleet;
use crate::support::fleet::lookups;
use crate::support::process::repository;
use crate::support::redis::Redis;
use crate::support::redis::cluster::Cluster;
use crate::support::redis::sentinel::MASTER;
use crate::support::redis::sentinel::Watched;
use crate::support::until;

const PASSWORD: &str = "s3cr3t:/@?#";

/// Two proxies, the second of which serves these users by what the first fetched.
async fn share(fleet: &Fleet, entries: impl AsyncFn() -> usize) {
    let [first, second] = [fleet.proxy().await, fleet.proxy().await];
    let fetched = fleet.serves_all(&first, 0..12).await;
    until("all are there", async || entries().await == 12).await;
    assert_eq!(fleet.serves_all(&second, 0..12).await, fetched);
    assert_eq!(fleet.exchanges_of(0..12), 12);
    assert_eq!((lookups(&second).await.hits, lookups(&second).await.errors), (12, 0));
}

/// The page for operators.
fn page() -> String {
    fs::read_to_string(repository("docs/shared-cache.md")).unwrap()
}

/// Makes the user `obo` as the page says, with what it adds to the rights of one that is spoken to in that `place`.
fn add_user(redis: &Redis, place: &str) {
    let page = page();
    let command = page.lines().find(|line| line.starts_with("ACL SETUSER obo on")).unwrap();
    let command = command.replace("PASSWORD", PASSWORD);
    let words: Vec<&str> = command.split(' ').collect();
    let added = added(&page, place);
    let added: Vec<&str> = added.iter().map(String::as_str).collect();
    redis.command::<()>(&[&words[..], &added].concat());
}

/// The rights in the row of the page's table that begins with that `place`.
fn added(page: &str, place: &str) -> Vec<String> {
    let mut table = page.lines().skip_while(|line| !line.starts_with("| Besides `AUTH`"));
    let row = table.find(|line| line.starts_with(&format!("| {place}"))).unwrap();
    let row = row.replace("\\|", "/").replace('`', "");
    let words = row.split([' ', ',']).filter(|word| word.starts_with(['+', '-']));
    words.map(|word| word.replace('/', "|")).collect()
}

/// A fleet whose members are that user.
async fn fleet_of_users(server: &str) -> Fleet {
    let fleet = Fleet::around("").await;
    let password = fleet.file("password", &format!("{PASSWORD}\n"));
    let server = server.replace("LOGIN", &format!("username: obo, password: {{ file: \"{password}\" }}"));
    fleet.at(&server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_the_documented_rights_is_enough() {
    let redis = Redis::start();
    add_user(&redis, "everywhere");
    let fleet = fleet_of_users(&format!("url: \"{}/0\", LOGIN", redis.url())).await;
    share(&fleet, async || redis.entries().len()).await;
    // and in a database of its own
    redis.command::<()>(&["FLUSHALL"]);
    add_user(&redis, "a database other than 0");
    let fleet = fleet_of_users(&format!("url: \"{}/3\", LOGIN", redis.url())).await;
    share(&fleet, async || keys(&redis, 3)).await;
}

/// How many names there are in that database.
fn keys(redis: &Redis, database: usize) -> usize {
    let info: String = redis.command(&["INFO", "keyspace"]);
    let keys = info.lines().find_map(|line| line.strip_prefix(&format!("db{database}:keys=")));
    keys.map_or(0, |keys| keys.split(',').next().unwrap().parse().unwrap())
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
    for node in cluster.nodes() {
        add_user(node, "a cluster");
    }
    let urls: Vec<String> = cluster.nodes().iter().map(|node| format!("\"{}\"", node.url())).collect();
    // two of them know of the third
    let fleet = fleet_of_users(&format!("cluster: [{}], LOGIN", urls[..2].join(", "))).await;
    share(&fleet, async || cluster.entries().len()).await;
    let counts: Vec<usize> = cluster.nodes().iter().map(|node| node.entries().len()).collect();
    assert!(counts.iter().filter(|count| **count > 0).count() > 1, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_leads_to_the_master_and_to_the_next_one() {
    let watched = Watched::start().await;
    for server in watched.servers() {
        add_user(server, "behind sentinels");
    }
    let user = ["ACL", "SETUSER", "obo", "on", &format!(">{PASSWORD}")];
    let rights = added(&page(), "at the sentinels");
    let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
    watched.sentinel.command::<()>(&[&user[..], &rights].concat());
    let url = watched.sentinel.url();
    let server = format!("sentinel: {{ urls: [\"{url}\"], master: {MASTER}, LOGIN }}, LOGIN");
    let fleet = fleet_of_users(&server).await;
    share(&fleet, async || watched.master().entries().len()).await;
    let [one, other] = [fleet.proxy().await, fleet.proxy().await];
    watched.fail_over().await;
    fleet.share(&one, &other).await;
    // what the old master had, the new one has
    let third = fleet.proxy().await;
    fleet.serves_all(&third, 0..12).await;
    assert_eq!(fleet.exchanges_of(0..12), 12);
}
