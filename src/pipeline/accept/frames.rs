//! Frames of HTTP/2 that ask for nothing, and how many of them a peer may send: each is cheap, and without a bound they keep
//! a worker busy at the peer's speed (CVE-2019-9512, -9515 and their kin).
//!
//! Only the nine bytes before each frame are looked at (RFC 9113 section 4.1). What they mean is for hyper to say.

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::time::Instant;

/// Bytes of the connection preface (RFC 9113 section 3.4).
const PREFACE: u32 = 24;
/// So many idle frames a peer may send at once, and then
const BURST: u32 = 1000;
/// one in this time.
const REFILL: Duration = Duration::from_millis(1);
/// And one for so many bytes of answers, which it has to acknowledge.
const BYTES_A_FRAME: u32 = 1024;
/// However much it was sent, it may not save up more than this.
const MOST: u32 = 64 * 1024;

/// What a peer may still send.
#[derive(Clone, Debug)]
pub struct Budget {
    credit: u32,
    /// When credit was last given for time; `None` = not yet.
    refilled: Option<Instant>,
    /// Bytes written that no credit was given for.
    written: u32,
    header: [u8; 9],
    /// How much of the header has come.
    seen: usize,
    /// How much of the frame is still to come.
    rest: u32,
    /// Whether its SETTINGS came, with which it has to begin.
    is_introduced: bool,
    /// How many requests it may take back: as many as it made and did not take back yet.
    retractable: u32,
}

/// Why no more is taken from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It sent more than that.
    #[error("the peer floods the connection with frames that ask for nothing")]
    Overspent,
    /// It began otherwise (RFC 9113 section 3.4).
    #[error("the peer's first frame is no SETTINGS")]
    NoSettings,
}

impl Budget {
    /// That of a peer whose first byte is still to come.
    pub fn new() -> Self {
        Self {
            credit: BURST,
            refilled: None,
            written: 0,
            header: [0; 9],
            seen: 0,
            rest: PREFACE,
            is_introduced: false,
            retractable: 0,
        }
    }

    /// The peer was sent so many bytes.
    pub fn earn(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.credit = self.credit.saturating_add(self.written / BYTES_A_FRAME).min(MOST);
        self.written %= BYTES_A_FRAME;
    }

