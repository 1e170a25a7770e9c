//! HTTP/2 as RFC 9113 and RFC 7541 demand it of a server: for each "must", what a peer sends and what has to come of it.
//! Every table is run without TLS and over it.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::support::Plan;
use crate::support::World;
use crate::support::certificates::Authority;
use crate::support::http2::ACK;
use crate::support::http2::DATA;
use crate::support::http2::END_HEADERS;
use crate::support::http2::END_STREAM;
use crate::support::http2::Frame;
use crate::support::http2::GOAWAY;
use crate::support::http2::HEADERS;
use crate::support::http2::PING;
use crate::support::http2::PROTOCOL_ERROR;
use crate::support::http2::Peer;
use crate::support::http2::RST_STREAM;
use crate::support::http2::connect;
use crate::support::http2::frame;

mod control;
mod framing;
mod hpack;
mod messages;
mod streams;

/// `GET http://a/` by the static table.
pub const GET: &[u8] = b"\x82\x86\x84\x01\x01a";
/// `POST http://a/`.
pub const POST: &[u8] = b"\x83\x86\x84\x01\x01a";
/// `HEAD http://a/`.
pub const HEAD: &[u8] = b"\x02\x04HEAD\x86\x84\x01\x01a";

/// What nobody sends by chance.
const OURS: &[u8; 8] = b"are you?";

/// A peer's doing, and what must come of it.
struct Case {
    /// Of RFC 9113, if it does not say otherwise.
    section: &'static str,
    what: &'static str,
    /// What the peer sets at the beginning; `None` = it does not even begin.
    settings: Option<Vec<(u16, u32)>>,
    steps: Vec<Step>,
    expected: Expected,
}

/// What a peer does.
enum Step {
    Send(Vec<u8>),
    /// Waits until this stream was answered whole.
    Answered(u32),
    /// Waits until this stream was reset.
    WasReset(u32),
    /// Waits for so many bytes of content on stream 1. No more may come.
    Content(usize),
}

/// What must come of it.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// GOAWAY with this code, and the end.
    ConnectionError(u32),
    /// GOAWAY with this code or the general one, and the end: the code only informs (section 7).
    AnyConnectionError(u32),
    /// The end, whatever is said before.
    Closed,
    /// RST_STREAM with this code. The connection goes on.
    StreamError(u32, u32),
    /// That, or the end of the connection: "an endpoint MAY choose to treat a stream error as a connection error"
    /// (section 5.4.1).
    AnyError(u32, u32),
    /// An answer with this status. The connection goes on.
    Answer(u32, u16),
    /// An answer with this status whose content is so long, and which ends. The connection goes on.
    AnswerOf(u32, u16, usize),
    /// Nothing: no frame of any stream, no GOAWAY. The connection goes on.
    Nothing,
    /// A frame with exactly these bytes. The connection goes on.
    Bytes(&'static [u8]),
}

fn case(section: &'static str, what: &'static str) -> Case {
    Case { section, what, settings: Some(Vec::new()), steps: Vec::new(), expected: Expected::Nothing }
}

impl Case {
    fn with_settings(self, settings: &[(u16, u32)]) -> Self {
        Self { settings: Some(settings.to_vec()), ..self }
    }

    fn without_greeting(self) -> Self {
        Self { settings: None, ..self }
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn sends(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    fn sends_frame(self, kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Self {
        self.sends(frame(kind, flags, stream, payload.as_ref()))
    }

    /// A request on stream 1 that is over, and its answer.
    fn after_an_answer(self) -> Self {
        self.sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, GET).then(Step::Answered(1))
    }

    /// A request whose content is still to come.
    fn after_a_head(self, stream: u32) -> Self {
        self.sends_frame(HEADERS, END_HEADERS, stream, POST)
    }

    /// A whole request without content.
    fn get(self, stream: u32) -> Self {
        self.sends_frame(HEADERS, END_HEADERS | END_STREAM, stream, GET)
    }

    fn expects(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    fn ends_with(self, code: u32) -> Self {
        self.expects(Expected::ConnectionError(code))
    }

    fn ends_for(self, code: u32) -> Self {
        self.expects(Expected::AnyConnectionError(code))
    }

    fn resets_or_ends(self, stream: u32, code: u32) -> Self {
        self.expects(Expected::AnyError(stream, code))
    }

    fn resets(self, stream: u32, code: u32) -> Self {
        self.expects(Expected::StreamError(stream, code))
    }

    fn gets_an_answer(self, stream: u32) -> Self {
        self.expects(Expected::Answer(stream, 200))
    }

    /// Err = what came instead.
    async fn run(&self, port: u16, tls: Option<&Arc<ClientConfig>>) -> Result<(), String> {
        let wire = connect(port, tls).await;
        let mut peer = match &self.settings {
            Some(settings) => Peer::greeted(wire, settings).await,
            None => Peer::new(wire),
        };
        let mut seen = Vec::new();
        for step in &self.steps {
            match step {
                Step::Send(bytes) => peer.send(bytes).await,
                Step::Answered(stream) => {
                    seen.extend(peer.until(|it| it.stream == *stream && it.ends_stream()).await);
                }
                Step::WasReset(stream) => {
                    seen.extend(peer.until(|it| it.stream == *stream && it.kind == RST_STREAM).await);
                }
                Step::Content(most) => {
                    let is_there = |seen: &[Frame]| {
                        seen.iter().any(|it| it.kind == HEADERS) && content(seen, 1).len() >= *most
                    };
                    while !is_there(&seen)
                        && let Some(frame) = peer.next().await
                    {
                        seen.push(frame);
                    }
                }
            }
        }
        let stream = match self.expected {
            Expected::ConnectionError(_) | Expected::AnyConnectionError(_) | Expected::Closed => {
                seen.extend(peer.until(|_| false).await);
                return self.judged(&peer, &seen, false);
            }
            Expected::StreamError(stream, _)
            | Expected::AnyError(stream, _)
            | Expected::Answer(stream, _)
            | Expected::AnswerOf(stream, ..) => Some(stream),
            Expected::Nothing | Expected::Bytes(_) => None,
        };
        // an answer may have been whole before
        let is_error = matches!(self.expected, Expected::StreamError(..) | Expected::AnyError(..));
        let is_over = |it: &Frame| {
            Some(it.stream) == stream && (it.kind == RST_STREAM || it.ends_stream() && !is_error)
        };
        if stream.is_some() && !seen.iter().any(is_over) {
            seen.extend(peer.until(is_over).await);
        }
        peer.send(&frame(PING, 0, 0, OURS)).await;
        seen.extend(peer.until(|it| it.kind == PING && it.payload == OURS).await);
        let goes_on = seen.last().is_some_and(|it| it.kind == PING && it.flags == ACK);
        self.judged(&peer, &seen, goes_on)
    }

    /// How much content is awaited in the end.
    fn content(&self) -> Option<usize> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Content(most) => Some(*most),
            Step::Send(_) | Step::Answered(_) | Step::WasReset(_) => None,
        })
    }

