//! TLS: versions, certificates by host, and those who do not speak it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rcgen::CertificateParams;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::listeners::Front;
use crate::listeners::connect;
use crate::listeners::curl;
use crate::listeners::files;
use crate::listeners::headers;
use crate::listeners::status;
use crate::listeners::tls;
use crate::support::Plan;
use crate::support::World;
use crate::support::certificates::Authority;
use crate::support::process::obo_proxy;
use crate::support::process::text;
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_spoken_over_tls_and_the_api_is_told_so() {
    let directory = files(&Authority::new());
    let front = Front::start(&tls(directory.path(), ""), "").await;
    let (ca, url) = (directory.path().join("ca.crt"), format!("https://localhost:{}/", front.port()));
    let ca = ca.to_str().unwrap();
    for (version, number) in [("--http1.1", "1.1"), ("--http2", "2"), ("--http1.0", "1")] {
        let said = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}"];
        let said = curl(&[&["--cacert", ca, version, url.as_str()], &said[..]].concat()).await;
        assert_eq!(said.unwrap(), format!("{number} 200"), "{version}");
        let seen = headers(&["--cacert", ca, version, &url]).await;
        assert_eq!(seen["x-forwarded-proto"], "https");
        assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
        assert_eq!(seen["x-forwarded-port"], front.port());
        let host = format!("localhost:{}", front.port());
        assert_eq!(seen["forwarded"], format!("for=127.0.0.1;host=\"{host}\";proto=https"));
    }
    let claimed = headers(&["--cacert", ca, "-H", "x-forwarded-proto: http", &url]).await;
    assert_eq!(claimed["x-forwarded-proto"], "https", "a stranger's word counts for nothing");
    let body = curl(&["--cacert", ca, "--http2", "--data-binary", &"x".repeat(100_000), &url]).await.unwrap();
    assert!(body.contains("\"body_bytes\":100000"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_fail_are_counted() {
    let directory = files(&Authority::new());
    let front = Front::start(&tls(directory.path(), ""), "").await;
    let plain = curl(&[&format!("http://localhost:{}/", front.port())]).await;
    let mistrustful = curl(&[&format!("https://localhost:{}/", front.port())]).await;
    assert!(plain.is_err() && mistrustful.is_err(), "{plain:?} {mistrustful:?}");
    let counted = "obo_tls_handshakes_total{listener=\"default\",result=\"error\"} 2";
    until("they are counted", async || front.metrics().await.contains(counted)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_itself_how_it_was_reached() {
    let directory = files(&Authority::new());
    let listener = tls(directory.path(), "") + ", trusted_proxies: 127.0.0.0/8";
    let front = Front::start(&listener, "").await;
    let url = format!("https://localhost:{}/", front.port());
    let seen = headers(&["-k", "-H", "x-forwarded-proto: http", &url]).await;
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(headers(&["-k", &url]).await["x-forwarded-proto"], "https");
    // and who asked
    headers(&["-k", "-H", "x-forwarded-for: 203.0.113.9, 198.51.100.7, 127.0.0.2", &url]).await;
    until("its line names who asked", async || {
        front.proxy.log().contains("\"client.address\":\"198.51.100.7\"")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_resumed_is_counted_as_one() {
    let authority = Authority::new();
    let directory = files(&authority);
    let front = Front::start(&tls(directory.path(), ""), "").await;
    let client = Arc::new(authority.client());
    for _ in 0..3 {
        // with the answer come the tickets
        let mut socket = connect(&client, front.port()).await;
        socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(status(&mut socket, &mut Vec::new()).await.as_deref(), Some("200"));
    }
    let metrics = front.metrics().await;
    for (result, count) in [("full", 1), ("resumed", 2)] {
        let line = format!("obo_tls_handshakes_total{{listener=\"default\",result=\"{result}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_a_resource_names_it_as_its_callers_reach_it() {
    let directory = files(&Authority::new());
    let plan = Plan {
        listener: format!(", {}", tls(directory.path(), "")).leak(),
        provider: "    resource_metadata: true\n",
        ..Plan::default()
    };
    let world = World::with(plan).await;
    let origin = format!("https://localhost:{}", world.proxy.port());
    let described = curl(&["-k", &format!("{origin}/.well-known/oauth-protected-resource/orders")]).await;
    let described: Value = serde_json::from_str(&described.unwrap()).unwrap();
    assert_eq!(described["resource"], format!("{origin}/orders"));
    let refused = curl(&["-k", "-i", &format!("{origin}/orders")]).await.unwrap();
    let expected = format!("resource_metadata=\"{origin}/.well-known/oauth-protected-resource/orders\"");
    assert!(refused.contains(&expected), "{refused}");
    let token = format!("authorization: Bearer {}", world.token("alice"));
    let answer = curl(&["-k", "-H", &token, &format!("{origin}/orders")]).await.unwrap();
    assert!(answer.contains("\"aud\":\"api://orders-backend\""), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_that_a_caller_names_picks_the_certificate() {
    let authority = Authority::new();
    let directory = files(&authority);
    let path = directory.path().to_str().unwrap();
    let all = [
        ("first", vec!["first.example"], ""),
        ("own", vec!["own.example", "*.own.example"], ""),
        ("named", vec!["irrelevant.example"], ", server_names: [named.example, '*.named.example']"),
    ];
    let mut list = Vec::new();
    let mut pems = Vec::new();
    for (name, hosts, more) in all {
        let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
        let pair = authority.issue_for(CertificateParams::new(hosts).unwrap());
        pair.write(directory.path(), name);
        list.push(format!("{{ certificate: {path}/{name}.crt, key: {path}/{name}.key{more} }}"));
        pems.push((name, pair.certificate.replace(['\r', '\n'], "")));
    }
    let front = Front::start(&format!("tls: {{ certificates: [{}] }}", list.join(", ")), "").await;
    for (host, expected) in [
        ("first.example", "first"),
        ("own.example", "own"),
        ("a.own.example", "own"),
        ("a.b.own.example", "first"),
        ("named.example", "named"),
        ("A.Named.Example", "named"),
        ("irrelevant.example", "first"),
        ("unknown.example", "first"),
        // curl names no host if it is an address
        ("127.0.0.1", "first"),
    ] {
        let resolve = format!("{host}:{}:127.0.0.1", front.port());
        let url = format!("https://{host}:{}/", front.port());
        let shown =
            curl(&["-k", "--resolve", &resolve, "-o", "/dev/null", "-w", "%{certs}", &url]).await.unwrap();
        let shown = shown.replace(['\r', '\n'], "");
        let found = pems.iter().find(|(_, pem)| shown.contains(pem)).map(|(name, _)| *name);
        assert_eq!(found, Some(expected), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_older_version_of_tls_is_spoken_than_is_said() {
    let directory = files(&Authority::new());
    for (setting, oldest, spoken) in [
        ("", "1.1", false),
        ("", "1.2", true),
        (", min_version: \"1.2\"", "1.2", true),
        (", min_version: \"1.3\"", "1.2", false),
        (", min_version: 1.3", "1.3", true),
    ] {
        let front = Front::start(&tls(directory.path(), setting), "").await;
        let url = format!("https://localhost:{}/", front.port());
        // OpenSSL itself would not speak 1.1 otherwise
        let old = ["--ciphers", "DEFAULT@SECLEVEL=0", "--tlsv1.0"];
        let arguments = [&["-k", "--tls-max", oldest, "-o", "/dev/null"], &old[..], &[&url]].concat();
        let answer = curl(&arguments).await;
        assert_eq!(answer.is_ok(), spoken, "{setting:?} {oldest}: {answer:?}");
    }
    // of 1.2, only what is safe
    let front = Front::start(&tls(directory.path(), ""), "").await;
    let url = format!("https://localhost:{}/", front.port());
    for cipher in ["ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"] {
        let answer = curl(&["-k", "--tls-max", "1.2", "--ciphers", cipher, &url]).await;
        assert!(answer.is_err(), "{cipher}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_no_tls_is_told_so_at_once_and_whoever_says_nothing_is_cut_in_time() {
    let authority = Authority::new();
    let directory = files(&authority);
    let sections = "limits: { header_timeout: 300ms }";
    let front = Front::start(&tls(directory.path(), ""), sections).await;
    let address = format!("127.0.0.1:{}", front.port());
    // a hello that announces 512 bytes and breaks off
    let half_a_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 40]].concat();
    for (bytes, longest, shortest) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], 10, 0),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 10, 0),
        (b"", 10, 300),
        (&half_a_hello, 10, 300),
    ] {
        let began = Instant::now();
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(longest), socket.read_to_end(&mut answer)).await;
        let _closed_or_reset = read.unwrap_or_else(|_| panic!("{bytes:?} is not cut"));
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        assert!(began.elapsed() >= Duration::from_millis(shortest), "{bytes:?}: {:?}", began.elapsed());
    }
    // a handshake that is done leaves no more time for the request
    let began = Instant::now();
    let mut idle = connect(&Arc::new(authority.client()), front.port()).await;
    let _closed = idle.read_to_end(&mut Vec::new()).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    until("no connection is left", async || {
        front.metrics().await.contains("obo_connections{listener=\"default\"} 0\n")
    })
    .await;
    let metrics = front.metrics().await;
    assert!(!metrics.contains("http_server_request_duration_seconds_count{"), "{metrics}");
    for (result, count) in [("error", 4), ("full", 1)] {
        let line = format!("obo_tls_handshakes_total{{listener=\"default\",result=\"{result}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    assert!(metrics.contains("obo_connections_accepted_total{listener=\"default\"} 5\n"), "{metrics}");
    assert!(!metrics.contains("obo_refusals_total{"), "{metrics}");
    let log = front.proxy.log();
    assert!(log.contains("a TLS handshake failed"), "{log}");
    assert!(!log.contains("\"level\":\"warn\"") && !log.contains("\"level\":\"error\""), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_tls_is_answered_at_whatever_moment_of_a_rest_it_comes() {
    let authority = Authority::new();
    let directory = files(&authority);
    let front = Front::start(&tls(directory.path(), ""), "").await;
    let client = Arc::new(authority.client());
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET ";
    let callers = (0..40u64).map(|number| {
        let (client, port) = (Arc::clone(&client), front.port().to_owned());
        tokio::spawn(async move {
            let mut socket = connect(&client, &port).await;
            let mut read = Vec::new();
            for round in 0..12u64 {
                let (text, answers) = match (number + round) % 4 {
                    0 => (get.to_owned(), 1),
                    1 => (post.to_owned(), 1),
                    2 => (format!("{get}{post}{get}"), 3),
                    _ => (get.repeat(20), 20),
                };
                let cut = text.len() * usize::try_from((number * 7 + round) % 10).unwrap() / 10;
                socket.write_all(&text.as_bytes()[..cut]).await.unwrap();
                socket.flush().await.unwrap();
                if cut > 0 {
                    tokio::time::sleep(Duration::from_micros(48_000 + number * 100)).await;
                }
                socket.write_all(&text.as_bytes()[cut..]).await.unwrap();
                socket.flush().await.unwrap();
                for _ in 0..answers {
                    let answered =
                        tokio::time::timeout(Duration::from_secs(20), status(&mut socket, &mut read));
                    let status =
                        answered.await.unwrap_or_else(|_| panic!("no answer: {text:?} cut at {cut}"));
                    assert_eq!(status.as_deref(), Some("200"), "{text:?} cut at {cut}");
                }
                // around the moment at which a connection is taken to rest, and well after it
                let pause = if round % 3 == 2 { 120_000 } else { 46_000 + number * 200 };
                tokio::time::sleep(Duration::from_micros(pause)).await;
            }
            assert!(read.is_empty());
            // an end in good order is seen as one
            socket.shutdown().await.unwrap();
            assert_eq!(socket.read_to_end(&mut read).await.unwrap(), 0);
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_is_none_is_an_error_at_the_start_and_names_its_files() {
    let authority = Authority::new();
    let directory = files(&authority);
    let path = directory.path().to_str().unwrap();
    authority.issue("localhost").write(directory.path(), "other");
    fs::write(directory.path().join("rubbish"), "-----BEGIN nothing").unwrap();
    let pair = |certificate: &str, key: &str, more: &str| {
        format!("tls: {{ certificate: {path}/{certificate}, key: {path}/{key}{more} }}")
    };
    for (listener, problem, named, code) in [
        (
            pair("tls.crt", "other.key", ""),
            "this private key is not that of the certificate",
            "other.key",
            78,
        ),
        (pair("tls.crt", "tls.crt", ""), "there is no private key in this file", "tls.crt", 78),
        (pair("rubbish", "tls.key", ""), "this is no PEM file", "rubbish", 78),
        (pair("tls.crt", "absent", ""), "listener front cannot speak TLS", "absent: No such file", 74),
        (
            pair("tls.crt", "tls.key", &format!(", client_ca: {path}/tls.key")),
            "there is no certificate in this file",
            "tls.key",
            78,
        ),
    ] {
        let config = directory.path().join("config.yaml");
        let routes = "routes: { open: { match: /, auth: anonymous, upstream: 'http://127.0.0.1:1' } }";
        let telemetry = "telemetry: { address: '127.0.0.1:0' }";
        let listeners = format!("listeners: {{ front: {{ address: '127.0.0.1:0', {listener} }} }}");
        fs::write(&config, format!("{listeners}\n{routes}\n{telemetry}\n")).unwrap();
        let output = obo_proxy(&["run", "--config", config.to_str().unwrap()]).output().unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(problem) && told.contains(&format!("{path}/{named}")), "{named}: {told}");
    }
}
