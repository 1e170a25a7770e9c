//! A peer of HTTP/2 that sends whatever it is told to, also what no library would (RFC 9113, RFC 7541).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long to wait for a frame, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// On SETTINGS and PING.
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const WITH_PRIORITY: u8 = 32;

pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const COMPRESSION_ERROR: u32 = 9;

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// SETTINGS with these values.
pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let each = values.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    frame(SETTINGS, 0, 0, &each.collect::<Vec<u8>>())
}

/// A string, not Huffman-coded (RFC 7541 section 5.2).
pub fn string(bytes: &[u8]) -> Vec<u8> {
    let mut all = integer(0, 7, bytes.len());
    all.extend(bytes);
    all
}

/// An integer behind the bits of `first`, of which it may use the lowest so many (RFC 7541 section 5.1).
pub fn integer(first: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if value < most {
        return vec![first | u8::try_from(value).unwrap()];
    }
    let mut all = vec![first | u8::try_from(most).unwrap()];
    let mut rest = value - most;
    while rest >= 128 {
        all.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    all.push(u8::try_from(rest).unwrap());
    all
}

/// A field, never indexed and not Huffman-coded: any bytes can be a name or a value.
pub fn field(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![0x10], string(name.as_ref()), string(value.as_ref())].concat()
}

/// A header block of these fields.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of a GOAWAY or RST_STREAM.
    pub fn code(&self) -> Option<u32> {
        let place = match self.kind {
            RST_STREAM => 0..4,
            GOAWAY => 4..8,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(place)?.try_into().unwrap()))
    }

    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The status of an answer that is the first of its connection: so its field is not in the dynamic table.
    pub fn status(&self) -> Option<u16> {
        if self.kind != HEADERS {
            return None;
        }
        // an update of the table's size may come before it
        let start = self.payload.iter().position(|byte| byte & 0xe0 != 0x20)?;
        let block = &self.payload[start..];
        match *block.first()? {
            indexed @ 0x88..=0x8e => Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]),
            0x08 | 0x18 | 0x48 => {
                let length = usize::from(block.get(1)? & 0x7f);
                let bytes = block.get(2..2 + length)?;
                let digits = if block[1] & 0x80 == 0 { bytes.to_vec() } else { digits(bytes) };
                String::from_utf8(digits).ok()?.parse().ok()
            }
            _ => None,
        }
    }
}

/// Three digits in Huffman's code (RFC 7541 appendix B): 5 bits for 0, 1 and 2, 6 bits for the others.
fn digits(bytes: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number << 1 | bit);
    let (mut rest, mut digits) = (&bits[..], Vec::new());
    while digits.len() < 3 {
        let short = number(&rest[..5]);
        let (digit, length) = if short < 3 { (short, 5) } else { (number(&rest[..6]) - 0x19 + 3, 6) };
        digits.push(b'0' + digit);
        rest = &rest[length..];
    }
    digits
}

/// Bytes both ways, over TLS or not.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Opens a connection to port `port` of this machine; over TLS if there is a `tls`, with HTTP/2 agreed on.
pub async fn connect(port: u16, tls: Option<&Arc<ClientConfig>>) -> Box<dyn Wire> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let Some(tls) = tls else { return Box::new(stream) };
    let mut tls = ClientConfig::clone(tls);
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    Box::new(stream)
}

/// One connection. What comes is acknowledged by nobody.
pub struct Peer {
    wire: Box<dyn Wire>,
    /// Whether neither a frame came nor the end, where one of them had to.
    pub waited_in_vain: bool,
}

impl Peer {
    /// One that has said nothing.
    pub fn new(wire: Box<dyn Wire>) -> Self {
        Self { wire, waited_in_vain: false }
    }

    /// One that has sent the preface and these settings, and read the server's.
    pub async fn greeted(wire: Box<dyn Wire>, values: &[(u16, u32)]) -> Self {
        let mut peer = Self::new(wire);
        peer.send(&[PREFACE, &settings(values), &frame(SETTINGS, ACK, 0, &[])].concat()).await;
        let first = peer.next().await.unwrap();
        assert_eq!((first.kind, first.flags), (SETTINGS, 0), "the first frame of a server (section 3.4)");
        peer
    }

    /// Sends bytes. That the connection is gone shows when it is read.
    pub async fn send(&mut self, bytes: &[u8]) {
        drop(self.try_send(bytes).await);
    }

    pub async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sending = async {
            self.wire.write_all(bytes).await?;
            self.wire.flush().await
        };
        tokio::time::timeout(PATIENCE, sending).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// The next frame; `None` if the connection is closed, or nothing comes.
    pub async fn next(&mut self) -> Option<Frame> {
        let reading = async {
            let mut head = [0; 9];
            self.wire.read_exact(&mut head).await?;
            let [high, middle, low, kind, flags, stream @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]).try_into().unwrap()];
            self.wire.read_exact(&mut payload).await?;
            Ok::<_, io::Error>(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        self.waited_in_vain |= read.is_err();
        read.ok()?.ok()
    }

    /// What comes until there is a frame of that sort, it included, or the connection is closed.
    pub async fn until(&mut self, is_it: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        let mut all = Vec::new();
        while let Some(frame) = self.next().await {
            all.push(frame);
            if all.last().is_some_and(&is_it) {
                break;
            }
        }
        all
    }
}
