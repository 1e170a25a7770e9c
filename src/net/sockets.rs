//! What the kernel is told of a connection: how a peer is noticed that is gone without a word, because its machine has stopped or
//! the way to it is cut, and how one is noticed that does not read.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::SockFilter;
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

/// Has a listening TCP `socket` take no new connection, as if it were not there, while those whose handshake has begun can end it
/// and be accepted: closing it would reset them. What it is for is the moment before that.
///
/// # Errors
/// If the system knows no socket filters.
pub fn let_nobody_new_in(socket: &impl AsFd) -> io::Result<()> {
    // a filter of the kernel's (BPF), which sees each segment from its TCP header on
    let read_flags = SockFilter::new(0x30, 0, 0, 13); // ldb [13]: the flags (RFC 9293 section 3.1)
    let if_not_syn_skip = SockFilter::new(0x45, 0, 1, 0x02); // jset #SYN
    let drop_it = SockFilter::new(0x06, 0, 0, 0); // ret #0
    let take_it = SockFilter::new(0x06, 0, 0, u32::MAX); // ret #-1
    SockRef::from(socket).attach_filter(&[read_flags, if_not_syn_skip, drop_it, take_it])
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn who_has_connected_is_served_when_nobody_new_is_let_in() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut before = TcpStream::connect(address).await.unwrap();
        let_nobody_new_in(&listener).unwrap();
        // the kernel of one who comes now asks again in a second
        let mut after = std::pin::pin!(TcpStream::connect(address));
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut after).await.is_err());
        let (mut accepted, _) = listener.accept().await.unwrap();
        before.write_all(b"ping").await.unwrap();
        let mut four = [0; 4];
        accepted.read_exact(&mut four).await.unwrap();
        accepted.write_all(b"pong").await.unwrap();
        before.read_exact(&mut four).await.unwrap();
        assert_eq!(&four, b"pong");
        drop(listener);
        assert_eq!(after.await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
