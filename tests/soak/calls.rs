//! One request of each kind, from the token to the last byte of the answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::Request;
use http::header;
use http_body::Frame;
use http_body_util::BodyExt;
use obo_proxy::app::demo::frames::Frames;
use obo_proxy::app::server::whole;
use obo_proxy::net::Body;
use tokio::time::Instant;

use crate::callers::Lane;
use crate::callers::causes;
use crate::judge::Asked;
use crate::judge::Expected;
use crate::ledger::Verdict;
use crate::random::Random;
use crate::users::Api;
use crate::users::Kind as TokenKind;
use crate::users::Token;
use crate::users::User;
use crate::websocket;
use crate::world::World;

/// How long an answer may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A piece of an upload.
const PIECE: usize = 4096;

/// What is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// By those who call all the time.
    Regular,
    /// By those who come, and call a few times.
    Passing,
    /// A body that is sent in pieces.
    Upload,
    /// One that is answered with while it is sent.
    BothWays,
    /// An answer that comes in pieces.
    Download,
    /// A long body, without a token.
    LongUpload,
    /// The token is passed on as it is.
    Raw,
    /// There is a token where none is wanted.
    Anonymous,
    NoToken,
    Narrow,
    Expired,
    Tampered,
    NoRoute,
    StepUp,
    Blocked,
    /// The upstream never answers.
    Hanging,
    /// It answers with an error of its own.
    Failing,
    /// It breaks off.
    BrokenOff,
    Socket,
    /// The caller does not wait for the end.
    GivenUp,
    /// An answer that is still on its way when the proxy is told to stop.
    UnderWay,
}

/// How often each is called for.
pub const MIX: [(usize, Kind); 20] = [
    (450, Kind::Regular),
    (140, Kind::Passing),
    (60, Kind::Upload),
    (30, Kind::BothWays),
    (40, Kind::Download),
    (10, Kind::LongUpload),
    (40, Kind::Raw),
    (40, Kind::Anonymous),
    (20, Kind::NoToken),
    (10, Kind::Narrow),
    (10, Kind::Expired),
    (10, Kind::Tampered),
    (20, Kind::NoRoute),
    (20, Kind::StepUp),
    (10, Kind::Blocked),
    (10, Kind::Hanging),
    (20, Kind::Failing),
    (20, Kind::BrokenOff),
    (15, Kind::Socket),
    (25, Kind::GivenUp),
];

/// A request before it is made.
pub struct Call {
    pub kind: Kind,
    pub user: Arc<User>,
    pub api: Api,
    pub lane: Lane,
    /// For how many requests a connection is kept.
    pub keep: usize,
    /// A number for whatever is to differ.
    pub size: usize,
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// Or how it broke off.
    pub body: Result<Bytes, String>,
}

impl Call {
    /// Another one, by that user.
    pub fn any(random: &mut Random, kind: Kind, user: Arc<User>) -> Self {
        Self {
            kind,
            user,
            api: random.pick(&Api::ALL),
            lane: random.pick(&Lane::ALL),
            keep: random.weighed(&[(1, 0), (3, 5), (10, 60), (6, 500)]),
            size: random.below(1_000_000),
        }
    }

    /// Makes it, and judges what comes.
    pub async fn make(self, world: &World) {
        let kind = self.kind.name();
        let verdict = match self.kind {
            Kind::Socket => self.socket(world).await,
            Kind::GivenUp => self.given_up(world).await,
            _ => self.whole(world).await,
        };
        world.ledger.judged(kind, verdict);
    }

    async fn whole(self, world: &World) -> Verdict {
        let begun = Instant::now();
        let token = self.token(world);
        let number = world.request();
        let (request, expected) = self.request(number, token.as_ref());
        let lower = world.operator.confirmed();
        // before it is sent: an answer of another's call may say so later
        let is_kept = self.kind == Kind::Regular
            && self.user.is_kept(self.api)
            && token.as_ref().is_some_and(|token| !world.users.may_be_unknown(token, begun));
        let reply = self.send(world, number, request).await;
        let asked = Asked {
            user: &self.user,
            api: self.api,
            token: token.as_ref(),
            number,
            begun,
            configuration: lower,
        };
        let verdict = asked.judge(world, expected, reply);
        if is_kept && asked.is_over_a_good_upstream(world) {
            world.ledger.kept(match &verdict {
                Verdict::Right => None,
                verdict => Some(format!("{verdict:?}")),
            });
        }
        verdict
    }

