//! A network that does as it is told: a relay before any server, which delays, cuts, resets, stalls, drips, garbles and refuses,
//! in either direction, on one connection or on all, while they go on.

use std::collections::VecDeque;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::net::tcp::WriteHalf;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::redis::free_port;

/// How many connections may wait to be taken.
const BACKLOG: i32 = 1024;

/// What becomes of what is sent one way. Bytes are counted on each connection from when it was told so; what is to happen after
/// some happens when one more comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It arrives.
    #[default]
    None,
    /// It arrives so much later, piece by piece.
    Late(Duration),
    /// It arrives byte by byte, with such a pause before each.
    Drip(Duration),
    /// The byte after so many has all its bits turned over.
    Garble(u64),
    /// Something else arrives before it, once.
    Say(&'static [u8]),
    /// After so many bytes nothing arrives, and the connection stays: as if the other end had vanished.
    Stall(u64),
    /// After so many bytes this way is closed, and the other one goes on.
    HalfClose(u64),
    /// After so many bytes the connection is closed.
    Cut(u64),
    /// After so many bytes the connection is reset.
    Reset(u64),
    /// The connection is reset at once.
    ResetNow,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    /// What is sent to the server.
    pub up: Fault,
    /// What the server sends.
    pub down: Fault,
}

/// Nothing.
pub const CLEAR: Conduct = Conduct { up: Fault::None, down: Fault::None };

impl Conduct {
    pub const fn up(fault: Fault) -> Self {
        Self { up: fault, down: Fault::None }
    }

    pub const fn down(fault: Fault) -> Self {
        Self { up: Fault::None, down: fault }
    }

    pub const fn both(fault: Fault) -> Self {
        Self { up: fault, down: fault }
    }

    /// Whether somebody waits without being told anything.
    pub fn hangs(self) -> bool {
        [self.up, self.down].iter().any(|fault| matches!(fault, Fault::Stall(_) | Fault::Drip(_)))
    }
}

/// A relay to one server. Dropping it ends what goes through it.
pub struct Relay {
    address: SocketAddr,
    /// It outlives the time in which nobody accepts.
    listener: std::net::TcpListener,
    server: SocketAddr,
    state: Arc<State>,
    accepting: Mutex<JoinSet<()>>,
    relaying: Arc<Mutex<JoinSet<()>>>,
}

struct State {
    /// What becomes of connections that nothing else was said of.
    usual: Mutex<Conduct>,
    /// What becomes of the next ones.
    next: Mutex<VecDeque<Conduct>>,
    /// Those that were made.
    open: Mutex<Vec<watch::Sender<Conduct>>>,
    connections: AtomicUsize,
    up: AtomicU64,
    down: AtomicU64,
}

impl Relay {
    /// One to `server` that lets everything pass.
    pub fn to(server: SocketAddr) -> Self {
        let listener = bound();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            usual: Mutex::default(),
            next: Mutex::default(),
            open: Mutex::default(),
            connections: AtomicUsize::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
        });
        let (accepting, relaying) = (Mutex::default(), Arc::default());
        let relay = Self { address, listener, server, state, accepting, relaying };
        relay.accept();
        relay
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of every connection from now on.
    pub fn all(&self, conduct: Conduct) {
        self.new_ones(conduct);
        self.open_ones(conduct);
    }

    /// What becomes of the connections that there are.
    pub fn open_ones(&self, conduct: Conduct) {
        let mut open = self.state.open.lock().unwrap();
        open.retain(|connection| connection.send(conduct).is_ok());
    }

    /// What becomes of connections that come later.
    pub fn new_ones(&self, conduct: Conduct) {
        *self.state.usual.lock().unwrap() = conduct;
    }

    /// What becomes of the next connection, or of the one after those of which that was said already.
    pub fn next(&self, conduct: Conduct) {
        self.state.next.lock().unwrap().push_back(conduct);
    }

    /// Refuses connections. Its address remains its own.
    pub fn refuse(&self) {
        *self.accepting.lock().unwrap() = JoinSet::new();
        // what is bound remains bound
        SockRef::from(&self.listener).shutdown(Shutdown::Read).unwrap();
    }

    /// Takes connections after [`Self::refuse`].
    pub fn take(&self) {
        SockRef::from(&self.listener).listen(BACKLOG).unwrap();
        self.accept();
    }

    fn accept(&self) {
        let mut accepting = self.accepting.lock().unwrap();
        if accepting.is_empty() {
            // a descriptor of its own: the runtime takes one that was shut down for closed
            let listener = TcpListener::from_std(self.listener.try_clone().unwrap()).unwrap();
            let relaying = self.relaying.clone();
            accepting.spawn(accept(listener, self.server, self.state.clone(), relaying));
        }
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        let mut open = self.state.open.lock().unwrap();
        open.retain(|connection| !connection.is_closed());
        open.len()
    }

    /// How many bytes have come from the callers, and how many from the server.
    pub fn bytes(&self) -> (u64, u64) {
        (self.state.up.load(Ordering::SeqCst), self.state.down.load(Ordering::SeqCst))
    }
}

