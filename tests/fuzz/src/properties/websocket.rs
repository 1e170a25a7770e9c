//! One direction of a WebSocket, after a byte that says how it is cut.

use obo_proxy::pipeline::forward::websocket::Frames;

use super::material::pieces;

/// Frames end where RFC 6455 section 5.2 says, however they come, and nothing in a payload is taken for a frame.
pub fn check(bytes: &[u8]) {
    let Some((seed, bytes)) = bytes.split_first() else { return };
    let (ends, is_closed) = expected(bytes);
    let mut whole = Frames::default();
    whole.follow(bytes);
    let (mut frames, mut passed, mut found) = (Frames::default(), 0, Vec::new());
    for mut piece in pieces(bytes, *seed) {
        while !piece.is_empty() {
            let some = frames.follow_one(piece);
            assert!((1..=piece.len()).contains(&some));
            passed += some;
            piece = &piece[some..];
            if frames.is_between() {
                found.push(passed);
            }
        }
    }
    assert_eq!(found, ends);
    assert_eq!(frames, whole);
    assert_eq!(frames.is_closed(), is_closed);
    assert_eq!(frames.is_between(), ends.last().copied().unwrap_or(0) == bytes.len());
}

/// Where frames end, and whether one of them begins that closes.
fn expected(bytes: &[u8]) -> (Vec<usize>, bool) {
    let (mut at, mut ends, mut is_closed) = (0_u64, Vec::new(), false);
    let byte = |at: u64| bytes.get(usize::try_from(at).ok()?).map(|byte| u64::from(*byte));
    while let Some(first) = byte(at) {
        is_closed |= first & 0xf == 8;
        let Some(second) = byte(at + 1) else { break };
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let digits: Option<Vec<u64>> = (0..extended).map(|digit| byte(at + 2 + digit)).collect();
        let Some(digits) = digits else { break };
        let length = match extended {
            0 => second & 0x7f,
            _ => digits.iter().fold(0, |length, digit| length << 8 | digit),
        };
        let mask = if second & 0x80 != 0 { 4 } else { 0 };
        at = (at + 2 + extended + mask).saturating_add(length);
        match usize::try_from(at) {
            Ok(end) if end <= bytes.len() => ends.push(end),
            _ => break,
        }
    }
    (ends, is_closed)
}
