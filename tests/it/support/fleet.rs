//! Proxies that share a Redis: real processes, each with an echo API of its own, before one identity provider that says in
//! every token B whose it is.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::idp::Answer;
use crate::support::idp::Idp;
use crate::support::idp::Received;
use crate::support::idp::parts;
use crate::support::sidecar::Sidecar;
use crate::support::until;

/// The tenant of every user.
pub const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";

/// The application that the proxies are.
pub const CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";

const ROUTES: &str = "\n  orders: { match: /, exchange: { scopes: [api://orders-backend/.default] } }\n";

/// Proxies of one configuration. Dropping it stops the identity provider; the proxies are their tests'.
pub struct Fleet {
    pub idp: Idp,
    directory: TempDir,
    /// The keys of `cache.redis` that say where it is.
    server: String,
    /// How many users there were whom nobody had seen.
    seen: AtomicUsize,
}

/// Users from here on get tokens that nobody keeps.
const FLEETING: usize = 900_000;

/// Users from here on are asked for by helpers only.
const HELPERS: usize = 800_000;

/// What proxies have their Redis look-ups end with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    pub hits: u64,
    pub misses: u64,
    pub errors: u64,
}

impl Fleet {
    /// A fleet around the server that these keys of `cache.redis` lead to.
    pub async fn around(server: &str) -> Self {
        let idp = Idp::start(granted).await;
        let directory = tempfile::tempdir().unwrap();
        let fleet = Self { idp, directory, server: server.to_owned(), seen: AtomicUsize::new(0) };
        fleet.encryption_key("key", 1);
        fleet
    }

    /// The same around another server: its files may be needed before that is known.
    pub fn at(self, server: &str) -> Self {
        Self { server: server.to_owned(), ..self }
    }

    /// Writes a file that a configuration may name: its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Writes an encryption key to a file, as `openssl rand -base64 32` would.
    pub fn encryption_key(&self, name: &str, seed: u8) -> String {
        self.file(name, &format!("{}\n", encryption_key(seed)))
    }

    /// Starts a proxy, whose Redis may take a second, and waits until it has been heard of.
    pub async fn proxy(&self) -> Arc<Sidecar> {
        let proxy = self.proxy_with(&self.server, &["key"], "1s").await;
        self.joined(&proxy).await;
        proxy
    }

    /// The same with a Redis that may take as long as by default.
    pub async fn hasty_proxy(&self) -> Arc<Sidecar> {
        let proxy = self.proxy_with(&self.server, &["key"], "50ms").await;
        self.joined(&proxy).await;
        proxy
    }

