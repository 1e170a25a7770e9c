//! Files that break while the proxy runs: what was read before goes on, the log says so once, and a mended file is all it takes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::server::Transport;

use crate::machine::Provider;
use crate::machine::ROUTES;
use crate::support::certificates::Authority;
use crate::support::fleet::granted;
use crate::support::fleet::served;
use crate::support::idp::Answer;
use crate::support::listen;
use crate::support::process::Proxy;
use crate::support::process::shell;
use crate::support::process::signal;
use crate::support::sidecar::Sidecar;
use crate::support::until;

/// What happens to a file. Who runs as root may read any, so unreadable is a link that leads to itself.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Gone,
    Empty,
    Half,
    Directory,
    Pipe,
    Unreadable,
}

impl Fault {
    /// In an order in which none looks like the one before.
    const ALL: [Self; 6] =
        [Self::Gone, Self::Pipe, Self::Empty, Self::Directory, Self::Half, Self::Unreadable];

    /// Puts it at `path`, where a file of that content should be.
    fn strike(self, path: &Path, content: &str) {
        let new = path.with_extension("new");
        match self {
            Self::Gone => return clear(path),
            Self::Empty => fs::write(&new, "").unwrap(),
            Self::Half => fs::write(&new, &content[..content.len() / 2]).unwrap(),
            Self::Directory => fs::create_dir(&new).unwrap(),
            Self::Pipe => drop(shell(&format!("mkfifo {}", new.display()))),
            Self::Unreadable => symlink(path.file_name().unwrap(), &new).unwrap(),
        }
        clear(path);
        fs::rename(new, path).unwrap();
    }
}

/// Puts a file of this content there, whatever was there.
fn mend(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    if path.is_dir() {
        clear(path);
    }
    fs::rename(new, path).unwrap();
}

fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_be_read_serves_on_and_a_mended_one_is_used_at_once() {
    let provider = Provider::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, "first-and-long").unwrap();
    let credential = format!("{{ secret: {{ file: \"{}\" }} }}", path.display());
    let proxy = Sidecar::start(&provider.configured(&credential), ROUTES, &[]).await;
    proxy.ready().await;
    let shown = || provider.idp.last().get("client_secret").to_owned();
    provider.serves_a_stranger(&proxy).await;
    let mut secret = "first-and-long".to_owned();
    let is_told = |message: &str| message.starts_with("a file cannot be used; what it held before serves on");
    let mut told = 0;
    for (number, fault) in Fault::ALL.into_iter().enumerate() {
        if matches!(fault, Fault::Half) {
            // half a secret is a secret for all that we can tell
            continue;
        }
        fault.strike(&path, &secret);
        for _ in 0..3 {
            provider.serves_a_stranger(&proxy).await;
            assert_eq!(shown(), secret, "{fault:?}");
        }
        told += 1;
        assert_eq!(proxy.proxy.lines(is_told).len(), told, "{fault:?}: {}", proxy.proxy.log());
        secret = format!("secret-number-{number}");
        mend(&path, &secret);
        provider.serves_a_stranger(&proxy).await;
        assert_eq!(shown(), secret, "{fault:?}");
    }
    assert_eq!(proxy.proxy.lines(is_told).len(), told);
    assert!(!proxy.proxy.log().contains("secret-number") && !proxy.proxy.log().contains("first-and-long"));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_secret_costs_no_cached_user_anything_and_the_whole_one_is_used_at_once() {
    let provider = Provider::start().await;
    provider.idp.answers(|asked| match asked.get("client_secret") {
        "the-whole-secret" => granted(asked),
        _ => Answer::json(401, &serde_json::json!({"error": "invalid_client"})),
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, "the-whole-secret").unwrap();
    let credential = format!("{{ secret: {{ file: \"{}\" }} }}", path.display());
    let proxy = Sidecar::start(&provider.configured(&credential), ROUTES, &[]).await;
    proxy.ready().await;
    let cached = provider.stranger();
    served(&proxy, "/", &cached).await;
    Fault::Half.strike(&path, "the-whole-secret");
    assert_eq!(proxy.refused("/", &provider.stranger()).await, (502, "proxy_misconfigured".into()));
    served(&proxy, "/", &cached).await;
    mend(&path, "the-whole-secret");
    provider.serves_a_stranger(&proxy).await;
}

fn status(proxy: &Proxy) -> String {
    shell(&format!("curl -s -m 20 -o /dev/null -w '%{{http_code}}' http://{}/x", proxy.address))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_breaks_is_refused_once_and_heals_by_itself() {
    let echo = Echo::start(listen().await, Transport::Plain).unwrap();
    let good = format!(
        r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json, access: false }} }}
