//! Few files may be open: callers who do nothing, and upstreams that do nothing, leave room for those who do.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::machine::Provider;
use crate::machine::SECRET;
use crate::support::listen;
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
    assert_eq!((told.len(), &told[0]["possible"]), (1, &52.into()), "{}", proxy.proxy.log());
    let mut kept = Kept::to(proxy.proxy.address.parse().unwrap()).await.unwrap();
    kept.ask("/x", "").await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(&proxy.proxy.address).await.unwrap());
    }
    let connections = "obo_connections{listener=\"default\"} ";
    until("it has as many as it can", async || proxy.count(connections).await == 52).await;
    assert_eq!(proxy.count("obo_connections_limit ").await, 52);
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
    let warnings = log.lines().filter(|line| line.contains("\"level\":\"warn\"")).count();
    assert!(!log.contains("cannot accept") && warnings == 1, "{log}");
}

/// An upstream that accepts and never answers.
struct Silent {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Silent {
    async fn start() -> Self {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let (open, mut accepting) = (Arc::<AtomicUsize>::default(), JoinSet::new());
        let count = open.clone();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let count = count.clone();
                connections.spawn(async move {
                    let mut piece = [0; 1024];
                    while matches!(socket.read(&mut piece).await, Ok(1..)) {}
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, open, _accepting: accepting }
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// So many connections of HTTP/2 with so many requests each, and how many of them are told 503 and when to come back.
async fn streams(proxy: &Proxy, connections: usize, each: usize, refused: &Arc<AtomicUsize>) -> JoinSet<()> {
    let mut all = JoinSet::new();
    for _ in 0..connections {
        let socket = TcpStream::connect(&proxy.address).await.unwrap();
        let builder = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(socket)).await.unwrap();
        all.spawn(async { drop(connection.await) });
        for _ in 0..each {
            let (mut sender, refused) = (sender.clone(), refused.clone());
            all.spawn(async move {
                let request = Request::get("http://a/public").body(Empty::new()).unwrap();
                let Ok(answer) = sender.send_request(request).await else { return };
                let after = answer.headers().get("retry-after").map(|after| after.to_str().unwrap());
                assert_eq!((answer.status().as_u16(), after), (503, Some("1")));
                refused.fetch_add(1, Ordering::SeqCst);
            });
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_hang_at_one_upstream_leave_the_others_and_reloads_their_descriptors() {
    let (provider, silent) = (Provider::start().await, Silent::start().await);
    let routes = format!(
        "
  public: {{ match: /public, auth: anonymous, upstream: \"http://{}\", timeouts: {{ response: 10m, idle: 10m }} }}
  orders: {{ match: /, exchange: {{ scopes: [api://orders-backend/.default] }} }}
",
        silent.address
    );
    let limited = ["prlimit", "--nofile=300", "--"];
    let proxy = Sidecar::start_by(&limited, &provider.configured(SECRET), &routes, "", &[]).await;
    proxy.ready().await;
    let refused = Arc::<AtomicUsize>::default();
    let hanging = streams(&proxy.proxy, 6, 100, &refused).await;
    until("all hang or are refused", async || silent.open() + refused.load(Ordering::SeqCst) == 600).await;
    // a third of what is left of 300 is for callers; of the rest an upstream has as much as is left to others
    assert!((60..=70).contains(&silent.open()), "{}", silent.open());
    let mut newcomers = Vec::new();
    for user in 1..=20 {
        let mut kept = Kept::to(proxy.proxy.address.parse().unwrap()).await.unwrap();
        let token = format!("Authorization: Bearer {}\r\n", provider.stranger());
        let reply = kept.ask("/", &token).await.unwrap();
        assert_eq!((reply.status, provider.idp.requests()), (200, user), "{}", proxy.proxy.log());
        newcomers.push(kept);
    }
    let open = proxy.proxy.descriptors();
    assert!(open < 250, "{open}");
    let text = fs::read_to_string(proxy.proxy.directory().join("config.yaml")).unwrap();
    let verdict = proxy.proxy.reload(&text.replace("drain: 2s", "drain: 3s"));
    assert_eq!(verdict["msg"], "another configuration is in use", "{}", proxy.proxy.log());
    drop(hanging);
    until("nothing hangs", async || silent.open() == 0).await;
    let again = streams(&proxy.proxy, 1, 50, &refused).await;
    until("there is room for all", async || silent.open() == 50).await;
    drop(again);
    let log = proxy.proxy.log();
    assert!(!log.contains("cannot accept") && !log.contains("upstream_unreachable"), "{log}");
    let told = proxy.proxy.lines(|message| message == TOO_FEW);
    assert_eq!((&told[0]["level"], &told[0]["possible"]), (&"warn".into(), &66.into()), "{log}");
}

#[test]
fn as_many_files_may_be_open_as_connections_need_where_the_process_may_say_so() {
    let text = config("http://127.0.0.1:1", "127.0.0.1:1", "info");
    for (limit, connections, expected, is_told) in
        [("64:2048", 450, "1900", false), ("64:2048", 5000, "2048", true), ("2000:2048", 450, "2000", false)]
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
