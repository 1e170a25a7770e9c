//! What a caller sends on one connection, through the whole proxy, to a back end that reads strictly.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc;
use std::time::Duration;

use obo_proxy::app::App;
use obo_proxy::config;
use obo_proxy::domain::clock::Clock;

/// What the proxy writes into every request that goes on, and callers do not know.
const PROOF: &str = "0d9f3c7a-5b1e-4a77-9a40-7d2b9e3c1f55";
/// How long a caller waits whom nobody answers.
const MOMENT: Duration = Duration::from_millis(3);
/// How long a connection may go on whose caller has said everything.
const PATIENCE: Duration = Duration::from_secs(8);
/// How HTTP/2 begins: answers to that are frames.
const PREFACE: &[u8] = b"PRI ";

/// What the back end could not accept.
static VIOLATIONS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static PROXY: LazyLock<SocketAddr> = LazyLock::new(start);

/// Nothing goes on but requests that the proxy has made, each of which reads in one way only; every connection ends; and it is
/// never the proxy's own fault.
pub fn check(bytes: &[u8]) {
    let answers = sent(bytes);
    // on the same connection to the back end: what was left over of the former would come before it
    sent(b"GET /after HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let violations = std::mem::take(&mut *VIOLATIONS.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(violations.is_empty(), "{violations:?}");
    if !bytes.starts_with(PREFACE) {
        let is_answer =
            answers.is_empty() || answers.starts_with(b"HTTP/1.1 ") || answers.starts_with(b"HTTP/1.0 ");
        assert!(is_answer, "{}", answers.escape_ascii());
        assert!(!answers.starts_with(b"HTTP/1.1 500 "), "{}", answers.escape_ascii());
    }
}

/// The answers to `bytes`, up to the end of the connection: a caller who has said everything waits for a moment and then closes.
fn sent(bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(*PROXY).unwrap();
    // who is refused early need not be heard out
    let _ = socket.write_all(bytes);
    let (mut answers, mut buffer, mut is_closed) = (Vec::new(), [0; 4096], false);
    socket.set_read_timeout(Some(MOMENT)).unwrap();
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return answers,
            Ok(count) => answers.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                assert!(!is_closed, "the connection does not end");
                is_closed = true;
                let _ = socket.shutdown(Shutdown::Write);
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return answers,
        }
    }
}

/// A proxy before a back end, for as long as the process runs.
fn start() -> SocketAddr {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "listeners: {{ default: {{ address: '127.0.0.1:0' }} }}\nworkers: 1\n\
         telemetry: {{ address: '127.0.0.1:0' }}\n\
         routes:\n  all:\n    match: /\n    auth: anonymous\n    upstream: 'http://{}'\n    \
         headers: {{ set: {{ x-proof: '{PROOF}' }} }}\n",
        backend.local_addr().unwrap()
    );
    std::thread::spawn(move || {
        for socket in backend.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(&socket));
        }
    });
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let config = config::load_text("connection.yaml", &text, &[]).unwrap().config;
            let app = App::bind(config, Clock::system()).await.unwrap();
            let address = app.listeners().unwrap()[0].1.tcp().unwrap();
            tell.send(address).unwrap();
            app.serve(std::future::pending()).await;
        });
    });
    told.recv().unwrap()
}

/// Answers the requests on one connection to the back end.
fn serve(socket: &TcpStream) {
    let mut reader = Reader { socket, bytes: Vec::new(), at: 0 };
    loop {
        match reader.request() {
            Ok(is_head) => {
                let answer = if is_head {
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
                } else {
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
                };
                if { socket }.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Err(End::Cut) => return,
            Err(End::Violation(what)) => {
                VIOLATIONS.lock().unwrap_or_else(PoisonError::into_inner).push(what);
                return;
            }
        }
    }
}

/// Why there is no request.
enum End {
    /// It was cut, which harms nobody.
    Cut,
    /// It is not one.
    Violation(String),
}

fn violation<T>(what: impl Into<String>) -> Result<T, End> {
    Err(End::Violation(what.into()))
}

/// Reads as RFC 9112 writes, and nothing else.
struct Reader<'s> {
    socket: &'s TcpStream,
    bytes: Vec<u8>,
    at: usize,
}

impl Reader<'_> {
    /// Reads one request; whether it is a HEAD.
    fn request(&mut self) -> Result<bool, End> {
        self.bytes.drain(..self.at);
        self.at = 0;
        let line = self.line()?;
        let words: Vec<&str> = line.split(' ').collect();
        let [method, target, "HTTP/1.1"] = words[..] else {
            return violation(format!("the request line {line:?}"));
        };
        if !method.bytes().all(is_token) || method.is_empty() || !target.starts_with('/') {
            return violation(format!("the request line {line:?}"));
        }
        let is_head = method == "HEAD";
        let mut fields: Vec<(String, String)> = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else {
                return violation(format!("the field {line:?}"));
            };
            if name.is_empty() || !name.bytes().all(is_token) {
                return violation(format!("the field {line:?}"));
            }
            fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
        let values = |name: &str| -> Vec<&str> {
            fields.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
        };
        if values("x-proof") != [PROOF] || values("host").len() != 1 || values("x-request-id").len() != 1 {
            return violation(format!("a request that is not the proxy's: {fields:?}"));
        }
        let is_websocket = values("upgrade") == ["websocket"] && values("connection") == ["upgrade"];
        if !values("authorization").is_empty()
            || !(values("upgrade").is_empty() || is_websocket)
            || !values("expect").is_empty()
        {
            return violation(format!("a field that may not go on: {fields:?}"));
        }
        match (&values("content-length")[..], &values("transfer-encoding")[..]) {
            ([], []) => {}
            ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let Ok(length) = length.parse() else { return violation(format!("the length {length}")) };
                self.take(length)?;
            }
            ([], ["chunked"]) => self.chunks()?,
            _ => return violation(format!("two lengths, or none that can be read: {fields:?}")),
        }
        Ok(is_head)
    }

    fn chunks(&mut self) -> Result<(), End> {
        loop {
            let line = self.line()?;
            let is_size = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
            let Some(size) = usize::from_str_radix(&line, 16).ok().filter(|_| is_size) else {
                return violation(format!("the chunk size {line:?}"));
            };
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(());
            }
            self.take(size)?;
            if !self.line()?.is_empty() {
                return violation("a chunk is longer than it says");
            }
        }
    }

    /// The text up to the next CR LF, in which there is neither by itself.
    fn line(&mut self) -> Result<String, End> {
        loop {
            if let Some(end) = self.bytes[self.at..].iter().position(|byte| *byte == b'\n') {
                let line = &self.bytes[self.at..self.at + end];
                let text = line.strip_suffix(b"\r").map(|line| String::from_utf8_lossy(line).into_owned());
                let Some(text) = text.filter(|text| !text.contains(['\r', '\0'])) else {
                    return violation(format!("the line {:?}", line.escape_ascii().to_string()));
                };
                self.at += end + 1;
                return Ok(text);
            }
            self.more()?;
        }
    }

    fn take(&mut self, count: usize) -> Result<(), End> {
        while self.bytes.len() - self.at < count {
            self.more()?;
        }
        self.at += count;
        Ok(())
    }

    fn more(&mut self) -> Result<(), End> {
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer) {
            Ok(0) | Err(_) => Err(End::Cut),
            Ok(count) => {
                self.bytes.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