routes: {{ all: {{ match: /, auth: anonymous, upstream: "http://{}" }} }}
"#,
        echo.address()
    );
    tokio::task::block_in_place(|| {
        let proxy = Proxy::start(&good, &[]);
        let path = proxy.directory().join("config.yaml");
        let successful = || {
            let metrics = shell(&format!("curl -sf http://{}/metrics", proxy.telemetry));
            metrics.contains("\nobo_config_last_reload_successful 1\n")
        };
        for fault in Fault::ALL {
            let before = proxy.verdicts().len();
            fault.strike(&path, &good);
            if !matches!(fault, Fault::Gone) {
                // the first one is found without being asked for
                signal(proxy.id(), "HUP");
            }
            let verdict = proxy.verdict(before);
            let said = verdict["msg"].as_str().unwrap();
            assert!(said.starts_with("the configuration is refused"), "{fault:?}: {verdict}");
            assert!(!successful(), "{fault:?}");
            assert_eq!(status(&proxy), "200", "{fault:?}");
        }
        let before = proxy.verdicts().len();
        mend(&path, &good);
        let verdict = proxy.verdict(before);
        assert!(!verdict["msg"].as_str().unwrap().contains("refused"), "{verdict}");
        assert!(successful());
        assert_eq!(status(&proxy), "200");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_roots_that_break_serve_on_and_heal_by_themselves() {
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let files = directory.path();
    let server = authority.server_called("localhost");
    let echo = Echo::start(listen().await, Transport::Tls(server.into())).unwrap();
    fs::write(files.join("ca.pem"), authority.pem()).unwrap();
    let pair = authority.issue("localhost");
    pair.write(files, "tls");
    let (at, port) = (files.display(), echo.address().port());
    let config = format!(
        r#"
listeners:
  default: {{ address: "127.0.0.1:0", tls: {{ certificate: "{at}/tls.crt", key: "{at}/tls.key" }} }}
upstreams: {{ api: {{ url: "https://localhost:{port}", tls: {{ ca: "{at}/ca.pem" }} }} }}
routes: {{ all: {{ match: /, auth: anonymous, upstream: api }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json, access: false }} }}
shutdown: {{ delay: 0s, drain: 2s }}
"#
    );
    let ca = directory.path().join("kept.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let proxy = tokio::task::block_in_place(|| Proxy::start(&config, &[]));
    let port = proxy.address.rsplit_once(':').unwrap().1;
    let called = || {
        let line = format!(
            "curl -s -m 20 --cacert {} -o /dev/null -w '%{{http_code}}' https://localhost:{port}/x --connect-to localhost:{port}:127.0.0.1:{port}",
            ca.display()
        );
        tokio::task::block_in_place(|| shell(&line))
    };
    let said = |what: &str| proxy.lines(|message| message.starts_with(what)).len();
    assert_eq!(called(), "200", "{}", proxy.log());
    for fault in Fault::ALL {
        let told =
            || (said("new certificates cannot be used"), said("files have changed and cannot be used"));
        let before = told();
        fault.strike(&files.join("tls.crt"), &pair.certificate);
        fault.strike(&files.join("ca.pem"), &authority.pem());
        until("both are told of", async || told() == (before.0 + 1, before.1 + 1)).await;
        assert_eq!(called(), "200", "{fault:?}: {}", proxy.log());
    }
    let pair = authority.issue("localhost");
    fs::write(files.join("tls.key"), &pair.key).unwrap();
    mend(&files.join("tls.crt"), &pair.certificate);
    mend(&files.join("ca.pem"), &authority.pem());
    until("the new pair is used", async || said("new handshakes use the certificates") == 1).await;
    let is_well = || {
        let metrics = shell(&format!("curl -sf http://{}/metrics", proxy.telemetry));
        metrics.contains("\nobo_config_last_reload_successful 1\n")
    };
    until("all is well", async || tokio::task::block_in_place(is_well)).await;
    assert_eq!(called(), "200", "{}", proxy.log());
}
