//! Callers that do not send what they began.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Front;
use super::PATIENCE;
use super::Pattern;
use super::connected;

/// For how long bodies trickle: longer than any caller may fall behind.
const TRICKLE: Duration = Duration::from_secs(14);
/// How often a piece comes.
const TICK: Duration = Duration::from_millis(250);
const PIECES: u64 = 56;

/// All that comes until the proxy closes.
async fn rest(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await;
    let _closed_or_reset = read.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

/// What is answered to a body of which so many bytes come at a time, and after how long.
async fn trickled(front: &Front, head: &str, piece: u64, chunked: bool) -> (String, Duration) {
    let began = Instant::now();
    let (mut from, mut to) = front.connect().await.into_split();
    to.write_all(head.as_bytes()).await.unwrap();
    let sending = tokio::spawn(async move {
        let mut pattern = Pattern::new();
        for _ in 0..PIECES {
            let bytes = pattern.next(piece).to_vec();
            let bytes = match chunked {
                true => [format!("{piece:x}\r\n").as_bytes(), &bytes, b"\r\n"].concat(),
                false => bytes,
            };
            if to.write_all(&bytes).await.is_err() {
                return;
            }
            tokio::time::sleep(TICK).await;
        }
        if chunked {
            to.write_all(b"0\r\n\r\n").await.unwrap();
        }
        // the answer, and then the end
        tokio::time::sleep(PATIENCE).await;
    });
    let mut answer = Vec::new();
    let _closed_or_reset = tokio::time::timeout(PATIENCE, from.read_to_end(&mut answer)).await.unwrap();
    sending.abort();
    (String::from_utf8(answer).unwrap(), began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_whose_length_is_known_must_come_in_time_and_a_stream_need_not() {
    let front = Front::start("", "").await;
    let length = |piece: u64| format!("content-length: {}", piece * PIECES);
    let post = |upstream, framing: &str| {
        format!("POST /{upstream} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{framing}\r\n\r\n")
    };
    let (slow, fast) = (50, 500);
    let slow_head = post(1, &length(slow));
    let fast_head = post(1, &length(fast));
    let stream_head = post(2, "transfer-encoding: chunked");
    let (too_slow, in_time, stream, over_http2) = tokio::join!(
        trickled(&front, &slow_head, slow, false),
        trickled(&front, &fast_head, fast, false),
        trickled(&front, &stream_head, slow, true),
        too_slow_over_http2(&front),
    );
    let (answer, took) = too_slow;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"request_timeout\""), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
    // 200 bytes a second came: ten seconds, and those that were earned
    assert!((Duration::from_secs(10)..Duration::from_secs(40)).contains(&took), "{took:?}");
    for ((answer, took), bytes) in [(in_time, fast * PIECES), (stream, slow * PIECES)] {
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(&bytes.to_string()), "{answer}");
        assert!(took >= TRICKLE - TICK, "{took:?}");
    }
    assert_eq!(over_http2, 408);
}

/// The status of the answer to a body of which nothing comes.
async fn too_slow_over_http2(front: &Front) -> u16 {
    let sender = connected(front, 65_535).await;
    let request = Request::post("http://a/1").header("content-length", "1000").body(()).unwrap();
    let (response, mut stream) = sender.clone().ready().await.unwrap().send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(b"a little"), false).unwrap();
    tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_in_time_ends_a_connection_in_http_2_too() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    /// The first header field of stream 1, and more to come.
    const HEADERS: &[u8] = &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82];
    /// Another header field of it, and more to come.
    const CONTINUATION: &[u8] = &[0, 0, 1, 9, 0, 0, 0, 0, 1, 0x86];
    const LIMIT: Duration = Duration::from_millis(500);
    let front = Front::start("", "limits: { header_timeout: 500ms }").await;
    let openings =
        [&PREFACE[..7], PREFACE, &[PREFACE, SETTINGS].concat(), &[PREFACE, SETTINGS, HEADERS].concat()];
    for opening in openings {
        let began = Instant::now();
        let mut socket = front.connect().await;
        socket.write_all(opening).await.unwrap();
        rest(&mut socket).await;
        assert!((LIMIT..PATIENCE).contains(&began.elapsed()), "{opening:?}: {:?}", began.elapsed());
    }
    let began = Instant::now();
    let (mut from, mut to) = front.connect().await.into_split();
    to.write_all(&[PREFACE, SETTINGS, HEADERS].concat()).await.unwrap();
    let trickling = tokio::spawn(async move {
        while to.write_all(CONTINUATION).await.is_ok() {
            tokio::time::sleep(LIMIT / 2).await;
        }
    });
    let mut all = Vec::new();
    let _closed_or_reset = tokio::time::timeout(PATIENCE, from.read_to_end(&mut all)).await.unwrap();
    assert!(began.elapsed() >= LIMIT, "{:?}", began.elapsed());
    trickling.await.unwrap();
}
