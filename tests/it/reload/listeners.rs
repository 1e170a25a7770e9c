//! Listeners that come, go, move and change.

use std::net::TcpListener;
use std::time::Duration;

use crate::reload::IN_USE;
use crate::reload::REFUSED;
use crate::reload::address;
use crate::reload::check;
use crate::reload::curl;
use crate::reload::echo;
use crate::reload::metric;
use crate::support::certificates::Authority;
use crate::support::load::Kept;
use crate::support::load::Load;
use crate::support::process::Proxy;
use crate::support::process::shell;
use crate::support::until;

/// Addresses nobody listens at.
fn free<const COUNT: usize>() -> [String; COUNT] {
    let sockets = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().to_string())
}

fn config(listeners: &str, upstream: &str, route: &str) -> String {
    format!(
        r#"
listeners: {{ {listeners} }}
routes: {{ all: {{ match: /, auth: anonymous, upstream: "http://{upstream}"{route} }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json }} }}
shutdown: {{ delay: 1s, drain: 5s }}
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_comes_serves_and_one_that_goes_ends_its_connections_well() {
    let echo = echo().await;
    let upstream = echo.address().to_string();
    let [main, other] = free();
    let both =
        config(&format!("main: {{ address: \"{main}\" }}, other: {{ address: \"{other}\" }}"), &upstream, "");
    let one = config(&format!("main: {{ address: \"{main}\" }}"), &upstream, "");
    let proxy = Proxy::start(&one, &[]);
    for _ in 0..2 {
        let verdict = tokio::task::block_in_place(|| proxy.reload(&both));
        check(&verdict, IN_USE, &proxy);
        assert_eq!(verdict["added"], "listeners.other");
        assert_eq!(curl(&other, ""), ("200".into(), "/x".into()));

        let mut kept = Kept::to(other.parse().unwrap()).await.unwrap();
        assert!(!kept.ask("/x", "").await.unwrap().is_last);
        let mut resting = Kept::to(other.parse().unwrap()).await.unwrap();
        assert!(!resting.ask("/x", "").await.unwrap().is_last);
        let load = Load::new()
            .http1(main.parse().unwrap(), 4, Duration::ZERO, "")
            .http1(other.parse().unwrap(), 4, Duration::from_millis(5), "")
            .http2(other.parse().unwrap(), 1, 4);
        load.proceeds(50).await;
        let verdict = tokio::task::block_in_place(|| proxy.reload(&one));
        check(&verdict, IN_USE, &proxy);
        assert_eq!(verdict["removed"], "listeners.other");
        // who asks is told, who rests finds out
        assert!(kept.ask("/x", "").await.unwrap().is_last);
        kept.end().await.unwrap();
        resting.end().await.unwrap();
        until("nobody listens there", async || Kept::to(other.parse().unwrap()).await.is_err()).await;
        load.proceeds(50).await;
        let tally = load.end().await;
        tally.check(&["/x"]);
        assert!(tally.refused >= 5, "{tally:?}");
    }
    until("its connections are gone", async || {
        let count = tokio::task::block_in_place(|| metric(&proxy, "obo_connections{listener=\"other\"} "));
        count == Some(0.0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_refuses_all_of_the_reload() {
    let echo = echo().await;
    let upstream = echo.address().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_at = taken.local_addr().unwrap();
    tokio::task::block_in_place(|| {
        let main = "main: { address: \"127.0.0.1:0\" }";
        let proxy = Proxy::start(&config(main, &format!("{upstream}/one"), ""), &[]);
        let with_other = format!("{main}, other: {{ address: \"{taken_at}\" }}");
        let newer = config(&with_other, &format!("{upstream}/two"), "");
        let verdict = proxy.reload(&newer);
        check(&verdict, REFUSED, &proxy);
        let cause = verdict["cause"].as_str().unwrap();
        assert!(
            cause.starts_with(&format!("cannot bind `listeners.other.address` ({taken_at}): ")),
            "{cause}"
        );
        assert_eq!(metric(&proxy, "obo_config_last_reload_successful "), Some(0.0));
        assert_eq!(curl(&proxy.address, ""), ("200".into(), "/one/x".into()));
        drop(taken);
        check(&proxy.read_again(), IN_USE, &proxy);
        assert_eq!(curl(&proxy.address, ""), ("200".into(), "/two/x".into()));
        assert_eq!(curl(&taken_at.to_string(), ""), ("200".into(), "/two/x".into()));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_names_and_addresses_change_and_no_request_is_lost() {
    let echo = echo().await;
    let upstream = echo.address().to_string();
    let [one, two] = free();
    let plain = format!("a: {{ address: \"{one}\" }}, b: {{ address: \"{two}\" }}");
    let proxy = Proxy::start(&config(&plain, &upstream, ""), &[]);
    let load = Load::new()
        .http1(one.parse().unwrap(), 4, Duration::ZERO, "")
        .http1(two.parse().unwrap(), 4, Duration::from_millis(20), "")
        .http2(one.parse().unwrap(), 1, 4);
    load.proceeds(50).await;
    let kept_underscore = || shell(&format!("curl -s http://{one}/x -H 'X_Kept: yes'")).contains("x_kept");
    for (listeners, route, is_kept) in [
        (
            format!("a: {{ address: \"{one}\", underscore_headers: keep }}, b: {{ address: \"{two}\" }}"),
            "",
            true,
        ),
        (plain.clone(), "", false),
        // another name, which routes are bound to
        (format!("c: {{ address: \"{one}\" }}, b: {{ address: \"{two}\" }}"), ", listeners: [b, c]", false),
        (plain.clone(), ", listeners: [a, b]", false),
        // each takes the other's place
        (format!("b: {{ address: \"{one}\" }}, a: {{ address: \"{two}\" }}"), "", false),
    ] {
        let verdict = tokio::task::block_in_place(|| proxy.reload(&config(&listeners, &upstream, route)));
        check(&verdict, IN_USE, &proxy);
        assert_eq!(tokio::task::block_in_place(kept_underscore), is_kept, "{listeners}");
        load.proceeds(200).await;
    }
    // connections from before have had their time: those of HTTP/2 too have been made anew
    tokio::time::sleep(Duration::from_secs(2)).await;
    load.proceeds(100).await;
    let tally = load.end().await;
    tally.check(&["/x"]);
    assert_eq!(tally.refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_that_changes_its_settings_stays_where_it_is_and_one_that_goes_is_removed() {
    let echo = echo().await;
    let upstream = echo.address().to_string();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let [main] = free();
    let main = format!("main: {{ address: \"{main}\" }}");
    let with = |settings: &str| {
        let socket = format!("local: {{ address: \"unix:{}\"{settings} }}", path.display());
        config(&format!("{main}, {socket}"), &upstream, "")
    };
    let ask = || shell(&format!("curl -s --unix-socket {} http://a/x -H 'X_Kept: yes'", path.display()));
    let proxy = tokio::task::block_in_place(|| {
        let proxy = Proxy::start(&with(""), &[]);
        let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
        let first = inode();
        for (settings, is_kept) in [(", underscore_headers: keep", true), ("", false)] {
            check(&proxy.reload(&with(settings)), IN_USE, &proxy);
            let seen = ask();
            assert_eq!((seen.contains("\"/x\""), seen.contains("x_kept")), (true, is_kept), "{seen}");
        }
        // the listeners before have ended by now
        std::thread::sleep(Duration::from_millis(1500));
        assert!(ask().contains("\"/x\""));
        assert_eq!(inode(), first);
        check(&proxy.reload(&config(&main, &upstream, "")), IN_USE, &proxy);
        proxy
    });
    until("the socket is removed", async || !path.exists()).await;
    drop(proxy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_begins_to_speak_tls_and_certificates_that_do_not_work_refuse_the_reload() {
    let echo = echo().await;
    let upstream = echo.address().to_string();
    let (authority, directory) = (Authority::new(), tempfile::tempdir().unwrap());
    let files = directory.path();
    let pair = authority.issue("127.0.0.1");
    for (name, content) in
        [("ca.pem", &authority.pem()), ("tls.crt", &pair.certificate), ("tls.key", &pair.key)]
    {
        std::fs::write(files.join(name), content).unwrap();
    }
    let [main] = free();
    let with = |key: &str| {
        let (certificate, key) = (files.join("tls.crt"), files.join(key));
        let tls = format!("tls: {{ certificate: {}, key: {} }}", certificate.display(), key.display());
        config(&format!("main: {{ address: \"{main}\", {tls} }}"), &upstream, "")
    };
    let https =
        || shell(&format!("curl -s --cacert {}/ca.pem https://{main}/x || echo failed", files.display()));
    tokio::task::block_in_place(|| {
        let proxy = Proxy::start(&config(&format!("main: {{ address: \"{main}\" }}"), &upstream, ""), &[]);
        assert_eq!(https(), "failed\n");
        std::fs::write(files.join("other.key"), authority.issue("127.0.0.1").key).unwrap();
        let verdict = proxy.reload(&with("other.key"));
        check(&verdict, REFUSED, &proxy);
        assert!(
            verdict["cause"].as_str().unwrap().starts_with("listener main cannot speak TLS: "),
            "{verdict}"
        );
        assert_eq!(curl(&main, ""), ("200".into(), "/x".into()));
        check(&proxy.reload(&with("tls.key")), IN_USE, &proxy);
        assert!(https().contains("\"/x\""), "{}", https());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_connections_and_the_telemetry_address_follow() {
    let echo = echo().await;
    let upstream = echo.address().to_string();
    let [telemetry] = free();
    let limited = |most: usize| {
        let main = "main: { address: \"127.0.0.1:0\" }";
        format!("{}limits: {{ connections: {most} }}\n", config(main, &upstream, ""))
    };
    let proxy = Proxy::start(&limited(1), &[]);
    let mut first = Kept::to(address(&proxy)).await.unwrap();
    first.ask("/x", "").await.unwrap();
    let mut second = Kept::to(address(&proxy)).await.unwrap();
    let asked = tokio::spawn(async move { second.ask("/x", "").await.map(|reply| (reply.status, second)) });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!asked.is_finished(), "there was room for a second connection");
    check(&tokio::task::block_in_place(|| proxy.reload(&limited(2))), IN_USE, &proxy);
    let (status, second) = asked.await.unwrap().unwrap();
    assert_eq!(status, 200);
    // what is there stays; what comes waits until there is room again
    check(&tokio::task::block_in_place(|| proxy.reload(&limited(1))), IN_USE, &proxy);
    let mut third = Kept::to(address(&proxy)).await.unwrap();
    let asked = tokio::spawn(async move { third.ask("/x", "").await.map(|reply| reply.status) });
    drop(second);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!asked.is_finished(), "there was room for another connection");
    drop(first);
    assert_eq!(asked.await.unwrap(), Ok(200));

    let moved = limited(2)
        .replace("telemetry: { address: \"127.0.0.1:0\"", &format!("telemetry: {{ address: \"{telemetry}\""));
    check(&tokio::task::block_in_place(|| proxy.reload(&moved)), IN_USE, &proxy);
    tokio::task::block_in_place(|| {
        assert!(shell(&format!("curl -s http://{telemetry}/readyz")).starts_with("ok"));
        let gone = shell(&format!("curl -s -m 5 http://{}/readyz || echo gone", proxy.telemetry));
        assert_eq!(gone, "gone\n");
    });
}
