//! What callers connect to: a TCP port or a Unix socket.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::UnixListener;
use tokio::net::UnixSocket;
use tokio::net::UnixStream;

use crate::config::Address;
use crate::config::ListenerAddress;
use crate::net::sockets;

/// How many connections may wait in a socket to be accepted; the kernel bounds it by `net.core.somaxconn`. The usual
/// 128 are gone in one burst, and who is not let in tries again after a whole second.
const BACKLOG: u32 = 4096;

/// Who may connect to a Unix socket: its owner and its group.
const PERMISSIONS: u32 = 0o660;

/// How long to wait for an answer from whoever may listen at a Unix socket already.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection as it was accepted; at a Unix socket the other end has no address.
pub type Arrival = (std::net::TcpStream, Option<SocketAddr>);

/// A bound address.
#[derive(Debug)]
pub enum Socket {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket, and the file it is. Whoever has the socket has that too.
    Unix(UnixListener, Arc<SocketFile>),
}

/// Where a listener can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    /// At a TCP port.
    Tcp(SocketAddr),
    /// At a Unix socket.
    Unix(PathBuf),
}

impl LocalAddress {
    /// The address, if it is a TCP port.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Socket {
    /// Binds `address`. A Unix socket that a dead process left is replaced.
    ///
    /// # Errors
    /// If the address cannot be resolved or bound.
    pub async fn bind(address: &ListenerAddress) -> io::Result<Self> {
        match address {
            ListenerAddress::Tcp(address) => tcp(address).await.map(Self::Tcp),
            ListenerAddress::Unix(path) => {
                clear(path).await?;
                let socket = UnixSocket::new_stream()?;
                socket.bind(path)?;
                let file = Arc::new(SocketFile::at(path)?);
                // nobody can connect before this: it does not listen yet
                fs::set_permissions(path, fs::Permissions::from_mode(PERMISSIONS))?;
                Ok(Self::Unix(socket.listen(BACKLOG)?, file))
            }
        }
    }

    /// Where it can be reached.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_address(&self) -> io::Result<LocalAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(LocalAddress::Tcp),
            Self::Unix(_, file) => Ok(LocalAddress::Unix(file.path.clone())),
        }
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// If the system has no room for it, or it is gone already.
    pub async fn accept(&self) -> io::Result<Arrival> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((stream.into_std()?, Some(address)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((as_stream(stream.into_std()?), None))
            }
        }
    }

    /// What still queues in it. It is closed when there is no more, and its file removed.
    pub fn queued(self) -> impl Iterator<Item = Arrival> {
        let next: Box<dyn FnMut() -> io::Result<Arrival> + Send> = match self {
            Self::Tcp(listener) => {
                let listener = listener.into_std();
                Box::new(move || {
                    let listener = listener.as_ref().map_err(|_| io::ErrorKind::NotConnected)?;
                    listener.accept().map(|(stream, address)| (stream, Some(address)))
                })
            }
            Self::Unix(listener, file) => {
                let listener = listener.into_std();
                Box::new(move || {
                    let _kept = &file;
                    let listener = listener.as_ref().map_err(|_| io::ErrorKind::NotConnected)?;
                    listener.accept().map(|(stream, _)| (as_stream(stream), None))
                })
            }
        };
        let mut next = next;
        std::iter::from_fn(move || {
            let (stream, address) = next().ok()?;
            stream.set_nonblocking(true).ok()?;
            Some((stream, address))
        })
    }
}

/// The kernel's calls are the same for every kind of stream socket, so one type serves both: connections at TCP ports need
/// not carry about that they could have been something else.
fn as_stream(stream: std::os::unix::net::UnixStream) -> std::net::TcpStream {
    OwnedFd::from(stream).into()
}

async fn tcp(address: &Address) -> io::Result<TcpListener> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in tokio::net::lookup_host((address.host.as_str(), address.port)).await? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // a restart must not wait for the last connections of the one before
    socket.set_reuseaddr(true)?;
    // what it accepts inherits all of this
    sockets::ask(&socket)?;
    sockets::expect_acknowledgements(&socket)?;
    sockets::hold_little(&socket)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Removes the socket at `path` if nobody listens there any more.
async fn clear(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match tokio::time::timeout(PATIENCE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        // connected, or its queue is full
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket of ours. Removed when this is dropped, unless another one has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // what cannot be removed is replaced by the next one who binds it
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;

    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;

    use super::*;

    async fn bind(path: &Path) -> io::Result<Socket> {
        Socket::bind(&ListenerAddress::Unix(path.into())).await
    }

    #[tokio::test]
    async fn what_a_port_accepts_asks_whether_its_peer_is_there() {
        let address = Address { host: "localhost".into(), port: 0 };
        let socket = Socket::bind(&ListenerAddress::Tcp(address)).await.unwrap();
        let address = socket.local_address().unwrap().tcp().unwrap();
        let _caller = TcpStream::connect(address).await.unwrap();
        let (accepted, _) = socket.accept().await.unwrap();
        assert_eq!(sockets::testing::asks_and_expects(&accepted), (true, true));
        assert!(sockets::testing::holds_little(&accepted));
    }

    #[tokio::test]
    async fn the_socket_of_a_dead_process_is_replaced_and_that_of_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.sock");
        // a listener that is closed leaves its file
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists());
        let live = bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(bind(&path).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).await.unwrap();
        drop(live);
        assert!(!path.exists(), "it is removed at the end");
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious");
        fs::write(&path, "precious").unwrap();
        assert_eq!(bind(&path).await.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_socket_that_another_process_put_there_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.sock");
        let ours = bind(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        let _theirs = StdListener::bind(&path).unwrap();
        drop(ours);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_connection_at_a_unix_socket_is_used_like_any_other_and_those_that_queue_are_not_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("http.sock");
        let socket = bind(&path).await.unwrap();
        let mut first = UnixStream::connect(&path).await.unwrap();
        let mut second = UnixStream::connect(&path).await.unwrap();
        let mut arrivals = vec![socket.accept().await.unwrap()];
        arrivals.extend(socket.queued());
        assert!(!path.exists());
        for (caller, (stream, address)) in [&mut first, &mut second].into_iter().zip(arrivals) {
            assert_eq!(address, None);
            let mut stream = TcpStream::from_std(stream).unwrap();
            caller.write_all(b"ping").await.unwrap();
            let mut four = [0; 4];
            assert_eq!(stream.peek(&mut four).await.unwrap(), 4);
            stream.read_exact(&mut four).await.unwrap();
            stream.write_all(b"pong").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut all = String::new();
            caller.read_to_string(&mut all).await.unwrap();
            assert_eq!((&four, all.as_str()), (b"ping", "pong"));
        }
    }
}
