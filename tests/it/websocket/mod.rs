//! WebSockets, spoken byte by byte on both sides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::Plan;
use crate::support::World;
use crate::support::listen;

mod ends;
mod http1;
mod http2;
mod load;

/// How long anything may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The key and the hash of RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A masked text frame, and one that is not.
const UP: &[u8] = &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
const DOWN: &[u8] = &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];

/// A back end that reads a head, answers, and from then on sends back whatever comes, byte by byte.
struct Upstream {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    open: Arc<AtomicUsize>,
}

impl Upstream {
    /// Agrees to everything.
    async fn agreeing() -> Self {
        Self::answering(|head| agreement(&accept(field(head, "sec-websocket-key").unwrap_or_default()))).await
    }

    async fn answering(answer: impl Fn(&str) -> String + Clone + Send + 'static) -> Self {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let (heads, open) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (kept, counted) = (heads.clone(), open.clone());
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (kept, counted, answer) = (kept.clone(), counted.clone(), answer.clone());
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let head = until(&mut socket, "\r\n\r\n").await;
                    let answer = answer(&head);
                    kept.lock().unwrap().push(head);
                    let _ = socket.write_all(answer.as_bytes()).await;
                    let (mut read, mut write) = socket.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    let _ = socket.shutdown().await;
                    counted.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, heads, open }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// How many connections are open.
    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// A world whose routes `/open` and `/ws` lead here, the second with an exchange.
    async fn world(&self) -> World {
        World::with(self.plan("", "")).await
    }

    fn plan(&self, settings: &str, provider: &'static str) -> Plan {
        let upstream = format!("upstream: \"http://{}\"{settings}", self.address);
        let routes = format!(
            "
  open: {{ match: /open, auth: anonymous, {upstream} }}
  ws: {{ match: /ws, {upstream}, exchange: {{ scopes: [api://orders-backend/.default] }} }}
"
        );
        Plan { routes: routes.leak(), provider, ..Plan::default() }
    }
}

fn accept(key: &str) -> String {
    let key = [key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes()))
}

fn agreement(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// The value of a field in a head.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// A request for a WebSocket, with further fields.
fn asking(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    )
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// A caller whose WebSocket was agreed to.
async fn upgraded(proxy: SocketAddr, request: &str) -> TcpStream {
    let mut socket = TcpStream::connect(proxy).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let head = until(&mut socket, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert_eq!(field(&head, "sec-websocket-accept"), Some(ACCEPT), "{head}");
    socket
}

/// All that comes until `end` has, or the other side closes.
async fn until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while !bytes.ends_with(end.as_bytes()) {
            match stream.read_u8().await {
                Ok(byte) => bytes.push(byte),
                Err(_) => break,
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All that comes until the other side closes, however it does.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _closed_or_reset = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

/// Sends `bytes` and sees them come back.
async fn echoed(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(back, bytes);
}

/// The code of the frame that closes, which is all there is.
fn code(frame: &[u8]) -> u16 {
    let (key, payload) = match frame {
        [0x88, length, payload @ ..] if length & 0x80 == 0 => ([0; 4], payload),
        [0x88, _, a, b, c, d, payload @ ..] => ([*a, *b, *c, *d], payload),
        _ => panic!("no frame that closes: {frame:?}"),
    };
    assert_eq!(payload.len(), usize::from(frame[1] & 0x7F), "{frame:?}");
    u16::from_be_bytes([payload[0] ^ key[0], payload[1] ^ key[1]])
}
