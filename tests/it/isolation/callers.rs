//! Callers who ask at random, on connections of HTTP/1.1 and streams of HTTP/2, and hold every answer against its request.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::Response;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use obo_proxy::app::demo::frames::Frames;
use obo_proxy::app::server::whole;
use obo_proxy::net::Body;
use obo_proxy::net::BoxError;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::isolation::chance::Chance;
use crate::isolation::court::Asked;
use crate::isolation::court::Court;
use crate::isolation::court::DEMANDED;
use crate::isolation::court::NONCE;
use crate::isolation::court::pattern;
use crate::isolation::lanes::Callers;
use crate::isolation::lanes::LANES;
use crate::isolation::lanes::Wants;
use crate::isolation::wallet::Token;
use crate::isolation::wallet::Wallet;

/// How long an answer may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many requests in a row have something in common.
const AT_ONCE: u64 = 40;

/// What all callers share.
pub struct Stage {
    pub court: Arc<Court>,
    pub wallet: Arc<Wallet>,
    pub is_over: AtomicBool,
    pub tally: Tally,
    pub nonces: AtomicU64,
    pub seed: u64,
}

/// How often each thing happened.
#[derive(Debug, Default)]
pub struct Tally {
    pub served: AtomicU64,
    /// By the identity provider, with claims.
    pub refused: AtomicU64,
    /// A bad token, or none.
    pub turned_away: AtomicU64,
    pub aborted: AtomicU64,
    /// Got another token for a service that asked for one.
    pub stepped_up: AtomicU64,
    /// Was told what that service asked for.
    pub challenged: AtomicU64,
    /// No answer, and why for the last of them.
    pub lost: Mutex<(u64, String)>,
}

/// What a request is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    /// With a token that the identity provider refuses, unless one is there already.
    Mfa,
    /// With a token that is none, or without.
    Bad,
    /// Given up somewhere on the way.
    Aborted,
    /// For a service that wants a stronger token.
    Demanding,
}

/// Where a caller asks.
pub enum Line {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

impl Line {
    pub async fn http1(address: SocketAddr) -> Result<Self, BoxError> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        Ok(Self::One(sender))
    }

    pub async fn http2(address: SocketAddr) -> Result<Self, BoxError> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        Ok(Self::Two(sender))
    }

    /// Another stream of it.
    pub fn another(&self) -> Option<Self> {
        match self {
            Self::One(_) => None,
            Self::Two(sender) => Some(Self::Two(sender.clone())),
        }
    }

    async fn send(&mut self, mut request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::One(sender) => {
                sender.ready().await?;
                request.headers_mut().insert("host", http::HeaderValue::from_static("orders.example"));
                sender.send_request(request).await
            }
            Self::Two(sender) => {
                sender.ready().await?;
                let target = format!("http://orders.example{}", request.uri());
                *request.uri_mut() = target.parse().unwrap();
                sender.send_request(request).await
            }
        }
    }
}

