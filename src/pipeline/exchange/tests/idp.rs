//! A token endpoint on loopback that answers by a script.

use std::collections::BTreeMap;
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
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::watch;

/// A form as the endpoint received it.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub form: BTreeMap<String, String>,
    /// The form as it was, repetitions and all.
    pub pairs: Vec<(String, String)>,
}

/// What the endpoint answers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

type Script = dyn Fn(&Received) -> Answer + Send + Sync;

/// The endpoint.
pub struct Idp {
    address: SocketAddr,
    received: Mutex<Vec<Received>>,
    arrivals: watch::Sender<usize>,
    gate: Semaphore,
    script: Box<Script>,
}

impl Idp {
    /// An endpoint that answers at once.
    pub async fn open(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        let idp = Self::closed(script).await;
        idp.open_gate();
        idp
    }

    /// An endpoint that takes requests, but answers none before [`Self::open_gate`].
    pub async fn closed(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let idp = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            received: Mutex::default(),
            arrivals: watch::Sender::new(0),
            gate: Semaphore::new(0),
            script: Box::new(script),
        });
        tokio::spawn(idp.clone().serve(listener));
        idp
    }

    pub fn open_gate(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 4);
    }

    /// Lets one request be answered.
    pub fn open_gate_once(&self) {
        self.gate.add_permits(1);
    }

    pub fn authority(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until that many requests have come in.
    pub async fn arrived(&self, requests: usize) {
        self.arrivals.subscribe().wait_for(|arrived| *arrived >= requests).await.unwrap();
    }

    pub fn requests(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let idp = self.clone();
            let service = service_fn(move |request| idp.clone().answer(request));
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default();
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let headers = request.headers().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
        let form = pairs.iter().cloned().collect();
        let received = Received { path, query, headers, form, pairs };
        self.received.lock().unwrap().push(received.clone());
        self.arrivals.send_modify(|arrived| *arrived += 1);
        self.gate.acquire().await.unwrap().forget();
        let answer = (self.script)(&received);
        let mut response = Response::builder().status(answer.status);
        for (name, value) in answer.headers {
            response = response.header(name, value);
        }
        Ok(response.body(Full::new(answer.body.into())).unwrap())
    }
}

impl Received {
    pub fn assertion(&self) -> &str {
        &self.form["assertion"]
    }

    pub fn scope(&self) -> &str {
        &self.form["scope"]
    }
}

/// The token B that belongs to a request: it names the token A and the scopes it was issued for.
pub fn token_b(received: &Received) -> String {
    format!("b:{}:{}", received.assertion(), received.scope().replace(' ', ","))
}

/// A token that lives an hour.
pub fn granted(received: &Received) -> Answer {
    granted_for(received, 3600)
}

/// A token that lives that many seconds.
pub fn granted_for(received: &Received, expires_in: u64) -> Answer {
    json(200, &json!({"token_type": "Bearer", "expires_in": expires_in, "access_token": token_b(received)}))
}

/// An OAuth error.
pub fn refused(error: &str) -> Answer {
    json(400, &json!({"error": error}))
}

/// Any JSON.
pub fn json(status: u16, body: &Value) -> Answer {
    Answer { status, headers: vec![("content-type", "application/json".into())], body: body.to_string() }
}
