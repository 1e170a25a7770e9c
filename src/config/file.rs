//! Files that others write, read whole. To open a pipe is to wait for somebody who writes into it, so nothing is opened in a way
//! that waits; and it is what was opened that is looked at, not what had the name a moment before.

use std::fs::File;
use std::fs::FileType;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

/// How long to wait until a pipe has more, and how often: a minute in all.
const PAUSE: Duration = Duration::from_millis(10);
const MOST_PAUSES: usize = 6_000;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says no.
    #[error("the file cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is a pipe, a directory, a device.
    #[error("this is not a regular file")]
    NotRegular,
    /// Nobody has written into the pipe, nor is going to.
    #[error("this is a pipe that nobody writes into")]
    Deserted,
    /// It holds more than it may.
    #[error("the file is far too long")]
    TooLong,
}

/// Opens the regular file at `path`.
///
/// # Errors
/// If it cannot be opened, or is anything else.
pub fn open(path: &Path) -> Result<File, Error> {
    let (file, kind) = opened(path)?;
    if kind.is_file() { Ok(file) } else { Err(Error::NotRegular) }
}

/// All that the regular file at `path` holds, `longest` bytes at most.
///
/// # Errors
/// If it cannot be read, is anything else or holds more.
pub fn read(path: &Path, longest: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    drained(&open(path)?, longest)
}

/// The same of a file that somebody has named on a command line, where it may be a pipe: `/dev/stdin`, or what a shell makes of
/// `<(…)`. It is read to its end, as long as somebody writes into it, but not for ever.
///
/// # Errors
/// If it cannot be read, holds more, or is a pipe that nobody writes into.
pub fn read_given(path: &Path, longest: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (file, kind) = opened(path)?;
    let bytes = drained(&file, longest)?;
    if bytes.is_empty() && kind.is_fifo() { Err(Error::Deserted) } else { Ok(bytes) }
}

fn opened(path: &Path) -> Result<(File, FileType), Error> {
    // of regular files it changes nothing
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(Error::Unreadable)?;
    let kind = file.metadata().map_err(Error::Unreadable)?.file_type();
    Ok((file, kind))
}

fn drained(file: &File, longest: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let length = file.metadata().map_err(Error::Unreadable)?.len();
    // room for everything from the start: growing would leave copies of secrets behind
    let room = length.min(longest).saturating_add(2);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or_default()));
    let (mut rest, mut pauses) = (file.take(longest.saturating_add(1)), 0);
    loop {
        match rest.read_to_end(&mut bytes) {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && pauses < MOST_PAUSES => {
                pauses += 1;
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(Error::Unreadable(error)),
        }
    }
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= longest => Ok(bytes),
        _ => Err(Error::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    fn pipe(directory: &tempfile::TempDir) -> PathBuf {
        let pipe = directory.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        pipe
    }

    #[test]
    fn a_regular_file_is_read_whole_and_no_further_than_it_may() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "12345").unwrap();
        for read in [read, read_given] {
            assert_eq!(read(&path, 5).unwrap().as_slice(), b"12345");
            assert!(matches!(read(&path, 4), Err(Error::TooLong)));
            assert!(matches!(read(&directory.path().join("b"), 4), Err(Error::Unreadable(_))));
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = pipe(&directory);
        for path in [pipe.as_path(), directory.path(), Path::new("/dev/null")] {
            assert!(matches!(open(path), Err(Error::NotRegular)), "{}", path.display());
            assert!(matches!(read(path, 5), Err(Error::NotRegular)), "{}", path.display());
        }
        assert!(matches!(read_given(&pipe, 5), Err(Error::Deserted)));
        assert!(matches!(read_given(directory.path(), 5), Err(Error::Unreadable(_))));
    }

    #[test]
    fn a_pipe_that_was_named_is_read_as_it_is_written() {
        let (reader, mut writer) = io::pipe().unwrap();
        let path = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
        let writing = thread::spawn(move || {
            for piece in ["one ", "two ", "three"] {
                // longer than it takes to read what was there
                thread::sleep(2 * PAUSE);
                writer.write_all(piece.as_bytes()).unwrap();
            }
        });
        assert_eq!(read_given(&path, 99).unwrap().as_slice(), b"one two three");
        writing.join().unwrap();
        assert!(matches!(read_given(&path, 99), Err(Error::Deserted)), "there is nothing more in it");
    }
}
