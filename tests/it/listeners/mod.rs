//! How callers connect: TLS, client certificates, Unix sockets, the PROXY protocol. The real binary, and curl.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::server::Transport;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::certificates::Authority;
use crate::support::listen;
use crate::support::process::Proxy;
use crate::support::process::text;

mod mutual;
mod proxy_protocol;
mod rotation;
mod tls;
mod unix;

/// The proxy before an echo API that everybody may call, and a directory with files of both.
struct Front {
    echo: Echo,
    proxy: Proxy,
}

impl Front {
    /// With one listener of these settings, and further sections.
    async fn start(listener: &str, sections: &str) -> Self {
        Self::with_routes(listener, sections, "open: { match: /, auth: anonymous }").await
    }

    async fn with_routes(listener: &str, sections: &str, routes: &str) -> Self {
        let echo = Echo::start(listen().await, Transport::Plain).unwrap();
        let config = config(listener, sections, routes, &echo);
        let starting = tokio::task::spawn_blocking(move || Proxy::start(&config, &[]));
        Self { echo, proxy: starting.await.unwrap() }
    }

    fn port(&self) -> &str {
        self.proxy.address.rsplit_once(':').unwrap().1
    }

    /// What the telemetry address says.
    async fn metrics(&self) -> String {
        curl(&[&format!("http://{}/metrics", self.proxy.telemetry)]).await.unwrap()
    }
}

fn config(listener: &str, sections: &str, routes: &str, echo: &Echo) -> String {
    let address = if listener.contains("address:") { "" } else { "address: '127.0.0.1:0', " };
    format!(
        "
listeners: {{ default: {{ {address}{listener} }} }}
defaults: {{ upstream: 'http://{}' }}
routes: {{ {routes} }}
telemetry: {{ address: '127.0.0.1:0', logs: {{ format: json, level: debug }} }}
shutdown: {{ delay: 0s, drain: 2s }}
{sections}
",
        echo.address()
    )
}

/// A directory with the certificate of `authority`, `ca.crt`, and a pair for `localhost`, `tls.crt` and `tls.key`.
fn files(authority: &Authority) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("ca.crt"), authority.pem()).unwrap();
    authority.issue("localhost").write(directory.path(), "tls");
    directory
}

/// The `tls` of a listener with that pair, and further settings.
fn tls(directory: &Path, more: &str) -> String {
    let path = directory.to_str().unwrap();
    format!("tls: {{ certificate: {path}/tls.crt, key: {path}/tls.key{more} }}")
}

/// What curl gets, or the code with which it gives up.
async fn curl(arguments: &[&str]) -> Result<String, i32> {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "30"]).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    match output.status.code() {
        Some(0) => Ok(text(&output.stdout)),
        code => Err(code.unwrap()),
    }
}

/// The headers that the echo API saw.
async fn headers(arguments: &[&str]) -> Value {
    let answer = curl(arguments).await.unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
    answer["headers"].clone()
}

/// A TLS connection to 127.0.0.1 for `localhost`.
async fn connect(config: &Arc<ClientConfig>, port: &str) -> TlsStream<TcpStream> {
    let socket = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, socket).await.unwrap()
}

/// One answer, read to its end by its `content-length`: its status.
async fn status(socket: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(read).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let head = text[..end].to_ascii_lowercase();
            let (_, length) = head.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if read.len() >= end + 4 + length {
                read.drain(..end + 4 + length);
                return Some(text[9..12].to_owned());
            }
        }
        if socket.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}
