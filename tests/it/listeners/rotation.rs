//! Certificates are replaced while callers come and go.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rcgen::CertificateParams;
use rustls::ClientConfig;
use rustls::client::Resumption;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::listeners::Front;
use crate::listeners::connect;
use crate::listeners::curl;
use crate::listeners::files;
use crate::listeners::status;
use crate::listeners::tls;
use crate::support::certificates::Authority;
use crate::support::certificates::Pair;
use crate::support::raw;
use crate::support::until;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a new connection is shown.
async fn shown(client: &Arc<ClientConfig>, port: &str) -> Vec<u8> {
    let stream = connect(client, port).await;
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// A client that sees the certificate each time.
fn client(authority: &Authority) -> Arc<ClientConfig> {
    let mut config = authority.client();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Puts a pair where Kubernetes would: in a new directory, to which a link then leads in one step.
fn swap(directory: &Path, pair: &Pair, number: u64) {
    let name = format!("..data_{number}");
    fs::create_dir(directory.join(&name)).unwrap();
    pair.write(&directory.join(&name), "tls");
    let new = directory.join("..data_tmp");
    symlink(&name, &new).unwrap();
    fs::rename(new, directory.join("..data")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_within_five_seconds_and_no_request_is_lost() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    swap(directory.path(), &authority.issue("localhost"), 0);
    let data = directory.path().join("..data");
    let front = Front::start(&tls(&data, ""), "").await;
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..12)
        .map(|number| {
            let client = if number % 2 == 0 { client(&authority) } else { Arc::new(authority.client()) };
            let (port, over, answered) = (front.port().to_owned(), Arc::clone(&over), Arc::clone(&answered));
            tokio::spawn(async move {
                // every third one keeps its connection for good
                let mut kept = connect(&client, &port).await;
                let mut read = Vec::new();
                let mut sent = 0;
                while !over.load(Ordering::Relaxed) {
                    if number % 3 != 0 {
                        kept = connect(&client, &port).await;
                    }
                    kept.write_all(GET).await.unwrap();
                    sent += 1;
                    assert_eq!(status(&mut kept, &mut read).await.as_deref(), Some("200"));
                    answered.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(number * 5)).await;
                }
                sent
            })
        })
        .collect();
    let watching = client(&authority);
    for number in 1..=3 {
        let pair = authority.issue("localhost");
        swap(directory.path(), &pair, number);
        let swapped = Instant::now();
        while shown(&watching, front.port()).await != pair.der.as_ref() {
            assert!(swapped.elapsed() < Duration::from_secs(5), "the new certificate is not shown");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    over.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for caller in callers {
        sent += caller.await.unwrap();
    }
    assert_eq!(answered.load(Ordering::Relaxed), sent);
    assert!(sent > 100, "{sent}");
    assert_eq!(front.echo.requests(), sent);
    let log = front.proxy.log();
    assert_eq!(log.matches("new handshakes use the certificates as they are now").count(), 3, "{log}");
    assert!(!log.contains("\"level\":\"warn\""), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pair_changes_nothing_is_told_once_and_a_mended_one_is_used() {
    let authority = Authority::new();
    let directory = files(&authority);
    let front = Front::start(&tls(directory.path(), ""), "").await;
    let client = client(&authority);
    let first = shown(&client, front.port()).await;
    let warned = || front.proxy.log().matches("new certificates cannot be used").count();
    let next = authority.issue("localhost");
    fs::write(directory.path().join("tls.crt"), &next.certificate).unwrap();
    until("it is told that they are no pair", async || warned() == 1).await;
    assert!(front.proxy.log().contains("tls.key cannot be used"), "{}", front.proxy.log());
    assert_eq!(shown(&client, front.port()).await, first);
    fs::write(directory.path().join("tls.key"), "rubbish").unwrap();
    until("it is told that it is no key", async || warned() == 2).await;
    assert_eq!(shown(&client, front.port()).await, first);
    fs::remove_file(directory.path().join("tls.crt")).unwrap();
    until("it is told that it is gone", async || warned() == 3).await;
    assert_eq!(shown(&client, front.port()).await, first);
    next.write(directory.path(), "tls");
    until("the mended pair is used", async || shown(&client, front.port()).await == next.der.as_ref()).await;
    assert_eq!(warned(), 3, "{}", front.proxy.log());
    let secret = next.key.lines().nth(1).unwrap();
    assert!(!front.proxy.log().contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_certificates_end_is_measured_and_follows_the_files() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let until_year = |year| {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let pair = authority.issue_for(params);
        pair.write(directory.path(), "tls");
    };
    until_year(2030);
    let front = Front::start(&tls(directory.path(), ""), "admin: { address: '127.0.0.1:0' }").await;
    let metrics = async || {
        let telemetry = front.proxy.telemetry.parse().unwrap();
        raw(telemetry, "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await
    };
    let name = "obo_listener_certificate_expiry_timestamp_seconds{listener=\"default\"}";
    for (year, end) in [(2030, 1_893_456_000), (2031, 1_924_992_000)] {
        until_year(year);
        let line = format!("\n{name} {end}\n");
        until(&line, async || metrics().await.contains(&line)).await;
    }
    let told = front.proxy.lines(|message| message.starts_with("new handshakes use the certificates"));
    let told = told.last().unwrap();
    assert_eq!((&told["listener"], &told["names"]), (&"default".into(), &"localhost".into()), "{told}");
    assert_eq!(told["not_after"], "2031-01-01T00:00:00.000Z");
    // the page and its twin say the same
    let admin = front.proxy.lines(|message| message == "admin interface").remove(0);
    let admin = format!("http://{}", admin["address"].as_str().unwrap());
    let status: Value =
        serde_json::from_str(&curl(&[&format!("{admin}/api/v1/status")]).await.unwrap()).unwrap();
    assert_eq!(status["listeners"][0]["certificate_ends_at"], "2031-01-01T00:00:00.000Z", "{status}");
    let page = curl(&[&format!("{admin}/")]).await.unwrap();
    assert!(page.contains("<td data-label=\"Certificate\"><span>ends <time datetime=\"2031-01-01"), "{page}");
}
