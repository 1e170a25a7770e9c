//! Where the frames of a WebSocket end (RFC 6455 section 5.2), and how one is closed from between. Pure: nothing of a
//! frame is kept, unmasked or judged.

/// The `1001` of RFC 6455 section 7.4.1.
pub const GOING_AWAY: Close = Close { code: 1001, reason: "the proxy is stopping" };
/// The `1008` of RFC 6455 section 7.4.1.
pub const TOKEN_ENDED: Close = Close { code: 1008, reason: "the access token has expired" };

/// The low four bits of a frame's first byte, in one that closes.
const CLOSE: u8 = 0x8;
/// The bit of the first byte that is set in the last frame of a message.
const LAST: u8 = 0x80;
/// The bit of the second byte that is set where the payload is masked.
const MASKED: u8 = 0x80;

/// Follows one direction of a WebSocket from frame to frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    place: Place,
    is_closed: bool,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The first of a frame.
    #[default]
    Boundary,
    /// The second: mask bit and short length.
    Second,
    /// One of the last `left` of an extended length.
    Length { left: u8, length: u64, is_masked: bool },
    /// One of the last `left` of the masking key.
    Mask { left: u8, length: u64 },
    /// One of the last `left` of the payload.
    Payload { left: u64 },
}

impl Place {
    fn after_length(length: u64, is_masked: bool) -> Self {
        match is_masked {
            true => Self::Mask { left: 4, length },
            false => Self::payload(length),
        }
    }

    fn payload(left: u64) -> Self {
        if left == 0 { Self::Boundary } else { Self::Payload { left } }
    }
}

impl Frames {
    /// `bytes` have passed.
    pub fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let frame = self.follow_one(bytes);
            bytes = bytes.get(frame..).unwrap_or_default();
        }
    }

    /// As many of `bytes` pass as belong to the frame under way, or to the next if none is: the number of them.
    pub fn follow_one(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while let Some((first, rest)) = bytes.get(passed..).and_then(<[u8]>::split_first) {
            passed += match &mut self.place {
                Place::Payload { left } => {
                    let here = rest.len() + 1;
                    let some = usize::try_from(*left).map_or(here, |left| left.min(here));
                    *left = left.saturating_sub(u64::try_from(some).unwrap_or(u64::MAX));
                    some
                }
                _ => {
                    self.pass(*first);
                    1
                }
            };
            if self.place == (Place::Payload { left: 0 }) {
                self.place = Place::Boundary;
            }
            if self.is_between() {
                break;
            }
        }
        passed
    }

    /// Whether no frame is under way.
    pub fn is_between(&self) -> bool {
        self.place == Place::Boundary
    }

    /// Whether a frame that closes has begun: no other may follow it.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// A byte of a frame's head.
    fn pass(&mut self, byte: u8) {
        self.place = match self.place {
            Place::Boundary => {
                self.is_closed |= byte & 0xF == CLOSE;
                Place::Second
            }
            Place::Second => {
                let is_masked = byte & MASKED != 0;
                match byte & !MASKED {
                    126 => Place::Length { left: 2, length: 0, is_masked },
                    127 => Place::Length { left: 8, length: 0, is_masked },
                    length => Place::after_length(length.into(), is_masked),
                }
            }
            Place::Length { left, length, is_masked } => {
                let length = length << 8 | u64::from(byte);
                match left {
                    0 | 1 => Place::after_length(length, is_masked),
                    _ => Place::Length { left: left - 1, length, is_masked },
                }
            }
            Place::Mask { left: 0 | 1, length } => Place::payload(length),
            Place::Mask { left, length } => Place::Mask { left: left - 1, length },
            Place::Payload { left } => Place::payload(left.saturating_sub(1)),
        };
    }
}

/// Why a WebSocket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    code: u16,
    /// At most 123 bytes, so that the frame is a short one (RFC 6455 section 5.5).
    reason: &'static str,
}

impl Close {
    /// The frame that says so, as a server sends it.
    pub fn frame(self) -> Vec<u8> {
        let payload = self.payload();
        let mut frame = vec![LAST | CLOSE, length(&payload)];
        frame.extend(payload);
        frame
    }

    /// The same, as a client sends it (RFC 6455 section 5.3).
    pub fn masked_frame(self, key: [u8; 4]) -> Vec<u8> {
        let payload = self.payload();
        let mut frame = vec![LAST | CLOSE, MASKED | length(&payload)];
        frame.extend(key);
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        frame
    }

    fn payload(self) -> Vec<u8> {
        [&self.code.to_be_bytes(), self.reason.as_bytes()].concat()
    }
}

