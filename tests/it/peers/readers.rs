//! Callers that do not read what they asked for.

use std::any::Any;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::support::certificates::Authority;
use crate::support::until;

use super::Front;
use super::PATIENCE;
use super::asked;
use super::connected;
use super::length;

/// More than the kernel's buffers take.
const LARGE: &str = "/50000000";
/// How long an answer may be left unread here.
const STALL: Duration = Duration::from_secs(2);
const LIMITS: &str = "limits: { idle_timeout: 2s }";

/// A connection whose kernel takes little that is not read.
async fn slow(front: &Front) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(front.proxy.address.parse().unwrap()).await.unwrap()
}

fn get(upstream: &str) -> String {
    format!("GET /{upstream}{LARGE} HTTP/1.1\r\nhost: a\r\n\r\n")
}

async fn connections(front: &Front) -> u64 {
    let mut socket = TcpStream::connect(&front.proxy.telemetry).await.unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix("obo_connections{listener=\"default\"} "));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

/// The bytes of memory that the proxy has.
fn memory(front: &Front) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", front.proxy.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_read_takes_little_memory() {
    const READERS: u64 = 200;
    // 64 MiB for 800 and the proxy itself, in a debug build
    const EACH: u64 = 84 * 1024;
    let front = Front::start("", "").await;
    let mut all = Vec::new();
    let mut before = 0;
    for reader in 0..READERS + 20 {
        // what each kind of connection takes once is not theirs
        if reader == 20 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            before = memory(&front);
        }
        let mut socket = slow(&front).await;
        socket.write_all(get("1").as_bytes()).await.unwrap();
        socket.readable().await.unwrap();
        all.push(socket);
    }
    // until they have been sent all that they get
    until("nothing more comes in", async || {
        let before = memory(&front);
        tokio::time::sleep(Duration::from_millis(500)).await;
        memory(&front) == before
    })
    .await;
    let each = (memory(&front) - before) / READERS;
    assert!(each < EACH, "{each} bytes a reader");
    assert_eq!(connections(&front).await, READERS + 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_cut_off_in_time_also_behind_tls() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.issue("localhost").write(directory.path(), "tls");
    let path = directory.path().to_str().unwrap();
    let tls = format!(", tls: {{ certificate: {path}/tls.crt, key: {path}/tls.key }}");
    for (listener, is_tls) in [("", false), (tls.as_str(), true)] {
        for upstream in ["1", "2"] {
            let front = Front::start(listener, LIMITS).await;
            let began = Instant::now();
            let socket = slow(&front).await;
            let kept: Box<dyn Any> = if is_tls {
                let connector = TlsConnector::from(Arc::new(authority.client()));
                let mut socket = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
                socket.write_all(get(upstream).as_bytes()).await.unwrap();
                socket.flush().await.unwrap();
                Box::new(socket)
            } else {
                let mut socket = socket;
                socket.write_all(get(upstream).as_bytes()).await.unwrap();
                Box::new(socket)
            };
            until("it is there", async || connections(&front).await == 1).await;
            until("it is cut off", async || connections(&front).await == 0).await;
            assert!((STALL..PATIENCE).contains(&began.elapsed()), "{:?}", began.elapsed());
            drop(kept);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_with_pauses_gets_all_of_it() {
    let front = Front::start("", LIMITS).await;
    for upstream in ["1", "2"] {
        let mut socket = slow(&front).await;
        socket.write_all(get(upstream).as_bytes()).await.unwrap();
        let got = super::head(&mut socket).await.unwrap();
        assert!(got.starts_with("http/1.1 200 ok\r\n"), "{got}");
        let mut pattern = super::Pattern::new();
        // each pause is long enough for the kernel's buffers to fill, and for the proxy to stop
        for part in 1..=5 {
            super::read(&mut socket, part * 100_000, &mut pattern).await;
            tokio::time::sleep(STALL / 5).await;
        }
        if upstream == "1" {
            super::read(&mut socket, length(LARGE), &mut pattern).await;
            assert_eq!(pattern.verdict(), length(LARGE).to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_not_read_are_reset_and_hold_up_no_other() {
    let front = Front::start("", LIMITS).await;
    // of an upstream in HTTP/2 all callers' answers come over one connection
    for upstream in ["1", "2"] {
        let sender = connected(&front, 65_535).await;
        let mut unread = Vec::new();
        for _ in 0..40 {
            unread.push(asked(&sender, &format!("/{upstream}{LARGE}")).await);
        }
        let mut other = super::Pattern::new();
        super::compare(&mut asked(&sender, &format!("/{upstream}/1000000")).await, &mut other).await;
        assert_eq!(other.verdict(), "1000000", "{upstream}");
        for mut stream in unread {
            let ended = async {
                loop {
                    match stream.data().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return error.reason(),
                        None => panic!("a clean end"),
                    }
                }
            };
            assert_eq!(tokio::time::timeout(PATIENCE, ended).await.unwrap(), Some(h2::Reason::CANCEL));
        }
        super::compare(&mut asked(&sender, &format!("/{upstream}/1000")).await, &mut other).await;
    }
}
