//! The real binary between callers and an echo API, with whatever identity providers a test has.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Request;
use http_body_util::Full;
use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::server::Transport;
use obo_proxy::net::client;
use obo_proxy::net::client::Bounds;
use obo_proxy::net::client::Client;

use crate::support::Answer;
use crate::support::listen;
use crate::support::process::Proxy;

const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(60), body: 1024 * 1024 };

/// How long the proxy may take to find its keys, or to heal, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Dropping it stops it.
pub struct Sidecar {
    pub echo: Echo,
    pub proxy: Proxy,
    client: Client,
}

impl Sidecar {
    /// Starts it with the sections `identity_providers` and `routes`, both as they stand in a file. Routes go to the echo
    /// API. The secret is in `SECRET`.
    pub async fn start(identity_providers: &str, routes: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_with(identity_providers, routes, "", environment).await
    }

    /// The same with further sections.
    pub async fn start_with(
        identity_providers: &str,
        routes: &str,
        sections: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        Self::start_by(&[], identity_providers, routes, sections, environment).await
    }

    /// The same, started by another program with these arguments, which becomes it.
    pub async fn start_by(
        program: &[&str],
        identity_providers: &str,
        routes: &str,
        sections: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let program: Vec<String> = program.iter().map(|word| (*word).to_owned()).collect();
        let echo = Echo::start(listen().await, Transport::Plain).unwrap();
        let config = format!(
            r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
identity_providers:{identity_providers}
upstreams: {{ echo: {{ url: "http://{}" }} }}
defaults: {{ upstream: echo }}
routes:{routes}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json }} }}
shutdown: {{ delay: 0s, drain: 2s }}
{sections}
"#,
            echo.address()
        );
        let mut all = vec![("SECRET".to_owned(), "s3cret+/=".to_owned())];
        all.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let starting = tokio::task::spawn_blocking(move || {
            let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let program: Vec<_> = program.iter().map(String::as_str).collect();
            match program.is_empty() {
                true => Proxy::start(&config, &all),
                false => Proxy::start_by(&program, &config, &all),
            }
        });
        Self { echo, proxy: starting.await.unwrap(), client: Client::plain().unwrap() }
    }

    /// Calls `path` with a token, once the keys that it needs are there.
    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.until(path, token, |answer| !is_for(answer, "keys_unavailable")).await
    }

    /// Calls `path` with a token until the answer is what is waited for.
    pub async fn until(&self, path: &str, token: &str, is_it: impl Fn(&Answer) -> bool) -> Answer {
        let mut last = None;
        let calling = async {
            loop {
                let answer = self.ask(path, Some(token)).await;
                if is_it(&answer) {
                    return answer;
                }
                last = Some(answer);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let answered = tokio::time::timeout(PATIENCE, calling).await;
        answered.unwrap_or_else(|_| panic!("{path}: {last:?}\n{}", self.proxy.log()))
    }

    /// Calls `path`.
    pub async fn ask(&self, path: &str, token: Option<&str>) -> Answer {
        let mut request = Request::get(format!("http://{}{path}", self.proxy.address));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request, Bytes::new()).await
    }

    /// Calls `path`; the answer may break off.
    pub async fn try_ask(&self, path: &str, token: &str) -> Result<Answer, client::Error> {
        let request = Request::get(format!("http://{}{path}", self.proxy.address));
        let request = request.header("authorization", format!("Bearer {token}"));
        self.try_send(request, Bytes::new()).await
    }

    /// Sends bytes to `path`.
    pub async fn post(&self, path: &str, token: &str, body: Bytes) -> Answer {
        self.call(Method::POST, path, token, body).await
    }

    /// Sends bytes to `path` by any method.
    pub async fn call(&self, method: Method, path: &str, token: &str, body: Bytes) -> Answer {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.proxy.address));
        self.send(request.header("authorization", format!("Bearer {token}")), body).await
    }

    /// Waits until it is ready.
    pub async fn ready(&self) {
        let waiting = async {
            while self.probe("/readyz").await.status != 200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let ready = tokio::time::timeout(PATIENCE, waiting).await;
        ready.unwrap_or_else(|_| panic!("the proxy is not ready: {}", self.proxy.log()));
    }

    /// Asks the telemetry address.
    pub async fn probe(&self, path: &str) -> Answer {
        self.send(Request::get(format!("http://{}{path}", self.proxy.telemetry)), Bytes::new()).await
    }

    /// What the metric that `name_and_labels` begins with counts; nothing at all is 0.
    pub async fn count(&self, name_and_labels: &str) -> u64 {
        let metrics = self.probe("/metrics").await;
        let text = String::from_utf8(metrics.body.to_vec()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name_and_labels));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    async fn send(&self, request: http::request::Builder, body: Bytes) -> Answer {
        self.try_send(request, body).await.unwrap()
    }

    async fn try_send(&self, request: http::request::Builder, body: Bytes) -> Result<Answer, client::Error> {
        let request = request.body(Full::new(body)).unwrap();
        let (head, body) = self.client.send(request, BOUNDS).await?.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Calls `path`, which must be let through: the token that the service saw.
    pub async fn token_b(&self, path: &str, token: &str) -> String {
        let answer = self.get(path, token).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}\n{}", self.proxy.log());
        let seen = answer.json();
        assert!(!seen.to_string().contains(token), "token A reached the service");
        let authorization = seen["headers"]["authorization"].as_str().unwrap_or_default().to_owned();
        authorization.strip_prefix("Bearer ").unwrap().to_owned()
    }

    /// Calls `path`, which must be refused: status and reason.
    pub async fn refused(&self, path: &str, token: &str) -> (u16, String) {
        let answer = self.get(path, token).await;
        (answer.status.as_u16(), answer.reason())
    }
}

fn is_for(answer: &Answer, reason: &str) -> bool {
    answer.status.is_server_error() && answer.json()["reason"] == reason
}
