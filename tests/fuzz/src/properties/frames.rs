//! What a peer sends in HTTP/2, after how it is cut and how often the end of it is repeated (one byte each).

use obo_proxy::pipeline::accept::frames::Budget;
use obo_proxy::pipeline::accept::frames::Error;
use tokio::time::Instant;

use super::material::pieces;

/// What a peer may send at once: what it has, and as much again when the clock is first looked at.
const MOST: u32 = 2000;

/// A peer is cut off when it has sent more frames that ask for nothing than it may, and not before, however its bytes come.
pub fn check(bytes: &[u8]) {
    let [seed, times, bytes @ ..] = bytes else { return };
    let (start, repeated) = bytes.split_at(bytes.len().min(24 + 9));
    let sent = [start, &repeated.repeat(usize::from(*times) % 64)].concat();
    let now = Instant::now();
    let mut whole = Budget::new();
    let verdict = whole.spend(&sent, || now);
    assert_eq!(verdict, expected(&sent));
    let mut budget = Budget::new();
    let in_pieces = pieces(&sent, *seed).into_iter().try_for_each(|piece| budget.spend(piece, || now));
    assert_eq!(in_pieces, verdict);
    // what was answered can be paid with
    let mut paid = Budget::new();
    paid.earn(64 << 20);
    if verdict == Err(Error::Overspent) && expected_idle(&sent) < 60_000 {
        assert_eq!(paid.spend(&sent, || now), Ok(()));
    }
}

fn expected(sent: &[u8]) -> Result<(), Error> {
    match headers(sent).first() {
        Some([_, _, _, kind, flags, ..]) if *kind != 4 || flags & 1 != 0 => Err(Error::NoSettings),
        _ if expected_idle(sent) > MOST => Err(Error::Overspent),
        _ => Ok(()),
    }
}

/// How many of the frames ask for nothing.
fn expected_idle(sent: &[u8]) -> u32 {
    let (mut idle, mut open) = (0, 0_u32);
    for [high, middle, low, kind, flags, ..] in headers(sent) {
        let is_empty = (high, middle, low) == (0, 0, 0);
        match kind {
            0 => idle += u32::from(is_empty && flags & 1 == 0),
            1 => open += 1,
            3 if open > 0 => open -= 1,
            9 => {}
            _ => idle += 1,
        }
    }
    idle
}

/// The nine bytes that each frame begins with.
fn headers(sent: &[u8]) -> Vec<[u8; 9]> {
    let (mut at, mut found) = (24, Vec::new());
    while let Some(Ok(header)) = sent.get(at..at + 9).map(<[u8; 9]>::try_from) {
        at += 9 + u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        found.push(header);
    }
    found
}
