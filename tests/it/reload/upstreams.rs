//! Files that upstreams are made of: who replaces one need do no more.

use std::fs;
use std::path::Path;
use std::time::Duration;

use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::server::Transport;

use crate::reload::IN_USE;
use crate::reload::REFUSED;
use crate::reload::address;
use crate::reload::check;
use crate::reload::curl;
use crate::reload::metric;
use crate::support::certificates::Authority;
use crate::support::listen;
use crate::support::load::Load;
use crate::support::process::Proxy;
use crate::support::process::shell;
use crate::support::until;

const RENEWED: &str = "files have changed and were read anew";
const NOT_RENEWED: &str = "files have changed and cannot be used; what was read goes on";

/// An echo API that lets nobody in without a certificate of that authority.
async fn secure_echo(authority: &Authority) -> Echo {
    let config = authority.server_for_certified_callers();
    Echo::start(listen().await, Transport::Tls(config.into())).unwrap()
}

fn config(echo: &Echo, files: &Path, base: &str) -> String {
    let files = files.display();
    format!(
        r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
upstreams:
  api:
    url: "https://{}{base}"
    tls: {{ ca: "{files}/ca.pem", client_certificate: {{ file: "{files}/tls.crt", key: "{files}/tls.key" }} }}
routes: {{ all: {{ match: /, auth: anonymous, upstream: api }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json, access: false }} }}
shutdown: {{ delay: 0s, drain: 2s }}
"#,
        echo.address()
    )
}

fn put(files: &Path, name: &str, content: &str) {
    let new = files.join("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, files.join(name)).unwrap();
}

fn put_pair(files: &Path, authority: &Authority) {
    let pair = authority.issue("127.0.0.1");
    put(files, "tls.crt", &pair.certificate);
    put(files, "tls.key", &pair.key);
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_and_certificates_for_an_upstream_are_read_anew_when_their_files_change() {
    let (ours, other) = (Authority::new(), Authority::new());
    let (echo, directory) = (secure_echo(&ours).await, tempfile::tempdir().unwrap());
    let files = directory.path();
    put(files, "ca.pem", &other.pem());
    put_pair(files, &other);
    let proxy = tokio::task::block_in_place(|| Proxy::start(&config(&echo, files, ""), &[]));
    let said = |what: &str| proxy.lines(|message| message == what).len();
    tokio::task::block_in_place(|| {
        assert_eq!(curl(&proxy.address, "").0, "502");
        put(files, "ca.pem", &ours.pem());
        put_pair(files, &ours);
    });
    until("they are read anew", async || said(RENEWED) > 0).await;
    assert_eq!(curl(&proxy.address, ""), ("200".into(), "/x".into()));
    assert!(proxy.verdicts().is_empty(), "the configuration is the same");

    // a certificate that is renewed costs no request, and one that does not work changes nothing
    let load =
        Load::new().http1(address(&proxy), 4, Duration::from_millis(2), "").http2(address(&proxy), 1, 4);
    load.proceeds(50).await;
    let renewed = said(RENEWED);
    put_pair(files, &ours);
    until("it is read anew", async || said(RENEWED) > renewed).await;
    load.proceeds(50).await;
    put(files, "ca.pem", "hunter2");
    until("it is refused", async || said(NOT_RENEWED) == 1).await;
    load.proceeds(50).await;
    // where the configuration changes too, all of it waits for the file
    let verdict = tokio::task::block_in_place(|| proxy.reload(&config(&echo, files, "/two")));
    check(&verdict, REFUSED, &proxy);
    assert!(verdict["cause"].as_str().unwrap().contains("ca.pem"), "{verdict}");
    assert_eq!(metric(&proxy, "obo_config_last_reload_successful "), Some(0.0));
    load.proceeds(50).await;
    let before = proxy.verdicts().len();
    put(files, "ca.pem", &ours.pem());
    let verdict = tokio::task::block_in_place(|| proxy.verdict(before));
    check(&verdict, IN_USE, &proxy);
    assert_eq!(verdict["changed"], "upstreams.api.url");
    load.proceeds(50).await;
    load.end().await.check(&["/two/x", "/x"]);
    let log = proxy.log();
    assert!(!log.contains("BEGIN") && !log.contains("hunter2"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_followed_while_a_bad_configuration_waits_to_be_mended() {
    let (ours, other) = (Authority::new(), Authority::new());
    let (echo, directory) = (secure_echo(&ours).await, tempfile::tempdir().unwrap());
    let files = directory.path();
    put(files, "ca.pem", &other.pem());
    put_pair(files, &ours);
    let good = config(&echo, files, "");
    let proxy = tokio::task::block_in_place(|| Proxy::start(&good, &[]));
    let verdict = tokio::task::block_in_place(|| proxy.reload(&format!("{good}nonsense: true\n")));
    check(&verdict, REFUSED, &proxy);
    put(files, "ca.pem", &ours.pem());
    until("it serves", async || {
        tokio::task::block_in_place(|| curl(&proxy.address, "")) == ("200".into(), "/x".into())
    })
    .await;
    assert_eq!(metric(&proxy, "obo_config_last_reload_successful "), Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_place_of_a_file_of_an_upstream_is_told_of_and_holds_nothing_up() {
    let authority = Authority::new();
    let (echo, directory) = (secure_echo(&authority).await, tempfile::tempdir().unwrap());
    let files = directory.path();
    put(files, "ca.pem", &authority.pem());
    put_pair(files, &authority);
    let proxy = tokio::task::block_in_place(|| Proxy::start(&config(&echo, files, ""), &[]));
    let said = |what: &str| proxy.lines(|message| message == what).len();
    let successful = || metric(&proxy, "obo_config_last_reload_successful ");
    tokio::task::block_in_place(|| {
        shell(&format!("mkfifo {0}/pipe && mv {0}/pipe {0}/ca.pem", files.display()));
    });
    until("it is told", async || said(NOT_RENEWED) == 1).await;
    assert!(proxy.log().contains("this is not a regular file"), "{}", proxy.log());
    until("the metric says so", async || successful() == Some(0.0)).await;
    tokio::task::block_in_place(|| {
        assert_eq!(curl(&proxy.address, "").0, "200");
        check(&proxy.read_again(), REFUSED, &proxy);
        put(files, "ca.pem", &authority.pem());
        check(&proxy.read_again(), "the configuration was read again", &proxy);
        assert_eq!((successful(), curl(&proxy.address, "").0), (Some(1.0), "200".into()));
    });
    // of files that are renewed without being asked
    let told = said(NOT_RENEWED);
    put(files, "ca.pem", "nonsense");
    until("it is told", async || said(NOT_RENEWED) > told && successful() == Some(0.0)).await;
    put(files, "ca.pem", &authority.pem());
    until("what was there is there again", async || successful() == Some(1.0)).await;
    // once or never: what was looked at may have been replaced before it was read
    let (told, renewed) = (said(NOT_RENEWED), said(RENEWED));
    put(files, "ca.pem", "nonsense");
    until("it is told", async || said(NOT_RENEWED) > told && successful() == Some(0.0)).await;
    put(files, "ca.pem", &Authority::new().pem());
    until("it is mended", async || said(RENEWED) > renewed && successful() == Some(1.0)).await;
}
