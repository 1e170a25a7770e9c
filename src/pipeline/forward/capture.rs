//! What is kept of a request so that it can be sent once more: its head, and its body if that is small. The pieces of
//! the body are copied: one that was shared would hold the whole buffer it was read into, however small it is.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Request;
use http::Uri;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

use crate::net::BoxError;

/// Longest body that is kept, in bytes.
const LONGEST: u64 = 64 * 1024;
/// Most pieces that a body is kept in: each takes memory besides its bytes.
const MOST_PIECES: usize = 256;
/// Bytes that are kept of all bodies together.
const BUDGET: usize = 16 * 1024 * 1024;

/// Keeps requests, as long as there is room for their bodies. Clones share the room.
#[derive(Clone, Debug)]
pub struct Keeper(Arc<Semaphore>);

/// A request that can be sent once more, as often as is wanted, while all of its body can be had.
pub struct Spare<B> {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Option<Arc<Kept<B>>>,
}

/// A caller's body, of which a copy is kept, or not.
#[derive(Debug)]
pub struct Captured<B> {
    /// There until it is dropped.
    body: Option<B>,
    /// Where the copy is, while anybody wants it.
    copy: Option<Weak<Kept<B>>>,
}

/// A captured body on its way once more: what was read of it before, then the rest.
pub struct Again<B> {
    pieces: VecDeque<Bytes>,
    rest: Option<Captured<B>>,
    /// Bytes to come.
    left: u64,
    _room: Option<Arc<Kept<B>>>,
}

/// What is kept of a body.
struct Kept<B> {
    length: u64,
    pieces: Mutex<Pieces<B>>,
    _room: OwnedSemaphorePermit,
}

struct Pieces<B> {
    bytes: VecDeque<Bytes>,
    length: u64,
    /// The body itself, left unread by whoever was to read it.
    rest: Option<B>,
    is_broken: bool,
}

/// With room for 16 MiB.
impl Default for Keeper {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET)))
    }
}

impl Keeper {
    /// `request`, and a spare if it has no body or a small one of known length for which there is room.
    pub fn keep<B: Body>(&self, request: Request<B>) -> (Request<Captured<B>>, Option<Spare<B>>) {
        let length =
            if request.body().is_end_stream() { Some(0) } else { request.body().size_hint().exact() };
        let kept = match length {
            Some(0) => Some(None),
            Some(length) => self.room(length).map(Some),
            None => None,
        };
        let spare = kept.map(|body| Spare {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body,
        });
        let copy = spare.as_ref().and_then(|spare| spare.body.as_ref()).map(Arc::downgrade);
        (request.map(|body| Captured { body: Some(body), copy }), spare)
    }

    fn room<B>(&self, length: u64) -> Option<Arc<Kept<B>>> {
        let permits = u32::try_from(length).ok().filter(|_| length <= LONGEST)?;
        let room = self.0.clone().try_acquire_many_owned(permits).ok()?;
        Some(Arc::new(Kept { length, pieces: Mutex::default(), _room: room }))
    }
}

impl<B> Spare<B> {
    /// The request, if all of its body was captured, or the rest of it is there to be read.
    pub fn again(&self) -> Option<Request<Again<B>>> {
        let body = match &self.body {
            None => Again { pieces: VecDeque::new(), rest: None, left: 0, _room: None },
            Some(kept) => {
                let mut pieces = kept.pieces();
                let rest = match pieces.is_whole(kept.length) {
                    _ if pieces.is_broken => return None,
                    true => None,
                    false => Some(pieces.rest.take()?),
                };
                let copy = Some(Arc::downgrade(kept));
                Again {
                    pieces: pieces.bytes.clone(),
                    rest: rest.map(|body| Captured { body: Some(body), copy }),
                    left: kept.length,
                    _room: Some(Arc::clone(kept)),
                }
            }
        };
        let mut request = Request::new(body);
        self.method.clone_into(request.method_mut());
        self.uri.clone_into(request.uri_mut());
        self.headers.clone_into(request.headers_mut());
        Some(request)
    }
}

impl<B> Captured<B> {
    /// A body of which no copy is kept.
    pub fn not(body: B) -> Self {
        Self { body: Some(body), copy: None }
    }
}

/// What was not read can be read by whoever gets the request next.
impl<B> Drop for Captured<B> {
    fn drop(&mut self) {
        if let (Some(kept), Some(body)) = (self.copy.as_ref().and_then(Weak::upgrade), self.body.take()) {
            let mut pieces = kept.pieces();
            if !pieces.is_broken && !pieces.is_whole(kept.length) {
                pieces.rest = Some(body);
            }
        }
    }
}

