//! The small HTTP/1.1 server of everything that is not the data path: probes, the emulated Entra, the echo API.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::Response;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::net::Body;

/// Most connections at a time of the demo's servers.
const MOST: usize = 512;
/// And of those that anybody may reach: they must not take the descriptors that callers need, nor much memory.
const MOST_GUESTS: usize = 128;

/// Longest request head: tokens for the echo API are in it.
const LONGEST_HEAD: usize = 128 * 1024;
/// And where anybody may ask: a token of ours, and all that browsers add.
const LONGEST_GUESTS_HEAD: usize = 32 * 1024;

/// How long a guest may stay, and how long the last answer may take: who reads nothing is gone then.
const STAY: Duration = Duration::from_secs(60);
const FAREWELL: Duration = Duration::from_secs(10);

/// Who connects to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitors {
    /// Whom we know: who comes when it is full waits, and who is there stays.
    Known,
    /// Anybody: who comes when it is full takes the place of whoever has been there longest, and nobody stays for ever. So
    /// nobody keeps probes out.
    Anybody,
}

/// How the server is reached.
#[derive(Clone)]
pub enum Transport {
    /// Without TLS.
    Plain,
    /// Over TLS.
    Tls(Arc<rustls::ServerConfig>),
}

/// Whose socket a request came from: an extension of it.
#[derive(Clone, Copy, Debug)]
pub struct From(pub SocketAddr);

/// A listener that nobody is answered at yet: who connects waits.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Of a listener of the current runtime.
    ///
    /// # Errors
    /// If it has no address.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on what comes is answered with `answer`, on the current runtime.
    pub fn serve<A, F>(self, transport: Transport, visitors: Visitors, answer: A) -> Server
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let accepting = accept(self.listener, transport, visitors, answer);
        Server { address: self.address, accepting: tokio::spawn(accepting).abort_handle() }
    }
}

/// A running server. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Server {
    /// Serves those we know with `answer`, at `listener`, on the current runtime.
    ///
    /// # Errors
    /// If the listener has no address.
    pub fn start<A, F>(listener: TcpListener, transport: Transport, answer: A) -> io::Result<Self>
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Ok(Bound::new(listener)?.serve(transport, Visitors::Known, answer))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A body that is there already.
pub fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// The connections belong to this future: when it is aborted, so are they.
async fn accept<A, F>(listener: TcpListener, transport: Transport, visitors: Visitors, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    // the oldest first
    let mut guests = VecDeque::new();
    loop {
        let has_room = visitors == Visitors::Anybody || connections.len() < MOST;
        tokio::select! {
            accepted = listener.accept(), if has_room => match accepted {
                Ok((socket, peer)) => {
                    let answer = answer.clone();
                    let answer = move |mut request: Request<Incoming>| {
                        request.extensions_mut().insert(From(peer));
                        answer(request)
                    };
                    let handle = connections.spawn(connect(socket, transport.clone(), visitors, answer));
                    if visitors == Visitors::Anybody {
                        admit(&mut guests, handle);
                    }
                }
                // out of file descriptors, most likely: the next attempt would fail at once
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Lets another guest in, in place of the one who has been there longest if it is full.
fn admit(guests: &mut VecDeque<AbortHandle>, newest: AbortHandle) {
    guests.retain(|guest| !guest.is_finished());
    if guests.len() >= MOST_GUESTS
        && let Some(oldest) = guests.pop_front()
    {
        oldest.abort();
        tracing::debug!("a connection to one of our own servers made room for another");
    }
    guests.push_back(newest);
}

async fn connect<A, F>(socket: TcpStream, transport: Transport, visitors: Visitors, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    // without it, answers written in two parts may wait for an acknowledgement; a failure only makes it slow
    let _ = socket.set_nodelay(true);
    match transport {
        Transport::Plain => converse(socket, visitors, answer).await,
        Transport::Tls(config) => match TlsAcceptor::from(config).accept(socket).await {
            Ok(socket) => converse(socket, visitors, answer).await,
            Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
        },
    }
}

async fn converse<I, A, F>(io: I, visitors: Visitors, answer: A)
where
    I: AsyncRead + AsyncWrite + Unpin + Send,
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let response = answer(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let longest_head = match visitors {
        Visitors::Known => LONGEST_HEAD,
        Visitors::Anybody => LONGEST_GUESTS_HEAD,
    };
    let mut http = http1::Builder::new();
    let connection = http.timer(TokioTimer::new()).max_buf_size(longest_head);
    let mut connection = pin!(connection.serve_connection(TokioIo::new(io), service));
    let served = match visitors {
        Visitors::Known => connection.await,
        Visitors::Anybody => match tokio::time::timeout(STAY, connection.as_mut()).await {
            Ok(served) => served,
            Err(_) => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(FAREWELL, connection).await.unwrap_or(Ok(()))
            }
        },
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to one of our own servers broke");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;

    use super::*;

    const ASKED: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    /// More than kernels keep of what is not read.
    const LONG: usize = 64 * 1024 * 1024;

    async fn server(visitors: Visitors, length: usize) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Bound::new(listener).unwrap().serve(Transport::Plain, visitors, move |_| {
            std::future::ready(Response::new(whole(vec![b'a'; length])))
        })
    }

    #[tokio::test]
    async fn who_comes_when_it_is_full_takes_the_place_of_the_oldest() {
        let server = server(Visitors::Anybody, 2).await;
        let mut guests = Vec::new();
        for _ in 0..=MOST_GUESTS {
            let mut guest = TcpStream::connect(server.address()).await.unwrap();
            guest.write_all(ASKED).await.unwrap();
            assert!(guest.read(&mut [0; 1024]).await.unwrap() > 0);
            guests.push(guest);
        }
        assert_eq!(guests[0].read(&mut [0; 1024]).await.unwrap_or_default(), 0, "the oldest is still there");
        for guest in guests.iter_mut().skip(1) {
            guest.write_all(ASKED).await.unwrap();
            assert!(guest.read(&mut [0; 1024]).await.unwrap() > 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_is_gone_after_a_while_unless_we_know_who_it_is() {
        for (visitors, is_cut) in [(Visitors::Anybody, true), (Visitors::Known, false)] {
            let server = server(visitors, LONG).await;
            let mut guest = TcpStream::connect(server.address()).await.unwrap();
            guest.write_all(ASKED).await.unwrap();
            assert!(guest.read(&mut [0; 1024]).await.unwrap() > 0);
            tokio::time::sleep(STAY + FAREWELL + Duration::from_secs(1)).await;
            let (mut piece, mut all) = (vec![0; 64 * 1024], 0);
            while all < LONG / 2
                && let Ok(read @ 1..) = guest.read(&mut piece).await
            {
                all += read;
            }
            assert_eq!(all < LONG / 2, is_cut, "{visitors:?} {all}");
        }
    }
}
