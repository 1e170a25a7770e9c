//! Sides in memory, time that is moved by hand.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::DuplexStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

const IDLE: Duration = Duration::from_secs(90);
/// What fits into one side's pipe.
const PIPE: usize = 1024;

/// A WebSocket between a caller and an upstream.
struct Case {
    caller: DuplexStream,
    upstream: DuplexStream,
    leave: Option<oneshot::Sender<()>>,
    joined: JoinHandle<Instant>,
    began: Instant,
}

impl Case {
    fn new(expiry: Option<Expiry>) -> Self {
        let (caller, near) = tokio::io::duplex(PIPE);
        let (upstream, far) = tokio::io::duplex(PIPE);
        let (leave, leaving) = oneshot::channel();
        let leaving = Box::pin(async move { drop(leaving.await) });
        let far = Box::new(WebSocketFar::new(far, Terms { idle: IDLE, expiry }));
        let joined = far.join(Box::new(near), leaving);
        let joined = tokio::spawn(async move {
            joined.await;
            Instant::now()
        });
        Self { caller, upstream, leave: Some(leave), joined, began: Instant::now() }
    }

    fn leave(&mut self) {
        self.leave.take().unwrap().send(()).unwrap();
    }

    /// How long it went on.
    async fn lasted(self) -> Duration {
        self.joined.await.unwrap() - self.began
    }
}