impl<B> Pieces<B> {
    fn is_whole(&self, length: u64) -> bool {
        self.length == length
    }
}

impl<B> Default for Pieces<B> {
    fn default() -> Self {
        Self { bytes: VecDeque::new(), length: 0, rest: None, is_broken: false }
    }
}

impl<B> Kept<B> {
    /// Nothing that can fail happens under this lock, so a poisoned one is whole.
    fn pieces(&self) -> MutexGuard<'_, Pieces<B>> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, data: Option<&Bytes>) {
        let mut pieces = self.pieces();
        match data {
            Some(data) if pieces.bytes.len() < MOST_PIECES => {
                pieces.length = pieces.length.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
                pieces.bytes.push_back(Bytes::copy_from_slice(data));
            }
            // too many pieces, a body that broke, or trailers, which a body of known length seldom has
            _ => *pieces = Pieces { is_broken: true, ..Pieces::default() },
        }
    }
}

/// Hides the request: it is the caller's, and token A is in it.
impl<B> fmt::Debug for Spare<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spare(..)")
    }
}

/// Hides the body.
impl<B> fmt::Debug for Kept<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({} bytes)", self.length)
    }
}

/// Hides the body.
impl<B> fmt::Debug for Again<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Again({} bytes)", self.left)
    }
}

