//! What lies between the proxy and whom it asks: TCP that passes, is slow, stands still or is reset.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::support::listen;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Each piece is so late.
    Late(Duration),
    /// They wait until it is over.
    Stand,
    /// Who is connected is reset, and so is who comes.
    Reset,
}

/// How connections say where they want to go.
#[derive(Clone, Copy)]
pub enum Way {
    /// All go there.
    To(SocketAddr),
    /// By CONNECT (RFC 9110 section 9.3.6).
    Asked,
}

/// Dropping it closes the listener.
pub struct Relay {
    pub address: SocketAddr,
    state: watch::Sender<State>,
    accepting: AbortHandle,
}

#[derive(Clone, Copy)]
struct State {
    mode: Mode,
    /// How often everybody was reset.
    resets: u64,
}

impl Relay {
    pub async fn start(way: Way) -> Self {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let (state, _) = watch::channel(State { mode: Mode::Pass, resets: 0 });
        let accepting = tokio::spawn(accept(listener, way, state.clone())).abort_handle();
        Self { address, state, accepting }
    }

    pub fn turn(&self, mode: Mode) {
        self.state.send_modify(|state| {
            state.mode = mode;
            state.resets += u64::from(mode == Mode::Reset);
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, way: Way, state: watch::Sender<State>) {
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        let state = state.subscribe();
        tokio::spawn(async move {
            let (mut near, mut watched) = (near, state.clone());
            let resets = state.borrow().resets;
            if state.borrow().mode == Mode::Reset {
                return reset(&near);
            }
            let far = tokio::select! {
                far = connect(&mut near, way) => far,
                _ = watched.wait_for(|state| state.resets > resets) => return reset(&near),
            };
            let Some(mut far) = far else { return };
            tokio::select! {
                () = carry(&mut near, &mut far, &state) => {}
                _ = watched.wait_for(|state| state.resets > resets) => {
                    reset(&near);
                    reset(&far);
                }
            }
        });
    }
}

/// Has dropping it reset the connection.
fn reset(socket: &TcpStream) {
    let _gone_already = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

async fn connect(near: &mut TcpStream, way: Way) -> Option<TcpStream> {
    let to = match way {
        Way::To(address) => address,
        Way::Asked => asked(near).await?,
    };
    let far = TcpStream::connect(to).await.ok()?;
    let _gone_already = (near.set_nodelay(true), far.set_nodelay(true));
    Some(far)
}

async fn asked(near: &mut TcpStream) -> Option<SocketAddr> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let to = head.strip_prefix("CONNECT ")?.split(' ').next()?.parse().ok()?;
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    Some(to)
}

async fn carry(near: &mut TcpStream, far: &mut TcpStream, state: &watch::Receiver<State>) {
    let (near_read, near_write) = near.split();
    let (far_read, far_write) = far.split();
    tokio::join!(pump(near_read, far_write, state.clone()), pump(far_read, near_write, state.clone()));
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let mode = state.borrow().mode;
        match mode {
            Mode::Late(delay) => tokio::time::sleep(delay).await,
            Mode::Stand => drop(state.wait_for(|state| state.mode != Mode::Stand).await),
            Mode::Pass | Mode::Reset => {}
        }
        if to.write_all(&piece[..length]).await.is_err() {
            break;
        }
    }
    let _gone_already = to.shutdown().await;
}
