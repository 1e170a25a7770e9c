//! TCP to identity providers, directly or through a forward proxy by CONNECT (RFC 9110 section 9.3.6).
//!
//! **In:** the host of a URL. **Out:** a connection to it, on which TLS begins. **Never:** takes what a proxy says for
//! what the identity provider says: everything it answers but success is an error, and it is no HTTP error.

use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::StatusCode;
use http::Uri;
use http::header::HOST;
use http::header::PROXY_AUTHORIZATION;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::client::conn::http1::Parts;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;
use zeroize::Zeroizing;

use crate::config::Egress;
use crate::config::ForwardProxy;
use crate::domain::secret::Secret;
use crate::net::BoxError;
use crate::net::budget::Share;
use crate::net::names::Names;
use crate::net::tcp;

/// The longest head of a proxy's answer, in bytes.
const LONGEST_HEAD: usize = 8 * 1024;
const MOST_HEADERS: usize = 100;

/// Who waits for a connection has a shorter limit; this is for when nobody does any more.
const LIMIT: Duration = Duration::from_secs(60);

/// Why a proxy leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there.
    #[error("cannot connect to the proxy {0}")]
    Unreachable(ForwardProxy, #[source] BoxError),
    /// It wants to know who we are, or knows us under another password.
    #[error("the proxy {0} asks for a user name and password (407), or for others")]
    Login(ForwardProxy),
    /// It does not connect us.
    #[error("the proxy {0} does not connect to {1}: it answers {2}")]
    Refused(ForwardProxy, String, StatusCode),
    /// It does not speak HTTP, or stops.
    #[error("the proxy {0} does not answer as a proxy: {1}")]
    // its text alone: in the chain it would be taken for the identity provider's
    Broken(ForwardProxy, String),
    /// It takes too long.
    #[error("the proxy {0} did not connect to {1} in time")]
    Late(ForwardProxy, String),
    /// There is no such request.
    #[error("the proxy {0} cannot be asked for {1}")]
    Unaskable(ForwardProxy, String),
}

/// Connects to identity providers.
#[derive(Clone, Debug)]
pub struct Connector {
    tcp: tcp::Connector,
    egress: Arc<Egress>,
}

impl Connector {
    /// One that goes that way.
    pub fn new(egress: Arc<Egress>) -> Self {
        Self { tcp: tcp::Connector::new(Names::default(), LIMIT, Share::default()), egress }
    }
}

/// The proxy on the way to `target`.
pub fn proxy_to<'a>(egress: &'a Egress, target: &Uri) -> Option<&'a ForwardProxy> {
    let host = target.host()?;
    egress.proxy_to(host, port(target))
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let Some(proxy) = proxy_to(&self.egress, &target).cloned() else {
            return self.tcp.call(target);
        };
        let authority = format!("{}:{}", target.host().unwrap_or_default(), port(&target));
        let Ok(address) = proxy.to_string().parse::<Uri>() else {
            return Box::pin(async move { Err(Error::Unaskable(proxy, authority).into()) });
        };
        let connecting = self.tcp.call(address);
        Box::pin(async move {
            let tunnel = async {
                let stream = connecting.await.map_err(|error| Error::Unreachable(proxy.clone(), error))?;
                tunnel(stream, &proxy, &authority).await
            };
            let late = || Err(Error::Late(proxy.clone(), authority.clone()));
            Ok(tokio::time::timeout(LIMIT, tunnel).await.unwrap_or_else(|_| late())?)
        })
    }
}

fn port(target: &Uri) -> u16 {
    let default = if target.scheme_str() == Some("http") { 80 } else { 443 };
    target.port_u16().unwrap_or(default)
}

/// Has `proxy`, to which `stream` leads, connect it to `authority`.
async fn tunnel(
    stream: TokioIo<TcpStream>,
    proxy: &ForwardProxy,
    authority: &str,
) -> Result<TokioIo<TcpStream>, Error> {
    let broken = |error: hyper::Error| Error::Broken(proxy.clone(), error.to_string());
    let request =
        question(proxy, authority).ok_or_else(|| Error::Unaskable(proxy.clone(), authority.into()))?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(LONGEST_HEAD).max_headers(MOST_HEADERS);
    let (mut sender, connection) = builder.handshake(stream).await.map_err(broken)?;
    let mut asking = pin!(sender.send_request(request));
    let mut connection = pin!(connection.without_shutdown());
    let mut done = None;
    let response = loop {
        tokio::select! {
            biased;
            response = &mut asking => break response.map_err(broken)?,
            // the answer is there by now
            ended = &mut connection, if done.is_none() => done = Some(ended),
        }
    };
    match response.status() {
        status if status.is_success() => {}
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => return Err(Error::Login(proxy.clone())),
        status => return Err(Error::Refused(proxy.clone(), authority.into(), status)),
    }
    let ended = match done {
        Some(ended) => ended,
        None => connection.await,
    };
    let Parts { io, read_buf, .. } = ended.map_err(broken)?;
    match read_buf.is_empty() {
        true => Ok(io),
        // nobody speaks at the other end before TLS begins
        false => Err(Error::Broken(proxy.clone(), "it says more than that it is connected".into())),
    }
}

