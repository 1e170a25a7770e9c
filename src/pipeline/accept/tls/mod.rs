//! A socket becomes a TLS connection.
//!
//! **In:** the files of certificates, keys and authorities, and sockets. **Out:** TLS connections, and what their callers
//! proved to be. **Never:** stops serving for a file that changed for the worse; takes early data, which can be replayed.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use rustls::HandshakeKind;
use rustls::ServerConfig;
use rustls::ServerConnection;
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;
use tokio_rustls::Accept;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Listener;
use crate::config::ListenerTls;
use crate::domain::clock::Timestamp;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::name::Name;
use crate::domain::peer::ClientCertificate;
use crate::pipeline::accept::activity::Protocol;
use crate::pipeline::accept::certificate;
use crate::telemetry::logs;
use crate::telemetry::metrics::Handshake;
use crate::telemetry::metrics::Metrics;

mod files;
mod names;
mod tickets;

pub use files::Error;

use files::Content;

const EPOCH: UnixTime = UnixTime::from_seconds(0);

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Most bytes that are encrypted and held for a caller who does not read.
const UNSENT: usize = 16 * 1024;

/// Ends the TLS of one listener's callers, with the newest certificates that work.
#[derive(Debug)]
pub struct Terminator {
    listener: Name,
    settings: ListenerTls,
    current: Mutex<Current>,
    doubt: Mutex<Doubt>,
    /// One look at a time: a file system that hangs holds one thread, not one each time.
    turn: tokio::sync::Mutex<()>,
}

/// What new handshakes use.
#[derive(Clone, Debug)]
struct Current {
    content: Digest,
    config: Arc<ServerConfig>,
    /// The hosts they are for.
    names: Vec<String>,
    /// When the first of the certificates ends.
    ends: Option<UnixTime>,
}

/// What was wrong with the files when they were last looked at.
#[derive(Debug, PartialEq, Eq)]
enum Doubt {
    /// Nothing.
    None,
    /// This, at one look. Certificate and key may be replaced one after the other, and the look was between the two.
    Seen(String),
    /// This, and it was told.
    Told(String),
}

impl Terminator {
    /// The TLS of `listener`, if it speaks any.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub async fn of(listener: &Listener) -> Result<Option<Arc<Self>>, Error> {
        let Some(settings) = listener.tls.clone() else { return Ok(None) };
        let current = made(&settings, None).await?;
        let current = current.ok_or(Error::Setup(rustls::Error::NoCertificatesPresented))?;
        Ok(Some(Arc::new(Self {
            listener: listener.name.clone(),
            settings,
            current: Mutex::new(current),
            doubt: Mutex::new(Doubt::None),
            turn: tokio::sync::Mutex::default(),
        })))
    }

    /// Whether it is the one for `listener`.
    pub fn serves(&self, listener: &Listener) -> bool {
        self.listener == listener.name && listener.tls.as_ref() == Some(&self.settings)
    }

    /// Looks at the files every few seconds, for ever, and has `metrics` say when the certificates in use end.
    pub async fn keep_fresh(&self, metrics: &Metrics) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.refresh().await;
            // each time: a listener of this name that is replaced takes what it said with it
            if let Some(end) = self.current().ends {
                metrics.ends().listener(&self.listener, end);
            }
            tickets::turn(&*self.current().config.ticketer);
        }
    }

    /// Looks at the files now. If they hold something else that works, new handshakes use it when this resolves; if what
    /// they hold does not work, what is used stays.
    pub async fn refresh(&self) {
        let _turn = self.turn.lock().await;
        let known = self.current().content;
        match made(&self.settings, Some(known)).await {
            Ok(newest) => {
                *self.doubt.lock().unwrap_or_else(PoisonError::into_inner) = Doubt::None;
                if let Some(newest) = newest {
                    self.tell(&newest);
                    *self.current.lock().unwrap_or_else(PoisonError::into_inner) = newest;
                }
            }
            Err(error) => self.doubt(&error),
        }
    }

    /// Begins the handshake with a caller.
    pub fn accept(&self, stream: TcpStream) -> Accept<TcpStream> {
        let held = |session: &mut ServerConnection| session.set_buffer_limit(Some(UNSENT));
        TlsAcceptor::from(self.current().config).accept_with(stream, held)
    }

    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says whose the certificates are from now on.
    fn tell(&self, newest: &Current) {
        let names = newest.names.join(", ");
        let not_after = newest.ends.map(|end| Timestamp::new(end.since(EPOCH)).to_string());
        tracing::info!(
            listener = %self.listener,
            names,
            not_after,
            "new handshakes use the certificates as they are now"
        );
    }

    /// Says what is wrong with the files, once, and not if the next look finds them mended.
    fn doubt(&self, error: &Error) {
        let text = logs::report(error);
        let mut doubt = self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        *doubt = match &*doubt {
            Doubt::Told(told) if *told == text => return,
            Doubt::Seen(seen) if *seen == text => {
                let listener = &self.listener;
                tracing::warn!(%listener, cause = text, "new certificates cannot be used; those before serve on");
                Doubt::Told(text)
            }
            _ => Doubt::Seen(text),
        };
    }
}

/// What the caller proved to be in its handshake, if it was asked.
pub fn caller(stream: &TlsStream<TcpStream>) -> Option<Box<ClientCertificate>> {
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates()?.first()?;
    Some(Box::new(certificate::read(leaf)))
}

/// How the handshake ended.
pub fn handshake(stream: &TlsStream<TcpStream>) -> Handshake {
    match stream.get_ref().1.handshake_kind() {
        Some(HandshakeKind::Resumed) => Handshake::Resumed,
        _ => Handshake::Full,
    }
}

/// What they agreed to speak. A caller who was not asked, or did not say, speaks HTTP/1.1 (RFC 9113 section 3.3).
pub fn protocol(stream: &TlsStream<TcpStream>) -> Protocol {
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    }
}

/// What is made of the files as they are now, unless that is `known`. Reading them and checking keys takes a while, which
/// is not for the threads that serve.
async fn made(settings: &ListenerTls, known: Option<Digest>) -> Result<Option<Current>, Error> {
    let settings = settings.clone();
    let making = tokio::task::spawn_blocking(move || {
        let found = Content::read(&settings)?;
        let content = found.digest();
        if known == Some(content) {
            return Ok(None);
        }
        let config = Arc::new(found.server_config(&settings)?);
        Ok(Some(Current { content, config, names: found.names(), ends: found.ends() }))
    });
    // the text of a panic may hold anything
    making.await.unwrap_or_else(|_| Err(Error::Setup(rustls::Error::General("a thread broke".into()))))
}

#[cfg(test)]
mod tests;
