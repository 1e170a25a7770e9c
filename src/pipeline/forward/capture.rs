//! What is kept of a request so that it can be sent once more: its head, and its body if that is small. The pieces of
//! the body are copied: one that was shared would hold the whole buffer it was read into, however small it is.

use std::collections::VecDeque;
use std::convert::Infallible;
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

/// A request that can be sent once more if its body was captured.
pub struct Spare {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Option<Arc<Kept>>,
}

/// A caller's body, of which a copy is kept, or not.
#[derive(Debug)]
pub struct Captured<B> {
    body: B,
    /// Where the copy is, while anybody wants it.
    copy: Option<Weak<Kept>>,
}

/// A captured body on its way once more.
pub struct Copied {
    pieces: VecDeque<Bytes>,
    _room: Option<Arc<Kept>>,
}

/// What is kept of a body.
struct Kept {
    length: u64,
    pieces: Mutex<Pieces>,
    _room: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Pieces {
    bytes: VecDeque<Bytes>,
    length: u64,
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
    pub fn keep<B: Body>(&self, request: Request<B>) -> (Request<Captured<B>>, Option<Spare>) {
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
        (request.map(|body| Captured { body, copy }), spare)
    }

    fn room(&self, length: u64) -> Option<Arc<Kept>> {
        let permits = u32::try_from(length).ok().filter(|_| length <= LONGEST)?;
        let room = self.0.clone().try_acquire_many_owned(permits).ok()?;
        Some(Arc::new(Kept { length, pieces: Mutex::default(), _room: room }))
    }
}

impl Spare {
    /// The request, if all of its body was captured.
    pub fn whole(self) -> Option<Request<Copied>> {
        let pieces = match &self.body {
            None => VecDeque::new(),
            Some(kept) => {
                let mut pieces = kept.pieces();
                if pieces.is_broken || pieces.length != kept.length {
                    return None;
                }
                // nobody writes to it any more: its body has ended
                std::mem::take(&mut pieces.bytes)
            }
        };
        let mut request = Request::new(Copied { pieces, _room: self.body });
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        Some(request)
    }
}

impl<B> Captured<B> {
    /// A body of which no copy is kept.
    pub fn not(body: B) -> Self {
        Self { body, copy: None }
    }
}

impl Kept {
    /// Nothing that can fail happens under this lock, so a poisoned one is whole.
    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, frame: &Frame<Bytes>) {
        let mut pieces = self.pieces();
        match frame.data_ref() {
            Some(data) if pieces.bytes.len() < MOST_PIECES => {
                pieces.length = pieces.length.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
                pieces.bytes.push_back(Bytes::copy_from_slice(data));
            }
            // too many pieces, or trailers, which a body of known length seldom has
            _ => *pieces = Pieces { is_broken: true, ..Pieces::default() },
        }
    }
}

/// Hides the request: it is the caller's, and token A is in it.
impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spare(..)")
    }
}

/// Hides the body.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({} bytes)", self.length)
    }
}

/// Hides the body.
impl fmt::Debug for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Copied({} pieces)", self.pieces.len())
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
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Some(copy), Poll::Ready(Some(Ok(frame)))) = (&self.copy, &polled) {
            match copy.upgrade() {
                Some(kept) => kept.add(frame),
                None => self.copy = None,
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for Copied {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.pieces.iter().map(|piece| u64::try_from(piece.len()).unwrap_or(0)).sum())
    }
}

#[cfg(test)]
mod tests {
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
        let again = spare.unwrap().whole().unwrap();
        assert_eq!((again.method(), again.uri().to_string().as_str()), (&Method::GET, "/a?b"));
        assert_eq!(again.headers()["x-a"], "1");
        assert!(again.body().is_end_stream());
    }

    #[tokio::test]
    async fn a_body_that_was_not_read_to_its_end_is_not_sent_again() {
        let pieces = [vec![1; 10], vec![2; 10]];
        for (read_frames, is_whole) in [(0, false), (1, false), (2, true), (3, true)] {
            let (request, spare) = Keeper::default().keep(pieced(&pieces));
            read(request.into_body(), read_frames).await;
            let again = spare.unwrap().whole();
            assert_eq!(again.is_some(), is_whole, "{read_frames}");
            if let Some(again) = again {
                assert_eq!((again.method(), again.body().size_hint().exact()), (&Method::POST, Some(20)));
                assert_eq!(again.into_body().collect().await.unwrap().to_bytes(), pieces.concat());
            }
        }
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
            assert_eq!(spare.unwrap().whole().is_some(), is_whole, "{pieces}");
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
        let again = spare.unwrap().whole().unwrap().into_body().collect().await.unwrap();
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
        assert!(spare.unwrap().whole().is_none());
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
                let again = spare.unwrap().whole().unwrap().into_body();
                (first, again.collect().await.unwrap().to_bytes())
            });
            prop_assert_eq!(&first, &pieces.concat());
            prop_assert_eq!(first, again);
        }
    }
}
