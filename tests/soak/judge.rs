//! What an answer is worth: right, a refusal that something going on explains, or wrong.

use bytes::Bytes;
use http::header;
use serde_json::Value;
use tokio::time::Instant;

use crate::calls::Reply;
use crate::calls::id;
use crate::faults::Fault;
use crate::faults::UPSTREAM;
use crate::ledger::Verdict;
use crate::users::Api;
use crate::users::Token;
use crate::users::User;
use crate::users::now;
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
    pub fn judge(&self, world: &World, expected: Expected, reply: Result<Reply, String>) -> Verdict {
        let reply = match reply {
            Ok(reply) => reply,
            // where an answer breaks off right after its head, even that may not have been sent
            Err(lost) => {
                return match world.faults.since(self.begun, &[Fault::UpstreamResets]) {
                    _ if matches!(expected, Expected::BrokenOff) => Verdict::Right,
                    Some(fault) => Verdict::Explained(format!("{fault:?}: cut off")),
                    None => Verdict::Wrong(lost),
                };
            }
        };
        if matches!(reply.status, 401 | 502) {
            self.user.drop_token();
        }
        let own = reply.headers.get("x-request-id").and_then(|value| value.to_str().ok());
        if own != Some(&id(self.number)) {
            return Verdict::Wrong(format!("the answer to {} is called {own:?}", self.number));
        }
        match (self.check(world, &expected, &reply), self.explanation(world, &reply)) {
            (Ok(()), _) => Verdict::Right,
            (Err(_), Some(by)) => Verdict::Explained(by),
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
        let by = reason["reason"].as_str().and_then(|reason| self.reason(world, heard.status, reason));
        by.map_or_else(|| Verdict::Wrong(format!("{} {body}", heard.status)), Verdict::Explained)
    }

    /// Whether the upstream was well all the time, and the token not withdrawn meanwhile.
    pub fn is_over_a_good_upstream(&self, world: &World) -> bool {
        world.faults.since(self.begun, &UPSTREAM).is_none()
            && self.token.is_some_and(|token| !world.users.is_withdrawn(token))
    }

    fn check(&self, world: &World, expected: &Expected, reply: &Reply) -> Result<(), String> {
        let status = match expected {
            Expected::Refused(status, _) | Expected::Failure(status) => *status,
            _ => 200,
        };
        same("status", &reply.status, &status)?;
        match expected {
            Expected::BrokenOff => match &reply.body {
                Err(_) => Ok(()),
                Ok(body) => Err(format!("{} bytes that did not break off", body.len())),
            },
            Expected::Body(body) if reply.body.as_ref() == Ok(body) => Ok(()),
            Expected::Body(_) => Err("another body".into()),
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
        let body = reply.body.clone()?;
        let seen: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
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
        let (token, api) = (&seen["token"], self.api.name());
        same("oid", &token["oid"].as_str(), &Some(&self.user.oid))?;
        same("sid", &token["sid"].as_str(), &Some(&self.user.sid))?;
        same("aud", &token["aud"].as_str(), &Some(&format!("api://{api}-backend")))?;
        same("scp", &token["scp"].as_str(), &Some(&format!("{api}.read")))?;
        let until = token["exp"].as_i64().unwrap_or_default();
        let took = i64::try_from(self.begun.elapsed().as_secs()).unwrap_or_default();
        if until + 1 < now() - took {
            return Err(format!("a token that ended at {until}, now it is {}", now()));
        }
        self.user.was_served(self.api, until);
        Ok(())
    }

    /// What explains it if it is not as it should be.
    fn explanation(&self, world: &World, reply: &Reply) -> Option<String> {
        if reply.status == 200 {
            reply.body.as_ref().err()?;
            let fault = world.faults.since(self.begun, &[Fault::UpstreamResets])?;
            return Some(format!("{fault:?}: broken off"));
        }
        self.reason(world, reply.status, &reply.reason()?)
    }

    fn reason(&self, world: &World, status: u16, reason: &str) -> Option<String> {
        let fault = |of: &[Fault]| world.faults.since(self.begun, of).map(|fault| format!("{fault:?}"));
        let known = |is_so: bool, what: &str| is_so.then(|| what.to_owned());
        let of_token = |is_so: &dyn Fn(&Token) -> bool| self.token.is_some_and(is_so);
        let by = match (status, reason) {
            (503, "idp_unavailable") => {
                fault(&[Fault::IdpUnavailable, Fault::IdpResets, Fault::IdpStandsStill, Fault::IdpThrottles])
            }
            (503, "idp_throttled") => fault(&[Fault::IdpThrottles]),
            (502, "proxy_misconfigured") => {
                known(of_token(&|token| world.users.is_withdrawn(token)), "withdrawn key")
                    .or_else(|| fault(&[Fault::WrongCredential]))
            }
            (503, "keys_unavailable") | (401, "unknown_key") => known(
                of_token(&|token| world.users.may_be_unknown(token, self.begun)),
                "new or withdrawn key",
            ),
            (401, "assertion_rejected") => {
                known(of_token(&|token| world.users.is_withdrawn(token)), "withdrawn key")
            }
            (502, "upstream_unreachable") => fault(&[Fault::UpstreamResets]),
            (504, "upstream_timeout") => fault(&UPSTREAM),
            _ => None,
        }?;
        Some(format!("{reason}: {by}"))
    }
}

impl Reply {
    /// Why the proxy refused it, if it did.
    pub fn reason(&self) -> Option<String> {
        let kind = self.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let body: Value = serde_json::from_slice(self.body.as_ref().ok()?).ok()?;
        (kind == "application/problem+json").then(|| body["reason"].as_str().map(str::to_owned))?
    }

    fn text(&self) -> String {
        let body = self.body.as_ref().map(|body| String::from_utf8_lossy(body).chars().take(300).collect());
        format!("{} {}", self.status, body.unwrap_or_else(|broken: &String| broken.clone()))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, wanted: &T) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{what} is {seen:?} in place of {wanted:?}")) }
}