/// Only a port that was asked for by its number is kept by a socket that does not listen any more.
fn bound() -> std::net::TcpListener {
    let listener = loop {
        if let Ok(listener) = std::net::TcpListener::bind(("127.0.0.1", free_port())) {
            break listener;
        }
    };
    listener.set_nonblocking(true).unwrap();
    listener
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    state: Arc<State>,
    relaying: Arc<Mutex<JoinSet<()>>>,
) {
    while let Ok((caller, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::SeqCst);
        let next = state.next.lock().unwrap().pop_front();
        let conduct = next.unwrap_or_else(|| *state.usual.lock().unwrap());
        let (said, hears) = watch::channel(conduct);
        state.open.lock().unwrap().push(said);
        let mut relaying = relaying.lock().unwrap();
        while relaying.try_join_next().is_some() {}
        relaying.spawn(relay(caller, server, state.clone(), hears));
    }
}

/// How a connection ends otherwise than in both ways by itself.
enum End {
    Cut,
    Reset,
}

async fn relay(
    mut caller: TcpStream,
    server: SocketAddr,
    state: Arc<State>,
    hears: watch::Receiver<Conduct>,
) {
    let Ok(mut server) = TcpStream::connect(server).await else { return reset(&caller) };
    for stream in [&caller, &server] {
        let _ = stream.set_nodelay(true);
    }
    let ended = {
        let (from_caller, to_caller) = caller.split();
        let (from_server, to_server) = server.split();
        let other = hears.clone();
        let up = pass(from_caller, to_server, |conduct| conduct.up, hears, &state.up);
        let down = pass(from_server, to_caller, |conduct| conduct.down, other, &state.down);
        tokio::try_join!(up, down)
    };
    if let Err(End::Reset) = ended {
        reset(&caller);
        reset(&server);
    }
}

/// Has the connection end with a reset when it is dropped.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: fn(&Conduct) -> Fault,
    mut hears: watch::Receiver<Conduct>,
    count: &AtomicU64,
) -> Result<(), End> {
    let mut buffer = [0; 16 * 1024];
    let mut fault = way(&hears.borrow_and_update());
    let mut passed = 0;
    loop {
        if fault == Fault::ResetNow {
            return Err(End::Reset);
        }
        let stalls = matches!(fault, Fault::Stall(most) if passed >= most);
        let read = tokio::select! {
            biased;
            changed = hears.changed() => {
                changed.map_err(|_| End::Cut)?;
                (fault, passed) = (way(&hears.borrow_and_update()), 0);
                continue;
            }
            read = from.read(&mut buffer), if !stalls => read.map_err(|_| End::Reset)?,
        };
        if read == 0 {
            let _ = to.shutdown().await;
            return Ok(());
        }
        let piece = &mut buffer[..read];
        let size = read as u64;
        count.fetch_add(size, Ordering::SeqCst);
        // how much of it comes before what is to happen
        let before = |after: u64| usize::try_from(after.saturating_sub(passed).min(size)).unwrap();
        let (piece, then) = match fault {
            Fault::Late(time) => {
                tokio::time::sleep(time).await;
                (piece, None)
            }
            Fault::Drip(pause) => {
                for byte in &*piece {
                    if !hears.has_changed().unwrap_or(true) {
                        tokio::time::sleep(pause).await;
                    }
                    to.write_all(&[*byte]).await.map_err(|_| End::Reset)?;
                }
                (&mut [][..], None)
            }
            Fault::Garble(after) => {
                if let Some(byte) = piece.get_mut(before(after)).filter(|_| passed <= after) {
                    *byte = !*byte;
                }
                (piece, None)
            }
            Fault::Say(bytes) => {
                to.write_all(bytes).await.map_err(|_| End::Reset)?;
                fault = Fault::None;
                (piece, None)
            }
            Fault::Stall(after) | Fault::HalfClose(after) | Fault::Cut(after) | Fault::Reset(after) => {
                let before = before(after);
                let is_due = before < read;
                (&mut piece[..before], is_due.then_some(fault))
            }
            Fault::None | Fault::ResetNow => (piece, None),
        };
        to.write_all(piece).await.map_err(|_| End::Reset)?;
        passed += size;
        match then {
            Some(Fault::HalfClose(_)) => {
                let _ = to.shutdown().await;
                // whoever sends does not notice
                while from.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
                return Ok(());
            }
            Some(Fault::Cut(_)) => return Err(End::Cut),
            Some(Fault::Reset(_)) => return Err(End::Reset),
            _ => {}
        }
    }
}
