//! Bodies: streamed both ways, framed as they came, never held.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use http_body::Frame;

use super::*;

/// More than the kernel and both clients may hold of one body, and far less than the bodies here.
const HELD_AT_MOST: usize = 24 << 20;

/// A body of so many bytes, in pieces of 64 KiB, counted as they are taken.
pub struct Pieces {
    left: usize,
    taken: Arc<AtomicUsize>,
}

impl Pieces {
    pub fn of(bytes: usize) -> Self {
        Self { left: bytes, taken: Arc::default() }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        static PIECE: [u8; 65536] = [b'x'; 65536];
        let piece = &PIECE[..PIECE.len().min(self.left)];
        self.left -= piece.len();
        self.taken.fetch_add(piece.len(), Ordering::SeqCst);
        Poll::Ready((!piece.is_empty()).then_some(Ok(Frame::data(Bytes::from_static(piece)))))
    }
}

async fn echoing() -> String {
    raw(|stream| echo(stream, false)).await
}

#[tokio::test]
async fn ten_mebibytes_go_up_and_come_down_at_the_same_time() {
    let case = Case::new(route(&echoing().await));
    let request = Request::post("/").body(Pieces::of(10 << 20)).unwrap();
    let mut body = case.send(request).await.unwrap().into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.iter().all(|byte| *byte == b'x'));
        bytes += data.len();
    }
    assert_eq!(bytes, 10 << 20);
}

#[tokio::test]
async fn an_upload_is_not_read_ahead_of_the_upstream() {
    let address = raw(|mut stream| async move {
        until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let case = Case::new(Route { timeouts: Timeouts { response: LONG, idle: SHORT }, ..route(&address) });
    let pieces = Pieces::of(256 << 20);
    let taken = Arc::clone(&pieces.taken);
    let response = case.send(Request::post("/").body(pieces).unwrap()).await.unwrap();
    // ends when no byte moves any more
    response.into_body().collect().await.unwrap_err();
    let taken = taken.load(Ordering::SeqCst);
    assert!((1..HELD_AT_MOST).contains(&taken), "{taken} bytes were taken");
}

#[tokio::test]
async fn a_download_is_not_read_ahead_of_the_caller() {
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    let address = raw(move |mut stream| {
        let written = Arc::clone(&counted);
        async move {
            until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 268435456\r\n\r\n").await.unwrap();
            while let Ok(Ok(bytes)) = tokio::time::timeout(SHORT, stream.write(&[b'x'; 65536])).await {
                written.fetch_add(bytes, Ordering::SeqCst);
            }
        }
    })
    .await;
    let response = Case::new(route(&address)).fetch().await.unwrap();
    let mut before = 0;
    while written.load(Ordering::SeqCst) != before || before == 0 {
        before = written.load(Ordering::SeqCst);
        tokio::time::sleep(SHORT).await;
    }
    assert!((1..HELD_AT_MOST).contains(&before), "{before} bytes were written");
    drop(response);
}

#[tokio::test]
async fn an_upload_may_take_longer_than_the_answer_while_bytes_move() {
    let gateway = {
        let timeouts = Timeouts { response: SHORT, idle: SHORT * 4 };
        let address = raw(|mut stream| async move {
            until(&mut stream, "\r\n\r\n").await;
            until(&mut stream, "end").await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        })
        .await;
        Case::new(Route { timeouts, ..route(&address) }).gateway().await
    };
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 13\r\n\r\n").await.unwrap();
    let mut tick = tokio::time::interval(SHORT / 2);
    for _ in 0..10 {
        tick.tick().await;
        stream.write_all(b".").await.unwrap();
    }
    stream.write_all(b"end").await.unwrap();
    assert!(until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_body_keeps_its_framing() {
    let gateway = Case::new(route(&echoing().await)).gateway().await;
    let with =
        |head: &str, body: &str| format!("{head} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{body}");
    for (head, body, says, not, ends) in [
        ("GET", "\r\n", "content-length: 0\r\n", "x-", "\r\n\r\n"),
        ("POST", "\r\n", "content-length: 0\r\n", "x-transfer-encoding", "\r\n\r\n"),
        ("POST", "content-length: 0\r\n\r\n", "x-content-length: 0\r\n", "x-transfer-encoding", "\r\n\r\n"),
        (
            "POST",
            "content-length: 3\r\n\r\nabc",
            "x-content-length: 3\r\n",
            "x-transfer-encoding",
            "\r\n\r\nabc",
        ),
        (
            "GET",
            "content-length: 3\r\n\r\nabc",
            "x-content-length: 3\r\n",
            "x-transfer-encoding",
            "\r\n\r\nabc",
        ),
        (
            "POST",
            "transfer-encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n0\r\n\r\n",
            "x-transfer-encoding: chunked\r\n",
            "x-content-length",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "GET",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "x-transfer-encoding: chunked\r\n",
            "x-content-length",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "DELETE",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "x-transfer-encoding: chunked\r\n",
            "x-content-length",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
    ] {
        let got = asked(gateway, &with(head, body)).await;
        assert!(got.contains(says), "{head} {body:?} lacks {says:?}: {got}");
        let has_not = got.replace("x-version", "").replace("x-authority", "");
        let has_not = has_not.replace("x-host", "").replace("x-authorization", "");
        assert!(!has_not.contains(not), "{head} {body:?} has {not:?}: {got}");
        assert!(got.ends_with(ends), "{head} {body:?}: {got}");
    }
}

#[tokio::test]
async fn chunks_and_trailers_pass_both_ways() {
    let gateway = Case::new(route(&echoing().await)).gateway().await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\nconnection: close, te\r\nte: trailers\r\n\
                   trailer: x-sum, authorization, x-forwarded-for\r\ntransfer-encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\nx-sum: 6\r\nauthorization: Bearer smuggled\r\nhost: evil\r\nx-forwarded-for: evil\r\n\r\n";
    let got = asked(gateway, request).await;
    assert!(got.contains("x-te: trailers\r\n"), "{got}");
    assert!(got.contains("x-authorization: Bearer ours\r\n"), "{got}");
    assert!(got.ends_with("3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n"), "{got}");
    assert!(!got.contains("smuggled") && !got.contains("evil"), "{got}");
}

#[tokio::test]
async fn the_caller_is_told_to_go_on_and_the_upstream_not_asked() {
    let gateway = Case::new(route(&echoing().await)).gateway().await;
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\nconnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    assert_eq!(until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let got = rest(&mut stream).await;
    assert!(got.ends_with("abc") && !got.contains("x-expect"), "{got}");
}
