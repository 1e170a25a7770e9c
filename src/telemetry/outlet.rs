//! Where log lines go: a file, a pipe, whatever it is. No line waits for whoever reads there: one that cannot be written at once is
//! written by a thread of its own, and one that this thread has no room for is lost, and counted.

use std::fs::File;
use std::io;
use std::io::Write;
use std::mem;
use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use tracing_subscriber::fmt::MakeWriter;

/// How many bytes may wait for the thread; as many may be on their way with it.
const ROOM: usize = 2 * 1024 * 1024;
/// What a pipe that has any room has room for: `PIPE_BUF` in pipe(7).
const SURE: usize = 4096;
/// How long to leave alone what takes nothing, such as a disk that is full.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the last lines may take at the end while nothing is taken, and how often that is waited for.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELLS: usize = 5;

/// The lines that this process has lost. There is one log, and one count of it.
static LOST: LazyLock<Counter> = LazyLock::new(Counter::default);

/// What is told of lost lines: a line that says how many.
type Notice = Box<dyn Fn(u64) -> String + Send>;

/// Where lines go. Dropped: the last ones are written, unless that takes long.
#[derive(Debug)]
pub struct Outlet(Arc<Shared>);

/// Takes the lines.
#[derive(Clone, Debug)]
pub struct Spout(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: File,
    manner: Manner,
    state: Mutex<State>,
    changed: Condvar,
    /// How many bytes the thread has written.
    written: AtomicUsize,
}

/// Whether who writes may have to wait for who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It has room, or has none, and says so: a pipe, a socket.
    Bounded,
    /// It may have less room than it says: a terminal, and a file, whose disk may stand still.
    Unsure,
}

#[derive(Debug, Default)]
struct State {
    /// Lines for the thread.
    waiting: Vec<u8>,
    /// The thread is writing.
    is_busy: bool,
    tail: Tail,
    /// How many lines were lost that nobody was told of.
    lost: u64,
}

/// How that ends which is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tail {
    /// With a line.
    #[default]
    Whole,
    /// With a part of a line, and what waits goes on with it.
    Open,
    /// With a part of a line that is lost.
    Cut,
}

/// Counts the lines that were lost.
pub fn lost() -> &'static Counter {
    &LOST
}

impl Outlet {
    /// To `file`. What `notice` makes is a line, which tells how many were lost as soon as anything can be told.
    ///
    /// # Errors
    /// If the system does not say what it is, or a thread cannot be started.
    pub fn new(file: File, notice: impl Fn(u64) -> String + Send + 'static) -> io::Result<Self> {
        let manner = Manner::of(&file)?;
        let shared = Shared {
            file,
            manner,
            state: Mutex::default(),
            changed: Condvar::new(),
            written: AtomicUsize::new(0),
        };
        let outlet = Self(Arc::new(shared));
        let (shared, notice) = (outlet.0.clone(), Box::new(notice));
        thread::Builder::new().name("log".into()).spawn(move || shared.write_on(notice))?;
        Ok(outlet)
    }

