//! The connections of callers: some are kept for long, some for one request, in both versions of HTTP, with and without TLS.

use std::error::Error;
use std::fmt;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use http::Request;
use http::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use obo_proxy::net::Body;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::support::certificates::Authority;

/// How a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Http1,
    Http2,
    Tls1,
    Tls2,
}

impl Lane {
    pub const ALL: [Self; 4] = [Self::Http1, Self::Http2, Self::Tls1, Self::Tls2];

    fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Tls2)
    }
}

/// Everybody's connections.
pub struct Callers {
    plain: SocketAddr,
    tls: SocketAddr,
    /// For each version of HTTP.
    clients: [Arc<ClientConfig>; 2],
    resting: [Mutex<Vec<Connection>>; 4],
    pub opened: AtomicU64,
}

/// A connection, and for how many more requests it is kept.
struct Connection {
    sender: Sender,
    driver: Arc<Driver>,
    left: usize,
    /// What was answered on it last, and when.
    last: Option<(&'static str, u16, Instant)>,
}

enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

/// Closes the connection when it is dropped.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// No answer, or not all of it.
#[derive(Debug)]
pub enum Lost {
    /// It took too long.
    Late,
    /// Nobody took the request.
    Unsent(String),
    /// The connection or the stream ended then.
    Cut(String, Instant),
}

impl Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("nothing in time"),
            Self::Unsent(why) => f.write_str(why),
            Self::Cut(how, at) => write!(f, "{how}, {:?} ago", at.elapsed()),
        }
    }
}

impl Lost {
    pub fn cut(error: &dyn Error, more: &str) -> Self {
        Self::Cut(format!("{}{more}", causes(error)), Instant::now())
    }
}

/// A connection on which an answer comes. Dropped before the answer is whole, it is closed, or its stream reset.
pub struct Lease {
    lane: Lane,
    connection: Connection,
}

impl Callers {
    pub fn new(plain: SocketAddr, tls: SocketAddr, authority: &Authority) -> Self {
        let client = |protocol: &[u8]| {
            let mut config = authority.client();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        let clients = [client(b"http/1.1"), client(b"h2")];
        Self { plain, tls, clients, resting: Default::default(), opened: AtomicU64::new(0) }
    }

    /// Sends a request, on a new connection if `keep` is 0 or none rests, and waits for the head of the answer. A new one
    /// is kept for so many more. The error says what was there instead.
    pub async fn send(
        &self,
        lane: Lane,
        keep: usize,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Lease), Lost> {
        // what was surely not sent is sent again: the proxy may close what rests
        for _ in 0..4 {
            let resting = if keep == 0 { None } else { self.take(lane) };
            let mut connection = match resting {
                Some(connection) => connection,
                None => self
                    .open(lane, keep)
                    .await
                    .map_err(|error| Lost::Unsent(format!("connecting: {error}")))?,
            };
            let sent = match &mut connection.sender {
                Sender::One(sender) => match sender.ready().await {
                    Ok(()) => sender.try_send_request(request).await,
                    Err(_) => continue,
                },
                Sender::Two(sender) => {
                    let mut sender = sender.clone();
                    match sender.ready().await {
                        Ok(()) => {
                            self.share(lane, &connection);
                            sender.try_send_request(request).await
                        }
                        Err(_) => continue,
                    }
                }
            };
            match sent {
                Ok(response) => return Ok((response, Lease { lane, connection })),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Lost::cut(&failed.into_error(), &connection.past())),
                },
            }
        }
        Err(Lost::Unsent("no connection takes it".into()))
    }

    /// The answer was read whole: the next may have the connection. What it was to, and its status, may explain what comes.
    pub fn give_back(&self, lease: Lease, kind: &'static str, status: u16) {
        let Lease { lane, connection } = lease;
        if matches!(connection.sender, Sender::One(_)) && connection.left > 0 {
            let last = Some((kind, status, Instant::now()));
            let connection = Connection { left: connection.left - 1, last, ..connection };
            self.resting[lane as usize].lock().unwrap().push(connection);
        }
    }

    /// Closes all that rest.
    pub fn leave(&self) {
        for resting in &self.resting {
            resting.lock().unwrap().clear();
        }
    }

    fn take(&self, lane: Lane) -> Option<Connection> {
        let mut resting = self.resting[lane as usize].lock().unwrap();
        loop {
            let connection = resting.pop()?;
            let is_closed = match &connection.sender {
                Sender::One(sender) => sender.is_closed(),
                Sender::Two(sender) => sender.is_closed(),
            };
            if !is_closed {
                return Some(connection);
            }
        }
    }

    /// Others may send on it at the same time.
    fn share(&self, lane: Lane, connection: &Connection) {
        if let Sender::Two(sender) = &connection.sender
            && connection.left > 0
        {
            let (sender, driver) = (Sender::Two(sender.clone()), connection.driver.clone());
            let shared = Connection { sender, driver, left: connection.left - 1, last: None };
            self.resting[lane as usize].lock().unwrap().push(shared);
        }
    }

    async fn open(&self, lane: Lane, keep: usize) -> Result<Connection, Box<dyn Error + Send + Sync>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        match lane {
            Lane::Http1 | Lane::Http2 => {
                let socket = TcpStream::connect(self.plain).await?;
                socket.set_nodelay(true)?;
                shake_hands(lane, keep, socket).await
            }
            Lane::Tls1 | Lane::Tls2 => {
                let socket = TcpStream::connect(self.tls).await?;
                socket.set_nodelay(true)?;
                let client = self.clients[usize::from(lane.is_http2())].clone();
                let name = ServerName::try_from("localhost")?;
                shake_hands(lane, keep, TlsConnector::from(client).connect(name, socket).await?).await
            }
        }
    }
}

impl Connection {
    fn past(&self) -> String {
        match self.last {
            Some((kind, status, at)) => format!(" ({:?} after {status} to {kind})", at.elapsed()),
            None => " (on a new connection, or one of HTTP/2)".into(),
        }
    }
}

async fn shake_hands(
    lane: Lane,
    keep: usize,
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Connection, Box<dyn Error + Send + Sync>> {
    let io = TokioIo::new(socket);
    let (sender, driver) = if lane.is_http2() {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        (Sender::Two(sender), tokio::spawn(async { drop(connection.await) }))
    } else {
        let (sender, connection) = http1::handshake(io).await?;
        (Sender::One(sender), tokio::spawn(async { drop(connection.await) }))
    };
    Ok(Connection { sender, driver: Arc::new(Driver(driver.abort_handle())), left: keep, last: None })
}

/// What is wrong, down to its cause.
fn causes(error: &dyn Error) -> String {
    let (mut text, mut error) = (error.to_string(), error);
    while let Some(cause) = error.source() {
        text = format!("{text}: {cause}");
        error = cause;
    }
    text
}
