//! Callers that ask all the time, on connections they keep, and count what becomes of each request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that is kept between requests, HTTP/1.1 by hand: nothing is sent twice, nothing goes unseen.
pub struct Kept {
    socket: TcpStream,
    read: Vec<u8>,
}

/// An answer, and whether it is the last on its connection.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub is_last: bool,
    pub body: Vec<u8>,
}

impl Reply {
    /// The path that the echo API saw.
    pub fn path(&self) -> String {
        let seen: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        seen["path"].as_str().unwrap_or_default().to_owned()
    }
}

impl Kept {
    pub async fn to(address: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, read: Vec::new() })
    }

    /// Asks, and reads the whole answer. The error says what was there instead.
    pub async fn ask(&mut self, path: &str, fields: &str) -> Result<Reply, String> {
        tokio::time::timeout(PATIENCE, self.answered(path, fields))
            .await
            .unwrap_or_else(|_| Err("nothing in time".into()))
    }

    /// What comes unasked: the end of the connection, when it comes.
    pub async fn end(&mut self) -> Result<(), String> {
        let mut piece = [0; 1024];
        match tokio::time::timeout(PATIENCE, self.socket.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => Ok(()),
            Ok(Ok(_)) => Err("something unasked".into()),
            Err(_) => Err("the connection did not end".into()),
        }
    }

    async fn answered(&mut self, path: &str, fields: &str) -> Result<Reply, String> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        self.socket.write_all(head.as_bytes()).await.map_err(|error| format!("cannot ask: {error}"))?;
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.more("a head").await?;
        };
        let head = String::from_utf8_lossy(&self.read[..end]).to_lowercase();
        self.read.drain(..end);
        let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or("no status")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|length| length.trim().parse().ok()).ok_or("no length")?;
        while self.read.len() < length {
            self.more("a body").await?;
        }
        let body = self.read.drain(..length).collect();
        Ok(Reply { status, is_last: head.contains("connection: close"), body })
    }

    async fn more(&mut self, of: &str) -> Result<(), String> {
        let mut piece = [0; 16 * 1024];
        match self.socket.read(&mut piece).await {
            Ok(0) => Err(format!("closed in place of {of} ({} bytes of it)", self.read.len())),
            Ok(read) => {
                self.read.extend_from_slice(&piece[..read]);
                Ok(())
            }
            Err(error) => Err(format!("{error} in place of {of}")),
        }
    }
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often each status came for each path that the echo API saw.
    pub answers: BTreeMap<(u16, String), u64>,
    /// What was there in place of an answer.
    pub lost: Vec<String>,
    /// How many connections were refused: nobody listened.
    pub refused: u64,
}

impl Tally {
    fn note(&mut self, status: u16, path: String) {
        *self.answers.entry((status, path)).or_default() += 1;
    }

    fn and(mut self, other: Self) -> Self {
        for (answer, times) in other.answers {
            *self.answers.entry(answer).or_default() += times;
        }
        self.lost.extend(other.lost);
        self.refused += other.refused;
        self
    }

    /// How many were answered.
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// Checks that every request was answered with 200 by one of these paths, and each path by some.
    #[track_caller]
    pub fn check(&self, paths: &[&str]) {
        assert!(
            self.lost.is_empty(),
            "{} lost: {:?} of {:?}",
            self.lost.len(),
            &self.lost[..1],
            self.answers
        );
        let mut expected: Vec<(u16, String)> = paths.iter().map(|path| (200, (*path).to_owned())).collect();
        expected.sort();
        assert_eq!(self.answers.keys().cloned().collect::<Vec<_>>(), expected, "{:?}", self.answers);
    }
}

/// Requests that go on until they are to end.
pub struct Load {
    over: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    tallies: JoinSet<Tally>,
}

impl Load {
    /// Nobody asks yet.
    pub fn new() -> Self {
        Self { over: Arc::default(), asked: Arc::default(), tallies: JoinSet::new() }
    }

