//! Few files may be open: callers who do nothing leave room for those who do.

use std::fs;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::machine::Provider;
use crate::machine::SECRET;
use crate::support::load::Kept;
use crate::support::process::Proxy;
use crate::support::process::config;
use crate::support::sidecar::Sidecar;
use crate::support::until;

const TOO_FEW: &str = "fewer connections than `limits.connections`: too few files may be open";

#[tokio::test(flavor = "multi_thread")]
async fn idle_callers_leave_exchanges_their_descriptors_and_newcomers_wait_without_cost() {
    let provider = Provider::start().await;
    let routes = "
  open: { match: { path: /x, exact: true }, auth: anonymous }
  orders: { match: /, exchange: { scopes: [api://orders-backend/.default] } }
";
    let sections = "limits: { header_timeout: 5m, idle_timeout: 5m }";
    let limited = ["prlimit", "--nofile=256", "--"];
    let proxy = Sidecar::start_by(&limited, &provider.configured(SECRET), routes, sections, &[]).await;
    proxy.ready().await;
    let told = proxy.proxy.lines(|message| message == TOO_FEW);
    assert_eq!((told.len(), &told[0]["possible"]), (1, &78.into()), "{}", proxy.proxy.log());
    let mut kept = Kept::to(proxy.proxy.address.parse().unwrap()).await.unwrap();
    kept.ask("/x", "").await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(&proxy.proxy.address).await.unwrap());
    }
    let connections = "obo_connections{listener=\"default\"} ";
    until("it has as many as it can", async || proxy.count(connections).await == 78).await;
    let ticks = proxy.proxy.cpu_ticks();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ticks = proxy.proxy.cpu_ticks() - ticks;
    assert!(ticks < 40, "{ticks} of 200 ticks were used to wait");
    for user in 1..=30 {
        let token = format!("Authorization: Bearer {}\r\n", provider.stranger());
        let reply = kept.ask("/", &token).await.unwrap();
        assert_eq!((reply.status, provider.idp.requests()), (200, user));
    }
    assert!((1..200).contains(&proxy.proxy.descriptors()), "{}", proxy.proxy.descriptors());
    let mut newcomer = idle.pop().unwrap();
    newcomer.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    let early = tokio::time::timeout(Duration::from_millis(300), newcomer.read_exact(&mut start)).await;
    assert!(early.is_err(), "there was room for it");
    drop(idle);
    let served = tokio::time::timeout(Duration::from_secs(30), newcomer.read_exact(&mut start)).await;
    served.expect("there is room now").unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let log = proxy.proxy.log();
    assert!(!log.contains("cannot accept") && !log.contains("\"level\":\"warn\""), "{log}");
}

#[test]
fn as_many_files_may_be_open_as_connections_need_where_the_process_may_say_so() {
    let text = config("http://127.0.0.1:1", "127.0.0.1:1", "info");
    for (limit, connections, expected, is_told) in
        [("64:2048", 500, "1100", false), ("64:2048", 5000, "2048", true), ("2000:2048", 500, "2000", false)]
    {
        let text = format!("{text}limits: {{ connections: {connections} }}\n");
        let limited = ["prlimit".to_owned(), format!("--nofile={limit}"), "--".to_owned()];
        let limited = limited.each_ref().map(String::as_str);
        let proxy = Proxy::start_by(&limited, &text, &[("SECRET", "secret")]);
        let limits = fs::read_to_string(format!("/proc/{}/limits", proxy.id())).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        assert_eq!(line.split_whitespace().next(), Some(expected), "{limit} {connections}");
        let told = proxy.lines(|message| message == TOO_FEW);
        assert_eq!(told.len(), usize::from(is_told), "{}", proxy.log());
    }
}
