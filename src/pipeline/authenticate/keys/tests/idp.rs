//! An identity provider on loopback that serves metadata and keys as it is told, and counts.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::Request;
use http::Response;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::pipeline::authenticate::testing::TENANT;

/// How a kind of document is served.
#[derive(Clone)]
pub enum Answer {
    /// As it should be.
    Good,
    /// Like this.
    Reply(u16, &'static [(&'static str, &'static str)], String),
    /// Never.
    Hang,
    /// By closing the connection.
    Cut,
}

pub struct Idp {
    pub address: SocketAddr,
    state: Arc<State>,
    _server: JoinSet<()>,
}

struct State {
    keys: Mutex<Value>,
    metadata: [Mutex<Answer>; 2],
    keys_answer: Mutex<Answer>,
    key_requests: AtomicUsize,
    stray_requests: AtomicUsize,
    is_open: watch::Sender<bool>,
}

impl Idp {
    pub async fn start(keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            keys: Mutex::new(keys),
            metadata: [Mutex::new(Answer::Good), Mutex::new(Answer::Good)],
            keys_answer: Mutex::new(Answer::Good),
            key_requests: AtomicUsize::new(0),
            stray_requests: AtomicUsize::new(0),
            is_open: watch::Sender::new(true),
        });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, address, state.clone()));
        Self { address, state, _server: server }
    }

    pub fn authority(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn publish(&self, keys: Value) {
        *self.state.keys.lock().unwrap() = keys;
    }

    pub fn answer_keys(&self, answer: Answer) {
        *self.state.keys_answer.lock().unwrap() = answer;
    }

    /// Of version 1 and 2 alike.
    pub fn answer_metadata(&self, answer: Answer) {
        self.answer_v1_metadata(answer.clone());
        *self.state.metadata[1].lock().unwrap() = answer;
    }

    pub fn answer_v1_metadata(&self, answer: Answer) {
        *self.state.metadata[0].lock().unwrap() = answer;
    }

    /// Holds requests for keys back until it is opened again.
    pub fn close_gate(&self) {
        self.state.is_open.send_replace(false);
    }

    pub fn open_gate(&self) {
        self.state.is_open.send_replace(true);
    }

    pub fn key_requests(&self) -> usize {
        self.state.key_requests.load(Ordering::SeqCst)
    }

    /// Requests for anything but metadata and keys.
    pub fn stray_requests(&self) -> usize {
        self.state.stray_requests.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, address: SocketAddr, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        let service = service_fn(move |request| answer(request, address, state.clone()));
        connections.spawn(async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    address: SocketAddr,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let issuers = [format!("https://sts.windows.net/{TENANT}/"), format!("http://{address}/{TENANT}/v2.0")];
    let version = usize::from(request.uri().path().contains("v2.0"));
    let (answer, good) = match request.uri().path() {
        path if path.ends_with("/.well-known/openid-configuration") => {
            let jwks_uri = ["keys", "keys/v2.0"][version];
            let jwks_uri = format!("http://{address}/{jwks_uri}");
            let good = json!({"issuer": issuers[version], "jwks_uri": jwks_uri});
            (state.metadata[version].lock().unwrap().clone(), good)
        }
        "/keys" | "/keys/v2.0" => {
            state.key_requests.fetch_add(1, Ordering::SeqCst);
            let _ = state.is_open.subscribe().wait_for(|is_open| *is_open).await;
            let good = json!({ "keys": *state.keys.lock().unwrap() });
            (state.keys_answer.lock().unwrap().clone(), good)
        }
        _ => {
            state.stray_requests.fetch_add(1, Ordering::SeqCst);
            (Answer::Good, json!({}))
        }
    };
    match answer {
        Answer::Good => Ok(Response::new(Full::from(good.to_string()))),
        Answer::Cut => Err(io::ErrorKind::ConnectionReset.into()),
        Answer::Hang => Ok(std::future::pending::<Result<_, Infallible>>().await.unwrap()),
        Answer::Reply(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            Ok(response.body(Full::from(body)).unwrap())
        }
    }
}