async fn next<const N: usize>(stream: &mut DuplexStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

async fn rest(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// The code of a frame that closes, masked or not, and nothing behind it.
fn code(frame: &[u8]) -> u16 {
    let (key, payload) = match frame {
        [0x88, length, payload @ ..] if length & 0x80 == 0 => ([0; 4], payload),
        [0x88, _, a, b, c, d, payload @ ..] => ([*a, *b, *c, *d], payload),
        _ => panic!("no frame that closes: {frame:?}"),
    };
    assert_eq!(payload.len(), usize::from(frame[1] & 0x7F));
    u16::from_be_bytes([payload[0] ^ key[0], payload[1] ^ key[1]])
}

fn expiring_in(seconds: u64) -> (Clock, Option<Expiry>) {
    let clock = Clock::manual(UnixTime::from_seconds(1_000));
    let at = UnixTime::from_seconds(1_000).after(Duration::from_secs(seconds));
    (clock.clone(), Some(Expiry { at, clock }))
}

/// Both clocks go on, second by second.
async fn go_on(clock: &Clock, seconds: u64) {
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_side_may_end_before_the_other() {
    let mut case = Case::new(None);
    case.caller.write_all(b"up").await.unwrap();
    case.caller.shutdown().await.unwrap();
    assert_eq!(rest(&mut case.upstream).await, b"up");
    case.upstream.write_all(b"down").await.unwrap();
    assert_eq!(next(&mut case.caller).await, *b"down");
    assert!(!case.joined.is_finished());
    case.upstream.shutdown().await.unwrap();
    assert_eq!(rest(&mut case.caller).await, b"");
    assert_eq!(case.lasted().await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_not_written_for() {
    let mut case = Case::new(None);
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let (reader, mut writer) = tokio::io::split(case.upstream);
    let writing = tokio::spawn(async move {
        while writer.write_all(&[0x82; 100]).await.is_ok() {
            count.fetch_add(100, Ordering::SeqCst);
        }
    });
    tokio::time::sleep(LONGEST_STALL / 2).await;
    let held = sent.load(Ordering::SeqCst);
    assert!((1..=2 * PIPE + 16 * 1024).contains(&held), "{held} bytes are held");
    // the other direction is not held up
    case.caller.write_all(b"up").await.unwrap();
    tokio::time::sleep(LONGEST_STALL / 4).await;
    assert_eq!(sent.load(Ordering::SeqCst), held);
    let mut some = vec![0; 100 * 1024];
    case.caller.read_exact(&mut some).await.unwrap();
    assert!(sent.load(Ordering::SeqCst) > held);
    writing.abort();
    drop(reader);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_sends_and_never_reads_is_cut_and_one_that_reads_a_little_is_not() {
    for reads in [false, true] {
        let (_, expiry) = expiring_in(3600);
        let case = Case::new(expiry);
        let (mut reader, mut writer) = tokio::io::split(case.caller);
        let (mut up, mut down) = tokio::io::split(case.upstream);
        let flooding = tokio::spawn(async move { while down.write_all(&[0x82; 100]).await.is_ok() {} });
        let taking = tokio::spawn(async move { while up.read_u8().await.is_ok() {} });
        let began = Instant::now();
        while began.elapsed() < LONGEST_STALL * 3 && !case.joined.is_finished() {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let _ = writer.write_all(b"up").await;
            if reads {
                reader.read_exact(&mut [0; 100]).await.unwrap();
            }
        }
        match reads {
            true => assert!(!case.joined.is_finished()),
            false => assert_eq!(case.joined.await.unwrap() - case.began, LONGEST_STALL),
        }
        flooding.abort();
        taking.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_no_byte_has_moved_for_too_long_either_way() {
    let mut case = Case::new(None);
    for turn in 0..6 {
        tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
        match turn % 2 {
            0 => case.caller.write_all(b"x").await.unwrap(),
            _ => case.upstream.write_all(b"x").await.unwrap(),
        }
    }
    assert_eq!(case.lasted().await, (IDLE - Duration::from_secs(1)) * 6 + IDLE);
}

#[tokio::test(start_paused = true)]
async fn when_the_token_ends_both_sides_are_told_between_two_frames() {
    let (clock, expiry) = expiring_in(60);
    let mut case = Case::new(expiry);
    // a whole frame down, and two thirds of one up
    case.upstream.write_all(&[0x81, 1, b'a']).await.unwrap();
    case.caller.write_all(&[0x82, 0x83, 1, 2, 3, 4, 0, 0]).await.unwrap();
    assert_eq!(next(&mut case.caller).await, [0x81, 1, b'a']);
    assert_eq!(next(&mut case.upstream).await, [0x82, 0x83, 1, 2, 3, 4, 0, 0]);
    go_on(&clock, 58).await;
    case.upstream.write_all(&[0x81, 0]).await.unwrap();
    assert_eq!(next(&mut case.caller).await, [0x81, 0]);
    go_on(&clock, 3).await;
    assert_eq!(code(&rest(&mut case.caller).await), 1008);
    // the frame under way is finished, and nothing after it goes on
    case.caller.write_all(&[0, 0x82, 0x80, 1, 2, 3, 4]).await.unwrap();
    let up = rest(&mut case.upstream).await;
    assert_eq!((up[0], code(&up[1..])), (0, 1008));
    assert_eq!(up[2] & 0x80, 0x80, "a client masks what it sends");
    drop(case.upstream);
    drop(case.caller);
    assert!(case.joined.await.unwrap() - case.began <= Duration::from_secs(62));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_drags_on_is_cut_five_seconds_after_the_end() {
    let (clock, expiry) = expiring_in(10);
    let mut case = Case::new(expiry);
    case.upstream.write_all(&[0x82, 126, 0xFF, 0xFF]).await.unwrap();
    let dragging = tokio::spawn(async move {
        while case.upstream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    go_on(&clock, 20).await;
    let lasted = case.joined.await.unwrap() - case.began;
    assert!((15..=16).contains(&lasted.as_secs()), "{lasted:?}");
    let down = rest(&mut case.caller).await;
    assert!(!down.ends_with(TOKEN_ENDED.frame().as_slice()), "no close inside a frame");
    dragging.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_has_closed_is_told_nothing_more() {
    let (clock, expiry) = expiring_in(10);
    let mut case = Case::new(expiry);
    case.upstream.write_all(&[0x88, 0]).await.unwrap();
    go_on(&clock, 12).await;
    assert_eq!(rest(&mut case.caller).await, [0x88, 0]);
    assert_eq!(code(&rest(&mut case.upstream).await), 1008);
}

#[tokio::test(start_paused = true)]
async fn a_side_that_does_not_close_holds_the_other_up_for_a_while_only() {
    let mut case = Case::new(None);
    case.leave();
    assert_eq!(code(&rest(&mut case.caller).await), 1001);
    assert_eq!(code(&rest(&mut case.upstream).await), 1001);
    // it goes on sending
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        while case.upstream.write_all(&[0x82, 0]).await.is_ok() {
            sent += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        sent
    });
    let lasted = case.joined.await.unwrap() - case.began;
    assert_eq!(lasted, FAREWELL);
    assert!(sending.await.unwrap() > 40, "it is read, for nobody");
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_ends_it_no_later_than_the_next_look() {
    let (clock, expiry) = expiring_in(3_600);
    let mut case = Case::new(expiry);
    tokio::time::sleep(Duration::from_secs(1)).await;
    clock.set_wall(UnixTime::from_seconds(10_000));
    assert_eq!(code(&rest(&mut case.caller).await), 1008);
    assert!(case.began.elapsed() <= LONGEST_LOOK);
}

/// A side that breaks as soon as it is read.
struct Broken;

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl tokio::io::AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_side_that_breaks_takes_the_other_with_it() {
    let (mut caller, near) = tokio::io::duplex(PIPE);
    let far = Box::new(WebSocketFar::new(Broken, Terms { idle: IDLE, expiry: None }));
    far.join(Box::new(near), Box::pin(std::future::pending())).await;
    assert_eq!(rest(&mut caller).await, b"");
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_sent_before_it_went_still_arrives() {
    let mut case = Case::new(None);
    case.upstream.write_all(&[7; 1000]).await.unwrap();
    drop(case.upstream);
    case.caller.write_all(b"nobody reads this").await.unwrap();
    assert_eq!(rest(&mut case.caller).await, [7; 1000]);
    drop(case.caller);
    case.joined.await.unwrap();
}