    /// What takes the lines for it.
    pub fn spout(&self) -> Spout {
        Spout(self.0.clone())
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let is_behind = |state: &mut State| state.is_busy || !state.waiting.is_empty();
        let written = || self.0.written.load(Ordering::Relaxed);
        for _ in 0..FAREWELLS {
            let before = written();
            let waited = self.0.changed.wait_timeout_while(self.0.state(), FAREWELL, is_behind);
            let is_late = waited.is_ok_and(|(_, timeout)| timeout.timed_out());
            // who does not read does not keep the process from its end
            if !is_late || written() == before {
                break;
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Spout {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Spout {
    /// Takes a line, or as many as `lines` holds, whole.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.take(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Manner {
    fn of(file: &File) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        Ok(if kind.is_fifo() || kind.is_socket() { Self::Bounded } else { Self::Unsure })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // what happens under this lock leaves it in order
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `lines`, if that is done at once; else they wait, if there is room.
    fn take(&self, lines: &[u8]) {
        let mut state = self.state();
        let is_its_turn = !state.is_busy && state.tail == Tail::Whole && state.waiting.is_empty();
        let mut rest = lines;
        if is_its_turn && self.takes(lines.len()) {
            match (&self.file).write(lines) {
                Ok(written) if written >= lines.len() => return,
                Ok(0) => {}
                Ok(written) => {
                    rest = lines.get(written..).unwrap_or_default();
                    state.tail = Tail::Open;
                }
                Err(error) if is_passing(&error) => {}
                Err(_) => return self.lose(&mut state, lines),
            }
        }
        if state.waiting.len().saturating_add(rest.len()) > ROOM {
            return self.lose(&mut state, rest);
        }
        state.waiting.extend_from_slice(rest);
        self.changed.notify_all();
    }

    /// Whether so many bytes are taken at once.
    fn takes(&self, length: usize) -> bool {
        match self.manner {
            Manner::Bounded => length <= SURE && self.has_room(Some(&Timespec::default())),
            Manner::Unsure => false,
        }
    }

    fn has_room(&self, within: Option<&Timespec>) -> bool {
        let mut file = [PollFd::new(&self.file, PollFlags::OUT)];
        // also where nobody reads any more: that is an error, and found out at once
        poll(&mut file, within).is_ok_and(|ready| ready > 0)
    }

    fn lose(&self, state: &mut State, lines: &[u8]) {
        let lost = count(lines);
        state.lost = state.lost.saturating_add(lost);
        LOST.inc_by(lost);
        self.changed.notify_all();
    }

    /// The thread's life: writes what waits, and tells of what was lost.
    fn write_on(&self, notice: Notice) {
        loop {
            let idle = |state: &mut State| state.waiting.is_empty() && state.lost == 0;
            let waited = self.changed.wait_while(self.state(), idle);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            let (mut lines, told) = (mem::take(&mut state.waiting), state.lost);
            if state.tail == Tail::Cut {
                // it is counted already
                lines.insert(0, b'\n');
            }
            state.is_busy = true;
            drop(state);
            let own = lines.len();
            if told > 0 {
                lines.extend_from_slice(notice(told).as_bytes());
            }
            let written = self.write_all(&lines);
            let mut state = self.state();
            state.is_busy = false;
            if written == lines.len() {
                (state.tail, state.lost) = (Tail::Whole, state.lost.saturating_sub(told));
                self.changed.notify_all();
                continue;
            }
            let is_cut = state.tail == Tail::Cut;
            state.tail = match lines.get(..written).and_then(<[u8]>::last) {
                Some(b'\n') => Tail::Whole,
                None if state.tail == Tail::Whole => Tail::Whole,
                _ => Tail::Cut,
            };
            let unwritten = lines.get(written.max(usize::from(is_cut))..own);
            self.lose(&mut state, unwritten.unwrap_or_default());
            drop(state);
            thread::sleep(PAUSE);
        }
    }

    /// Writes for as long as anything is taken: how much. Others may write to the same pipe, so lines go in pieces that it takes
    /// whole.
    fn write_all(&self, lines: &[u8]) -> usize {
        let mut written = 0;
        while let Some(rest @ [_, ..]) = lines.get(written..) {
            match (&self.file).write(piece(rest)) {
                Ok(0) => break,
                Ok(more) => {
                    written += more;
                    self.written.fetch_add(more, Ordering::Relaxed);
                }
                // somebody who has it too has asked that writing does not wait
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => _ = self.has_room(None),
                Err(error) if is_passing(&error) => {}
                Err(_) => break,
            }
        }
        written
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// As many of the lines as a pipe takes whole or not at all; a line that is longer than that by itself.
fn piece(lines: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| *byte == b'\n';
    let sure = lines.get(..SURE).unwrap_or(lines);
    let end = sure.iter().rposition(is_end).or_else(|| lines.iter().position(is_end));
    end.and_then(|end| lines.get(..=end)).unwrap_or(lines)
}

/// How many lines end there.
fn count(lines: &[u8]) -> u64 {
    lines.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::io::BufReader;
    use std::io::Read;
    use std::io::pipe;
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use super::*;

    /// Longer than anything takes here, on a machine that is busy.
    const LONG: Duration = Duration::from_secs(30);

    fn outlet(file: impl Into<OwnedFd>) -> Outlet {
        Outlet::new(File::from(file.into()), |lost| format!("{lost} lost\n")).unwrap()
    }

    fn put(outlet: &Outlet, line: &str) {
        (&outlet.spout()).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn numbered(number: usize) -> String {
        format!("{number} {}", "x".repeat(1000))
    }

    #[test]
    fn a_line_is_there_at_once_where_there_is_room() {
        let (mut reader, writer) = pipe().unwrap();
        let to_pipe = outlet(writer);
        (0..3).for_each(|number| put(&to_pipe, &number.to_string()));
        let mut read = [0; 6];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"0\n1\n2\n");
    }

    #[test]
    fn nobody_but_the_thread_waits_for_a_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let outlet = outlet(File::create(&path).unwrap());
        assert!(!outlet.0.takes(1));
        (0..3).for_each(|number| put(&outlet, &number.to_string()));
        drop(outlet);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n1\n2\n");
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // how long the thread that writes takes is the point
    fn nobody_waits_for_a_reader_and_whoever_reads_at_last_is_told_what_is_missing() {
        let (reader, writer) = pipe().unwrap();
        let outlet = outlet(writer);
        let offered = 3 * ROOM / 1000;
        (0..offered).for_each(|number| put(&outlet, &numbered(number)));
        // the end is not kept waiting for long, either
        let begun = Instant::now();
        let spout = outlet.spout();
        drop(outlet);
        assert!(begun.elapsed() < LONG);
        let (mut kept, mut missing) = (0, None);
        for line in BufReader::new(reader).lines() {
            let line = line.unwrap();
            if let Some(lost) = line.strip_suffix(" lost") {
                missing = Some(lost.parse::<usize>().unwrap());
                break;
            }
            assert_eq!(line, numbered(kept), "in order, and none between");
            kept += 1;
        }
        assert!(kept > ROOM / 1100, "{kept}");
        assert_eq!(kept + missing.unwrap(), offered);
        drop(spout);
    }

    #[test]
    fn at_the_end_who_reads_slowly_gets_all_of_it() {
        let (mut reader, writer) = pipe().unwrap();
        let outlet = outlet(writer);
        let offered = ROOM / 1100;
        (0..offered).for_each(|number| put(&outlet, &numbered(number)));
        let reading = thread::spawn(move || {
            let (mut read, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
            while let Ok(more @ 1..) = reader.read(&mut buffer) {
                read.extend_from_slice(&buffer[..more]);
                thread::sleep(Duration::from_millis(50));
                if read.ends_with(b"end\n") {
                    break;
                }
            }
            read
        });
        let spout = outlet.spout();
        drop(outlet);
        (&spout).write_all(b"end\n").unwrap();
        let read = String::from_utf8(reading.join().unwrap()).unwrap();
        assert_eq!(read.lines().count(), offered + 1);
    }

    #[test]
    fn lines_go_in_pieces_that_a_pipe_takes_whole() {
        let long = format!("{}\n", "x".repeat(2 * SURE));
        for (lines, expected) in [
            ("a\nb\n".to_owned(), "a\nb\n".to_owned()),
            (format!("a\n{long}b\n"), "a\n".to_owned()),
            (format!("{long}b\n"), long.clone()),
            (numbered(1) + "\n" + &long, numbered(1) + "\n"),
            ("no end".to_owned(), "no end".to_owned()),
        ] {
            assert_eq!(piece(lines.as_bytes()), expected.as_bytes());
        }
        let many = "line\n".repeat(SURE);
        assert!(piece(many.as_bytes()).len() <= SURE && piece(many.as_bytes()).ends_with(b"\n"));
    }

    #[test]
    fn a_line_longer_than_a_pipe_has_room_for_comes_whole_and_in_its_place() {
        let (reader, writer) = pipe().unwrap();
        let outlet = outlet(writer);
        let long = "x".repeat(500_000);
        ["first", &long, "last"].into_iter().for_each(|line| put(&outlet, line));
        let read: Vec<_> = BufReader::new(reader).lines().take(3).map(Result::unwrap).collect();
        assert_eq!(read, ["first", long.as_str(), "last"]);
    }

    #[test]
    fn what_takes_nothing_costs_lines_and_nothing_else() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        for file in [File::create("/dev/full").unwrap(), File::from(OwnedFd::from(writer))] {
            let before = lost().get();
            let outlet = outlet(file);
            (0..10).for_each(|number| put(&outlet, &number.to_string()));
            while lost().get() < before + 10 {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn after_a_part_of_a_line_the_next_begins_on_a_new_one() {
        let (reader, writer) = pipe().unwrap();
        let shared = Shared {
            file: File::from(OwnedFd::from(writer)),
            manner: Manner::Bounded,
            state: Mutex::new(State { tail: Tail::Cut, lost: 1, ..State::default() }),
            changed: Condvar::new(),
            written: AtomicUsize::new(0),
        };
        let outlet = Outlet(Arc::new(shared));
        (&outlet.0.file).write_all(b"a par").unwrap();
        put(&outlet, "whole");
        let shared = outlet.0.clone();
        thread::spawn(move || shared.write_on(Box::new(|lost| format!("{lost} lost\n"))));
        let read: Vec<_> = BufReader::new(reader).lines().take(3).map(Result::unwrap).collect();
        assert_eq!(read, ["a par", "whole", "1 lost"]);
    }
}
