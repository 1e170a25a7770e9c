//! An identity provider that answers by a script: Entra's metadata and keys, those of any other issuer, and tokens of both.
//! Whatever else it is asked, the script answers, and it keeps what it was asked.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use obo_proxy::app::demo::entra::client_assertion::Seen;
use obo_proxy::app::demo::entra::endpoints;
use obo_proxy::app::demo::entra::endpoints::Endpoint;
use obo_proxy::app::demo::entra::keys::KeyRing;
use obo_proxy::app::demo::entra::settings::Realm;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::app::demo::frames::Frames;
use obo_proxy::app::server::Server;
use obo_proxy::app::server::Transport;
use obo_proxy::app::server::whole;
use obo_proxy::domain::clock::Clock;
use obo_proxy::net::Body;
use obo_proxy::net::BoxError;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::listen;

/// A second tenant, whose users may come too.
pub const OTHER_TENANT: &str = "26039cce-489d-4002-8293-5b0c5134eacb";

/// As many keys are published as one may expect of an issuer.
const MOST_KEYS: usize = 40;

/// Dropping it stops it.
pub struct Idp {
    _server: Server,
    state: Arc<State>,
}

struct State {
    realm: Realm,
    /// Those that are published, the oldest first.
    keys: Mutex<Vec<Arc<KeyRing>>>,
    /// The one of them that signs.
    signing: Mutex<Arc<KeyRing>>,
    /// Whether metadata and keys are to be had.
    is_open: AtomicBool,
    /// What the metadata says beyond the usual.
    more: Value,
    received: Mutex<Vec<Received>>,
    script: Mutex<Arc<Script>>,
}

type Script = dyn Fn(&Received) -> Answer + Send + Sync;

/// A request that was answered by the script.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub form: Vec<(String, String)>,
}

impl Received {
    /// The parameter of that name, or nothing.
    pub fn get(&self, name: &str) -> &str {
        self.form.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// The parameters but those, sorted.
    pub fn without(&self, names: &[&str]) -> Vec<(&str, &str)> {
        let form = self.form.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        let mut form: Vec<_> = form.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        form.sort_unstable();
        form
    }
}

/// What the script answers.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub content: Content,
}

/// The body of an answer.
pub enum Content {
    /// All of it.
    Whole(String),
    /// A part of what the header promises.
    BrokenOff(String),
    /// All of it, so much later; the header too.
    Late(Duration, String),
    /// It never comes, and the header neither.
    Never,
}

impl Answer {
    /// Any JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, "application/json", body.to_string())
    }

    /// Any text.
    pub fn text(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status, headers, content: Content::Whole(body.into()) }
    }

    /// A token for an hour, as the grants of RFC 6749 give it.
    pub fn granted(token: &str) -> Self {
        Self::json(200, &json!({"token_type": "Bearer", "expires_in": 3600, "access_token": token}))
    }

    /// A token for an hour, as a token exchange gives it (RFC 8693 section 2.2.1).
    pub fn exchanged(token: &str) -> Self {
        Self::json(200, &exchanged(token))
    }

    /// The same answer, so much later.
    pub fn after(mut self, delay: Duration) -> Self {
        if let Content::Whole(text) = self.content {
            self.content = Content::Late(delay, text);
        }
        self
    }

    /// The same answer with another header field.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a token exchange answers.
pub fn exchanged(token: &str) -> Value {
    json!({
        "token_type": "Bearer", "expires_in": 3600, "access_token": token,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    })
}

impl Idp {
    /// One without TLS.
    pub async fn start(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(json!({}), Transport::Plain, script).await
    }

    /// One whose metadata has these members too, reached over `transport`.
    pub async fn start_with(
        more: Value,
        transport: Transport,
        script: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start_as("127.0.0.1", more, transport, script).await
    }

    /// The same, known by another name of this machine, or by one that only a proxy knows.
    pub async fn start_as(
        host: &str,
        more: Value,
        transport: Transport,
        script: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = listen().await;
        let scheme = if matches!(transport, Transport::Plain) { "http" } else { "https" };
        let authority = format!("{scheme}://{host}:{}", listener.local_addr().unwrap().port());
        Self::start_on(listener, authority, more, transport, script).await
    }

    /// The same on `listener`, known by an authority that leads there.
    pub async fn start_on(
        listener: TcpListener,
        authority: String,
        more: Value,
        transport: Transport,
        script: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let settings = Settings { other_tenants: vec![OTHER_TENANT.into()], ..Settings::default() };
        let keys = tokio::task::spawn_blocking(new_keys).await.unwrap();
        let state = Arc::new(State {
            realm: Realm { settings, authority, seen: Seen::default() },
            keys: Mutex::new(vec![keys.clone()]),
            signing: Mutex::new(keys),
            is_open: AtomicBool::new(true),
            more,
            received: Mutex::default(),
            script: Mutex::new(Arc::new(script)),
        });
        let serving = state.clone();
        let server = Server::start(listener, transport, move |request| serving.clone().respond(request));
        Self { _server: server.unwrap(), state }
    }

    /// Answers by another script from now on.
    pub fn answers(&self, script: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Arc::new(script);
    }

    /// Answers 503 to whoever wants metadata or keys, until [`Self::open`].
    pub fn close(&self) {
        self.state.is_open.store(false, Ordering::SeqCst);
    }

    /// Gives metadata and keys to whoever wants them.
    pub fn open(&self) {
        self.state.is_open.store(true, Ordering::SeqCst);
    }

    /// Its issuer, and Entra's authority: scheme, address and port.
    pub fn authority(&self) -> &str {
        &self.state.realm.authority
    }

