//! A collector of traces that answers as it is told, and keeps what it was sent.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::Request;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use obo_proxy::app::server::Server;
use obo_proxy::app::server::Transport;
use obo_proxy::app::server::whole;
use obo_proxy::net::Body;
use serde_json::Value;

use crate::support::listen;

/// Dropping it stops it.
pub struct Collector {
    server: Server,
    exports: Arc<Mutex<Vec<Export>>>,
}

/// What it was sent at once.
#[derive(Clone)]
pub struct Export {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A span, as its JSON says.
#[derive(Clone, Debug)]
pub struct Span(pub Value);

impl Collector {
    /// One that answers so; `None` = never.
    pub async fn answering(answer: Option<(u16, &'static str)>) -> Self {
        let exports = Arc::new(Mutex::new(Vec::new()));
        let kept = exports.clone();
        let answer = move |request: Request<Incoming>| take(request, kept.clone(), answer);
        Self { server: Server::start(listen().await, Transport::Plain, answer).unwrap(), exports }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// What it was sent so far.
    pub fn exports(&self) -> Vec<Export> {
        self.exports.lock().unwrap().clone()
    }

    /// The spans in all that it was sent so far.
    pub fn spans(&self) -> Vec<Span> {
        self.exports().iter().flat_map(Export::spans).collect()
    }
}

async fn take(
    request: Request<Incoming>,
    exports: Arc<Mutex<Vec<Export>>>,
    answer: Option<(u16, &'static str)>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    exports.lock().unwrap().push(Export { path: head.uri.path().to_owned(), headers: head.headers, body });
    let Some((status, retry_after)) = answer else {
        tokio::time::sleep(Duration::from_secs(600)).await;
        return Response::new(whole(""));
    };
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    if !retry_after.is_empty() {
        response = response.header("retry-after", retry_after);
    }
    response.body(whole("{}")).unwrap()
}

impl Export {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn spans(&self) -> Vec<Span> {
        let json = self.json();
        json["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .unwrap()
            .iter()
            .cloned()
            .map(Span)
            .collect()
    }
}

impl Span {
    pub fn text(&self, member: &str) -> &str {
        self.0[member].as_str().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.text("name")
    }

    pub fn time(&self, member: &str) -> u128 {
        self.text(member).parse().unwrap()
    }

    pub fn is_error(&self) -> bool {
        self.0["status"]["code"] == 2
    }

    /// The attribute of that name, as text.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let attributes = self.0["attributes"].as_array().unwrap();
        let value = &attributes.iter().find(|attribute| attribute["key"] == name)?["value"];
        value["stringValue"].as_str().or_else(|| value["intValue"].as_str())
    }
}
