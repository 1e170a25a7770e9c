//! A whole world on loopback: emulated Entra, echo API and the proxy in this process, and a client to call it with.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Request;
use http::StatusCode;
use http_body_util::Full;
use obo_proxy::app::App;
use obo_proxy::app::admin::Probes;
use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::demo::entra::Entra;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::app::demo::entra::wish::TokenWish;
use obo_proxy::app::server::Transport;
use obo_proxy::config;
use obo_proxy::domain::clock::Clock;
use obo_proxy::domain::clock::UnixTime;
use obo_proxy::net::client::Bounds;
use obo_proxy::net::client::Client;
use serde_json::Map;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub mod certificates;
pub mod collector;
pub mod fleet;
pub mod http2;
pub mod idp;
pub mod load;
pub mod process;
pub mod redis;
pub mod relay;
pub mod sidecar;
pub mod terminal;

/// Where the manual clock of a world stands at first.
pub const NOW: i64 = 1_795_000_000;

/// How long anything may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(60), body: 64 * 1024 * 1024 };

/// The routes of the demo.
pub const DEMO_ROUTES: &str = "
  orders: { match: /orders, require: { scopes: [orders.read] }, exchange: { scopes: [api://orders-backend/orders.read] } }
  reports: { match: /reports, require: { scopes: [reports.read] }, exchange: { scopes: [api://reports-backend/.default] } }
  public: { match: /public, auth: anonymous }
  raw: { match: /raw, token: passthrough }
";

/// Everything that takes part in one test. Dropping it stops it all.
pub struct World {
    pub entra: Option<Entra>,
    pub echo: Echo,
    pub proxy: SocketAddr,
    pub telemetry: SocketAddr,
    /// The admin interface, where `sections` asks for one.
    pub admin: Option<SocketAddr>,
    pub clock: Clock,
    pub probes: Probes,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

/// What may differ from the demo's configuration.
pub struct Plan {
    /// The `routes` section.
    pub routes: &'static str,
    /// Further keys of the listener.
    pub listener: &'static str,
    /// Further top-level sections.
    pub sections: &'static str,
    /// Further upstreams.
    pub upstreams: &'static str,
    /// How long requests in flight have when the proxy stops.
    pub drain: &'static str,
    /// Further keys of the identity provider.
    pub provider: &'static str,
    /// The secret the proxy sends, if not the right one.
    pub secret: Option<&'static str>,
    /// The `credential` of the identity provider.
    pub credential: String,
    /// What Entra has registered.
    pub settings: Settings,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            routes: DEMO_ROUTES,
            listener: "",
            sections: "",
            upstreams: "",
            drain: "10s",
            provider: "",
            secret: None,
            credential: "{ secret: { env: SECRET } }".into(),
            settings: Settings::default(),
        }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub fn reason(&self) -> String {
        self.json()["reason"].as_str().unwrap_or_else(|| panic!("no reason: {self:?}")).to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    /// The demo's world.
    pub async fn new() -> Self {
        Self::with(Plan::default()).await
    }

    /// A world with another configuration, its keys loaded.
    pub async fn with(plan: Plan) -> Self {
        let clock = Clock::manual(UnixTime::from_seconds(NOW));
        let entra = Entra::start(plan.settings.clone(), listen().await, clock.clone()).await.unwrap();
        let mut world = Self::around(plan, entra, clock).await;
        assert!(App::until_ready(&world.probes, BOUNDS.timeout).await, "the proxy did not become ready");
        world.client = Client::plain().unwrap();
        world
    }

    /// A world around an Entra that may not answer.
    pub async fn around(plan: Plan, entra: Entra, clock: Clock) -> Self {
        let echo = Echo::start(listen().await, Transport::Plain).unwrap();
        let settings = &plan.settings;
        let text = format!(
            r#"
listeners: {{ default: {{ address: "127.0.0.1:0"{} }} }}
identity_providers:
  demo:
    entra: {{ tenant: {}, authority: "{}" }}
    client_id: {}
    credential: {}
{}
upstreams: {{ echo: {{ url: "http://{}" }}{} }}
defaults: {{ upstream: echo }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ access: false }} }}
shutdown: {{ delay: 0s, drain: {} }}
{}
routes:{}"#,
            plan.listener,
            settings.tenant,
            entra.authority(),
            settings.client_id,
            plan.credential,
            plan.provider,
            echo.address(),
            plan.upstreams,
            plan.drain,
            plan.sections,
            plan.routes,
        );
        let secret = plan.secret.unwrap_or_else(|| settings.client_secret.expose()).to_owned();
        let loaded = config::load_text("test.yaml", &text, &[("SECRET".into(), secret)]);
        let config = loaded.unwrap_or_else(|report| panic!("{report}")).config;
        let app = App::bind(config, clock.clone()).await.unwrap();
        let proxy = app.listeners().unwrap()[0].1.tcp().unwrap();
        let telemetry = app.telemetry();
        let (admin, probes) = (app.admin(), app.probes());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = app.serve(async {
            let _ = stopped.await;
        });
        let serving = tokio::spawn(serving);
        let client = Client::plain().unwrap();
        let (stop, serving) = (Some(stop), Some(serving));
        Self { entra: Some(entra), echo, proxy, telemetry, admin, clock, probes, client, stop, serving }
    }

    pub fn entra(&self) -> &Entra {
        self.entra.as_ref().unwrap()
    }

    /// A token A of `user`.
    pub fn token(&self, user: &str) -> String {
        self.token_for(&format!("user={user}"))
    }

    /// A token A as `/demo/token?query` gives it.
    pub fn token_for(&self, query: &str) -> String {
        let (user, wish) = TokenWish::parse(query).unwrap();
        self.entra().token(&user, &wish).unwrap()
    }

    /// A token A of Alice's whose claims and header are changed, `null` = removed, signed by Entra's current key.
    pub fn altered(&self, changes: Value, header: Value) -> String {
        let token = self.token("alice");
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let mut claims: Map<String, Value> = serde_json::from_slice(&payload).unwrap();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.remove(name),
                value => claims.insert(name.clone(), value.clone()),
            };
        }
        self.entra().sign(&claims, header.as_object().unwrap()).unwrap()
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(self.request(Method::GET, path).header("authorization", format!("Bearer {token}"))).await
    }

    pub async fn get_anonymously(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("http://{}{path}", self.proxy))
    }

    pub async fn send(&self, request: http::request::Builder) -> Answer {
        self.send_body(request, Bytes::new()).await
    }

    pub async fn send_body(&self, request: http::request::Builder, body: Bytes) -> Answer {
        let response = self.client.send(request.body(Full::new(body)).unwrap(), BOUNDS).await.unwrap();
        let (head, body) = response.into_parts();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// Asks the telemetry address.
    pub async fn probe(&self, path: &str) -> Answer {
        self.send(Request::builder().uri(format!("http://{}{path}", self.telemetry))).await
    }

    /// What the telemetry address says of the metric `line` begins with, up to its value.
    pub async fn metric(&self, name_and_labels: &str) -> Option<f64> {
        let metrics = self.probe("/metrics").await;
        let text = String::from_utf8(metrics.body.to_vec()).unwrap();
        text.lines().find_map(|line| line.strip_prefix(name_and_labels)?.trim().parse().ok())
    }

    /// Sends bytes and reads what comes back until the proxy closes.
    pub async fn raw(&self, bytes: &str) -> String {
        raw(self.proxy, bytes).await
    }

    /// Begins to stop the proxy.
    pub fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Resolves when the proxy has stopped.
    pub async fn stopped(&mut self) {
        self.serving.take().unwrap().await.unwrap();
    }
}

/// Sends bytes to `address` and reads what comes back until it closes.
pub async fn raw(address: SocketAddr, bytes: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // a connection that is reset after its answer still had its answer
    let _ = tokio::time::timeout(BOUNDS.timeout, socket.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

pub async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Waits until it is so.
pub async fn until(what: &str, is_it: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_it().await {
        assert!(begun.elapsed() < PATIENCE, "not yet so: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