impl Stage {
    /// Asks there until it is over: on connections of its own, or on this one.
    pub async fn ask_all_the_time(
        self: Arc<Self>,
        address: SocketAddr,
        mut chance: Chance,
        shared: Option<Line>,
    ) {
        let mut line = shared;
        while !self.is_over.load(Ordering::Relaxed) {
            let open = match &mut line {
                Some(open) => open,
                None => match Line::http1(address).await {
                    Ok(new) => line.insert(new),
                    Err(error) => {
                        self.lose(&error);
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            if !self.ask(open, &mut chance).await {
                match open {
                    Line::One(_) => line = None,
                    // whoever shares the connection has lost it too
                    Line::Two(sender) if sender.is_closed() => return,
                    Line::Two(_) => {}
                }
            }
        }
    }

    fn lose(&self, why: &dyn fmt::Display) {
        let mut lost = self.tally.lost.lock().unwrap();
        *lost = (lost.0 + 1, why.to_string());
    }

    /// Asks once; whether the connection may go on.
    async fn ask(&self, line: &mut Line, chance: &mut Chance) -> bool {
        let kind = match chance.below(100) {
            0..6 => Kind::Mfa,
            6..12 => Kind::Bad,
            12..20 => Kind::Aborted,
            20..23 => Kind::Demanding,
            _ => Kind::Good,
        };
        let nonce = self.nonces.fetch_add(1, Ordering::Relaxed);
        // some ask for what others ask for just then, and some are those others, on another route
        let mut common = Chance::new(self.seed, !(nonce / AT_ONCE));
        let (own_lane, common_lane) = (chance.below(LANES.len()), common.below(LANES.len()));
        let (at, whose) = match chance.below(3) {
            0 => (own_lane, &mut *chance),
            1 => (own_lane, &mut common),
            _ => (common_lane, &mut common),
        };
        let lane = match kind {
            Kind::Demanding => LANES.iter().find(|lane| lane.name == "careful").unwrap(),
            _ => &LANES[at],
        };
        // a route that exchanges nothing has nothing to be refused for
        let kind = match (kind, lane.wants) {
            (Kind::Mfa, Wants::Nobody | Wants::Nothing | Wants::TokenA) => Kind::Good,
            (Kind::Bad, Wants::Nobody) => Kind::Good,
            _ => kind,
        };
        let is_refused = kind == Kind::Mfa && lane.name != "robots";
        let token = (kind != Kind::Bad).then(|| self.wallet.token(lane.callers, is_refused, whose));
        let length = |chance: &mut Chance| match chance.below(8) {
            0..4 => 0,
            4..7 => chance.below(300),
            _ => chance.below(40_000),
        };
        let asked = self.court.expect(
            nonce,
            Asked {
                lane,
                token: token.clone(),
                may_pass: kind != Kind::Bad,
                is_demanding: kind == Kind::Demanding,
                sent: length(chance),
                wanted: length(chance),
            },
        );
        let mut request = Request::builder()
            .method(if asked.sent == 0 { "GET" } else { "POST" })
            .uri(format!("/{}/{nonce}?n={nonce}", lane.name))
            .header(NONCE, nonce)
            .header("x-request-id", nonce);
        for shown in self.shown(kind, lane.callers, token.as_deref(), chance) {
            request = request.header("authorization", shown);
        }
        if lane.name == "named" {
            request = request.header("x-user-id", "victim").header("X_Session", "victim");
        }
        let body = body(pattern(nonce, asked.sent), chance);
        let request = request.body(body).unwrap();
        let patience = match kind {
            Kind::Aborted => Duration::from_micros(chance.next() % 20_000),
            _ => PATIENCE,
        };
        let answering = async {
            let (head, body) = line.send(request).await?.into_parts();
            Ok::<_, hyper::Error>((head, body.collect().await?.to_bytes()))
        };
        match tokio::time::timeout(patience, answering).await {
            Ok(Ok((head, body))) => {
                if let Err(what) = self.judge(kind, nonce, &asked, &head, &body) {
                    let body = String::from_utf8_lossy(&body);
                    self.court
                        .wrong(format!("{}/{nonce}, {kind:?}: {what}\n  {head:?}\n  {body:.500}", lane.name));
                }
                self.court.forget(nonce);
                true
            }
            Ok(Err(error)) => {
                self.lose(&format!("{kind:?} {error:?}"));
                false
            }
            Err(_) if kind == Kind::Aborted => {
                self.tally.aborted.fetch_add(1, Ordering::Relaxed);
                false
            }
            Err(_) => {
                self.lose(&format!("{kind:?} nothing in time"));
                false
            }
        }
    }

    /// The `Authorization` fields.
    fn shown(&self, kind: Kind, callers: Callers, token: Option<&Token>, chance: &mut Chance) -> Vec<String> {
        let bearer = |token: &str| format!("Bearer {token}");
        match (kind, token) {
            (_, Some(token)) => vec![bearer(&token.text)],
            (_, None) => match chance.below(8) {
                0 => Vec::new(),
                1 => [0; 2].map(|_| bearer(&self.wallet.token(callers, false, chance).text)).to_vec(),
                _ => vec![bearer(&self.wallet.bad(callers, chance))],
            },
        }
    }

    /// Whether that is an answer to this request, and one that it may have.
    fn judge(
        &self,
        kind: Kind,
        nonce: u64,
        asked: &Asked,
        head: &http::response::Parts,
        body: &Bytes,
    ) -> Result<(), String> {
        let text = nonce.to_string();
        let field = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        if field("x-request-id") != Some(&text) {
            return Err("another request's id".into());
        }
        let count = |of: &AtomicU64| {
            of.fetch_add(1, Ordering::Relaxed);
        };
        if head.status == 200 && kind != Kind::Bad {
            if field(NONCE) != Some(&text) || *body != pattern(!nonce, asked.wanted) {
                return Err("another request's answer".into());
            }
            count(&self.tally.served);
            if kind == Kind::Demanding {
                count(&self.tally.stepped_up);
            }
            return Ok(());
        }
        let said: Value = serde_json::from_slice(body).map_err(|_| "no answer of ours")?;
        match (kind, head.status.as_u16(), said["reason"].as_str().unwrap_or_default()) {
            (Kind::Mfa, 401, "interaction_required") => {
                // what is demanded is demanded of the very token that was shown
                let own = asked.token.as_deref().map_or("", Token::id);
                let claims = said["claims"].as_str().unwrap_or_default();
                let claims: Value = serde_json::from_str(claims).unwrap_or_default();
                if claims["access_token"]["polids"]["values"] != serde_json::json!([own]) {
                    return Err("another token's refusal".into());
                }
                count(&self.tally.refused);
            }
            // a body that comes in pieces is not sent again, and who was challenged too often is not asked for again
            (Kind::Demanding, 401, "interaction_required" | "interaction_loop") => {
                if said["claims"] != DEMANDED {
                    return Err("another service's demand".into());
                }
                count(&self.tally.challenged);
            }
            (Kind::Bad, 400 | 401 | 403, _) => count(&self.tally.turned_away),
            (_, status, reason) => return Err(format!("{status} {reason} is not for this one")),
        }
        Ok(())
    }
}

/// A body in one piece, or in several without a length.
fn body(bytes: Bytes, chance: &mut Chance) -> Body {
    if bytes.is_empty() || chance.once_in(2) {
        return whole(bytes);
    }
    let (one, two) = bytes.split_at(bytes.len() / 2);
    let pieces = [one, two].map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
    Body::new(Frames::new(pieces, Duration::ZERO))
}
