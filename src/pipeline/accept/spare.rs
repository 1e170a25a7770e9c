//! The socket of a listener, kept for the listener that takes its place: no connection is lost in between, as those that
//! queue in it are still there.

use std::io;
use std::net::TcpListener as Socket;
use std::os::fd::AsFd;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::config;
use crate::pipeline::accept::Listener;

/// A bound socket nobody accepts from. It is open as long as this is there.
#[derive(Debug)]
pub struct Spare(Socket);

impl Listener {
    /// Its socket, for another one.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn spare(&self) -> io::Result<Spare> {
        self.socket.as_fd().try_clone_to_owned().map(|socket| Spare(Socket::from(socket)))
    }
}

impl Spare {
    /// A listener with this socket and other settings.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn listen(&self, settings: &config::Listener) -> io::Result<Listener> {
        let socket = TcpListener::from_std(self.0.try_clone()?)?;
        Ok(Listener { socket, settings: Arc::new(settings.clone()) })
    }
}