fn length(payload: &[u8]) -> u8 {
    u8::try_from(payload.len()).unwrap_or(125).min(125)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as RFC 6455 section 5.2 draws it.
    fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
        let mask = if key.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match payload.len() {
            length @ 0..=125 => bytes.push(mask | length as u8),
            length @ 126..=65535 => {
                bytes.push(mask | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(mask | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(key.into_iter().flatten());
        bytes.extend(payload);
        bytes
    }

    /// Where, in a stream that comes in such `pieces`, a frame ends.
    fn boundaries(pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<usize> {
        let (mut frames, mut passed, mut found) = (Frames::default(), 0, Vec::new());
        for piece in pieces {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                let some = frames.follow_one(rest);
                assert!(some > 0);
                passed += some;
                rest = &rest[some..];
                if frames.is_between() {
                    found.push(passed);
                }
            }
        }
        found
    }

    #[test]
    fn every_split_of_a_stream_gives_the_same_boundaries() {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (first, size, key) in [
            (0x81, 0, None),
            (0x02, 5, Some([1, 2, 3, 4])),
            (0x89, 0, Some([0, 0, 0, 0])),
            (0x00, 125, None),
            (0xC2, 126, Some([9; 4])),
            (0x80, 300, None),
        ] {
            stream.extend(frame(first, &vec![0x88; size], key));
            expected.push(stream.len());
        }
        assert_eq!(boundaries([stream.clone()]), expected);
        assert_eq!(boundaries(stream.iter().map(|byte| vec![*byte])), expected);
        for at in 0..=stream.len() {
            let (left, right) = stream.split_at(at);
            assert_eq!(boundaries([left.to_vec(), right.to_vec()]), expected, "split at {at}");
        }
    }

    proptest! {
        #[test]
        fn frames_of_any_size_end_where_they_end(
            sizes in prop::collection::vec((any::<u8>(), prop_oneof![0..130_usize, 65_530..65_540_usize], any::<Option<[u8; 4]>>()), 1..6),
            cuts in prop::collection::vec(1..5_000_usize, 1..40),
        ) {
            let mut stream = Vec::new();
            let mut expected = Vec::new();
            for (first, size, key) in sizes {
                stream.extend(frame(first, &vec![first; size], key));
                expected.push(stream.len());
            }
            let mut pieces = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                let (piece, left) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece.to_vec());
                rest = left;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(boundaries(pieces), expected);
        }

        #[test]
        fn no_bytes_are_too_odd_to_follow(bytes in prop::collection::vec(any::<u8>(), 0..2_000), at in 0..2_000_usize) {
            let (mut whole, mut split) = (Frames::default(), Frames::default());
            whole.follow(&bytes);
            let (left, right) = bytes.split_at(at.min(bytes.len()));
            split.follow(left);
            split.follow(right);
            prop_assert_eq!(whole, split);
        }
    }

    #[test]
    fn the_longest_length_there_is_does_not_end_early() {
        let mut frames = Frames::default();
        frames.follow(&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]);
        frames.follow(&[0; 100_000]);
        assert!(!frames.is_between());
    }

    #[test]
    fn a_frame_that_closes_is_seen_from_its_first_byte() {
        for (first, is_closed) in [(0x88, true), (0x08, true), (0x89, false), (0x81, false), (0x00, false)] {
            let mut frames = Frames::default();
            frames.follow(&[first]);
            assert_eq!(frames.is_closed(), is_closed, "{first:x}");
        }
        // what looks like one inside a payload is none
        let mut frames = Frames::default();
        frames.follow(&frame(0x82, &[0x88, 0x88, 0x88], None));
        assert!(frames.is_between() && !frames.is_closed());
    }

    #[test]
    fn closes_are_whole_frames_of_their_code() {
        for (close, code) in [(GOING_AWAY, 1001_u16), (TOKEN_ENDED, 1008)] {
            let frame = close.frame();
            assert_eq!((frame[0], usize::from(frame[1])), (0x88, frame.len() - 2));
            assert_eq!(frame[2..4], code.to_be_bytes());
            assert!(frame.len() <= 127);
            let key = [7, 77, 177, 200];
            let masked = close.masked_frame(key);
            assert_eq!((masked[0], masked[1], &masked[2..6]), (0x88, 0x80 | frame[1], &key[..]));
            let unmasked: Vec<u8> =
                masked[6..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            assert_eq!(unmasked, frame[2..]);
            assert_eq!(boundaries([frame]).len(), 1);
            assert_eq!(boundaries([masked]).len(), 1);
        }
    }
}
