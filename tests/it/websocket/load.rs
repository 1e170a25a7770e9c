//! Many WebSockets, and much through one: what they cost, and what is left of them.

use std::fs;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::PATIENCE;
use super::UP;
use super::Upstream;
use super::asking;
use super::echoed;
use super::until;
use super::upgraded;
use crate::support::World;
use crate::support::process::Proxy;

async fn proxy(upstream: &Upstream) -> Proxy {
    let config = format!(
        r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
routes: {{ open: {{ match: /open, auth: anonymous, upstream: "http://{}" }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json }} }}
limits: {{ connections: 210 }}
shutdown: {{ delay: 0s, drain: 2s }}
"#,
        upstream.address
    );
    tokio::task::spawn_blocking(move || Proxy::start(&config, &[])).await.unwrap()
}

/// Resident memory in KiB.
fn memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

#[tokio::test]
async fn two_hundred_that_come_and_go_leave_nothing_behind() {
    let upstream = Upstream::agreeing().await;
    let proxy = proxy(&upstream).await;
    let address = proxy.address.parse().unwrap();
    echoed(&mut upgraded(address, &asking("/open", "")).await, UP).await;
    crate::support::until("the first is gone", async || upstream.open() == 0).await;
    let before = proxy.descriptors();
    // as many as there are permits, twice: one that was kept would be missing the second time
    for round in 0..2 {
        let mut sockets: Vec<TcpStream> = Vec::new();
        for _ in 0..200 {
            sockets.push(upgraded(address, &asking("/open", "")).await);
        }
        for socket in &mut sockets {
            echoed(socket, UP).await;
        }
        assert!(proxy.descriptors() >= before + 400, "both sides of each are open");
        match round {
            0 => drop(sockets),
            _ => {
                for socket in &mut sockets {
                    socket.shutdown().await.unwrap();
                }
                drop(sockets);
            }
        }
        crate::support::until("all are gone", async || upstream.open() == 0 && proxy.descriptors() <= before)
            .await;
    }
    let (code, log) = tokio::task::spawn_blocking(move || proxy.stop()).await.unwrap();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("in flight"), "a task was left: {log}");
}

#[tokio::test]
async fn a_hundred_megabytes_pass_in_little_memory() {
    const MUCH: usize = 100_000_000;
    static SENT: AtomicBool = AtomicBool::new(false);
    let upstream = Upstream::agreeing().await;
    let proxy = proxy(&upstream).await;
    let mut socket = upgraded(proxy.address.parse().unwrap(), &asking("/open", "")).await;
    echoed(&mut socket, UP).await;
    let before = memory(proxy.id());
    let (mut read, mut write) = socket.into_split();
    let writing = tokio::spawn(async move {
        // one frame of a hundred megabytes, masked with zeros
        let mut head = vec![0x82, 0xFF];
        head.extend((MUCH as u64).to_be_bytes());
        head.extend([0; 4]);
        write.write_all(&head).await.unwrap();
        let piece = vec![7; 100_000];
        for _ in 0..MUCH / piece.len() {
            write.write_all(&piece).await.unwrap();
        }
        SENT.store(true, Ordering::SeqCst);
        write
    });
    // nothing is read at first: what is under way stays where it is
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(!SENT.load(Ordering::SeqCst), "the writer was not held up");
    let (mut left, mut most) = (MUCH + 14, 0);
    let mut piece = vec![0; 1 << 20];
    while left > 0 {
        let count = tokio::time::timeout(PATIENCE, read.read(&mut piece)).await.unwrap().unwrap();
        assert!(count > 0, "{left} bytes are missing");
        left -= count;
        most = most.max(memory(proxy.id()));
    }
    assert!(most < before + 4 * 1024, "it grew from {before} to {most} KiB");
    drop(writing.await.unwrap());
}

#[tokio::test]
async fn one_that_is_open_counts_among_the_requests_of_its_route() {
    let upstream = Upstream::agreeing().await;
    let world = World::with(upstream.plan(", limits: { concurrency: 1 }", "")).await;
    let mut first = upgraded(world.proxy, &asking("/open", "")).await;
    echoed(&mut first, UP).await;
    let ask = async |path: &str| {
        let mut socket = TcpStream::connect(world.proxy).await.unwrap();
        socket.write_all(asking(path, "").as_bytes()).await.unwrap();
        until(&mut socket, "\r\n\r\n").await
    };
    assert!(ask("/open").await.starts_with("HTTP/1.1 503 "));
    drop(first);
    crate::support::until("there is room", async || ask("/open").await.starts_with("HTTP/1.1 101 ")).await;
}