    fn token(&self, world: &World) -> Option<Token> {
        let kind = match self.kind {
            Kind::NoToken | Kind::NoRoute | Kind::LongUpload | Kind::Hanging | Kind::UnderWay => return None,
            Kind::Narrow => TokenKind::Narrow,
            Kind::Expired => TokenKind::Expired,
            Kind::Tampered => TokenKind::Tampered,
            _ => return Some(world.users.token(&self.user)),
        };
        Some(world.users.make(&self.user, kind))
    }

    fn request(&self, number: u64, token: Option<&Token>) -> (Request<Body>, Expected) {
        let api = self.api.name();
        let refused = |status, reason| (none(), Expected::Refused(status, reason));
        let (path, (body, expected)) = match self.kind {
            Kind::Regular | Kind::Passing | Kind::Socket => {
                (format!("/{api}/x/{number}"), (none(), Expected::Seen { bytes: 0 }))
            }
            Kind::Upload => {
                let bytes = self.size % (10 * PIECE);
                (format!("/{api}/x/{number}"), (pieces(number, bytes), Expected::Seen { bytes }))
            }
            Kind::BothWays | Kind::GivenUp => {
                let bytes = self.size % (10 * PIECE);
                let expected = Expected::Body(pattern(number, bytes).into());
                (format!("/{api}/demo/echo-body"), (pieces(number, bytes), expected))
            }
            Kind::Download => {
                let text: String = (1..=5).map(|chunk| format!("chunk {chunk}\n")).collect();
                let path = format!("/{api}/demo/drip?chunks=5&pause_ms={}", self.size % 40);
                (path, (none(), Expected::Body(text.into())))
            }
            Kind::UnderWay => {
                let text: String = (1..=20).map(|chunk| format!("chunk {chunk}\n")).collect();
                (
                    "/lasting/demo/drip?chunks=20&pause_ms=100".to_owned(),
                    (none(), Expected::Body(text.into())),
                )
            }
            Kind::LongUpload => {
                let bytes = 50 * PIECE + self.size % (50 * PIECE);
                (format!("/public/x/{number}"), (pieces(number, bytes), Expected::Anonymous { bytes }))
            }
            Kind::Raw => (format!("/raw/x/{number}"), (none(), Expected::Raw)),
            Kind::Anonymous => (format!("/public/x/{number}"), (none(), Expected::Anonymous { bytes: 0 })),
            Kind::NoToken => (format!("/{api}/x/{number}"), refused(401, "missing_token")),
            Kind::Narrow => (format!("/reports/x/{number}"), refused(403, "insufficient_scope")),
            Kind::Expired => (format!("/{api}/x/{number}"), refused(401, "token_expired")),
            Kind::Tampered => (format!("/{api}/x/{number}"), refused(401, "bad_signature")),
            Kind::NoRoute => (format!("/nowhere/{number}"), refused(404, "no_route")),
            Kind::StepUp => (format!("/{api}/x/{number}"), refused(401, "interaction_required")),
            Kind::Blocked => (format!("/{api}/x/{number}"), refused(403, "access_denied")),
            Kind::Hanging => ("/hasty/demo/hang".to_owned(), refused(504, "upstream_timeout")),
            Kind::Failing => (format!("/{api}/demo/status/418"), (none(), Expected::Failure(418))),
            Kind::BrokenOff => (format!("/{api}/demo/reset"), (none(), Expected::BrokenOff)),
        };
        let method = match self.kind {
            Kind::Upload | Kind::BothWays | Kind::LongUpload | Kind::GivenUp => Method::POST,
            _ => Method::GET,
        };
        let request = match self.lane {
            Lane::Http1 | Lane::Tls1 => Request::builder().uri(path).header(header::HOST, "localhost"),
            Lane::Http2 => Request::builder().uri(format!("http://localhost{path}")),
            Lane::Tls2 => Request::builder().uri(format!("https://localhost{path}")),
        };
        let mut request = request.method(method).header("x-request-id", id(number));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.text));
        }
        (request.body(body).unwrap(), expected)
    }

    /// Sends it and reads the answer whole. What is said of the number, callers have seen.
    async fn send(&self, world: &World, number: u64, request: Request<Body>) -> Result<Reply, String> {
        let answered = async {
            let (response, lease) = world.callers.send(self.lane, self.keep, request).await?;
            let (head, body) = response.into_parts();
            world.ledger.answered(number, head.status.as_u16());
            let body = body.collect().await.map(|body| body.to_bytes()).map_err(|error| causes(&error));
            if body.is_ok() {
                world.callers.give_back(lease, self.kind.name(), head.status.as_u16());
            }
            Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
        };
        let reply = tokio::time::timeout(PATIENCE, answered).await;
        let reply = reply.unwrap_or_else(|_| Err("nothing in time".into()));
        if reply.is_err() {
            world.ledger.gave_up(number);
        }
        reply
    }

    async fn given_up(self, world: &World) -> Verdict {
        let token = self.token(world);
        let number = world.request();
        let (request, _) = self.request(number, token.as_ref());
        let patience = Duration::from_millis((self.size % 60) as u64);
        // whatever came of it is neither right nor wrong; that it did no harm is seen by the others
        let reply = tokio::time::timeout(patience, self.send(world, number, request)).await;
        if reply.is_err() {
            world.ledger.gave_up(number);
        }
        Verdict::Right
    }

    async fn socket(self, world: &World) -> Verdict {
        let (begun, token, number) = (Instant::now(), world.users.token(&self.user), world.request());
        let fields = format!("Authorization: Bearer {}\r\nx-request-id: {}\r\n", token.text, id(number));
        let call = websocket::call(world.plain, "/socket", &fields, self.size % 20);
        let heard = tokio::time::timeout(PATIENCE, call).await.ok().flatten();
        let Some(heard) = heard else {
            world.ledger.gave_up(number);
            return Verdict::Wrong("no answer".into());
        };
        world.ledger.answered(number, heard.status);
        let asked = Asked {
            user: &self.user,
            api: Api::Orders,
            token: Some(&token),
            number,
            begun,
            configuration: world.operator.confirmed(),
        };
        asked.judge_socket(world, &heard)
    }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Passing => "passing",
            Self::Upload => "upload",
            Self::BothWays => "both ways",
            Self::Download => "download",
            Self::LongUpload => "long upload",
            Self::Raw => "raw",
            Self::Anonymous => "anonymous",
            Self::NoToken => "no token",
            Self::Narrow => "narrow",
            Self::Expired => "expired",
            Self::Tampered => "tampered",
            Self::NoRoute => "no route",
            Self::StepUp => "step-up",
            Self::Blocked => "blocked",
            Self::Hanging => "hanging",
            Self::Failing => "failing",
            Self::BrokenOff => "broken off",
            Self::Socket => "socket",
            Self::GivenUp => "given up",
            Self::UnderWay => "under way",
        }
    }
}

/// What a request is called, in the log too.
pub fn id(number: u64) -> String {
    format!("soak-{number}")
}

fn none() -> Body {
    whole(Bytes::new())
}

/// A body of so many bytes, each piece of which is sent by itself.
fn pieces(number: u64, bytes: usize) -> Body {
    let all = pattern(number, bytes);
    let pieces: Vec<_> =
        all.chunks(PIECE).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
    Body::new(Frames::new(pieces, Duration::ZERO))
}

/// Bytes that no other request has.
fn pattern(number: u64, bytes: usize) -> Vec<u8> {
    number.to_string().bytes().chain([b' ']).cycle().take(bytes).collect()
}
