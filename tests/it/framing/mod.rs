//! What bytes callers can send, and what a back end that reads strictly (RFC 9112) then sees: nothing of what can be read in two
//! ways. The cases are tables; each says what is sent, how it is answered, whether the connection goes on, and what was seen.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::Plan;
use crate::support::World;

use backend::Backend;
use backend::Seen;

mod answers;
mod backend;
mod chunks;
mod fields;
mod heads;
mod hosts;
mod http2;
mod targets;
mod unread;

const PATIENCE: Duration = Duration::from_secs(20);

/// Sent after every case on the same connection: were a refused one not closed, this would be answered.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// What is sent, and what is to come of it.
pub struct Case {
    name: String,
    sent: Vec<u8>,
    want: Want,
}

enum Want {
    /// This is the answer, and the last; the back end sees nothing whole.
    Refused(u16),
    /// This is the answer, the back end sees nothing, and the connection goes on.
    Answered(u16),
    /// The back end sees this.
    Seen(Expected),
    /// The back end sees this, and what comes after it is answered with 400 and is the end.
    Spoilt(Expected),
}

/// What the back end is to see.
pub struct Expected {
    /// Method and target.
    line: &'static str,
    body: &'static str,
    has: Vec<(&'static str, &'static str)>,
    lacks: Vec<&'static str>,
    trailers: Vec<(&'static str, &'static str)>,
    is_last: bool,
}

pub fn case(name: impl Into<String>, sent: impl AsRef<[u8]>) -> Draft {
    Draft { name: name.into(), sent: sent.as_ref().to_vec() }
}

/// A case without its end.
pub struct Draft {
    name: String,
    sent: Vec<u8>,
}

impl Draft {
    /// It is answered so, and the connection closed.
    pub fn refused(self, status: u16) -> Case {
        Case { name: self.name, sent: self.sent, want: Want::Refused(status) }
    }

    /// It is answered so by the proxy, and the connection goes on.
    pub fn answered(self, status: u16) -> Case {
        Case { name: self.name, sent: self.sent, want: Want::Answered(status) }
    }

    /// It goes on, and so does the connection.
    pub fn seen(self, line: &'static str, body: &'static str) -> Case {
        Case { name: self.name, sent: self.sent, want: Want::Seen(Expected::new(line, body)) }
    }

    /// It goes on, but what is sent with it is no request: 400, and the connection is closed.
    pub fn refused_after(self, line: &'static str, body: &'static str) -> Case {
        Case { name: self.name, sent: self.sent, want: Want::Spoilt(Expected::new(line, body)) }
    }
}

impl Case {
    fn change(mut self, change: impl FnOnce(&mut Expected)) -> Self {
        match &mut self.want {
            Want::Seen(expected) | Want::Spoilt(expected) => change(expected),
            Want::Refused(_) | Want::Answered(_) => panic!("{}: nothing is seen", self.name),
        }
        self
    }

    /// Nothing more is taken from the connection.
    pub fn last(self) -> Self {
        self.change(|expected| expected.is_last = true)
    }

    /// With this field, once.
    pub fn with(self, name: &'static str, value: &'static str) -> Self {
        self.change(|expected| expected.has.push((name, value)))
    }

