//! One request of each kind, from the token to the last byte of the answer.

use std::fmt;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use http::HeaderMap;
use http::Method;
use http::Request;
use http::Response;
use http::header;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use obo_proxy::app::demo::frames::Frames;
use obo_proxy::app::server::whole;
use obo_proxy::net::Body;
use tokio::time::Instant;

use crate::api::Credential;
use crate::callers::Lane;
use crate::callers::Lease;
use crate::callers::Lost;
use crate::faults::UPSTREAM;
use crate::judge::Asked;
use crate::judge::Expected;
use crate::ledger::By;
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
    /// As much of it as came.
    pub body: Bytes,
    pub end: End,
}

/// How an answer ended.
pub enum End {
    Whole,
    /// Its caller did not wait for more.
    GivenUp,
    Broken(Lost),
}

impl Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("(all of it)"),
            Self::GivenUp => f.write_str("(given up)"),
            Self::Broken(lost) => write!(f, "(broken off: {lost})"),
        }
    }
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
        world.api.expect(number, self.credential(&expected, token.as_ref()));
        let reply = if self.kind == Kind::GivenUp {
            let patience = Duration::from_millis((self.size % 60) as u64);
            match self.send_impatiently(world, number, request, patience).await {
                Some(reply) => reply,
                None => {
                    world.ledger.gave_up(number);
                    return Verdict::Right;
                }
            }
        } else {
            self.send(world, number, request).await
        };
        let asked = Asked {
            user: &self.user,
            api: self.api,
            token: token.as_ref(),
            number,
            begun,
            configuration: lower,
        };
        let is_lost = reply.is_err();
        let verdict = asked.judge(world, &expected, reply);
        match &verdict {
            Verdict::Explained(_, By::Key) => {}
            Verdict::Explained(_, By::Fault(fault)) if UPSTREAM.contains(fault) => {}
            _ if !is_kept => {}
            Verdict::Right => world.ledger.kept(None),
            failed => world.ledger.kept(Some(format!("request {number}: {failed:?}"))),
        }
        // an answer that nothing took away is missed where it is counted, too
        if is_lost && !matches!(verdict, Verdict::Wrong(_)) {
            world.ledger.gave_up(number);
        }
        verdict
    }

    /// What the API may see with it, if it may see it.
    fn credential(&self, expected: &Expected, token: Option<&Token>) -> Option<Credential> {
        match (expected, token) {
            (Expected::Refused(504, _), _) => Some(Credential::Nothing),
            (Expected::Refused(..), _) => None,
            (Expected::Anonymous { .. }, _) | (_, None) => Some(Credential::Nothing),
            (Expected::Raw, Some(token)) => Some(Credential::TokenA(token.id.clone())),
            (_, Some(_)) => Some(Credential::TokenB(self.user.clone(), self.api)),
        }
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
    async fn send(&self, world: &World, number: u64, request: Request<Body>) -> Result<Reply, Lost> {
        let deadline = Instant::now() + PATIENCE;
        let sent = tokio::time::timeout_at(deadline, world.callers.send(self.lane, self.keep, request)).await;
        let (response, lease) = sent.unwrap_or(Err(Lost::Late))?;
        Ok(self.read(world, number, response, lease, [deadline; 2]).await)
    }

    /// The same, for so long; an answer that begins meanwhile is read as far as it comes, a refusal whole. Nothing if none
    /// begins.
    async fn send_impatiently(
        &self,
        world: &World,
        number: u64,
        request: Request<Body>,
        patience: Duration,
    ) -> Option<Result<Reply, Lost>> {
        let begun = Instant::now();
        let sent = tokio::time::timeout(patience, world.callers.send(self.lane, self.keep, request));
        Some(match sent.await.ok()? {
            Ok((response, lease)) => {
                let deadlines = [begun + patience, begun + PATIENCE];
                Ok(self.read(world, number, response, lease, deadlines).await)
            }
            Err(lost) => Err(lost),
        })
    }

    /// Reads an answer until its caller gives up, of whom it is no fault, or it takes too long. A refusal is not given up.
    async fn read(
        &self,
        world: &World,
        number: u64,
        response: Response<Incoming>,
        lease: Lease,
        [patience, deadline]: [Instant; 2],
    ) -> Reply {
        let (head, mut incoming) = response.into_parts();
        let status = head.status.as_u16();
        world.ledger.answered(number, status);
        let patience = if status == 200 { patience } else { deadline };
        let mut body = BytesMut::new();
        let end = loop {
            match tokio::time::timeout_at(patience, incoming.frame()).await {
                Err(_) if patience < deadline => break End::GivenUp,
                Err(_) => break End::Broken(Lost::Late),
                Ok(None) => break End::Whole,
                Ok(Some(Err(error))) => break End::Broken(Lost::cut(&error, "")),
                Ok(Some(Ok(frame))) => body.extend(frame.into_data()),
            }
        };
        if matches!(end, End::Whole) {
            world.callers.give_back(lease, self.kind.name(), status);
        }
        Reply { status, headers: head.headers, body: body.freeze(), end }
    }

    async fn socket(self, world: &World) -> Verdict {
        let (begun, token, number) = (Instant::now(), world.users.token(&self.user), world.request());
        let fields = format!("Authorization: Bearer {}\r\nx-request-id: {}\r\n", token.text, id(number));
        let call = websocket::call(world.plain, "/socket", &fields, self.size % 20);
        let heard = tokio::time::timeout(PATIENCE, call).await.ok().flatten();
        let Some(heard) = heard else { return Verdict::Wrong("no answer".into()) };
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

/// Which request it is that is called so.
pub fn numbered(id: &str) -> Option<u64> {
    id.strip_prefix("soak-")?.parse().ok()
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