fn question(proxy: &ForwardProxy, authority: &str) -> Option<Request<Empty<Bytes>>> {
    let mut request = Request::builder().method(Method::CONNECT).uri(authority).header(HOST, authority);
    if let Some(login) = &proxy.login {
        request = request.header(PROXY_AUTHORIZATION, basic(login)?);
    }
    request.body(Empty::new()).ok()
}

/// RFC 7617.
fn basic(login: &Secret) -> Option<HeaderValue> {
    let mut value = Zeroizing::new(String::with_capacity(6 + 4 * login.expose().len().div_ceil(3)));
    value.push_str("Basic ");
    BASE64_STANDARD.encode_string(login.expose(), &mut value);
    let bytes = Bytes::from_owner(Zeroizing::new(std::mem::take(&mut *value).into_bytes()));
    let mut value = HeaderValue::from_maybe_shared(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use crate::net::causes;
    use crate::net::client;
    use crate::net::client::Bounds;
    use crate::net::client::Client;
    use crate::net::tls;
    use crate::telemetry::logs;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Something that answers the first question with these bytes, then stays or goes; and what it was asked.
    async fn answering(bytes: Vec<u8>, goes: bool) -> (ForwardProxy, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            // who has enough of it hangs up
            let _ = stream.write_all(&bytes).await;
            if !goes {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            String::from_utf8(asked).unwrap()
        });
        let login = Some(Secret::new("us:hunter2".into()));
        (ForwardProxy { host: "127.0.0.1".into(), port, login }, answering)
    }

    async fn asked_through(proxy: &ForwardProxy, timeout: Duration) -> client::Error {
        let egress = Egress::Proxied { proxy: proxy.clone(), except: vec![] };
        let client = Client::through(tls::client_config_without_roots().unwrap(), egress);
        let request = Request::get("https://id.example:8443/keys").body(Full::default()).unwrap();
        client.send(request, Bounds { timeout, body: 1024 }).await.unwrap_err()
    }

    #[tokio::test]
    async fn whatever_a_proxy_answers_is_no_word_of_the_identity_provider() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(LONGEST_HEAD));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MOST_HEADERS + 1));
        let broken = "does not answer as a proxy: ";
        for (answer, goes, expected) in [
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
                false,
                "asks for a user name and password (407)",
            ),
            (
                "HTTP/1.1 403 Forbidden\r\ncontent-length: 9999\r\n\r\n{\"error\":",
                false,
                "does not connect to id.example:8443: it answers 403 Forbidden",
            ),
            (
                "HTTP/1.0 502 Bad Gateway\r\n\r\n",
                true,
                "does not connect to id.example:8443: it answers 502 Bad Gateway",
            ),
            (
                "HTTP/1.1 301 Moved\r\nlocation: http://evil.example/\r\n\r\n",
                false,
                "it answers 301 Moved Permanently",
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}",
                false,
                "it says more than that it is connected",
            ),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", false, broken),
            ("", true, broken),
            ("HTTP/1.1 200", true, broken),
            (&long, false, broken),
            (&many, false, broken),
        ] {
            let (proxy, answering) = answering(answer.into(), goes).await;
            let error = asked_through(&proxy, PATIENCE).await;
            let text = logs::report(&error);
            assert!(
                text.contains(&format!("the proxy {proxy} ")) && text.contains(expected),
                "{answer}\n{text}"
            );
            assert!(!text.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{text}");
            // an answer that cannot be parsed is known by this
            let is_parse = |cause: &(dyn std::error::Error + 'static)| cause.is::<hyper::Error>();
            assert!(!causes(&error).any(is_parse), "{text}");
            let authority = "id.example:8443";
            let expected = format!(
                "CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\nproxy-authorization: Basic dXM6aHVudGVyMg==\r\n\r\n"
            );
            assert_eq!(answering.await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn tls_is_spoken_with_the_other_end_and_not_with_the_proxy() {
        let (proxy, _answering) =
            answering(b"HTTP/1.0 200 Connection established\r\n\r\n".to_vec(), true).await;
        let text = logs::report(&asked_through(&proxy, PATIENCE).await);
        assert!(!text.contains("the proxy"), "{text}");
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_there_or_hangs_is_named() {
        let (mut proxy, _answering) = answering(Vec::new(), false).await;
        let error = asked_through(&proxy, Duration::from_millis(200)).await;
        assert_eq!(
            error.to_string(),
            format!("the server did not answer within 200ms through the proxy {proxy}")
        );
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
        proxy.port = nobody.local_addr().unwrap().port();
        drop(nobody);
        let text = logs::report(&asked_through(&proxy, PATIENCE).await);
        assert!(text.contains(&format!("cannot connect to the proxy {proxy}")), "{text}");
    }

    #[tokio::test]
    async fn there_is_no_proxy_on_the_way_to_an_exception() {
        let (proxy, _answering) = answering(Vec::new(), false).await;
        let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target: Uri = format!("https://{}/", there.local_addr().unwrap()).parse().unwrap();
        let egress = Egress::Proxied { proxy, except: vec![crate::config::Exception::Loopback] };
        let mut connector = Connector::new(Arc::new(egress));
        let (connected, accepted) = tokio::join!(connector.call(target), there.accept());
        assert_eq!(connected.unwrap().inner().local_addr().unwrap(), accepted.unwrap().1);
    }
}