    /// All that the script was asked.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    pub fn requests(&self) -> usize {
        self.state.received.lock().unwrap().len()
    }

    /// What the script was asked last.
    pub fn last(&self) -> Received {
        self.state.received.lock().unwrap().last().cloned().unwrap()
    }

    /// A token of these claims, good for an hour unless they say otherwise; null removes one.
    pub fn sign(&self, claims: Value, changes: Value) -> String {
        let now = Clock::system().now().as_seconds();
        let mut all = Map::from_iter([("iat".into(), json!(now)), ("exp".into(), json!(now + 3600))]);
        for (name, value) in members(claims).into_iter().chain(members(changes)) {
            match value {
                Value::Null => all.remove(&name),
                value => all.insert(name, value),
            };
        }
        let keys = self.state.signing.lock().unwrap().clone();
        keys.current().sign(&all, &Map::new()).unwrap()
    }

    /// Publishes another key. What those before signed stays good for as many turns as a key set has room.
    pub fn publish_another_key(&self) {
        // it takes a while, in which nobody waits
        let another = new_keys();
        let mut keys = self.state.keys.lock().unwrap();
        keys.push(another);
        let surplus = keys.len().saturating_sub(MOST_KEYS);
        keys.drain(..surplus);
    }

    /// Signs with the key that was published last.
    pub fn sign_with_the_newest_key(&self) {
        let newest = self.state.keys.lock().unwrap().last().cloned().unwrap();
        *self.state.signing.lock().unwrap() = newest;
    }

    /// Entra's token of a user of `tenant`, for the application the proxy is.
    pub fn entra_token(&self, tenant: &str, user: &str, changes: Value) -> String {
        let claims = json!({
            "iss": format!("{}/{tenant}/v2.0", self.authority()), "tid": tenant, "ver": "2.0",
            "aud": self.state.realm.settings.client_id, "azp": "0c5a3c1e-3f0e-4b4c-9d2a-5b7e2f6a1d11",
            "oid": user, "sub": format!("{user}-here"), "scp": "orders.read", "sid": "s",
        });
        self.sign(claims, changes)
    }

    /// Another issuer's token of a user for `orders` (RFC 9068).
    pub fn token(&self, user: &str, changes: Value) -> String {
        let claims = json!({
            "iss": self.authority(), "aud": "orders", "sub": user, "client_id": "spa", "scope": "orders.read",
        });
        self.sign(claims, changes)
    }
}

fn new_keys() -> Arc<KeyRing> {
    Arc::new(KeyRing::generate().unwrap())
}

fn members(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members,
        other => panic!("{other} is no object"),
    }
}

impl State {
    async fn respond(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        if let Some(published) = self.published(request.uri().path()) {
            let mut answer = endpoints::json_answer(&published).map(whole);
            if !self.is_open.load(Ordering::SeqCst) {
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            return answer;
        }
        let (head, body) = request.into_parts();
        // whoever asks may have gone away
        let Ok(body) = body.collect().await else { return Response::new(whole("")) };
        let pairs = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect();
        let received = Received {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: pairs(head.uri.query().unwrap_or_default().as_bytes()),
            headers: head.headers,
            form: pairs(&body.to_bytes()),
        };
        self.received.lock().unwrap().push(received.clone());
        let script = self.script.lock().unwrap().clone();
        let Answer { status, headers, content } = script(&received);
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        match content {
            Content::Whole(text) => response.body(whole(text)).unwrap(),
            Content::BrokenOff(text) => {
                let broken: [Result<Frame<Bytes>, BoxError>; 2] =
                    [Ok(Frame::data(text.clone().into())), Err("broken off on request".into())];
                let frames = Frames::new(broken, Duration::ZERO);
                response.header(header::CONTENT_LENGTH, text.len() + 1000).body(Body::new(frames)).unwrap()
            }
            Content::Late(delay, text) => {
                tokio::time::sleep(delay).await;
                response.body(whole(text)).unwrap()
            }
            Content::Never => std::future::pending().await,
        }
    }

    /// The document at `path`, if it is one of those that need no script.
    fn published(&self, path: &str) -> Option<Value> {
        let (realm, authority) = (&self.realm, &self.realm.authority);
        match (path, Endpoint::at(path)) {
            (_, Some(Endpoint::Metadata(version, tenant))) => {
                Some(endpoints::metadata(realm, version, realm.segment(tenant)?))
            }
            (_, Some(Endpoint::Keys(version, tenant))) => {
                let segment = realm.segment(tenant)?;
                Some(self.key_set(|keys| endpoints::keys(realm, keys, version, segment)))
            }
            ("/.well-known/openid-configuration", _) => {
                let mut document = members(json!({
                    "issuer": authority,
                    "jwks_uri": format!("{authority}/keys"),
                    "token_endpoint": format!("{authority}/token"),
                    "introspection_endpoint": format!("{authority}/introspect"),
                    "authorization_endpoint": format!("{authority}/authorize"),
                }));
                document.extend(members(self.more.clone()));
                Some(Value::Object(document))
            }
            ("/keys", _) => Some(self.key_set(|keys| keys.key_set(authority))),
            _ => None,
        }
    }

    /// The key sets of all keys, as one.
    fn key_set(&self, of: impl Fn(&KeyRing) -> Value) -> Value {
        let keys = self.keys.lock().unwrap();
        let sets = keys.iter().map(|keys| of(keys)["keys"].as_array().cloned().unwrap());
        json!({ "keys": sets.flatten().collect::<Vec<_>>() })
    }
}

/// The JOSE header and the claims of a token, unverified.
pub fn parts(token: &str) -> [Value; 2] {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    [parts.next().unwrap(), parts.next().unwrap()].map(|part| serde_json::from_slice(&part).unwrap())
}