    fn judged(&self, peer: &Peer, seen: &[Frame], goes_on: bool) -> Result<(), String> {
        let of = |stream| seen.iter().filter(move |it: &&Frame| it.stream == stream);
        let gone_for: Vec<u32> = seen.iter().filter(|it| it.kind == GOAWAY).filter_map(Frame::code).collect();
        let is_good = match self.expected {
            Expected::Closed => true,
            Expected::ConnectionError(code) => gone_for == [code],
            Expected::AnyConnectionError(code) => gone_for == [code] || gone_for == [PROTOCOL_ERROR],
            Expected::AnyError(stream, code) => {
                let is_reset = of(stream).any(|it| it.code() == Some(code));
                is_reset || gone_for == [code] || gone_for == [PROTOCOL_ERROR]
            }
            Expected::StreamError(stream, code) => goes_on && of(stream).any(|it| it.code() == Some(code)),
            Expected::Answer(stream, status) => {
                goes_on
                    && of(stream).any(|it| it.status() == Some(status))
                    && of(stream).any(Frame::ends_stream)
            }
            Expected::AnswerOf(stream, status, length) => {
                goes_on
                    && of(stream).any(|it| it.status() == Some(status))
                    && of(stream).any(Frame::ends_stream)
                    && content(seen, stream).len() == length
            }
            Expected::Nothing => {
                let asked_for = |it: &&Step| matches!(it, Step::WasReset(_));
                let resets = seen.iter().filter(|it| it.kind == RST_STREAM).count();
                let is_quiet = seen.iter().all(|it| it.stream == 0)
                    || self.steps.iter().any(|step| !matches!(step, Step::Send(_)));
                let is_within = self.content().is_none_or(|most| content(seen, 1).len() == most);
                goes_on
                    && is_quiet
                    && is_within
                    && gone_for.is_empty()
                    && resets == self.steps.iter().filter(asked_for).count()
            }
            Expected::Bytes(bytes) => {
                let bytes_of = |it: &Frame| frame(it.kind, it.flags, it.stream, &it.payload);
                goes_on && seen.iter().filter(|it| bytes_of(it) == bytes).count() == 1
            }
        };
        match is_good && !peer.waited_in_vain {
            true => Ok(()),
            false => {
                let seen: Vec<String> = seen.iter().map(|it| format!("{it:?}")).collect();
                let (section, what, expected) = (self.section, self.what, self.expected);
                Err(format!("{section}: {what}: {expected:?} expected, not\n  {}", seen.join("\n  ")))
            }
        }
    }
}

/// What came of a stream's content.
fn content(seen: &[Frame], stream: u32) -> Vec<u8> {
    let data = seen.iter().filter(|it| it.stream == stream && it.kind == DATA);
    data.flat_map(|it| it.payload.clone()).collect()
}

/// Runs them all, without TLS and over it.
async fn run(cases: Vec<Case>) {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    authority.issue("localhost").write(directory.path(), "tls");
    let path = directory.path().to_str().unwrap();
    let plan =
        |listener| Plan { listener, routes: "\n  all: { match: /, auth: anonymous }\n", ..Plan::default() };
    let plain = World::with(plan("")).await;
    let secure = format!(", tls: {{ certificate: {path}/tls.crt, key: {path}/tls.key }}").leak();
    let secure = World::with(plan(secure)).await;
    let tls = Arc::new(authority.client());
    let mut wrong = Vec::new();
    for (world, tls) in [(&plain, None), (&secure, Some(&tls))] {
        for case in &cases {
            if let Err(why) = case.run(world.proxy.port(), tls).await {
                wrong.push(why);
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} runs:\n{}", wrong.len(), 2 * cases.len(), wrong.join("\n"));
}
