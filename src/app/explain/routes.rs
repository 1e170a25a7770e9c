//! Why a request has the route that it has.

use std::sync::Arc;

use http::request::Parts;
use serde::Serialize;

use crate::app::words;
use crate::config::HostPattern;
use crate::config::PathKind;
use crate::config::Route;
use crate::pipeline::route::Aspect;
use crate::pipeline::route::Considered;

/// A route that took part.
#[derive(Clone, Debug, Serialize)]
pub struct Looked {
    /// Its name.
    pub route: String,
    /// How it fared.
    pub fared: Fared,
    /// What it matches.
    pub matches: String,
    /// What of the request it does not take.
    pub against: Vec<String>,
}

/// How a route fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fared {
    /// It takes the request.
    Chosen,
    /// It would take it, were there not one that is more specific.
    LessSpecific,
    /// It would take it, but for something.
    Missed,
    /// It would take it, but the path can be read in more than one way.
    Ambiguous,
}

/// What is to be told of the routes that were `considered`: the one that was chosen, those that would have done, and those
/// whose path fits; of each, the most specific first.
pub fn looked(considered: &[Considered], chosen: Option<&Arc<Route>>, head: &Parts) -> Vec<Looked> {
    let mut told: Vec<(&Considered, Fared)> = Vec::new();
    for candidate in considered.iter().filter(|candidate| !candidate.against.contains(&Aspect::Path)) {
        let is_chosen = chosen.is_some_and(|chosen| Arc::ptr_eq(chosen, &candidate.route));
        let is_taken = candidate.against.is_empty();
        let fared = match (is_taken, chosen) {
            (true, Some(_)) if is_chosen => Fared::Chosen,
            (true, Some(_)) => Fared::LessSpecific,
            (true, None) => Fared::Ambiguous,
            (false, _) => Fared::Missed,
        };
        // a route with several hosts is told once, by the best of them
        match told.iter_mut().find(|(known, _)| Arc::ptr_eq(&known.route, &candidate.route)) {
            None => told.push((candidate, fared)),
            Some(known) if known.1 == Fared::Missed && is_taken => *known = (candidate, fared),
            Some(_) => {}
        }
    }
    told.sort_by_key(|(_, fared)| *fared);
    let tell = |(candidate, fared): (&Considered, Fared)| Looked {
        route: candidate.route.name.to_string(),
        fared,
        matches: matches(candidate),
        against: candidate.against.iter().map(|aspect| against(*aspect, &candidate.route, head)).collect(),
    };
    told.into_iter().map(tell).collect()
}

fn matches(candidate: &Considered) -> String {
    let matches = &candidate.route.matches;
    let mut parts = Vec::new();
    match &candidate.host {
        Some(HostPattern::Exact(host)) => parts.push(format!("host {host}")),
        Some(HostPattern::Wildcard(suffix)) => parts.push(format!("host *{suffix}")),
        None => {}
    }
    parts.push(match matches.path_kind {
        PathKind::Exact => format!("path {} exactly", matches.path),
        PathKind::Prefix => format!("path {} and below", matches.path),
    });
    if !matches.methods.is_empty() {
        let methods: Vec<&str> = matches.methods.iter().map(http::Method::as_str).collect();
        parts.push(format!("method {}", words::any_of(&methods)));
    }
    if !matches.headers.is_empty() {
        let names: Vec<&str> = matches.headers.iter().map(|(name, _)| name.as_str()).collect();
        parts.push(format!("header {}", words::all_of(&names)));
    }
    parts.join(", ")
}

/// What of the request speaks against a route, and what would not.
fn against(aspect: Aspect, route: &Route, head: &Parts) -> String {
    match aspect {
        Aspect::Path => "the path".into(),
        Aspect::Method => format!("the method {}", head.method),
        Aspect::Host => {
            let hosts: Vec<String> = route.matches.hosts.iter().map(host).collect();
            format!("the host, which is not {}", words::any_of(&hosts))
        }
        Aspect::Headers => {
            // the values are the operator's to know
            let names: Vec<&str> = route
                .matches
                .headers
                .iter()
                .filter(|(name, value)| head.headers.get(name) != Some(value))
                .map(|(name, _)| name.as_str())
                .collect();
            match names.is_empty() {
                true => "a header that comes twice".into(),
                false => format!("the header {}", words::all_of(&names)),
            }
        }
        Aspect::Listener => {
            let listeners = route.listeners.as_deref().unwrap_or_default();
            let names: Vec<&str> = listeners.iter().map(|name| name.as_str()).collect();
            format!("the listener, which is not {}", words::any_of(&names))
        }
    }
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Wildcard(suffix) => format!("*{suffix}"),
    }
}
