//! Callers at a Unix socket.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::listeners::Front;
use crate::listeners::config;
use crate::listeners::curl;
use crate::listeners::headers;
use crate::listeners::status;
use crate::support::process::Proxy;
use crate::support::process::obo_proxy;
use crate::support::process::signal;
use crate::support::process::text;

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_at_a_unix_socket_has_no_address_and_none_is_made_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let path = path.to_str().unwrap();
    for (trusted, claims_count) in [("", false), (", trusted_proxies: 'unix:'", true)] {
        let front = Front::start(&format!("address: 'unix:{path}'{trusted}"), "").await;
        assert_eq!(front.proxy.address, format!("unix:{path}"));
        let metadata = fs::metadata(path).unwrap();
        assert!(metadata.file_type().is_socket() && metadata.permissions().mode() & 0o777 == 0o660);
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let call = ["--unix-socket", path, version, "http://orders.example/"];
            let seen = headers(&call).await;
            assert_eq!(seen["x-forwarded-for"], serde_json::Value::Null);
            assert_eq!(seen["x-forwarded-proto"], "http");
            assert_eq!(seen["forwarded"], "for=unknown;host=orders.example;proto=http");
            let claims = ["-H", "x-forwarded-for: 192.0.2.9", "-H", "x-forwarded-proto: https"];
            let seen = headers(&[&claims, &call[..]].concat()).await;
            let (address, proto) = if claims_count { ("192.0.2.9", "https") } else { ("", "http") };
            assert_eq!(seen["x-forwarded-for"].as_str().unwrap_or_default(), address);
            assert_eq!(seen["x-forwarded-proto"], proto);
        }
        let (code, log) = front.proxy.stop();
        assert_eq!(code, Some(0), "{log}");
        assert!(!fs::exists(path).unwrap(), "the socket is removed at the end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_of_a_dead_proxy_is_replaced_and_that_of_a_live_one_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let path = path.to_str().unwrap();
    let listener = format!("address: 'unix:{path}'");
    let front = Front::start(&listener, "").await;
    let file = directory.path().join("config.yaml");
    fs::write(&file, config(&listener, "", "open: { match: /, auth: anonymous }", &front.echo)).unwrap();
    let second = obo_proxy(&["run", "--config", file.to_str().unwrap()]).output().unwrap();
    let told = text(&second.stderr);
    assert_eq!(second.status.code(), Some(74), "{told}");
    assert!(
        told.contains(&format!("cannot bind `listeners.default.address` (unix:{path}): address in use")),
        "{told}"
    );
    curl(&["--unix-socket", path, "http://a/"]).await.unwrap();
    signal(front.proxy.id(), "KILL");
    let text = fs::read_to_string(&file).unwrap();
    drop(front);
    assert!(fs::exists(path).unwrap(), "a proxy that is killed leaves its socket");
    let again = Proxy::start(&text, &[]);
    assert_eq!(
        curl(&["--unix-socket", path, "-o", "/dev/null", "-w", "%{http_code}", "http://a/"]).await.unwrap(),
        "502"
    );
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_at_a_unix_socket_rest_and_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let front = Front::start(&format!("address: 'unix:{}'", path.to_str().unwrap()), "").await;
    let mut socket = UnixStream::connect(&path).await.unwrap();
    let mut read = Vec::new();
    for pause in [0, 45, 55, 200] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let two =
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
        socket.write_all(two.as_bytes()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(status(&mut socket, &mut read).await.as_deref(), Some("200"));
        }
    }
    assert_eq!(front.echo.requests(), 8);
    drop(front);
    assert_eq!(socket.read(&mut [0]).await.unwrap_or(0), 0);
}
