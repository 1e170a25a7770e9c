//! Small writes in one piece: a system call that takes a list of slices costs more than a copy of a few hundred bytes.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use tokio::io::AsyncWrite;

/// What is copied at most.
const ROOM: usize = 2048;

/// Writes `slices` to `stream` as [`AsyncWrite::poll_write_vectored`] would.
pub fn poll_write(
    stream: Pin<&mut impl AsyncWrite>,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let mut room = [0; ROOM];
    match gathered(slices, &mut room) {
        Some(bytes) => stream.poll_write(cx, bytes),
        None => stream.poll_write_vectored(cx, slices),
    }
}

/// All bytes of `slices` in one slice; `None` if they do not fit in `room` and are not one already.
fn gathered<'a>(slices: &'a [IoSlice<'_>], room: &'a mut [u8; ROOM]) -> Option<&'a [u8]> {
    if let [only] = slices {
        return Some(only);
    }
    let mut length = 0;
    for slice in slices {
        let end = length + slice.len();
        room.get_mut(length..end)?.copy_from_slice(slice);
        length = end;
    }
    room.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_little_is_gathered_and_what_is_one_is_left_where_it_is() {
        let (short, long) = ([1; ROOM / 2], [2; ROOM + 1]);
        let of = |parts: &[&[u8]]| {
            let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            gathered(&slices, &mut [0; ROOM]).map(<[u8]>::to_vec)
        };
        assert_eq!(of(&[]), Some(vec![]));
        assert_eq!(of(&[b"ab", b"", b"c"]), Some(b"abc".to_vec()));
        assert_eq!(of(&[&short, &short]), Some(vec![1; ROOM]));
        assert_eq!(of(&[&short, &short, b"x"]), None);
        assert_eq!(of(&[&long]), Some(long.to_vec()));
        assert_eq!(of(&[&long, b"x"]), None);
    }
}