    /// Starts a proxy and waits until it is ready, whatever its Redis does.
    pub async fn proxy_with(&self, server: &str, keys: &[&str], timeout: &str) -> Arc<Sidecar> {
        let providers = format!(
            r#"
  contoso:
    entra: {{ tenant: {TENANT}, authority: "{}" }}
    client_id: {CLIENT}
    credential: {{ secret: {{ env: SECRET }} }}"#,
            self.idp.authority()
        );
        let key = |name: &&str| format!("{{ file: \"{}\" }}", self.path(name).display());
        let keys: Vec<String> = keys.iter().map(key).collect();
        let sections = format!(
            "workers: 1\ncache:\n  redis: {{ {server}, encryption_keys: [{}], timeout: {timeout} }}",
            keys.join(", ")
        );
        let proxy = Sidecar::start_with(&providers, ROUTES, &sections, &[]).await;
        proxy.ready().await;
        Arc::new(proxy)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Waits until Redis has answered the proxy. Leaves nothing behind.
    pub async fn joined(&self, proxy: &Sidecar) {
        until("Redis has answered the proxy", async || {
            self.serves(proxy, FLEETING + self.stranger()).await;
            let Lookups { hits, misses, .. } = lookups(proxy).await;
            hits + misses > 0
        })
        .await;
    }

    /// Waits until what the one fetches is found by the other.
    pub async fn share(&self, one: &Sidecar, other: &Sidecar) {
        until("they share", async || {
            let user = HELPERS + self.stranger();
            self.serves(one, user).await;
            self.serves(other, user).await;
            self.exchanges(user) == 1
        })
        .await;
    }

    fn stranger(&self) -> usize {
        self.seen.fetch_add(1, Ordering::Relaxed)
    }

    /// A token A of that user.
    pub fn token(&self, user: usize) -> String {
        self.token_of(user, "s")
    }

    /// A token A of that user's session: no other session may have its token B.
    pub fn token_of(&self, user: usize, session: &str) -> String {
        self.idp.entra_token(TENANT, &name(user), json!({"sid": session}))
    }

    /// Calls the proxy for that user, who must be let through with a token B of their own: which one that is.
    pub async fn serves(&self, proxy: &Sidecar, user: usize) -> u64 {
        served(proxy, "/", &self.token(user)).await
    }

    /// Calls the proxy for all of them at once: which tokens B they got.
    pub async fn serves_all(&self, proxy: &Arc<Sidecar>, users: Range<usize>) -> Vec<u64> {
        let mut calls = JoinSet::new();
        for user in users.clone() {
            let (proxy, token) = (proxy.clone(), self.token(user));
            calls.spawn(async move { (user, served(&proxy, "/", &token).await) });
        }
        let mut numbers = calls.join_all().await;
        numbers.sort_unstable();
        numbers.into_iter().map(|(_, number)| number).collect()
    }

    /// How often the identity provider was asked for a token of that user's.
    pub fn exchanges(&self, user: usize) -> usize {
        self.exchanges_of(user..user + 1)
    }

    /// How often the identity provider was asked for a token of one of theirs.
    pub fn exchanges_of(&self, users: Range<usize>) -> usize {
        let names: Vec<String> = users.map(name).collect();
        let received = self.idp.received();
        received.iter().filter(|asked| names.contains(&of(asked))).count()
    }
}

/// The text of an encryption key.
pub fn encryption_key(seed: u8) -> String {
    STANDARD.encode([seed; 32])
}

/// What a user is called.
pub fn name(user: usize) -> String {
    format!("a11ce000-5b1e-4c55-8d0a-{user:012}")
}

/// What the user is called for whom a token is asked for.
pub fn of(asked: &Received) -> String {
    let [_, claims] = parts(asked.get("assertion"));
    claims["oid"].as_str().unwrap().to_owned()
}

/// A token B for an hour, or for nobody knows how long.
pub fn granted(asked: &Received) -> Answer {
    match of(asked) >= name(FLEETING) {
        true => Answer::json(200, &json!({"token_type": "Bearer", "access_token": token_b(asked)})),
        false => Answer::granted(&token_b(asked)),
    }
}

/// A token B for an hour that is as long as what it carries besides.
pub fn granted_with(asked: &Received, more: Value) -> Answer {
    Answer::granted(&token_b_with(asked, more))
}

/// A token B that says whose it is, of which session, what it was asked to satisfy, and which one it is of all.
pub fn token_b(asked: &Received) -> String {
    token_b_with(asked, Value::Null)
}

fn token_b_with(asked: &Received, more: Value) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let [_, claims] = parts(asked.get("assertion"));
    let demanded: Value = serde_json::from_str(asked.get("claims")).unwrap_or_default();
    let payload = json!({
        "oid": claims["oid"], "sid": claims["sid"], "acrs": [demanded["access_token"]["acrs"]["value"]],
        "number": NUMBER.fetch_add(1, Ordering::Relaxed), "more": more,
    });
    format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(payload.to_string()))
}

/// Calls `path` with a token A, whose user must be let through with a token B of that session's: which one that is.
pub async fn served(proxy: &Sidecar, path: &str, token: &str) -> u64 {
    let answer = proxy.get(path, token).await;
    assert_eq!(answer.status, 200, "{answer:?}\n{}", proxy.proxy.log());
    let answer = answer.json();
    let (seen, [_, claims]) = (&answer["token"], parts(token));
    assert_eq!((&seen["oid"], &seen["sid"]), (&claims["oid"], &claims["sid"]), "another's token");
    seen["number"].as_u64().unwrap()
}

/// What became of the proxy's look-ups in Redis so far.
pub async fn lookups(proxy: &Sidecar) -> Lookups {
    let count = async |result: &str| {
        proxy.count(&format!("obo_cache_requests_total{{tier=\"redis\",result=\"{result}\"}}")).await
    };
    Lookups { hits: count("hit").await, misses: count("miss").await, errors: count("error").await }
}

/// What the access log says of where the tokens came from that were used for `path`.
pub fn cache_words(proxy: &Sidecar) -> Vec<String> {
    let log = proxy.proxy.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let requests = lines.filter(|line| line["msg"] == "request");
    requests.map(|line| line["cache"].as_str().unwrap_or_default().to_owned()).collect()
}
