//! What the kernel is told of a connection: how a peer is noticed that is gone without a word, because its machine has stopped or
//! the way to it is cut, and how one is noticed that does not read.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::SockRef;
use socket2::TcpKeepalive;

/// How long nothing has come before the peer's kernel is asked whether it is there.
const IDLE: Duration = Duration::from_secs(15);
/// How long to wait before it is asked again.
const INTERVAL: Duration = Duration::from_secs(15);
/// How often it is asked before the connection ends.
const PROBES: u32 = 3;
/// How long the peer's kernel may leave what was sent unacknowledged, or take none of what is there for it. While anything is
/// on its way nobody is asked, and without this the kernel tries for a quarter of an hour.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// Bytes that the kernel takes though it does not send them yet. It takes more when half of them are gone.
const UNSENT: u32 = 128 * 1024;

/// Has `socket` end when its peer does not answer for a minute.
///
/// # Errors
/// If the system refuses.
pub fn ask(socket: &impl AsFd) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(PROBES);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// Has `socket` end as well when its peer leaves unread or unacknowledged for a minute what was sent.
///
/// # Errors
/// If the system refuses.
pub fn expect_acknowledgements(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

/// Has the kernel take no more for the peer of `socket` than it sends soon. It would take megabytes otherwise, which count for
/// the process's memory limit, and until the peer has read a third of them nothing shows that it reads at all.
///
/// # Errors
/// If the system refuses.
pub fn hold_little(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_notsent_lowat(UNSENT)
}

#[cfg(test)]
pub mod testing {
    //! What a socket was told.

    use std::os::fd::AsFd;

    use socket2::SockRef;

    use super::IDLE;
    use super::INTERVAL;
    use super::PROBES;
    use super::UNACKNOWLEDGED;
    use super::UNSENT;

    /// Whether `socket` asks for its peer, and whether it expects acknowledgements.
    pub fn asks_and_expects(socket: &impl AsFd) -> (bool, bool) {
        let socket = SockRef::from(socket);
        let asks = socket.keepalive().unwrap()
            && socket.tcp_keepalive_time().unwrap() == IDLE
            && socket.tcp_keepalive_interval().unwrap() == INTERVAL
            && socket.tcp_keepalive_retries().unwrap() == PROBES;
        (asks, socket.tcp_user_timeout().unwrap() == Some(UNACKNOWLEDGED))
    }

    /// Whether the kernel holds little of what is not sent.
    pub fn holds_little(socket: &impl AsFd) -> bool {
        SockRef::from(socket).tcp_notsent_lowat().unwrap() == UNSENT
    }
}
