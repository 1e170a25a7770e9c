//! The services behind the proxies: each looks at every request as one that must be exactly its caller's, and so does the
//! identity provider with what it is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::Request;
use http::Response;
use http::StatusCode;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use obo_proxy::app::server::whole;
use obo_proxy::net::Body;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::isolation::lanes;
use crate::isolation::lanes::GENERATIONS;
use crate::isolation::lanes::Generation;
use crate::isolation::lanes::Lane;
use crate::isolation::lanes::Wants;
use crate::isolation::wallet::MFA;
use crate::isolation::wallet::Token;
use crate::isolation::wallet::said;
use crate::isolation::wallet::stable;
use crate::support::idp::Answer;
use crate::support::idp::Received;

/// The claims by which a service asks for another token (continuous access evaluation).
pub const DEMANDED: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

/// Where every part of an answer and of a request says whose it is.
pub const NONCE: &str = "x-nonce";

/// A request that somebody has made.
#[derive(Debug)]
pub struct Asked {
    pub lane: &'static Lane,
    /// None where nobody looks at it.
    pub token: Option<Arc<Token>>,
    /// Whether it may come through.
    pub may_pass: bool,
    /// Whether the service is to ask for a stronger token.
    pub is_demanding: bool,
    /// How long its body is, and how long that of its answer.
    pub sent: usize,
    pub wanted: usize,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Court {
    asked: Mutex<HashMap<u64, (Arc<Asked>, u32)>>,
    wrongs: Mutex<Vec<String>>,
    pub seen: AtomicU64,
    tokens: AtomicU64,
}

impl Court {
    /// Notes what is about to be asked.
    pub fn expect(&self, nonce: u64, asked: Asked) -> Arc<Asked> {
        let asked = Arc::new(asked);
        self.asked.lock().unwrap().insert(nonce, (asked.clone(), 0));
        asked
    }

    /// What nobody waits for any more may be forgotten.
    pub fn forget(&self, nonce: u64) {
        self.asked.lock().unwrap().remove(&nonce);
    }

    /// Something that must never be.
    pub fn wrong(&self, what: String) {
        self.wrongs.lock().unwrap().push(what);
    }

    /// All of that.
    pub fn wrongs(&self) -> Vec<String> {
        self.wrongs.lock().unwrap().clone()
    }