    /// Without these fields.
    pub fn without(self, names: &[&'static str]) -> Self {
        self.change(|expected| expected.lacks.extend(names))
    }

    /// With this field after the body.
    pub fn trailer(self, name: &'static str, value: &'static str) -> Self {
        self.change(|expected| expected.trailers.push((name, value)))
    }
}

/// The proxy before a back end that reads strictly. All is anonymous but `/ours`.
pub struct Stage {
    world: World,
    backend: Backend,
}

impl Stage {
    pub async fn new() -> Self {
        let backend = Backend::start().await;
        let upstreams = format!(", strict: {{ url: \"http://{}\" }}", backend.address);
        let routes = "
  all: { match: /, auth: anonymous, upstream: strict }
  ours: { match: /ours, upstream: strict, exchange: { scopes: [api://orders-backend/.default] } }
  admin: { match: /admin, upstream: strict, require: { scopes: [nobody.has.it] }, token: remove }
";
        let plan = Plan { upstreams: upstreams.leak(), routes, ..Plan::default() };
        Self { world: World::with(plan).await, backend }
    }

    /// Plays all cases, and then complains about all that went wrong.
    pub async fn play(&self, cases: Vec<Case>) {
        let mut wrong = Vec::new();
        for case in &cases {
            let sent = [&case.sent, NEXT.as_bytes()].concat();
            let exchanging = exchanged(self.world.proxy, &sent);
            let Ok(answer) = tokio::time::timeout(PATIENCE, exchanging).await else {
                wrong.push(format!(
                    "{}: the connection is not closed\n    {}",
                    case.name,
                    case.sent.escape_ascii()
                ));
                continue;
            };
            let outcome =
                self.outcome(&case.want, &statuses(&answer)).and_then(|()| reason(&case.want, &answer));
            if let Err(why) = outcome {
                let sent = case.sent.escape_ascii().to_string();
                let sent = sent.get(..400).unwrap_or(&sent);
                wrong.push(format!("{}: {why}\n    {sent}\n    {}", case.name, answer.escape_ascii()));
            }
        }
        assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
        // what came late to the back end is seen now
        exchanged(self.world.proxy, NEXT.as_bytes()).await;
        assert_eq!(self.backend.take().map(|seen| lines(&seen)), Ok(vec!["GET /next".to_owned()]));
    }

    /// Checks that all of these requests and one more are answered, and are what the back end sees.
    pub async fn check_passing(&self, sent: &[u8], expected: &[&str]) {
        let sent = [sent, NEXT.as_bytes()].concat();
        let exchanging = exchanged(self.world.proxy, &sent);
        let answer = tokio::time::timeout(PATIENCE, exchanging).await.unwrap();
        let shown = sent.escape_ascii();
        assert_eq!(statuses(&answer), vec![200; expected.len()], "{shown}\n{}", answer.escape_ascii());
        assert_eq!(self.backend.take().map(|seen| lines(&seen)).unwrap(), expected, "{shown}");
    }

    fn outcome(&self, want: &Want, statuses: &[u16]) -> Result<(), String> {
        let seen = self.backend.take()?;
        let (expected, next) = match want {
            Want::Refused(status) => (vec![*status], vec![]),
            Want::Answered(status) => (vec![*status, 200], vec!["GET /next"]),
            Want::Spoilt(expected) => (vec![200, 400], vec![expected.line]),
            Want::Seen(expected) if expected.is_last => (vec![200], vec![expected.line]),
            Want::Seen(expected) => (vec![200, 200], vec![expected.line, "GET /next"]),
        };
        if statuses != expected {
            return Err(format!("answered {statuses:?}, not {expected:?}; seen: {:?}", lines(&seen)));
        }
        if lines(&seen) != next {
            return Err(format!("seen: {:?}, not {next:?}", lines(&seen)));
        }
        match (want, seen.first()) {
            (Want::Seen(expected) | Want::Spoilt(expected), Some(seen)) => expected.check(seen),
            _ => Ok(()),
        }
    }
}

impl Expected {
    fn new(line: &'static str, body: &'static str) -> Self {
        let (has, lacks, trailers) = (Vec::new(), Vec::new(), Vec::new());
        Self { line, body, has, lacks, trailers, is_last: false }
    }

    fn check(&self, seen: &Seen) -> Result<(), String> {
        if seen.body != self.body.as_bytes() {
            return Err(format!("body: {:?}", seen.body.escape_ascii().to_string()));
        }
        for (name, value) in &self.has {
            if seen.values(name) != [*value] {
                return Err(format!("{name}: {:?}, not {value:?}", seen.values(name)));
            }
        }
        for name in &self.lacks {
            if !seen.values(name).is_empty() {
                return Err(format!("{name} is there: {:?}", seen.values(name)));
            }
        }
        let trailers: Vec<_> = seen.trailers.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        match trailers == self.trailers {
            true => Ok(()),
            false => Err(format!("trailers: {trailers:?}")),
        }
    }
}

/// Whether a refusal with 400 says why as it should. What nobody could read is answered without a word.
fn reason(want: &Want, answer: &[u8]) -> Result<(), String> {
    let reasons: &[&str] = match want {
        Want::Refused(400) => &["bad_request"],
        Want::Answered(400) => &["invalid_path", "invalid_request"],
        _ => return Ok(()),
    };
    let text = String::from_utf8_lossy(answer);
    let said = text.split_once("\"reason\":\"").and_then(|(_, rest)| rest.split('"').next());
    match said {
        Some(said) if !reasons.contains(&said) => Err(format!("refused for {said}, not {reasons:?}")),
        _ => Ok(()),
    }
}

fn lines(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| seen.line.clone()).collect()
}

/// Sends bytes and reads what comes until the proxy closes.
pub async fn exchanged(proxy: SocketAddr, sent: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(proxy).await.unwrap();
    // the proxy may close before it has read it all
    let _ = socket.write_all(sent).await;
    rest(&mut socket).await
}

/// What comes until the proxy closes.
pub async fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // a connection that is reset after its answer still had its answer
    let _ = socket.read_to_end(&mut answer).await;
    answer
}

/// The statuses of the answers in `answer`, without those before the last.
pub fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    let heads = text.split("HTTP/1.").skip(1);
    heads.map(|head| head[2..5].parse().unwrap()).filter(|status| *status >= 200).collect()
}
