//! What an operator can change: whose tokens are kept, and what is logged.
//!
//! **In:** the body of a request that is meant. **Out:** what was done. **Never:** more than that; a user's name in what is said.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde::Serialize;

use crate::app::admin::Desk;
use crate::app::admin::desk::Timer;
use crate::app::admin::view::Moment;
use crate::config;
use crate::domain::tenant::TenantId;
use crate::pipeline::survey::KnownUser;

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body is not what it should be.
    #[error("{0}")]
    Body(&'static str),
    /// What is logged is not ours to say.
    #[error("what is logged cannot be changed here")]
    NoLog,
}

impl Error {
    /// The status that says so.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::NoLog => StatusCode::CONFLICT,
        }
    }
}

/// What became of a purge.
#[derive(Debug, Serialize)]
pub struct Purged {
    /// What the log calls the user.
    pub user: String,
    /// Whether anything of theirs was found.
    pub found: bool,
    /// How many tokens were dropped.
    pub tokens: usize,
}

/// What is logged now.
#[derive(Debug, Serialize)]
pub struct Level {
    /// The level or filter in force.
    pub level: String,
    /// What the configuration says.
    pub configured: String,
    /// Until when, if what is in force ends by itself.
    pub until: Option<Moment>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeBody {
    user: Option<String>,
    tenant: Option<String>,
    oid: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelBody {
    level: Option<String>,
    #[serde(rename = "for")]
    span: Option<String>,
}

/// Drops what is kept of one user.
///
/// # Errors
/// If the body names none.
pub fn purge(desk: &Desk, body: &[u8]) -> Result<Purged, Error> {
    const WHO: Error = Error::Body(
        "name one user: {\"user\": \"16 hexadecimal digits\"} as in the log, {\"tenant\": ..., \"oid\": ...} or {\"issuer\": ..., \"subject\": ...}",
    );
    let body: PurgeBody = serde_json::from_slice(body).map_err(|_| WHO)?;
    let pipeline = desk.pipeline();
    let PurgeBody { user, tenant, oid, issuer, subject } = &body;
    let word = match (user, tenant, oid, issuer, subject) {
        (Some(word), None, None, None, None) => {
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            (word.len() == 16 && word.bytes().all(is_digit)).then(|| word.clone()).ok_or(WHO)?
        }
        (None, Some(tenant), Some(oid), None, None) => {
            let tenant = TenantId::parse(tenant).ok_or(WHO)?;
            pipeline.word_for(&KnownUser::Entra(&tenant, oid))
        }
        (None, None, None, Some(issuer), Some(subject)) => {
            pipeline.word_for(&KnownUser::Subject(issuer, subject))
        }
        _ => return Err(WHO),
    };
    let purged = pipeline.purge(&word);
    Ok(Purged { user: word, found: !purged.users.is_empty(), tokens: purged.tokens })
}

/// Changes what is logged, for a while or until that is taken back.
///
/// # Errors
/// If the body names no level, or no span of time, or nothing can be changed.
pub fn log_level(desk: &Desk, body: &[u8]) -> Result<Level, Error> {
    const WHAT: Error = Error::Body(
        "write {\"level\": \"debug\"}, and for how long as in \"for\": \"10m\"; {\"level\": null} takes it back",
    );
    let body: LevelBody = serde_json::from_slice(body).map_err(|_| WHAT)?;
    let span =
        body.span.as_deref().map(|text| config::duration(text).filter(|span| !span.is_zero()).ok_or(WHAT));
    let span: Option<Duration> = span.transpose()?;
    let dial = desk.dial().ok_or(Error::NoLog)?;
    let timer = match (&body.level, span) {
        (None, None) => {
            dial.take_back(None);
            None
        }
        (None, Some(_)) => return Err(WHAT),
        (Some(level), span) => {
            if !config::is_log_filter(level) {
                return Err(WHAT);
            }
            let turn = dial.turn_by_hand(level).map_err(|_| WHAT)?;
            span.map(|span| {
                let (dial, at) = (dial.clone(), desk.now().saturating_add(span));
                let task = tokio::spawn(async move {
                    tokio::time::sleep(span).await;
                    dial.take_back(Some(turn));
                });
                Timer { turn, at, task: task.abort_handle() }
            })
        }
    };
    desk.ends(timer);
    let standing = dial.standing();
    let until = standing.turn.and_then(|turn| desk.end_of(turn));
    Ok(Level { level: standing.level, configured: standing.configured, until: until.map(Moment::new) })
}
