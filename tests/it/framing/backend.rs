//! A back end that reads requests as strictly as RFC 9112 allows, and notes what it cannot accept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::listen;

/// Stopped when its runtime ends.
pub struct Backend {
    pub address: SocketAddr,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    seen: Vec<Seen>,
    violations: Vec<String>,
}

/// A request that came whole.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Method and target.
    pub line: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Seen {
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(own, _)| own == name).map(|(_, value)| &value[..]).collect()
    }
}

/// Why there is no request.
#[derive(Debug)]
enum End {
    /// Nothing more comes: a request may have been cut, which harms nobody.
    Cut,
    /// This is no HTTP.
    Violation(String),
}

impl Backend {
    pub async fn start() -> Self {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let notes = Arc::<Mutex<Notes>>::default();
        let shared = Arc::clone(&notes);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&shared)));
            }
        });
        Self { address, notes }
    }

    /// What it has seen since it was last asked, or what was wrong with it.
    pub fn take(&self) -> Result<Vec<Seen>, String> {
        let mut notes = self.notes.lock().unwrap();
        let (seen, violations) = (std::mem::take(&mut notes.seen), std::mem::take(&mut notes.violations));
        if violations.is_empty() { Ok(seen) } else { Err(format!("the back end: {violations:?}")) }
    }
}

async fn serve(mut socket: TcpStream, notes: Arc<Mutex<Notes>>) {
    loop {
        match request(&mut socket).await {
            Ok(seen) => {
                notes.lock().unwrap().seen.push(seen);
                if socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                    return;
                }
            }
            Err(End::Cut) => return,
            Err(End::Violation(what)) => return notes.lock().unwrap().violations.push(what),
        }
    }
}

/// Of fields that must never come this far.
const NEVER: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "upgrade",
    "http2-settings",
    "expect",
    "x-real-ip",
    "x-original-url",
    "x-rewrite-url",
];

/// Reads one request, and not a byte more.
async fn request(socket: &mut (impl AsyncRead + Unpin)) -> Result<Seen, End> {
    let first = line(socket).await?;
    let parts: Vec<&str> = first.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { return violated("request line", &first) };
    let is_target =
        target.starts_with('/') && target.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'#');
    if method.is_empty() || !method.bytes().all(is_token) || !is_target {
        return violated("request line", &first);
    }
    let mut seen = Seen { line: format!("{method} {target}"), ..Seen::default() };
    seen.fields = fields(socket).await?;
    for name in ["host", "content-length", "transfer-encoding", "authorization"] {
        if seen.values(name).len() > 1 {
            return violated("a field twice", name);
        }
    }
    let unwanted = seen.fields.iter().find(|(name, _)| NEVER.contains(&&name[..]) || name.contains('_'));
    if let Some((name, _)) = unwanted {
        return violated("a field of another connection", name);
    }
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_~".contains(&byte);
    if seen.values("host").len() != 1 || !seen.values("host").concat().bytes().all(is_host) {
        return violated("host", &seen.values("host").concat());
    }
    match (seen.values("content-length").first(), seen.values("transfer-encoding").first()) {
        (None, None) => {}
        (Some(length), None) => {
            if !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return violated("content-length", length);
            }
            let Ok(length) = length.parse() else { return violated("content-length", length) };
            seen.body = exactly(socket, length).await?;
        }
        (None, Some(&"chunked")) => chunked(socket, &mut seen).await?,
        both => return violated("framing", &format!("{both:?}")),
    }
    Ok(seen)
}

async fn chunked(socket: &mut (impl AsyncRead + Unpin), seen: &mut Seen) -> Result<(), End> {
    loop {
        let size = line(socket).await?;
        let is_size = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(length) = usize::from_str_radix(&size, 16).ok().filter(|_| is_size) else {
            return violated("chunk size", &size);
        };
        if length == 0 {
            seen.trailers = fields(socket).await?;
            return Ok(());
        }
        seen.body.extend(exactly(socket, length).await?);
        if exactly(socket, 2).await? != b"\r\n" {
            return violated("chunk end", &size);
        }
    }
}

async fn fields(socket: &mut (impl AsyncRead + Unpin)) -> Result<Vec<(String, String)>, End> {
    let mut fields = Vec::new();
    loop {
        let line = line(socket).await?;
        if line.is_empty() {
            return Ok(fields);
        }
        let Some((name, value)) = line.split_once(':') else { return violated("field", &line) };
        let is_value = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(is_value) {
            return violated("field", &line);
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
}

/// A line without its CRLF, which holds no other of either.
async fn line(socket: &mut (impl AsyncRead + Unpin)) -> Result<String, End> {
    let mut line = Vec::new();
    loop {
        let byte = socket.read_u8().await.map_err(|_| End::Cut)?;
        match (line.last(), byte) {
            (Some(b'\r'), b'\n') => {
                line.pop();
                // what is not UTF-8 is read as Latin-1
                let latin = |line: Vec<u8>| line.into_iter().map(char::from).collect();
                return Ok(String::from_utf8(line).unwrap_or_else(|error| latin(error.into_bytes())));
            }
            (Some(b'\r'), _) | (_, b'\n') => return violated("line end", &line.escape_ascii().to_string()),
            _ => line.push(byte),
        }
    }
}

async fn exactly(socket: &mut (impl AsyncRead + Unpin), length: usize) -> Result<Vec<u8>, End> {
    let mut bytes = Vec::new();
    let read = socket.take(u64::try_from(length).unwrap()).read_to_end(&mut bytes).await;
    match read {
        Ok(count) if count == length => Ok(bytes),
        _ => Err(End::Cut),
    }
}

fn violated<T>(what: &str, text: &str) -> Result<T, End> {
    Err(End::Violation(format!("{what}: {text}")))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[tokio::test]
async fn the_back_end_accepts_nothing_that_a_strict_one_would_not() {
    for bad in [
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX_Y: z\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: x\r\nAuthorization: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX y\r\n\r\n",
    ] {
        let outcome = request(&mut bad.as_bytes()).await;
        assert!(matches!(outcome, Err(End::Violation(_))), "{bad:?}: {outcome:?}");
    }
    let good = "POST /a?b HTTP/1.1\r\nhost: a:80\r\nx: \ty \r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nz: 1\r\n\r\nrest";
    let seen = request(&mut good.as_bytes()).await.unwrap();
    assert_eq!((&seen.line[..], &seen.body[..], seen.values("x")), ("POST /a?b", &b"abc"[..], vec!["y"]));
    assert_eq!(seen.trailers, [("z".to_owned(), "1".to_owned())]);
    let cut = request(&mut &good.as_bytes()[..80]).await;
    assert!(matches!(cut, Err(End::Cut)), "{cut:?}");
}
