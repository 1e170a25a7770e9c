//! What routes do to each other: ties, and anonymous routes that cover protected ones.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::Access;
use crate::config::HostPattern;
use crate::config::Match;
use crate::config::PathKind;
use crate::config::Route;
use crate::config::check::At;
use crate::config::check::route::covers;

/// How many problems of this kind are reported.
const MOST: usize = 100;

/// Complains about every pair of routes between which a request cannot choose, and warns of every anonymous route that
/// takes requests near a protected one.
pub fn check(routes: &[(Arc<Route>, At<'_>)]) {
    let ties = ties(routes);
    for (one, other) in
        ties.iter().take(MOST).filter_map(|(one, other)| routes.get(*one).zip(routes.get(*other)))
    {
        let (first, second) = if one.1.order() <= other.1.order() { (one, other) } else { (other, one) };
        let message = format!(
            "the routes `{}` and `{}` tie: some requests match both equally well; `{}` is at {}",
            first.0.name,
            second.0.name,
            first.0.name,
            first.1.line()
        );
        let help = "tell them apart by host, path, methods or headers; order in the file makes no difference";
        second.1.key_error(message, help);
    }
    let protected: Vec<_> = routes.iter().filter(|(route, _)| is_protected(route)).collect();
    let mut warned = 0;
    for (open, at) in routes.iter().filter(|(route, _)| !is_protected(route)) {
        let covered = protected.iter().find(|(route, _)| exposes(open, route));
        if let Some((route, route_at)) = covered.filter(|_| warned < MOST) {
            warned += 1;
            let message = format!(
                "everybody may pass `{}`, and its path covers that of the protected route `{}` at {}",
                open.name,
                route.name,
                route_at.line()
            );
            let help = "whatever the protected route does not take goes through without a token: name public paths one by one";
            at.warning(message, help);
        }
    }
}

fn is_protected(route: &Route) -> bool {
    matches!(route.access, Access::Validated { .. })
}

/// The pairs that tie. Only routes with a host pattern and the path in common can.
fn ties(routes: &[(Arc<Route>, At<'_>)]) -> BTreeSet<(usize, usize)> {
    let mut alike: BTreeMap<(String, bool, String), Vec<usize>> = BTreeMap::new();
    for (at, (route, _)) in routes.iter().enumerate() {
        let hosts: Vec<String> = match route.matches.hosts.as_slice() {
            [] => vec![String::new()],
            hosts => hosts.iter().map(host_text).collect(),
        };
        for host in hosts {
            let exact = route.matches.path_kind == PathKind::Exact;
            alike.entry((route.matches.path.clone(), exact, host)).or_default().push(at);
        }
    }
    let mut ties = BTreeSet::new();
    for group in alike.values() {
        for (at, one) in group.iter().enumerate() {
            for other in group.iter().skip(at + 1) {
                let pair = routes.get(*one).zip(routes.get(*other));
                let tie = pair.is_some_and(|((a, _), (b, _))| {
                    one != other && share_listener(a, b) && agree(&a.matches, &b.matches)
                });
                if tie && ties.len() < MOST {
                    ties.insert((*one, *other));
                }
            }
        }
    }
    ties
}

fn host_text(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Wildcard(suffix) => format!("*{suffix}"),
    }
}

fn share_listener(one: &Route, other: &Route) -> bool {
    match (&one.listeners, &other.listeners) {
        (Some(one), Some(other)) => one.iter().any(|name| other.contains(name)),
        _ => true,
    }
}

/// Whether some request satisfies methods and headers of both, and neither is the more specific.
fn agree(one: &Match, other: &Match) -> bool {
    let methods = match (one.methods.as_slice(), other.methods.as_slice()) {
        ([], []) => true,
        (one, other) => one.iter().any(|method| other.contains(method)),
    };
    methods && one.headers.len() == other.headers.len() && !contradict(one, other)
}

fn contradict(one: &Match, other: &Match) -> bool {
    one.headers.iter().any(|(name, value)| other.headers.iter().any(|(n, v)| n == name && v != value))
}

/// Whether `open`, an anonymous route, takes requests for paths that a reader would think `route` protects.
fn exposes(open: &Route, route: &Route) -> bool {
    let one = &open.matches;
    let other = &route.matches;
    let methods = one.methods.is_empty()
        || other.methods.is_empty()
        || one.methods.iter().any(|method| other.methods.contains(method));
    one.path_kind == PathKind::Prefix
        && covers(&one.path, &other.path)
        && methods
        && share_listener(open, route)
        && hosts_overlap(&one.hosts, &other.hosts)
        && !contradict(one, other)
}

fn hosts_overlap(one: &[HostPattern], other: &[HostPattern]) -> bool {
    let overlap = |one: &HostPattern, other: &HostPattern| match (one, other) {
        (HostPattern::Exact(one), HostPattern::Exact(other)) => one == other,
        (HostPattern::Exact(host), HostPattern::Wildcard(suffix))
        | (HostPattern::Wildcard(suffix), HostPattern::Exact(host)) => host.ends_with(suffix.as_str()),
        (HostPattern::Wildcard(one), HostPattern::Wildcard(other)) => {
            one.ends_with(other.as_str()) || other.ends_with(one.as_str())
        }
    };
    one.is_empty() || other.is_empty() || one.iter().any(|a| other.iter().any(|b| overlap(a, b)))
}
