//! Those who call: who they are, and the tokens that they hold for as long as these are good.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::RwLock;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use obo_proxy::app::demo::entra::Entra;
use obo_proxy::app::demo::entra::keys::OldKey;
use obo_proxy::app::demo::entra::users::User as Known;
use obo_proxy::app::demo::entra::wish::TokenWish;
use obo_proxy::domain::clock::Clock;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tokio::time::Instant;

use crate::support::idp::parts;

/// How long the proxy may take to hear of a key: it asks once a second if it does not know one, and others may be at fault.
const NEWS: Duration = Duration::from_secs(8);

/// How long tokens A live.
const LIFE: i64 = 3600;

/// An API that tokens B are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Orders,
    Reports,
}

impl Api {
    pub const ALL: [Self; 2] = [Self::Orders, Self::Reports];

    pub fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Reports => "reports",
        }
    }
}

/// What a token A is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it should be.
    Good,
    /// Without the scope of the reports.
    Narrow,
    /// Of an hour ago.
    Expired,
    /// Signed by nobody.
    Tampered,
}

/// A token A.
#[derive(Clone)]
pub struct Token {
    pub text: String,
    /// Its `uti`, by which it can be told from others.
    pub id: String,
    /// Which of the signing keys signed it.
    pub generation: usize,
}

/// Someone who calls.
pub struct User {
    pub oid: String,
    pub sid: String,
    token: Mutex<Option<Token>>,
    /// Until when the last token B is good that was seen for each API, in seconds since 1970.
    served_until: [AtomicI64; 2],
}

impl User {
    fn new(oid: String, sid: String) -> Arc<Self> {
        Arc::new(Self { oid, sid, token: Mutex::default(), served_until: Default::default() })
    }

    /// The API saw a token B of theirs that is good until then.
    pub fn was_served(&self, api: Api, until: i64) {
        self.served_until[api as usize].fetch_max(until, Ordering::Relaxed);
    }

    /// Whether a token B of theirs must be kept by the proxy, and be good for ten seconds more.
    pub fn is_kept(&self, api: Api) -> bool {
        self.served_until[api as usize].load(Ordering::Relaxed) > now() + 10
    }

    /// The token is no good any more.
    pub fn drop_token(&self) {
        *self.token.lock().unwrap() = None;
    }
}

/// The keys that tokens were signed with, in order.
struct Keys {
    made: Vec<Instant>,
    /// Those before this one are withdrawn.
    first: usize,
}

/// Who makes tokens.
pub struct Users {
    pub entra: Arc<Entra>,
    keys: RwLock<Keys>,
}

impl Users {
    pub fn new(entra: Arc<Entra>) -> Self {
        Self { entra, keys: RwLock::new(Keys { made: vec![Instant::now()], first: 0 }) }
    }

    /// User number so many.
    pub fn number(number: u64) -> Arc<User> {
        User::new(
            format!("a11ce000-5b1e-4c55-8d0a-{number:012}"),
            format!("00000000-5b1e-4c55-8d0a-{number:012}"),
        )
    }

    /// One whose exchanges end as the emulated Entra's user of that name's do.
    pub fn fated(name: &str) -> Arc<User> {
        let known = Known::named(name).unwrap();
        User::new(known.oid.to_owned(), known.sid.to_owned())
    }

    /// Their token, made if they have none.
    pub fn token(&self, user: &User) -> Token {
        let held = user.token.lock().unwrap().clone();
        held.unwrap_or_else(|| {
            let token = self.make(user, Kind::Good);
            *user.token.lock().unwrap() = Some(token.clone());
            token
        })
    }

    /// A new token.
    pub fn make(&self, user: &User, kind: Kind) -> Token {
        let scope = if kind == Kind::Narrow { "orders.read" } else { "orders.read reports.read" };
        let wish = TokenWish { scope: scope.into(), ..TokenWish::default() };
        let template = self.entra.token("alice", &wish).unwrap();
        let [_, claims] = parts(&template);
        let Value::Object(mut claims) = claims else { panic!("no claims") };
        let expires = if kind == Kind::Expired { now() - LIFE } else { now() + LIFE };
        let own = [
            ("oid", json!(user.oid)),
            ("sid", json!(user.sid)),
            ("sub", json!(format!("{}-here", user.oid))),
            ("exp", json!(expires)),
            ("iat", json!(expires - LIFE)),
            ("nbf", json!(expires - LIFE)),
        ];
        claims.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let id = claims["uti"].as_str().unwrap().to_owned();
        // no other key may come between
        let keys = self.keys.read().unwrap();
        let mut text = self.entra.sign(&claims, &Map::new()).unwrap();
        let generation = keys.made.len() - 1;
        if kind == Kind::Tampered {
            let at = text.rfind('.').unwrap() + 10;
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            text.replace_range(at..=at, other);
        }
        Token { text, id, generation }
    }

    /// Signs with another key from now on.
    pub fn rotate(&self, old: OldKey) {
        let mut keys = self.keys.write().unwrap();
        self.entra.rotate_keys(old).unwrap();
        keys.made.push(Instant::now());
        if old == OldKey::Dropped {
            keys.first = keys.made.len() - 1;
        }
    }

    /// Whether the key of that token may be unknown to the proxy that was asked at `begun`: it is new, or withdrawn.
    pub fn may_be_unknown(&self, token: &Token, begun: Instant) -> bool {
        let keys = self.keys.read().unwrap();
        let is_new = token.generation > 0 && begun < keys.made[token.generation] + NEWS;
        is_new || token.generation < keys.first
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    Clock::system().now().as_seconds()
}
