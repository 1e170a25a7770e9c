//! Large bodies, both ways, between both versions of HTTP: they arrive as they were sent, and none of it stays.

use std::fs;
use std::process::Command;

use tokio::io::AsyncWriteExt;

use crate::support::process::text;

use super::Front;
use super::PERIOD;
use super::Pattern;
use super::head;
use super::read;

const TEN_MEGABYTES: u64 = 10_000_000;
const GIGABYTE: u64 = 1_000_000_000;
/// What bodies may take of memory, whatever their length: a debug build and an allocator that keeps what it had.
const MEMORY: u64 = 12 * 1024 * 1024;

async fn curl(arguments: Vec<String>) -> String {
    let output = tokio::task::spawn_blocking(move || {
        Command::new("curl").args(["-sS", "--fail", "--max-time", "60"]).args(arguments).output().unwrap()
    });
    let output = output.await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_pass_between_both_versions_of_http_and_take_no_memory() {
    let front = Front::start("", "").await;
    let directory = tempfile::tempdir().unwrap();
    let (sent, got) = (directory.path().join("sent"), directory.path().join("got"));
    let (mut pattern, mut whole) = (Pattern::new(), Vec::new());
    while (whole.len() as u64) < TEN_MEGABYTES {
        let left = TEN_MEGABYTES - whole.len() as u64;
        whole.extend_from_slice(pattern.next(left));
    }
    fs::write(&sent, &whole).unwrap();
    let ways = ["--http1.1", "--http2-prior-knowledge"]
        .iter()
        .flat_map(|version| ["1", "2"].map(|upstream| (*version, upstream)));
    let mut before = None;
    // the first round is what it takes to have made each kind of connection
    for (length, (version, upstream)) in
        ways.clone().map(|way| (PERIOD as u64, way)).chain(ways.map(|way| (TEN_MEGABYTES, way)))
    {
        let url = format!("http://{}/{upstream}/{length}", front.proxy.address);
        if length == TEN_MEGABYTES {
            before.get_or_insert_with(|| front.proxy.most_memory());
            let up =
                vec![version.into(), "--data-binary".into(), format!("@{}", sent.display()), url.clone()];
            assert_eq!(curl(up).await, length.to_string(), "{version} to {upstream}");
        }
        curl(vec![version.into(), "-o".into(), got.display().to_string(), url]).await;
        let expected = &whole[..usize::try_from(length).unwrap()];
        assert!(fs::read(&got).unwrap() == expected, "{version} to {upstream}");
    }
    let grown = front.proxy.most_memory() - before.unwrap();
    assert!(grown < MEMORY, "{grown} bytes of memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_passes_each_way_and_takes_no_memory() {
    let front = Front::start("", "").await;
    let mut socket = front.connect().await;
    let mut before = None;
    for length in [PERIOD as u64, GIGABYTE] {
        if length == GIGABYTE {
            before = Some(front.proxy.most_memory());
        }
        let get = format!("GET /1/{length} HTTP/1.1\r\nhost: a\r\n\r\n");
        socket.write_all(get.as_bytes()).await.unwrap();
        let got = head(&mut socket).await.unwrap();
        assert!(got.starts_with("http/1.1 200 ok\r\n"), "{got}");
        let mut pattern = Pattern::new();
        read(&mut socket, length, &mut pattern).await;
        assert_eq!(pattern.verdict(), length.to_string());

        let post = format!("POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        socket.write_all(post.as_bytes()).await.unwrap();
        let (mut pattern, mut left) = (Pattern::new(), length);
        while left > 0 {
            let piece = pattern.next(left);
            left -= piece.len() as u64;
            socket.write_all(piece).await.unwrap();
        }
        head(&mut socket).await.unwrap();
        let mut verdict = vec![0; length.to_string().len()];
        tokio::io::AsyncReadExt::read_exact(&mut socket, &mut verdict).await.unwrap();
        assert_eq!(text(&verdict), length.to_string());
    }
    let grown = front.proxy.most_memory() - before.unwrap();
    assert!(grown < MEMORY, "{grown} bytes of memory");
}
