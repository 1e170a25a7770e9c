//! Which route takes a request: precedence as in the Gateway API's HTTPRoute.

use std::cmp::Reverse;
use std::sync::Arc;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::header::HOST;
use http::request::Parts;

use crate::config::HostPattern;
use crate::config::Match;
use crate::config::PathKind;
use crate::config::Route;
use crate::domain::name::Name;
use crate::pipeline::route::path;
use crate::pipeline::route::preflight::Announced;

/// Routes, most specific first: the first that takes a request is the one.
#[derive(Debug)]
pub struct Table(Vec<Entry>);

/// One route under one of its hosts.
#[derive(Debug)]
struct Entry {
    host: Option<HostPattern>,
    path: String,
    decoded_path: String,
    route: Arc<Route>,
}

/// What of a request a route looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// Its path.
    Path,
    /// Its method.
    Method,
    /// Its host.
    Host,
    /// Its header fields.
    Headers,
    /// The listener it came by.
    Listener,
}

/// In the order in which a route looks.
const ASPECTS: [Aspect; 5] = [Aspect::Path, Aspect::Method, Aspect::Host, Aspect::Headers, Aspect::Listener];

/// A route that was looked at for a request, under one of its hosts.
#[derive(Clone, Debug)]
pub struct Considered {
    /// The route.
    pub route: Arc<Route>,
    /// The host; `None` = every host.
    pub host: Option<HostPattern>,
    /// What of the request it does not take; nothing = it takes the request, if none before it does.
    pub against: Vec<Aspect>,
}

/// What a route looks at, besides the path.
#[derive(Debug)]
pub struct Request<'a> {
    listener: &'a Name,
    host: Option<String>,
    method: &'a Method,
    headers: &'a HeaderMap,
    /// The names of the fields it will have besides, if it is only announced.
    announced: Option<&'a [HeaderName]>,
}

impl<'a> Request<'a> {
    /// The request `head`, received on `listener`.
    pub fn new(listener: &'a Name, head: &'a Parts) -> Self {
        let (method, headers) = (&head.method, &head.headers);
        Self { listener, host: host(head), method, headers, announced: None }
    }

    /// The request that `head`, received on `listener`, announces.
    pub fn announced(listener: &'a Name, head: &'a Parts, announced: &'a Announced) -> Self {
        let fields = announced.fields.as_deref().unwrap_or_default();
        Self { method: &announced.method, announced: Some(fields), ..Self::new(listener, head) }
    }

    fn has(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        match self.announced {
            Some(names) => names.contains(name),
            None => has_only(self.headers, name, value),
        }
    }
}

impl Table {
    /// A table of `routes`, in order of precedence.
    pub fn new(routes: &[Arc<Route>]) -> Self {
        let mut entries: Vec<Entry> = routes.iter().flat_map(entries).collect();
        entries.sort_by_cached_key(|entry| (entry.precedence(), entry.route.name.clone()));
        Self(entries)
    }

    /// The most specific route for a canonical path.
    pub fn find(&self, request: &Request<'_>, path: &str) -> Option<&Arc<Route>> {
        self.0.iter().find(|entry| entry.takes(request, path, &entry.path)).map(|entry| &entry.route)
    }

    /// Every route under each of its hosts, most specific first, with what of the request it does not take.
    pub fn considered(&self, request: &Request<'_>, path: &str) -> Vec<Considered> {
        let consider = |entry: &Entry| Considered {
            route: entry.route.clone(),
            host: entry.host.clone(),
            against: ASPECTS
                .into_iter()
                .filter(|aspect| !entry.agrees(*aspect, request, path, &entry.path))
                .collect(),
        };
        self.0.iter().map(consider).collect()
    }

    /// The most specific route for a path after decoding, compared with the routes' own paths after decoding.
    pub fn find_decoded(&self, request: &Request<'_>, path: &str) -> Option<&Arc<Route>> {
        self.0.iter().find(|entry| entry.takes(request, path, &entry.decoded_path)).map(|entry| &entry.route)
    }
}

impl Entry {
    /// Smaller is more specific.
    fn precedence(&self) -> impl Ord + use<> {
        let host = match &self.host {
            Some(HostPattern::Exact(_)) => (0, Reverse(0)),
            Some(HostPattern::Wildcard(suffix)) => (1, Reverse(suffix.len())),
            None => (2, Reverse(0)),
        };
        let Match { path_kind, methods, headers, .. } = &self.route.matches;
        let path = match path_kind {
            PathKind::Exact => (0, Reverse(0)),
            PathKind::Prefix => (1, Reverse(self.path.len())),
        };
        (host, path, methods.is_empty(), Reverse(headers.len()))
    }

    fn takes(&self, request: &Request<'_>, path: &str, own_path: &str) -> bool {
        let agrees = |aspect| self.agrees(aspect, request, path, own_path);
        let [first, second, third, fourth, fifth] = ASPECTS;
        agrees(first) && agrees(second) && agrees(third) && agrees(fourth) && agrees(fifth)
    }

    /// Whether it takes the request as far as that aspect goes.
    #[inline(always)] // the aspect is known where it is called, and each request calls it for many routes
    fn agrees(&self, aspect: Aspect, request: &Request<'_>, path: &str, own_path: &str) -> bool {
        let Match { path_kind, methods, headers, .. } = &self.route.matches;
        match aspect {
            Aspect::Path => match path_kind {
                PathKind::Exact => path == own_path,
                PathKind::Prefix => is_under(path, own_path),
            },
            Aspect::Method => methods.is_empty() || methods.contains(request.method),
            Aspect::Host => self.host.as_ref().is_none_or(|host| takes_host(host, request.host.as_deref())),
            Aspect::Headers => headers.iter().all(|(name, value)| request.has(name, value)),
            Aspect::Listener => {
                self.route.listeners.as_ref().is_none_or(|names| names.contains(request.listener))
            }
        }
    }
}

fn entries(route: &Arc<Route>) -> Vec<Entry> {
    let path = match route.matches.path_kind {
        PathKind::Exact => route.matches.path.clone(),
        PathKind::Prefix => route.matches.path.trim_end_matches('/').to_owned(),
    };
    let entry = |host| Entry {
        host,
        path: path.clone(),
        decoded_path: path::decoded(&path),
        route: Arc::clone(route),
    };
    match route.matches.hosts.as_slice() {
        [] => vec![entry(None)],
        hosts => hosts.iter().cloned().map(Some).map(entry).collect(),
    }
}

/// Whether `path` is `prefix`, which has no trailing slash, or below it.
fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn takes_host(pattern: &HostPattern, host: Option<&str>) -> bool {
    host.is_some_and(|host| match pattern {
        HostPattern::Exact(name) => host == name,
        HostPattern::Wildcard(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
    })
}

/// A header that comes twice is a list (RFC 9110 section 5.3), and a list is not the value.
fn has_only(headers: &HeaderMap, name: &HeaderName, value: &HeaderValue) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next() == Some(value) && values.next().is_none()
}

/// The host a request is for: lower-case, without port and trailing dot.
fn host(head: &Parts) -> Option<String> {
    let host = match head.uri.host() {
        Some(host) => host,
        None => without_port(head.headers.get(HOST)?.to_str().ok()?),
    };
    Some(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    }
}
