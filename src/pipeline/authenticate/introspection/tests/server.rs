//! An introspection endpoint on loopback that answers as it is told, and counts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use http::HeaderMap;
use http::Request;
use http::Response;
use http_body_util::BodyExt;
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
use url::form_urlencoded;

/// A question it was asked.
pub struct Question {
    pub form: Vec<(String, String)>,
    pub headers: HeaderMap,
}

pub struct Server {
    pub address: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Default)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

struct State {
    reply: Mutex<Reply>,
    questions: Mutex<Vec<Question>>,
    is_open: watch::Sender<bool>,
}

impl Server {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            reply: Mutex::default(),
            questions: Mutex::default(),
            is_open: watch::Sender::new(true),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, state.clone()));
        Self { address, state, _tasks: tasks }
    }

    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn says(&self, answer: &Value) {
        self.replies(200, &[("content-type", "application/json")], &answer.to_string());
    }

    pub fn replies(&self, status: u16, headers: &[(&'static str, &str)], body: &str) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        *self.state.reply.lock().unwrap() = Reply { status, headers, body: body.to_owned() };
    }

    /// Holds answers back until it is opened again.
    pub fn close_gate(&self) {
        self.state.is_open.send_replace(false);
    }

    pub fn open_gate(&self) {
        self.state.is_open.send_replace(true);
    }

    pub fn asked(&self) -> usize {
        self.state.questions.lock().unwrap().len()
    }

    pub fn last(&self) -> Question {
        self.state.questions.lock().unwrap().pop().unwrap()
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let address = stream.local_addr().unwrap();
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
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/introspect" {
        let metadata = json!({
            "issuer": format!("http://{address}"),
            "introspection_endpoint": format!("http://{address}/introspect"),
        });
        return Ok(Response::new(Full::from(metadata.to_string())));
    }
    let (head, body) = request.into_parts();
    let form = body.collect().await.unwrap().to_bytes();
    let form = form_urlencoded::parse(&form).into_owned().collect();
    state.questions.lock().unwrap().push(Question { form, headers: head.headers });
    let _ = state.is_open.subscribe().wait_for(|is_open| *is_open).await;
    let Reply { status, headers, body } = state.reply.lock().unwrap().clone();
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::from(body)).unwrap())
}
