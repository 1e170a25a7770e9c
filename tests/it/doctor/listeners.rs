//! Addresses that are free, ours or another's.

use std::fs;

use rcgen::CertificateParams;

use crate::doctor::Around;
use crate::doctor::GOOD;
use crate::doctor::examined_with;
use crate::doctor::file;
use crate::support::certificates::Authority;
use crate::support::listen;
use crate::support::process::Proxy;
use crate::support::until;

const ALONE: [&str; 4] = ["--only", "listener", "--only", "telemetry"];

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_free_or_anothers_or_that_of_a_running_proxy() {
    let around = Around::new().await;
    let config = around.config(GOOD, "");
    let taken = listen().await;
    let address = taken.local_addr().unwrap().to_string();
    let other = config.replacen("127.0.0.1:0", &address, 1);
    let said = examined_with(&other, &ALONE, &[]).await;
    assert_eq!((said.code, said.result("listener default", &address)), (1, "failed"));
    let remedy = said.remedy("listener default", &address);
    assert!(remedy.starts_with("`listeners.default.address`: ") && remedy.contains("ss -lntxp"), "{remedy}");
    drop(taken);
    let said = examined_with(&other, &ALONE, &[]).await;
    assert_eq!((said.code, said.seen("listener default", &address)), (0, "free"));

    let json = config.replace(
        "telemetry: { address: \"127.0.0.1:0\" }",
        "telemetry: { address: \"127.0.0.1:0\", logs: { format: json } }",
    );
    let secret = super::secret();
    let proxy = Proxy::start(&json, &[("SECRET", &secret)]);
    let running =
        config.replacen("127.0.0.1:0", &proxy.address, 1).replacen("127.0.0.1:0", &proxy.telemetry, 1);
    let said = examined_with(&running, &ALONE, &[]).await;
    assert_eq!(said.code, 0, "{:#}", said.document);
    assert!(said.seen("listener default", &proxy.address).starts_with("taken; an obo-proxy"));
    assert!(said.seen("telemetry", &proxy.telemetry).starts_with("an obo-proxy is running, and is "));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_interface_is_free_or_anothers_or_that_of_a_running_proxy() {
    let around = Around::new().await;
    let (_directory, token) = file("token", "hunter2-for-operators\n");
    let config = around.config(GOOD, "admin: { address: \"127.0.0.1:0\" }");
    let said = examined_with(&config, &["--only", "admin"], &[]).await;
    assert_eq!((said.code, said.seen("admin", "127.0.0.1:0")), (0, "any free port"));
    let taken = listen().await;
    let address = taken.local_addr().unwrap().to_string();
    let with_admin =
        |text: &str| text.replace("admin: { address: \"127.0.0.1:0\"", text_of(&address).as_str());
    let said = examined_with(&with_admin(&config), &["--only", "admin", "--only", "telemetry"], &[]).await;
    assert_eq!((said.code, said.failed()), (1, vec![address.as_str()]), "{:#}", said.document);
    assert!(said.remedy("admin", &address).starts_with("`admin.address`: another process listens there"));
    // a server that is no obo-proxy, and answers
    drop(taken);
    let echo = around.echo.address().to_string();
    let at_echo = config.replace("admin: { address: \"127.0.0.1:0\"", &text_of(&echo));
    let said = examined_with(&at_echo, &["--only", "admin"], &[]).await;
    assert_eq!((said.code, said.failed()), (1, vec![echo.as_str()]), "{:#}", said.document);

    for token in [String::new(), format!(", token: {{ file: {token} }}")] {
        let logs = "telemetry: { address: \"127.0.0.1:0\", logs: { format: json } }";
        let json = config.replace("telemetry: { address: \"127.0.0.1:0\" }", logs);
        let with_token = |text: &str| {
            text.replace(
                "admin: { address: \"127.0.0.1:0\"",
                &format!("admin: {{ address: \"127.0.0.1:0\"{token}"),
            )
        };
        let secret = super::secret();
        let proxy = Proxy::start(&with_token(&json), &[("SECRET", &secret)]);
        let told = || proxy.lines(|message| message == "admin interface");
        until("it says where its admin interface is", async || !told().is_empty()).await;
        let admin = told()[0]["address"].as_str().unwrap().to_owned();
        let running =
            with_token(&config).replace("admin: { address: \"127.0.0.1:0\"", &text_of(&admin)).replace(
                "telemetry: { address: \"127.0.0.1:0\"",
                &format!("telemetry: {{ address: \"{}\"", proxy.telemetry),
            );
        let said = examined_with(&running, &["--only", "admin", "--only", "telemetry"], &[]).await;
        assert_eq!(said.code, 0, "{:#}", said.document);
        assert_eq!(said.seen("admin", &admin), "taken; the admin interface of an obo-proxy is running");
    }
}

/// The section of an admin interface there, as far as its address.
fn text_of(address: &str) -> String {
    format!("admin: {{ address: \"{address}\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_listeners_must_go_with_their_keys_and_not_have_ended() {
    let around = Around::new().await;
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    authority.issue_for(params).write(directory.path(), "own");
    let path = directory.path().display();
    let tls = format!("\"127.0.0.1:0\", tls: {{ certificate: {path}/own.crt, key: {path}/own.key }}");
    let config = around.config(GOOD, "").replacen("\"127.0.0.1:0\"", &tls, 1);
    let said = examined_with(&config, &ALONE, &[]).await;
    let name = format!("certificate {path}/own.crt");
    assert_eq!((said.code, said.failed()), (1, vec![name.as_str()]), "{:#}", said.document);
    authority.issue("a.example").write(directory.path(), "other");
    fs::copy(directory.path().join("other.key"), directory.path().join("own.key")).unwrap();
    let said = examined_with(&config, &ALONE, &[]).await;
    assert_eq!(said.result("listener default", "tls"), "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_is_looked_at_and_left_alone() {
    let around = Around::new().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy.sock");
    let address = format!("unix:{}", path.display());
    let config = around.config(GOOD, "").replacen("127.0.0.1:0", &address, 1);
    let said = examined_with(&config, &ALONE, &[]).await;
    assert_eq!((said.code, said.seen("listener default", &address)), (0, "free"));
    drop(tokio::net::UnixListener::bind(&path).unwrap());
    let said = examined_with(&config, &ALONE, &[]).await;
    assert!(said.seen("listener default", &address).starts_with("free; what is there is left over"));
    assert!(path.exists());
    fs::remove_file(&path).unwrap();
    fs::write(&path, "no socket").unwrap();
    let said = examined_with(&config, &ALONE, &[]).await;
    assert_eq!((said.code, said.result("listener default", &address)), (1, "failed"));
}
