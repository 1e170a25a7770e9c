//! The API behind the proxy: the echo API, which looks at every request before it answers: whose token is with it?

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderMap;
use http::header;
use obo_proxy::app::demo::echo;
use obo_proxy::app::server::Server;
use obo_proxy::app::server::Transport;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::calls::numbered;
use crate::judge::same;
use crate::ledger::Ledger;
use crate::ledger::Verdict;
use crate::support::idp::parts;
use crate::users::Api as Of;
use crate::users::User;
use crate::users::now;

/// How long a request takes to come here, on a machine that is busy.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// What may be with a request when it comes here.
#[derive(Clone)]
pub enum Credential {
    /// The user's token for that API.
    TokenB(Arc<User>, Of),
    /// The caller's own, by its `uti`.
    TokenA(String),
    /// None.
    Nothing,
}

/// Dropping it stops it.
pub struct Api {
    server: Server,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: AtomicU64,
    awaited: Mutex<HashMap<u64, Awaited>>,
}

struct Awaited {
    /// Nothing if it must not come.
    credential: Option<Credential>,
    has_come: bool,
}

impl Api {
    pub fn start(listener: TcpListener, ledger: Arc<Ledger>) -> Self {
        let seen = Arc::new(Seen::default());
        let noting = seen.clone();
        let server = Server::start(listener, Transport::Plain, move |request| {
            if let Err(wrong) = noting.note(request.headers()) {
                ledger.judged("at the API", Verdict::Wrong(wrong));
            }
            echo::answer(request)
        });
        Self { server: server.unwrap(), seen }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// How many requests came.
    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// That request will be sent, and comes here with that, if it may.
    pub fn expect(&self, number: u64, credential: Option<Credential>) {
        self.seen.awaited.lock().unwrap().insert(number, Awaited { credential, has_come: false });
    }

    /// Whether that request came here.
    pub fn has_seen(&self, number: u64) -> bool {
        self.seen.awaited.lock().unwrap().get(&number).is_some_and(|awaited| awaited.has_come)
    }
}

impl Seen {
    fn note(&self, headers: &HeaderMap) -> Result<(), String> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let field = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let number = field("x-request-id").and_then(numbered).ok_or("a request of nobody's")?;
        let credential = {
            let mut awaited = self.awaited.lock().unwrap();
            let awaited = awaited.get_mut(&number).ok_or_else(|| format!("{number} was not made"))?;
            awaited.has_come = true;
            awaited.credential.clone()
        };
        let token = field(header::AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
        let claims = token.map(|token| parts(token)[1].clone());
        let checked = match (credential, claims) {
            (None, _) => Err("it was to be refused".into()),
            (Some(Credential::Nothing), _) => {
                same("authorization", &headers.get(header::AUTHORIZATION), &None)
            }
            (Some(_), None) => Err("no token".into()),
            (Some(Credential::TokenA(id)), Some(claims)) => {
                same("token", &claims["uti"].as_str(), &Some(id.as_str()))
            }
            (Some(Credential::TokenB(user, of)), Some(claims)) => is_for(&claims, &user, of, ON_ITS_WAY),
        };
        checked.map_err(|wrong| format!("{number}: {wrong}"))
    }
}

/// Whether it is that user's token B for that API, and was good so long ago.
pub fn is_for(token: &Value, user: &User, of: Of, since: Duration) -> Result<(), String> {
    let api = of.name();
    same("oid", &token["oid"].as_str(), &Some(&user.oid))?;
    same("sid", &token["sid"].as_str(), &Some(&user.sid))?;
    same("aud", &token["aud"].as_str(), &Some(&format!("api://{api}-backend")))?;
    same("scp", &token["scp"].as_str(), &Some(&format!("{api}.read")))?;
    let until = token["exp"].as_i64().unwrap_or_default();
    let latest = now() - i64::try_from(since.as_secs()).unwrap();
    if until + 1 < latest {
        Err(format!("a token that ended at {until}, now it is {}", now()))
    } else {
        Ok(())
    }
}
