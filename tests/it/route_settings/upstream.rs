//! Upstreams that do as a test says, and remember what came.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use http::HeaderMap;
use http::Method;
use http::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use obo_proxy::app::server::Server;
use obo_proxy::app::server::Transport;
use obo_proxy::app::server::whole;
use obo_proxy::net::Body;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::support::listen;

/// One that answers each request, the first with 0, by a script. Dropping it stops it.
pub struct Scripted {
    server: Server,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn token(&self) -> &str {
        self.headers.get("authorization").map_or("", |value| value.to_str().unwrap())
    }
}

impl Scripted {
    pub async fn start<F>(script: impl Fn(usize, Seen) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::on(listen().await, script)
    }

    /// The same on an address that is known already.
    pub fn on<F>(
        listener: TcpListener,
        script: impl Fn(usize, Seen) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let server = Server::start(listener, Transport::Plain, move |request| {
            let (script, noted) = (script.clone(), Arc::clone(&noted));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
                let one = Seen { method: head.method, headers: head.headers, body };
                let number = {
                    let mut seen = noted.lock().unwrap();
                    seen.push(one.clone());
                    seen.len() - 1
                };
                script(number, one).await
            }
        });
        Self { server: server.unwrap(), seen }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

pub fn status(status: u16) -> Response<Body> {
    let mut response = Response::new(whole("as the upstream says"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// One that does with each connection what the script says; it is told which one it is, from 0. Dropping it stops it.
pub struct Raw {
    pub address: SocketAddr,
    pub connections: Arc<Mutex<usize>>,
    accepting: AbortHandle,
}

impl Raw {
    pub async fn start<F>(script: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut counted = counted.lock().unwrap();
                    *counted += 1;
                    *counted - 1
                };
                tokio::spawn(script(number, stream));
            }
        });
        Self { address, connections, accepting: accepting.abort_handle() }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// All that comes until `end` has come, or the other side closes.
pub async fn until_end(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while !bytes.windows(end.len()).any(|window| window == end.as_bytes()) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// All that comes until the other side closes, however it does.
pub async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends what the other side may have stopped to read.
pub async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
}
