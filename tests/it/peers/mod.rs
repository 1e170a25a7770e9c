//! Peers that are slow, and bodies that are large: what they take of time and memory. The real binary.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::Response;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::listen;
use crate::support::process::Proxy;

mod bodies;
mod readers;
mod senders;

/// How long anything may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The proxy before back ends that serve bodies of a known pattern, in HTTP/1.1 at `/1`, in HTTP/2 at `/2`.
struct Front {
    proxy: Proxy,
    /// Kept while it is before them.
    _backends: [Backend; 2],
}

impl Front {
    /// With further keys of the listener, and further sections.
    async fn start(listener: &str, sections: &str) -> Self {
        let backends = [Backend::start(http1).await, Backend::start(http2).await];
        let [one, two] = [backends[0].address, backends[1].address];
        let config = format!(
            r#"
listeners: {{ default: {{ address: "127.0.0.1:0"{listener} }} }}
upstreams: {{ two: {{ url: "http://{two}", http2: always }} }}
defaults: {{ auth: anonymous }}
routes: {{ one: {{ match: /1, upstream: "http://{one}" }}, two: {{ match: /2, upstream: two }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json, level: info, access: false }} }}
shutdown: {{ delay: 0s, drain: 1s }}
{sections}
"#
        );
        let starting = tokio::task::spawn_blocking(move || Proxy::start(&config, &[]));
        Self { proxy: starting.await.unwrap(), _backends: backends }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.proxy.address).await.unwrap()
    }
}

/// A back end. Stopped when dropped.
struct Backend {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Backend {
    async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket));
            }
        });
        Self { address, task }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How long the pattern is before it begins anew: no power of two, so that no piece that is lost or comes twice fits.
const PERIOD: usize = 65_521;

/// The bytes of all bodies.
struct Pattern {
    bytes: Vec<u8>,
    at: usize,
    count: u64,
    fits: bool,
}

impl Pattern {
    fn new() -> Self {
        let mut state = 1_u32;
        let bytes = (0..PERIOD).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        });
        Self { bytes: bytes.collect(), at: 0, count: 0, fits: true }
    }

    /// So many bytes more, at most.
    fn next(&mut self, most: u64) -> &[u8] {
        let left = usize::try_from(most).unwrap_or(PERIOD).min(PERIOD - self.at);
        let piece = &self.bytes[self.at..self.at + left];
        self.at = (self.at + left) % PERIOD;
        piece
    }

    /// Compares what came.
    fn compare(&mut self, mut came: &[u8]) {
        self.count += came.len() as u64;
        while !came.is_empty() {
            let most = came.len() as u64;
            let expected = self.next(most);
            let (piece, rest) = came.split_at(expected.len());
            let fits = piece == expected;
            self.fits &= fits;
            came = rest;
        }
    }

    /// How many bytes came, if all were right.
    fn verdict(&self) -> String {
        if self.fits { self.count.to_string() } else { format!("not what was sent, {}", self.count) }
    }
}

/// The last part of a path, which is a number of bytes.
fn length(path: &str) -> u64 {
    path.rsplit('/').next().and_then(|last| last.parse().ok()).unwrap_or(0)
}

/// One head.
async fn head(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap().to_ascii_lowercase())
}

/// Answers requests: GET with so many bytes as the path says, any other with what it thinks of the body.
async fn http1(mut socket: TcpStream) {
    while let Some(head) = head(&mut socket).await {
        let mut words = head.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let mut pattern = Pattern::new();
        let sent = if method == "get" {
            let mut left = length(path);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {left}\r\n\r\n");
            let mut sent = socket.write_all(head.as_bytes()).await;
            while left > 0 && sent.is_ok() {
                let piece = pattern.next(left);
                left -= piece.len() as u64;
                sent = socket.write_all(piece).await;
            }
            sent
        } else {
            let stated = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            read(&mut socket, stated.and_then(|length| length.parse().ok()).unwrap(), &mut pattern).await;
            let verdict = pattern.verdict();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{verdict}", verdict.len());
            socket.write_all(answer.as_bytes()).await
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Reads so many bytes and compares them.
async fn read(socket: &mut TcpStream, length: u64, pattern: &mut Pattern) {
    let mut space = vec![0; 256 * 1024];
    while pattern.count < length {
        let most = usize::try_from(length - pattern.count).unwrap().min(space.len());
        match socket.read(&mut space[..most]).await {
            Ok(count) if count > 0 => pattern.compare(&space[..count]),
            _ => return,
        }
    }
}

/// The same in HTTP/2.
async fn http2(socket: TcpStream) {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 20);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::spawn(async move {
            let mut pattern = Pattern::new();
            if request.method() == "GET" {
                let left = length(request.uri().path());
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                send(&mut stream, left, &mut pattern).await;
                return;
            }
            compare(&mut request.into_body(), &mut pattern).await;
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(pattern.verdict().into(), true).unwrap();
        });
    }
}

async fn send(stream: &mut h2::SendStream<Bytes>, mut left: u64, pattern: &mut Pattern) {
    while left > 0 {
        stream.reserve_capacity(PERIOD);
        let Some(Ok(capacity)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        let piece = Bytes::copy_from_slice(pattern.next(left.min(capacity as u64)));
        left -= piece.len() as u64;
        if stream.send_data(piece, left == 0).is_err() {
            return;
        }
    }
}

async fn compare(body: &mut h2::RecvStream, pattern: &mut Pattern) {
    while let Some(Ok(data)) = body.data().await {
        pattern.compare(&data);
        body.flow_control().release_capacity(data.len()).unwrap();
    }
}

/// A connection in HTTP/2 to the proxy, whose streams take so much unasked.
async fn connected(front: &Front, window: u32) -> h2::client::SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(1 << 24);
    let (sender, connection) = builder.handshake(front.connect().await).await.unwrap();
    tokio::spawn(async { drop(connection.await) });
    sender
}

/// The answer to a GET, as far as its head.
async fn asked(sender: &h2::client::SendRequest<Bytes>, path: &str) -> h2::RecvStream {
    let request = Request::get(format!("http://a{path}")).body(()).unwrap();
    let (response, _) = sender.clone().ready().await.unwrap().send_request(request, true).unwrap();
    tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap().into_body()
}
