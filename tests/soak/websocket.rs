//! WebSockets, spoken byte by byte on both sides: the server says whose token it was sent, and then whatever it hears.

use std::net::SocketAddr;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::support::idp::parts;
use crate::support::listen;

/// A text frame of six bytes, masked with nothing, up to its payload.
const FRAME: &[u8] = b"\x81\x86\0\0\0\0";

/// Dropping it closes the listener.
pub struct Server {
    pub address: SocketAddr,
    accepting: AbortHandle,
}

impl Server {
    pub async fn start() -> Self {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        Self { address, accepting: tokio::spawn(accept(listener)).abort_handle() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener) {
    loop {
        if let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    }
}

/// Nothing where the other side is gone.
async fn serve(mut socket: TcpStream) -> Option<()> {
    let head = head(&mut socket).await?;
    let key = [field(&head, "sec-websocket-key")?, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    let accept = STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes()));
    let agreed = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    let [_, claims] = parts(field(&head, "authorization")?.strip_prefix("Bearer ")?);
    let whose = format!("{} {}", claims["aud"].as_str()?, claims["oid"].as_str()?);
    let length = u8::try_from(whose.len()).ok().filter(|length| *length < 126)?;
    let first = [&[0x81, length], whose.as_bytes()].concat();
    socket.write_all(&[agreed.as_bytes(), &first].concat()).await.ok()?;
    let (mut read, mut write) = socket.split();
    tokio::io::copy(&mut read, &mut write).await.ok()?;
    socket.shutdown().await.ok()
}

/// What a caller had of it.
pub struct Heard {
    pub status: u16,
    /// The head of the answer, or what else of it was read.
    pub head: String,
    /// Whose token the server was sent, if all went as it should.
    pub whose: Option<String>,
}

/// Opens one, hears whose token it was, and sends messages that must come back. Nothing if there is no answer.
pub async fn call(proxy: SocketAddr, path: &str, fields: &str, messages: usize) -> Option<Heard> {
    let mut socket = TcpStream::connect(proxy).await.ok()?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    );
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut head = head(&mut socket).await?;
    let status = head.get(9..12)?.parse().ok()?;
    if status != 101 {
        let length = field(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        let _broken_off = socket.read_exact(&mut body).await;
        head.push_str(&String::from_utf8_lossy(&body));
        return Some(Heard { status, head, whose: None });
    }
    let whose = converse(&mut socket, messages).await;
    Some(Heard { status, head, whose })
}

async fn converse(socket: &mut TcpStream, messages: usize) -> Option<String> {
    socket.read_u8().await.ok()?;
    let mut whose = vec![0; socket.read_u8().await.ok()?.into()];
    socket.read_exact(&mut whose).await.ok()?;
    for number in 0..messages {
        let message = [FRAME, format!("{number:06}").as_bytes()].concat();
        socket.write_all(&message).await.ok()?;
        let mut back = vec![0; message.len()];
        socket.read_exact(&mut back).await.ok()?;
        if back != message {
            return None;
        }
    }
    String::from_utf8(whose).ok()
}

async fn head(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// The value of a field in a head.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