    /// So many callers on a connection each, pausing between two requests. Who is told that an answer is the last makes
    /// a new one; who is refused one stops.
    pub fn http1(mut self, address: SocketAddr, callers: usize, pause: Duration, fields: &str) -> Self {
        for _ in 0..callers {
            let (over, asked, fields) = (self.over.clone(), self.asked.clone(), fields.to_owned());
            self.tallies.spawn(async move {
                let (mut tally, mut kept) = (Tally::default(), None);
                while !over.load(Ordering::SeqCst) {
                    let connection = match &mut kept {
                        Some(connection) => connection,
                        None => match Kept::to(address).await {
                            Ok(new) => kept.insert(new),
                            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                                tally.refused += 1;
                                return tally;
                            }
                            Err(error) => {
                                tally.lost.push(format!("connecting: {error}"));
                                return tally;
                            }
                        },
                    };
                    match connection.ask("/x", &fields).await {
                        Ok(reply) => {
                            asked.fetch_add(1, Ordering::SeqCst);
                            tally.note(reply.status, reply.path());
                            if reply.is_last {
                                kept = None;
                            }
                        }
                        Err(instead) => {
                            tally.lost.push(instead);
                            kept = None;
                        }
                    }
                    tokio::time::sleep(pause).await;
                }
                tally
            });
        }
        self
    }

    /// So many connections of HTTP/2 with so many callers each. Whose connection takes no more requests makes a new one.
    pub fn http2(mut self, address: SocketAddr, connections: usize, callers: usize) -> Self {
        for _ in 0..connections {
            let (over, asked) = (self.over.clone(), self.asked.clone());
            self.tallies.spawn(async move {
                let mut tally = Tally::default();
                while !over.load(Ordering::SeqCst) {
                    let socket = match TcpStream::connect(address).await {
                        Ok(socket) => socket,
                        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                            tally.refused += 1;
                            return tally;
                        }
                        Err(error) => {
                            tally.lost.push(format!("connecting: {error}"));
                            return tally;
                        }
                    };
                    let builder = http2::Builder::new(TokioExecutor::new());
                    let handshake = builder.handshake::<_, Empty<Bytes>>(TokioIo::new(socket)).await;
                    let Ok((sender, connection)) = handshake else {
                        tally.lost.push("the handshake failed".into());
                        return tally;
                    };
                    let driving = tokio::spawn(connection);
                    let mut streams = JoinSet::new();
                    for _ in 0..callers {
                        let (over, asked, sender) = (over.clone(), asked.clone(), sender.clone());
                        streams.spawn(ask_all_the_time(sender, over, asked));
                    }
                    drop(sender);
                    for one in streams.join_all().await {
                        tally = tally.and(one);
                    }
                    driving.abort();
                }
                tally
            });
        }
        self
    }

    /// Waits until so many more requests were answered.
    pub async fn proceeds(&self, more: u64) {
        let from = self.asked.load(Ordering::SeqCst);
        let proceeding = async {
            while self.asked.load(Ordering::SeqCst) < from + more {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, proceeding).await.expect("requests are answered");
    }

    /// Ends it.
    pub async fn end(self) -> Tally {
        self.over.store(true, Ordering::SeqCst);
        self.until_refused().await
    }

    /// Waits until everybody was refused.
    pub async fn until_refused(mut self) -> Tally {
        let mut all = Tally::default();
        while let Some(tally) = self.tallies.join_next().await {
            all = all.and(tally.unwrap());
        }
        all
    }
}

async fn ask_all_the_time(
    mut sender: http2::SendRequest<Empty<Bytes>>,
    over: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
) -> Tally {
    let mut tally = Tally::default();
    while !over.load(Ordering::SeqCst) && sender.ready().await.is_ok() {
        let request = Request::get("http://a/x").body(Empty::new()).unwrap();
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|error| reason(&error))?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.map_err(|error| reason(&error))?;
            let body = body.to_bytes().to_vec();
            Ok::<_, String>(Reply { status, is_last: false, body })
        };
        match tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err("nothing in time".into())) {
            Ok(reply) => {
                asked.fetch_add(1, Ordering::SeqCst);
                tally.note(reply.status, reply.path());
            }
            // it was never sent: the connection takes no more, of which its caller just had not heard
            Err(instead) if instead == UNSENT => {}
            Err(instead) => tally.lost.push(instead),
        }
    }
    tally
}

const UNSENT: &str = "not sent";

/// Whether a request was surely not acted on (RFC 9113 section 8.7), or what else became of it.
fn reason(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    let is_refused = cause.is_some_and(|cause| {
        cause.reason() == Some(h2::Reason::REFUSED_STREAM)
            || (cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR))
    });
    if error.is_canceled() || is_refused { UNSENT.into() } else { format!("{error:?}") }
}
