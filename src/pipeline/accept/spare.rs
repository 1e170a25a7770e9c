//! The socket of a listener, kept for the listener that takes its place: no connection is lost in between, as those that
//! queue in it are still there.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::net::UnixListener;

use crate::config;
use crate::net::sockets;
use crate::pipeline::accept::Error;
use crate::pipeline::accept::Listener;
use crate::pipeline::accept::socket::Socket;
use crate::pipeline::accept::socket::SocketFile;
use crate::pipeline::accept::tls::Terminator;

/// A bound socket nobody accepts from. It is open as long as this is there.
#[derive(Debug)]
pub struct Spare {
    socket: OwnedFd,
    /// Which file it is, if it is a Unix socket: removed with the last that has the socket.
    file: Option<Arc<SocketFile>>,
    tls: Option<Arc<Terminator>>,
}

impl Listener {
    /// Its socket, for another one.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn spare(&self) -> Result<Spare, Error> {
        let (socket, file) = match &self.socket {
            Socket::Tcp(listener) => (listener.as_fd().try_clone_to_owned(), None),
            Socket::Unix(listener, file) => (listener.as_fd().try_clone_to_owned(), Some(file.clone())),
        };
        let socket = socket.map_err(|source| Error::bind(&self.settings, source))?;
        Ok(Spare { socket, file, tls: self.tls.clone() })
    }
}

impl Spare {
    /// A listener with this socket and other settings.
    ///
    /// # Errors
    /// If a certificate cannot be used or the system has no descriptor left.
    pub async fn listen(&self, settings: &config::Listener) -> Result<Listener, Error> {
        let tls = match self.tls.as_ref().filter(|tls| tls.serves(settings)) {
            Some(same) => Some(same.clone()),
            None => Terminator::of(settings).await.map_err(|source| Error::tls(settings, source))?,
        };
        let socket = self.socket().map_err(|source| Error::bind(settings, source))?;
        Ok(Listener { socket, tls, settings: Arc::new(settings.clone()) })
    }

    /// What ends the TLS of its callers.
    pub fn tls(&self) -> Option<&Arc<Terminator>> {
        self.tls.as_ref()
    }

    /// Lets nobody new in, whoever has the socket: those who are on their way in, and nobody else, will be found queueing in it.
    pub fn let_nobody_new_in(&self) {
        // a Unix socket has no handshake that takes time
        let done = self.file.as_ref().map_or_else(|| sockets::let_nobody_new_in(&self.socket), |_| Ok(()));
        if let Err(error) = done {
            tracing::debug!(%error, "callers who connect at the very end may be reset");
        }
    }

    fn socket(&self) -> io::Result<Socket> {
        let socket = self.socket.try_clone()?;
        Ok(match &self.file {
            None => Socket::Tcp(TcpListener::from_std(socket.into())?),
            Some(file) => Socket::Unix(UnixListener::from_std(socket.into())?, file.clone()),
        })
    }
}