    /// How many tokens B were given.
    pub fn given(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// What a service answers.
    pub async fn hear(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        self.seen.fetch_add(1, Ordering::Relaxed);
        let (nonce, asked) = match self.judged(&head) {
            Ok(found) => found,
            Err(why) => {
                self.wrong(format!("{why}\n  {} {}\n  {:?}", head.method, head.uri, shown(&head.headers)));
                return answer(StatusCode::INTERNAL_SERVER_ERROR, 0, Bytes::new());
            }
        };
        // one that breaks off is a caller's who gave up
        if let Ok(body) = body.collect().await
            && body.to_bytes() != pattern(nonce, asked.sent)
        {
            self.wrong(format!("{}: another request's body", head.uri));
        }
        if asked.is_demanding && !is_strong(&head.headers) {
            let mut refusal = answer(StatusCode::UNAUTHORIZED, nonce, Bytes::new());
            let challenge =
                format!(r#"Bearer error="insufficient_claims", claims="{}""#, STANDARD.encode(DEMANDED));
            refusal.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
            return refusal;
        }
        // answers overtake one another
        tokio::time::sleep(Duration::from_millis(nonce % 4)).await;
        answer(StatusCode::OK, nonce, pattern(!nonce, asked.wanted))
    }

    /// Whose request this is, if it is exactly as it must be.
    fn judged(&self, head: &Parts) -> Result<(u64, Arc<Asked>), String> {
        let mut steps = head.uri.path().split('/').skip(1);
        let [generation, lane, nonce] = [(); 3].map(|()| steps.next().unwrap_or_default());
        let generation: usize =
            generation.strip_prefix('g').unwrap_or_default().parse().map_err(|_| "no path of ours")?;
        let generation = GENERATIONS[generation];
        let nonce: u64 = nonce.parse().map_err(|_| "no nonce")?;
        let asked = {
            let mut all = self.asked.lock().unwrap();
            let (asked, times) = all.get_mut(&nonce).ok_or("nobody asked this, or nobody does any more")?;
            *times += 1;
            if *times > if asked.is_demanding { 2 } else { 1 } {
                return Err(format!("it came {times} times"));
            }
            asked.clone()
        };
        let check = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        check(asked.may_pass, "it should have been refused")?;
        check(asked.lane.name == lane, "it took another route")?;
        let text = nonce.to_string();
        check(all(&head.headers, NONCE) == [&text], "its fields are another request's")?;
        check(all(&head.headers, "x-request-id") == [&text], "its id is another request's")?;
        check(head.uri.query() == Some(&format!("n={nonce}")), "its query is another request's")?;
        let token = asked.token.as_deref();
        if let Some(token) = token {
            if asked.lane.wants != Wants::TokenA {
                for piece in token.pieces() {
                    let holds =
                        |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).contains(piece);
                    check(!head.headers.values().any(holds), "token A goes on")?;
                }
            }
            if asked.lane.name == "named" {
                for (field, claim) in [("x-user-id", "oid"), ("x-session", "sid")] {
                    check(
                        all(&head.headers, field) == [token.claims[claim].as_str().unwrap_or_default()],
                        "it names somebody else",
                    )?;
                }
            }
        }
        match (asked.lane.wants, token, &*all(&head.headers, "authorization")) {
            (Wants::Nobody | Wants::Nothing, _, []) => {}
            (Wants::TokenA, Some(token), [shown]) if shown.strip_prefix("Bearer ") == Some(&token.text) => {}
            (Wants::TokenB(..), Some(token), [shown]) => {
                let token_b = shown.strip_prefix("Bearer ").and_then(opened).ok_or("no token B")?;
                fits(&token_b, asked.lane, generation, token)
                    .map_err(|what| format!("{what}\n  token A {}\n  token B {token_b}", token.claims))?;
            }
            _ => return Err("no such Authorization is wanted".into()),
        }
        Ok((nonce, asked))
    }

    /// What an identity provider answers.
    pub fn issue(&self, asked: &Received) -> Answer {
        if asked.path == "/introspect" {
            let token = asked.get("token");
            // what else comes has the form of such a token
            let mut said = if token.starts_with("opaque-") { said(token) } else { json!({}) };
            said["active"] = json!(token.starts_with("opaque-"));
            return Answer::json(200, &said);
        }
        let token_a = [asked.get("assertion"), asked.get("subject_token")].concat();
        let holder = if token_a.is_empty() { Value::Null } else { said(&token_a) };
        let number = self.tokens.fetch_add(1, Ordering::Relaxed);
        let late = Duration::from_millis(number % 25);
        if holder["rh"] == MFA {
            let claims = json!({"access_token": {"polids": {"essential": true, "values": [holder["jti"]]}}});
            let refusal = json!({
                "error": "invalid_grant", "error_codes": [50076], "suberror": "basic_action", "claims": claims.to_string(),
            });
            return Answer::json(400, &refusal).after(late);
        }
        let tokens = ["assertion", "subject_token", "actor_token", "client_secret", "claims"];
        let actor = asked.get("actor_token");
        let token_b = json!({
            "number": number, "path": asked.path, "form": asked.without(&tokens), "secret": asked.get("client_secret"),
            "claims": asked.get("claims"), "holder": holder, "actor": opened(actor),
        });
        // of three, one ends soon, one is to be renewed soon, and one does neither
        let (lifetime, refresh) = [(4, 4), (3600, 1), (3600, 3600)][usize::try_from(number % 3).unwrap()];
        let granted = json!({
            "token_type": "Bearer", "expires_in": lifetime, "refresh_in": refresh, "access_token": sealed(&token_b),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        });
        Answer::json(200, &granted).after(late)
    }
}

/// Whether a token B is the one that the route wants for the holder of this token A.
fn fits(token_b: &Value, lane: &Lane, generation: Generation, token: &Token) -> Result<(), String> {
    let check = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    let request = lane.request(generation, token).unwrap();
    check(token_b["path"] == request.path, "token B is from another endpoint")?;
    check(token_b["form"] == json!(request.form), "token B is for something else")?;
    check(token_b["secret"] == request.secret, "token B was got with another credential")?;
    check(is_declared(lane, token_b["claims"].as_str().unwrap_or_default()), "token B has other claims")?;
    let is_actors = token_b["actor"]["form"]
        == json!([["client_id", "orders-proxy"], ["grant_type", lanes::CLIENT_CREDENTIALS]]);
    check(is_actors == lane.has_actor(), "token B is for another actor")?;
    let holder = &token_b["holder"];
    if lane.callers == lanes::Callers::Robots {
        return check(holder.is_null(), "token B is a user's");
    }
    match generation.key {
        "assertion" => check(*holder == token.claims, "token B is another token's"),
        _ => {
            check(stable(holder) == stable(&token.claims), "token B is another session's, or another user's")
        }
    }
}

/// Whether these claims are what the route's provider declares, and perhaps what its service demanded.
fn is_declared(lane: &Lane, claims: &str) -> bool {
    if lane.name != "careful" {
        return claims.is_empty();
    }
    let mut said: Value = serde_json::from_str(claims).unwrap_or_default();
    let Some(members) = said["access_token"].as_object_mut() else { return false };
    members.remove("acrs").is_none_or(|demanded| demanded["value"] == "c1")
        && said == json!({"access_token": {"xms_cc": {"values": ["cp1"]}}})
}

fn is_strong(headers: &HeaderMap) -> bool {
    let shown = all(headers, "authorization");
    let token = shown.first().and_then(|shown| opened(shown.strip_prefix("Bearer ")?));
    token.is_some_and(|token| token["claims"].as_str().is_some_and(|claims| claims.contains("acrs")))
}

/// Serves it over HTTP/2 without TLS, for as long as somebody waits.
pub async fn serve_http2(listener: TcpListener, court: Arc<Court>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let court = court.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let court = court.clone();
                async move { Ok::<_, std::convert::Infallible>(court.hear(request).await) }
            });
            // it ends when the proxy does
            let _ = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

/// The body that belongs to a number.
pub fn pattern(of: u64, length: usize) -> Bytes {
    let line = format!("{of:020}\n");
    line.bytes().cycle().take(length).collect()
}

/// A token B: in hexadecimal digits, so that nothing of token A can be seen in it.
fn sealed(said: &Value) -> String {
    said.to_string().bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// What a token B says, if it is one.
fn opened(token: &str) -> Option<Value> {
    let pairs = token.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    serde_json::from_slice(&bytes.collect::<Option<Vec<u8>>>()?).ok()
}

fn all<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect()
}

fn shown(headers: &HeaderMap) -> Vec<String> {
    headers
        .iter()
        .map(|(name, value)| format!("{name}: {:.200}", String::from_utf8_lossy(value.as_bytes())))
        .collect()
}

fn answer(status: StatusCode, nonce: u64, body: Bytes) -> Response<Body> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(NONCE, nonce.into());
    response
}
