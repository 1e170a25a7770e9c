//! What an answer is worth: right, a refusal that something going on explains, or wrong.

use bytes::Bytes;
use http::header;
use serde_json::Value;
use tokio::time::Instant;

use crate::api::is_for;
use crate::callers::Lost;
use crate::calls::End;
use crate::calls::Reply;
use crate::calls::id;
use crate::faults::Fault;
use crate::ledger::By;
use crate::ledger::Verdict;
use crate::users::Api;
use crate::users::Token;
use crate::users::User;
use crate::websocket::Heard;
use crate::world::World;

/// What must come.
pub enum Expected {
    /// What the API saw: the user's token for it, and so long a body.
    Seen { bytes: usize },
    /// The API saw no token.
    Anonymous { bytes: usize },
    /// The API saw the caller's own token.
    Raw,
    /// This body.
    Body(Bytes),
    /// The beginning of a body.
    BrokenOff,
    /// The API's own failure.
    Failure(u16),
    /// A refusal.
    Refused(u16, &'static str),
}

/// Who asked for what, and when.
pub struct Asked<'a> {
    pub user: &'a User,
    pub api: Api,
    pub token: Option<&'a Token>,
    pub number: u64,
    pub begun: Instant,
    /// The configuration that was in use then, or one before it.
    pub configuration: u64,
}

