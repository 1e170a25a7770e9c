//! What the upstream would get.

use std::collections::BTreeSet;
use std::time::Duration;

use http::HeaderMap;
use http::HeaderValue;
use http::header;
use http::request::Parts;
use serde::Serialize;

use crate::app::explain::HIDDEN_QUERY;
use crate::app::words;
use crate::config;
use crate::config::Access;
use crate::config::Cors;
use crate::config::Piece;
use crate::config::Retry;
use crate::config::Route;
use crate::config::Scheme;
use crate::config::Setback;
use crate::config::Template;
use crate::config::UnvalidatedToken;
use crate::config::ValidatedToken;
use crate::domain::peer::Peer;
use crate::domain::printable;
use crate::pipeline::forward;
use crate::pipeline::forward::Authorization;
use crate::pipeline::forward::retry;
use crate::pipeline::respond::refusal::Refusal;

/// A request as its upstream gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Onward {
    /// Its method.
    pub method: String,
    /// Its URL.
    pub url: String,
    /// Behind which Unix socket, if it is behind one.
    pub socket: Option<String>,
    /// Fields that are new or changed, as far as they may be shown.
    pub set: Vec<(String, String)>,
    /// Fields that do not go on.
    pub removed: Vec<String>,
    /// How long the upstream is waited for.
    pub timeouts: Vec<(String, String)>,
    /// When it is sent once more.
    pub retry: Option<String>,
    /// What it may take.
    pub limits: Vec<(String, String)>,
    /// Whose scripts may read the answer.
    pub cors: Option<String>,
}

/// What the upstream of `route` would get of a request for that canonical path.
pub fn upstream(
    route: &Route,
    path: &str,
    head: &Parts,
    listener: &config::Listener,
    peer: &Peer,
) -> Result<Onward, Refusal> {
    let ours = HeaderValue::from_static("Bearer (token B)");
    let request_id = HeaderValue::from_static("(the id of the request)");
    let came = head.headers.get(header::AUTHORIZATION);
    // no token stands on the command line, and none is shown
    let as_it_came = HeaderValue::from_static("(as it came)");
    let authorization = match (&route.access, came) {
        (Access::Validated { token: ValidatedToken::Exchange(_), .. }, _) => Authorization::Replace(&ours),
        (Access::Validated { token: ValidatedToken::Passthrough, .. }, _) => {
            Authorization::Replace(&as_it_came)
        }
        (Access::Anonymous(UnvalidatedToken::Passthrough), Some(_)) => Authorization::Keep(&as_it_came),
        (Access::Validated { token: ValidatedToken::Remove, .. }, _) | (Access::Anonymous(_), _) => {
            Authorization::Remove
        }
    };
    let onward = forward::Onward {
        route,
        path,
        authorization,
        caller: None,
        peer,
        scheme: listener.scheme(),
        request_id: &request_id,
        trace: None,
        websocket: None,
    };
    let rewritten = forward::preview(head.clone(), &onward)?;
    let upstream = &route.upstream;
    let scheme = match upstream.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let rules = route.treatment.headers.as_deref();
    let templates: Vec<_> = rules.map(|rules| rules.set.as_slice()).unwrap_or_default().to_vec();
    let is_templated = |name: &str| templates.iter().any(|(own, _)| own.as_str() == name);
    let mut set = changed(&head.headers, &rewritten.headers, is_templated);
    set.extend(templates.iter().map(|(name, template)| (name.to_string(), shown(template))));
    set.sort();
    let kept: BTreeSet<&str> = rewritten.headers.keys().map(http::HeaderName::as_str).collect();
    let is_gone = |name: &&str| !kept.contains(name) && !is_templated(name);
    let removed = head.headers.keys().map(http::HeaderName::as_str).filter(is_gone).map(String::from);
    let span = |what: &str, time: Duration| (what.to_owned(), words::span(time));
    let limits = &route.treatment.limits;
    let body = limits.request_body.map(|bytes| ("request body".to_owned(), format!("{bytes} bytes")));
    let most = limits.concurrency.map(|most| ("requests at a time".to_owned(), most.to_string()));
    Ok(Onward {
        method: rewritten.method.to_string(),
        url: format!("{scheme}://{}{}", upstream.authority, without_query(&rewritten.target.to_string())),
        socket: upstream.socket.as_ref().map(|path| path.display().to_string()),
        set,
        removed: removed.collect(),
        timeouts: vec![
            span("connect", upstream.connect_timeout),
            span("response", route.timeouts.response),
            span("idle", route.timeouts.idle),
        ],
        retry: route.treatment.retry.as_ref().map(|own| again(own, head)),
        limits: body.into_iter().chain(most).collect(),
        cors: route.treatment.cors.as_ref().map(|cors| match cors {
            Cors::Any => "scripts of any origin".to_owned(),
            Cors::Origins(origins) => {
                let all: Vec<&str> = origins.iter().filter_map(|origin| origin.to_str().ok()).collect();
                format!("scripts of {}", words::any_of(&all))
            }
        }),
    })
}

/// `target` with a sign for its query.
fn without_query(target: &str) -> String {
    match target.split_once('?') {
        Some((path, _)) => printable::line(path) + HIDDEN_QUERY,
        None => printable::line(target),
    }
}

/// What is new in `after`, or has another value there.
fn changed(
    before: &HeaderMap,
    after: &HeaderMap,
    is_left_out: impl Fn(&str) -> bool,
) -> Vec<(String, String)> {
    let is_new = |name: &&http::HeaderName| {
        let is_same = before.get_all(*name).iter().eq(after.get_all(*name).iter());
        !is_same && !is_left_out(name.as_str())
    };
    let value = |name: &http::HeaderName| {
        let values: Vec<&str> = after.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (name.to_string(), printable::line(&values.join(", ")))
    };
    after.keys().filter(is_new).map(value).collect()
}

/// What stands in a field that is written for each caller; what is the same for all may be a key.
fn shown(template: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Claim(name) => format!("{{claims.{name}}}"),
        Piece::Text(_) => "…".to_owned(),
    };
    match template.wants_claims() {
        true => template.0.iter().map(piece).collect(),
        false => "(the value in the configuration)".into(),
    }
}

fn again(own: &Retry, head: &Parts) -> String {
    if !retry::takes(own, &head.method) {
        let methods: Vec<&str> = own.methods.iter().map(http::Method::as_str).collect();
        return format!("not for this method, but for {}", words::any_of(&methods));
    }
    let setback = |setback: &Setback| match setback {
        Setback::ConnectError => "connect_error".to_owned(),
        Setback::Reset => "reset".to_owned(),
        Setback::Status(status) => status.as_u16().to_string(),
    };
    let all: Vec<String> = own.on.iter().map(setback).collect();
    let times = if own.attempts == 1 { "once".to_owned() } else { format!("{} times", own.attempts) };
    format!("{times} more after {}, first after {}", words::any_of(&all), words::span(own.backoff))
}
