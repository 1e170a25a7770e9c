//! HTTP/2 callers that are gone, or do not read.

use h2::Reason;
use h2::client::SendRequest;

use super::*;

/// Longer than any other deadline.
const PATIENT: Duration = Duration::from_secs(600);
/// How long an answer may be left unread here.
const STALL: Duration = Duration::from_millis(1500);
/// Bytes of a large answer.
const LARGE: usize = 16 * PIECE;
const PIECE: usize = 16 * 1024;

/// `GET http://a/`, by HPACK's static table, as stream 1 after the preface and empty settings.
const REQUEST: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x01\x01a";

async fn never(_: Request<Incoming>, _: Arc<Peer>) -> Response<net::Body> {
    std::future::pending().await
}

/// A large answer at `/large`, a word elsewhere.
async fn large(request: Request<Incoming>, _: Arc<Peer>) -> Response<net::Body> {
    if request.uri().path() != "/large" {
        return text("fine");
    }
    let pieces = Pieces { left: LARGE / PIECE };
    Response::new(pieces.boxed_unsync())
}

/// An answer that comes as from an upstream, piece by piece.
struct Pieces {
    left: usize,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; PIECE])))))
    }
}

/// A caller whose streams take so much unasked.
async fn caller(served: &Served, window: u32) -> SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(1 << 24);
    let (sender, connection) = builder.handshake(served.connect().await).await.unwrap();
    tokio::spawn(async { drop(connection.await) });
    sender
}

async fn asked(sender: &SendRequest<Bytes>, path: &str) -> h2::RecvStream {
    let request = Request::get(format!("http://a{path}")).body(()).unwrap();
    let (response, _) = sender.clone().ready().await.unwrap().send_request(request, true).unwrap();
    response.await.unwrap().into_body()
}

/// Takes so many bytes of an answer.
async fn take(body: &mut h2::RecvStream, bytes: usize) -> Result<usize, h2::Error> {
    let mut taken = 0;
    while taken < bytes {
        let Some(data) = body.data().await else { break };
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        taken += data.len();
    }
    Ok(taken)
}

// time is moved by hand, and on: nothing here is in a hurry
#[tokio::test(start_paused = true)]
async fn a_caller_who_answers_no_ping_is_gone() {
    let served = served(limits(PATIENT, PATIENT), never).await;
    let mut silent = served.connect().await;
    let began = Instant::now();
    silent.write_all(REQUEST).await.unwrap();
    let _goodbye = rest_within(&mut silent, PATIENT).await;
    assert!((40..=60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    served.wait_for_connections(0).await;
    // one that answers them stays
    let sender = caller(&served, 1000).await;
    let request = Request::get("http://a/").body(()).unwrap();
    let (mut response, _) = sender.clone().ready().await.unwrap().send_request(request, true).unwrap();
    assert!(tokio::time::timeout(PATIENT / 2, &mut response).await.is_err(), "the answer is still awaited");
}

async fn rest_within(stream: &mut TcpStream, limit: Duration) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(limit, stream.read_to_end(&mut bytes)).await;
    let _closed_or_reset = read.expect("the connection is closed");
    bytes
}

#[tokio::test]
async fn an_answer_nobody_reads_is_reset_and_the_others_on_its_connection_go_on() {
    let served = served(limits(PATIENT, STALL), large).await;
    let sender = caller(&served, 20_000).await;
    let began = Instant::now();
    let mut unread = asked(&sender, "/large").await;
    // what had come is there, and then it ends
    let ending = tokio::spawn(async move {
        loop {
            match unread.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error,
                None => panic!("a clean end"),
            }
        }
    });
    while !ending.is_finished() {
        assert_eq!(take(&mut asked(&sender, "/large").await, usize::MAX).await.unwrap(), LARGE);
        tokio::time::sleep(STALL / 10).await;
    }
    assert_eq!(ending.await.unwrap().reason(), Some(Reason::CANCEL));
    assert!((STALL..LONG).contains(&began.elapsed()), "{:?}", began.elapsed());
    assert_eq!(take(&mut asked(&sender, "/small").await, usize::MAX).await.unwrap(), 4);
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_is_read_to_its_end() {
    let served = served(limits(PATIENT, STALL), large).await;
    let sender = caller(&served, 20_000).await;
    let began = Instant::now();
    let mut body = asked(&sender, "/large").await;
    let mut all = 0;
    while all < LARGE {
        all += take(&mut body, 2 * PIECE).await.unwrap();
        tokio::time::sleep(STALL / 6).await;
    }
    assert!(began.elapsed() > STALL);
}