    /// The peer sent these bytes. The time is asked for only if there is no credit left.
    ///
    /// # Errors
    /// If it sent more than it may, or began otherwise than it has to.
    pub fn spend(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let passed = bytes.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
                bytes = bytes.get(passed..).unwrap_or_default();
                self.rest = self.rest.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX));
                continue;
            }
            let (Some((first, others)), Some(place)) = (bytes.split_first(), self.header.get_mut(self.seen))
            else {
                return Ok(());
            };
            *place = *first;
            bytes = others;
            self.seen += 1;
            if self.seen == self.header.len() {
                self.seen = 0;
                let [high, middle, low, ..] = self.header;
                self.rest = u32::from_be_bytes([0, high, middle, low]);
                if !self.is_introduced {
                    self.is_introduced = is_introduction(self.header);
                    self.is_introduced.then_some(()).ok_or(Error::NoSettings)?;
                }
                if self.is_idle() {
                    self.pay(&now)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the frame that begins neither belongs to a request nor moves it on.
    fn is_idle(&mut self) -> bool {
        const END_STREAM: u8 = 1;
        let [high, middle, low, kind, flags, ..] = self.header;
        match kind {
            // DATA
            0 => [high, middle, low] == [0, 0, 0] && flags & END_STREAM == 0,
            // HEADERS: what too many of them cost, hyper bounds
            1 => {
                self.retractable = self.retractable.saturating_add(1);
                false
            }
            // RST_STREAM: hyper bounds those that take back a request, and passes over others
            3 => match self.retractable.checked_sub(1) {
                Some(left) => {
                    self.retractable = left;
                    false
                }
                None => true,
            },
            // CONTINUATION: as HEADERS
            9 => false,
            // PRIORITY, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, whatever else
            _ => true,
        }
    }

    fn pay(&mut self, now: impl Fn() -> Instant) -> Result<(), Error> {
        if self.credit == 0 {
            let now = now();
            let since = self.refilled.map_or(REFILL * BURST, |then| now.saturating_duration_since(then));
            let earned = u32::try_from(since.as_nanos() / REFILL.as_nanos()).unwrap_or(u32::MAX);
            self.credit = earned.min(BURST);
            self.refilled = Some(now);
        }
        self.credit = self.credit.checked_sub(1).ok_or(Error::Overspent)?;
        Ok(())
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether the frame behind this header is SETTINGS, and not an acknowledgement of ours.
fn is_introduction([_, _, _, kind, flags, ..]: [u8; 9]) -> bool {
    const ACK: u8 = 1;
    kind == 4 && flags & ACK == 0
}

/// A stream that ends where its peer sends too many idle frames.
#[derive(Debug)]
pub struct Policed<S> {
    stream: S,
    budget: Budget,
}

impl<S> Policed<S> {
    /// `stream`, whose first byte is still to be read.
    pub fn new(stream: S) -> Self {
        Self { stream, budget: Budget::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Policed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        Poll::Ready(self.budget.spend(read, Instant::now).map_err(io::Error::other))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Policed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.budget.earn(written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        self.budget.earn(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let [.., high, middle, low] = payload.to_be_bytes();
        [&[high, middle, low, kind, flags, 0, 0, 0, 0][..], &vec![7; payload]].concat()
    }

    fn begun() -> Budget {
        let mut budget = Budget::new();
        budget.spend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", || panic!("there is credit")).unwrap();
        budget.spend(&frame(4, 0, 0), || panic!("there is credit")).unwrap();
        budget.credit += 1;
        budget
    }

    #[test]
    fn settings_come_first() {
        for (kind, flags, is_right) in
            [(4, 0, true), (4, 0xfe, true), (4, 1, false), (6, 0, false), (1, 5, false), (0xbe, 0, false)]
        {
            let bytes = [&[b'x'; PREFACE as usize][..], &frame(kind, flags, 8), &frame(6, 0, 8)].concat();
            let expected = if is_right { Ok(()) } else { Err(Error::NoSettings) };
            assert_eq!(Budget::new().spend(&bytes, Instant::now), expected, "{kind} {flags}");
        }
    }

    #[test]
    fn a_request_can_be_taken_back_once() {
        let now = Instant::now();
        let mut budget = begun();
        let (headers, reset) = (frame(1, 4, 0), frame(3, 0, 4));
        let left = budget.credit;
        for _ in 0..3 {
            budget.spend(&headers, || panic!("there is credit")).unwrap();
        }
        budget.spend(&reset.repeat(3), || panic!("there is credit")).unwrap();
        assert_eq!(budget.credit, left);
        budget.spend(&reset.repeat(2), || panic!("there is credit")).unwrap();
        assert_eq!(budget.credit, left - 2);
        budget.refilled = Some(now);
        assert_eq!(budget.spend(&reset.repeat(BURST as usize), || now), Err(Error::Overspent));
    }

    #[test]
    fn only_frames_that_ask_for_nothing_cost() {
        let now = Instant::now();
        for (kind, flags, payload, costs) in [
            (0, 0, 0, true),  // DATA that is empty
            (0, 1, 0, false), // and ends the request
            (0, 0, 1, false),
            (0, 0, 16_384, false),
            (1, 4, 20, false),
            (2, 0, 5, true),
            (4, 0, 6, true),
            (4, 1, 0, true),
            (6, 0, 8, true),
            (6, 1, 8, true),
            (8, 0, 4, true),
            (9, 4, 20, false),
            (0xbe, 0, 3, true),
        ] {
            let mut budget = begun();
            let flood = frame(kind, flags, payload).repeat(BURST as usize * 2 + 1);
            assert_eq!(budget.spend(&flood, || now).is_err(), costs, "{kind} {flags} {payload}");
        }
    }

    #[test]
    fn a_peer_may_go_on_at_the_pace_of_time_and_answers() {
        let ping = frame(6, 0, 8);
        let start = Instant::now();
        let mut budget = begun();
        budget.spend(&ping.repeat(BURST as usize), || panic!("there is credit")).unwrap();
        // the first look at the clock gives another burst
        budget.spend(&ping.repeat(BURST as usize), || start).unwrap();
        let later = start + REFILL * 10;
        budget.spend(&ping.repeat(10), || later).unwrap();
        assert_eq!(budget.clone().spend(&ping, || later), Err(Error::Overspent));
        budget.earn(3 * BYTES_A_FRAME as usize - 1);
        budget.spend(&ping.repeat(2), || panic!("there is credit")).unwrap();
        assert_eq!(budget.clone().spend(&ping, || later), Err(Error::Overspent));
        budget.earn(1);
        budget.spend(&ping, || panic!("there is credit")).unwrap();
        for _ in 0..1000 {
            budget.earn(usize::MAX);
        }
        assert_eq!(budget.credit, MOST);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_bytes_are_cut(
            frames in proptest::collection::vec((0_u8..12, 0_u8..2, 0_usize..40), 0..60),
            cuts in proptest::collection::vec(1_usize..20, 1..40),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, payload)| frame(*kind, *flags, *payload)).collect();
            let mut made = 0_u32;
            let idle = frames.iter().filter(|(kind, flags, payload)| match kind {
                0 => *payload == 0 && *flags == 0,
                1 => {
                    made += 1;
                    false
                }
                3 => {
                    let is_one_more = made == 0;
                    made = made.saturating_sub(1);
                    is_one_more
                }
                9 => false,
                _ => true,
            });
            let cost = u32::try_from(idle.count()).unwrap();
            let mut budget = begun();
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, others) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                budget.spend(piece, || panic!("there is credit")).unwrap();
                rest = others;
            }
            prop_assert_eq!(budget.credit, BURST - cost);
        }

        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let now = Instant::now();
            prop_assert!(begun().spend(&bytes, || now).is_ok());
        }
    }
}