impl Asked<'_> {
    pub fn judge(&self, world: &World, expected: &Expected, reply: Result<Reply, Lost>) -> Verdict {
        let reply = match reply {
            Ok(reply) => reply,
            // where an answer breaks off right after its head, even that may not have been sent
            Err(Lost::Cut(..))
                if matches!(expected, Expected::BrokenOff) && world.api.has_seen(self.number) =>
            {
                return Verdict::Right;
            }
            Err(lost) => {
                return reset(world, &lost).unwrap_or_else(|| Verdict::Wrong(lost.to_string()));
            }
        };
        if matches!(reply.status, 401 | 502) {
            self.user.drop_token();
        }
        let own = reply.headers.get("x-request-id").and_then(|value| value.to_str().ok());
        if own != Some(&id(self.number)) {
            return Verdict::Wrong(format!("the answer to {} is called {own:?}", self.number));
        }
        let explanation = match &reply.end {
            End::Broken(lost) if reply.status == 200 && expected.may_begin(&reply.body) => reset(world, lost),
            End::Whole => reply.reason().and_then(|reason| self.reason(world, reply.status, &reason)),
            _ => None,
        };
        match (self.check(world, expected, &reply), explanation) {
            (Ok(()), _) => Verdict::Right,
            (Err(_), Some(explained)) => explained,
            (Err(wrong), None) => Verdict::Wrong(format!("{wrong}: {}", reply.text())),
        }
    }

    pub fn judge_socket(&self, world: &World, heard: &Heard) -> Verdict {
        let wanted = format!("api://orders-backend {}", self.user.oid);
        if matches!(heard.status, 401 | 502) {
            self.user.drop_token();
        }
        match &heard.whose {
            Some(whose) if *whose == wanted => return Verdict::Right,
            Some(whose) => return Verdict::Wrong(format!("the token of {whose} in place of {wanted}")),
            None => {}
        }
        let (_, body) = heard.head.split_once("\r\n\r\n").unwrap_or_default();
        let reason = serde_json::from_str::<Value>(body).unwrap_or_default();
        let reason = reason["reason"].as_str().filter(|reason| *reason != "upstream_unreachable");
        // there is nothing between proxy and server that could reset
        let by = reason.and_then(|reason| self.reason(world, heard.status, reason));
        by.unwrap_or_else(|| Verdict::Wrong(format!("{} {body}", heard.status)))
    }

    fn check(&self, world: &World, expected: &Expected, reply: &Reply) -> Result<(), String> {
        let status = match expected {
            Expected::Refused(status, _) | Expected::Failure(status) => *status,
            _ => 200,
        };
        same("status", &reply.status, &status)?;
        match (expected, &reply.end) {
            (Expected::BrokenOff, End::Broken(Lost::Cut(..))) => {}
            (Expected::Body(_), End::GivenUp) | (_, End::Whole) => {}
            (_, end) => return Err(format!("it ended so: {end}")),
        }
        match expected {
            Expected::BrokenOff if matches!(reply.end, End::Whole) => Err("it did not break off".into()),
            Expected::BrokenOff | Expected::Body(_) if !expected.may_begin(&reply.body) => {
                Err("another body".into())
            }
            Expected::BrokenOff => Ok(()),
            Expected::Body(body) if body.len() > reply.body.len() && matches!(reply.end, End::Whole) => {
                Err("not all of the body".into())
            }
            Expected::Body(_) => Ok(()),
            Expected::Failure(_) => same("reason", &reply.reason(), &None),
            Expected::Refused(status, reason) => {
                same("reason", &reply.reason().as_deref(), &Some(*reason))?;
                let challenges = reply.headers.get_all(header::WWW_AUTHENTICATE).iter().count();
                match status {
                    401 => same("challenges", &challenges, &1),
                    500.. => same("challenges", &challenges, &0),
                    _ => Ok(()),
                }
            }
            Expected::Seen { bytes } => self.check_seen(&self.seen(world, reply, *bytes)?),
            Expected::Raw => {
                let seen = self.seen(world, reply, 0)?;
                same("token", &seen["token"]["uti"].as_str(), &self.token.map(|token| token.id.as_str()))
            }
            Expected::Anonymous { bytes } => {
                let seen = self.seen(world, reply, *bytes)?;
                same("authorization", &seen["headers"].get("authorization"), &None)
            }
        }
    }

    /// What the API saw, which was this very request, by a configuration that was in use meanwhile.
    fn seen(&self, world: &World, reply: &Reply, bytes: usize) -> Result<Value, String> {
        let seen: Value = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
        let path = seen["path"].as_str().unwrap_or_default();
        if !path.ends_with(&format!("/x/{}", self.number)) {
            return Err(format!("another path: {path}"));
        }
        same("id", &seen["headers"]["x-request-id"].as_str(), &Some(id(self.number).as_str()))?;
        same("bytes", &seen["body_bytes"].as_u64(), &Some(bytes as u64))?;
        let by = seen["headers"]["x-configuration"].as_str().and_then(|number| number.parse().ok());
        if !by.is_some_and(|by| (self.configuration..=world.operator.written()).contains(&by)) {
            return Err(format!("by configuration {by:?}, after {} was in use", self.configuration));
        }
        Ok(seen)
    }

    fn check_seen(&self, seen: &Value) -> Result<(), String> {
        let token = &seen["token"];
        is_for(token, self.user, self.api, self.begun.elapsed())?;
        self.user.was_served(self.api, token["exp"].as_i64().unwrap_or_default());
        Ok(())
    }

    /// What explains a refusal. But for the upstream's doing, the API must not have seen the request.
    fn reason(&self, world: &World, status: u16, reason: &str) -> Option<Verdict> {
        let fault = |of: &[Fault]| world.faults.since(self.begun, of).map(By::Fault);
        let key = |is_so: &dyn Fn(&Token) -> bool| self.token.is_some_and(is_so).then_some(By::Key);
        // one exchange is for all calls of a user's, who may have had the token before this one a moment ago
        let is_theirs_withdrawn = |token: &Token| world.users.may_be_unknown(token, self.begun);
        let by = match (status, reason) {
            (502, "upstream_unreachable") => resets(world, Instant::now()),
            _ if world.api.has_seen(self.number) => None,
            (503, "idp_unavailable") => {
                fault(&[Fault::IdpUnavailable, Fault::IdpResets, Fault::IdpStandsStill, Fault::IdpThrottles])
            }
            (503, "idp_throttled") => fault(&[Fault::IdpThrottles]),
            (502, "proxy_misconfigured") => {
                key(&is_theirs_withdrawn).or_else(|| fault(&[Fault::WrongCredential]))
            }
            (503, "keys_unavailable") | (401, "unknown_key") => {
                key(&|token| world.users.may_be_unknown(token, self.begun))
            }
            (401, "assertion_rejected") => key(&is_theirs_withdrawn),
            _ => None,
        }?;
        Some(Verdict::Explained(reason.to_owned(), by))
    }
}

/// What explains that an answer was cut: that the upstream reset at that time.
fn reset(world: &World, lost: &Lost) -> Option<Verdict> {
    let Lost::Cut(_, at) = lost else { return None };
    Some(Verdict::Explained("cut off".into(), resets(world, *at)?))
}

fn resets(world: &World, at: Instant) -> Option<By> {
    let resets = Fault::UpstreamResets;
    world.faults.at(at, &[resets]).then_some(By::Fault(resets))
}

impl Expected {
    /// Whether the body may begin so.
    fn may_begin(&self, body: &[u8]) -> bool {
        match self {
            Self::Body(all) => all.starts_with(body),
            Self::BrokenOff => b"half\n".starts_with(body),
            _ => true,
        }
    }
}

impl Reply {
    /// Why the proxy refused it, if it did.
    pub fn reason(&self) -> Option<String> {
        let kind = self.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        (kind == "application/problem+json").then(|| body["reason"].as_str().map(str::to_owned))?
    }

    fn text(&self) -> String {
        let body: String = String::from_utf8_lossy(&self.body).chars().take(300).collect();
        format!("{} {body} {}", self.status, self.end)
    }
}

pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, wanted: &T) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{what} is {seen:?} in place of {wanted:?}")) }
}