impl<B> Body for Captured<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if let (Some(copy), Poll::Ready(Some(frame))) = (&self.copy, &polled) {
            match copy.upgrade() {
                Some(kept) => kept.add(frame.as_ref().ok().and_then(Frame::data_ref)),
                None => self.copy = None,
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Body for Again<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = match (self.pieces.pop_front(), &mut self.rest) {
            (Some(piece), _) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            (None, Some(rest)) => Pin::new(rest).poll_frame(cx),
            (None, None) => Poll::Ready(None),
        };
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let came = frame.data_ref().map_or(0, Bytes::len);
            self.left = self.left.saturating_sub(u64::try_from(came).unwrap_or(u64::MAX));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::BodyExt;
    use http_body_util::Full;
    use proptest::prelude::*;

    use super::*;

    /// A body in pieces, of known length or not.
    #[derive(Debug)]
    struct Pieced(VecDeque<Frame<Bytes>>, Option<u64>);

    impl Body for Pieced {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            self.1.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    fn pieced(pieces: &[Vec<u8>]) -> Request<Pieced> {
        let length = pieces.iter().map(|piece| u64::try_from(piece.len()).unwrap()).sum();
        let frames = pieces.iter().map(|piece| Frame::data(Bytes::from(piece.clone()))).collect();
        Request::post("/a?b").header("x-a", "1").body(Pieced(frames, Some(length))).unwrap()
    }

    async fn read<B: Body<Data = Bytes> + Unpin>(mut body: B, frames: usize) {
        for _ in 0..frames {
            body.frame().await;
        }
    }

    #[tokio::test]
    async fn a_request_without_a_body_can_be_sent_again_at_once() {
        let request = Request::get("/a?b").header("x-a", "1").body(Full::<Bytes>::default()).unwrap();
        let (_, spare) = Keeper::default().keep(request);
        let again = spare.unwrap().again().unwrap();
        assert_eq!((again.method(), again.uri().to_string().as_str()), (&Method::GET, "/a?b"));
        assert_eq!(again.headers()["x-a"], "1");
        assert!(again.body().is_end_stream());
    }

    #[tokio::test]
    async fn a_body_is_sent_again_whole_as_often_as_is_wanted_wherever_reading_it_stopped() {
        let pieces = [vec![1; 10], vec![2; 10]];
        for stops in [[0, 0, 0], [0, 1, 2], [1, 0, 1], [1, 1, 3], [2, 2, 2], [3, 0, 1]] {
            let (request, spare) = Keeper::default().keep(pieced(&pieces));
            let spare = spare.unwrap();
            read(request.into_body(), stops[0]).await;
            for frames in &stops[1..] {
                let again = spare.again().unwrap();
                assert_eq!((again.method(), again.body().size_hint().exact()), (&Method::POST, Some(20)));
                read(again.into_body(), *frames).await;
            }
            let last = spare.again().unwrap().into_body();
            assert_eq!(last.collect().await.unwrap().to_bytes(), pieces.concat(), "{stops:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_another_still_reads_is_not_sent_again_until_it_was_read() {
        let (request, spare) = Keeper::default().keep(pieced(&[vec![1; 10], vec![2; 10]]));
        let (mut body, spare) = (request.into_body(), spare.unwrap());
        for is_whole in [false, true] {
            body.frame().await;
            assert_eq!(spare.again().is_some(), is_whole);
        }
    }

    #[tokio::test]
    async fn a_body_that_broke_is_not_sent_again() {
        struct Broken;
        impl Body for Broken {
            type Data = Bytes;
            type Error = &'static str;
            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
                Poll::Ready(Some(Err("broken")))
            }
            fn size_hint(&self) -> SizeHint {
                SizeHint::with_exact(1)
            }
        }
        let (request, spare) = Keeper::default().keep(Request::new(Broken));
        assert!(request.into_body().frame().await.unwrap().is_err());
        assert!(spare.unwrap().again().is_none());
    }

    #[tokio::test]
    async fn a_body_that_is_long_or_of_unknown_length_or_in_crumbs_is_not_kept() {
        let spare = |length| Keeper::default().keep(pieced(&[vec![0; length]])).1;
        assert!(spare(64 * 1024).is_some() && spare(64 * 1024 + 1).is_none());
        let chunked = pieced(&[vec![0]]).map(|mut body| {
            body.1 = None;
            body
        });
        assert!(Keeper::default().keep(chunked).1.is_none());
        for (pieces, is_whole) in [(MOST_PIECES, true), (MOST_PIECES + 1, false)] {
            let (request, spare) = Keeper::default().keep(pieced(&vec![vec![0]; pieces]));
            read(request.into_body(), pieces).await;
            assert_eq!(spare.unwrap().again().is_some(), is_whole, "{pieces}");
        }
    }

    #[tokio::test]
    async fn a_small_piece_does_not_hold_the_large_buffer_it_was_read_into() {
        struct Buffer(Arc<Vec<u8>>);
        impl AsRef<[u8]> for Buffer {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let held = Arc::new(vec![7; 64 * 1024]);
        let piece = Bytes::from_owner(Buffer(held.clone())).slice(..1);
        let request = pieced(&[]).map(|_| Pieced([Frame::data(piece)].into(), Some(1)));
        let (request, spare) = Keeper::default().keep(request);
        read(request.into_body(), 1).await;
        assert_eq!(Arc::strong_count(&held), 1);
        let again = spare.unwrap().again().unwrap().into_body().collect().await.unwrap();
        assert_eq!(again.to_bytes(), vec![7]);
    }

    #[tokio::test]
    async fn nothing_of_a_kept_request_is_shown() {
        let request = Request::get("/a").header("authorization", "Bearer canary").header("cookie", "canary");
        let (_, spare) = Keeper::default().keep(request.body(Full::<Bytes>::default()).unwrap());
        assert!(!format!("{spare:?}").contains("canary"));
        let (request, spare) = Keeper::default().keep(pieced(&[b"canary".to_vec()]));
        read(request.into_body(), 1).await;
        assert!(!format!("{spare:?} {:?}", spare.as_ref().unwrap().body).contains("canary"));
    }

    #[tokio::test]
    async fn a_body_with_trailers_is_not_sent_again() {
        let mut request = pieced(&[vec![0; 3]]);
        request.body_mut().0.push_back(Frame::trailers(HeaderMap::new()));
        let (request, spare) = Keeper::default().keep(request);
        read(request.into_body(), 2).await;
        assert!(spare.unwrap().again().is_none());
    }

    #[tokio::test]
    async fn room_is_shared_and_given_back() {
        let keeper = Keeper::default();
        let full = || keeper.clone().keep(pieced(&[vec![0; 64 * 1024]]));
        let mut kept: Vec<_> = (0..BUDGET / (64 * 1024)).map(|_| full()).collect();
        assert!(kept.iter().all(|(_, spare)| spare.is_some()));
        let (request, spare) = full();
        assert!(spare.is_none());
        // it goes on all the same, and what has no body needs no room
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes().len(), 64 * 1024);
        assert!(keeper.keep(Request::new(Full::<Bytes>::default())).1.is_some());
        // what is on its way holds no room once nobody wants the copy
        let (request, spare) = kept.pop().unwrap();
        drop(spare);
        assert!(full().1.is_some());
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes().len(), 64 * 1024);
    }

    proptest! {
        #[test]
        fn what_is_sent_again_is_what_came(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..20)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (first, again) = runtime.block_on(async {
                let (request, spare) = Keeper::default().keep(pieced(&pieces));
                let first = request.into_body().collect().await.unwrap().to_bytes();
                let again = spare.unwrap().again().unwrap().into_body();
                (first, again.collect().await.unwrap().to_bytes())
            });
            prop_assert_eq!(&first, &pieces.concat());
            prop_assert_eq!(first, again);
        }
    }
}
