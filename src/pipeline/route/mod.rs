//! A request head becomes the one most specific route.
//!
//! **In:** a listener's name and a request head. **Out:** the route, and the canonical path it was matched by.
//! **Never:** lets an undecodable or ambiguous path through; forwards another path than the one it matched.

use std::sync::Arc;

use http::Method;
use http::Uri;
use http::request::Parts;

use crate::config::EncodedSlashes;
use crate::config::Route;
use crate::domain::name::Name;
use crate::pipeline::route::preflight::Announced;

pub mod path;
pub mod preflight;
mod table;

pub use path::Why;
pub use table::Aspect;
pub use table::Considered;

/// Every route, most specific first.
#[derive(Debug)]
pub struct RouteTable {
    table: table::Table,
    sharing: Sharing,
}

/// Whether scripts in browsers may call any route, as far as we are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// No route says anything about it.
    Unheard,
    /// One at least does.
    Settled,
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The route that took it.
    pub route: Arc<Route>,
    /// The path in canonical form: what was matched is what is forwarded.
    pub path: String,
}

/// Why a request has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The path has no one meaning.
    #[error("the path {0}")]
    InvalidPath(Why),
    /// No route takes it.
    #[error("no route takes the request")]
    NoRoute,
}

impl RouteTable {
    /// A table of `routes`. Their order has no meaning.
    pub fn new(routes: &[Arc<Route>]) -> Self {
        let is_settled = routes.iter().any(|route| route.treatment.cors.is_some());
        let sharing = if is_settled { Sharing::Settled } else { Sharing::Unheard };
        Self { table: table::Table::new(routes), sharing }
    }

    /// Whether any route says whose scripts may call it.
    pub fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// The most specific route for `head`, received on `listener`.
    ///
    /// # Errors
    /// If there is none, or if the path could be read as that of another route too.
    pub fn find(&self, listener: &Name, head: &Parts) -> Result<Routed, Error> {
        self.find_for(&table::Request::new(listener, head), head.uri.path())
    }

    /// The route that the request would take which `head`, received on `listener`, announces. Of the fields that such a
    /// request will have a browser tells the names alone: a route that asks for one with a value takes it by its name.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_announced(
        &self,
        listener: &Name,
        head: &Parts,
        announced: &Announced,
    ) -> Result<Routed, Error> {
        let request = table::Request::announced(listener, head, announced);
        self.find_for(&request, head.uri.path())
    }

    fn find_for(&self, request: &table::Request<'_>, path: &str) -> Result<Routed, Error> {
        let canonical = path::canonical(path).map_err(Error::InvalidPath)?;
        let route = self.table.find(request, &canonical.path);
        if canonical.has_encoded_slash {
            match route.map(|route| route.encoded_slashes) {
                Some(EncodedSlashes::Keep) => {}
                Some(EncodedSlashes::Reject) | None => return Err(Error::InvalidPath(Why::EncodedSlash)),
            }
        }
        for reading in path::readings(&canonical).map_err(Error::InvalidPath)? {
            if !same(route, self.table.find_decoded(request, &reading)) {
                return Err(Error::InvalidPath(Why::Ambiguous));
            }
        }
        let route = Arc::clone(route.ok_or(Error::NoRoute)?);
        Ok(Routed { route, path: canonical.path })
    }

    /// Every route under each of its hosts, most specific first, with what it does not take of `head`, received on
    /// `listener`: to say why a request has the route that it has.
    ///
    /// # Errors
    /// If the path has no one meaning.
    pub fn considered(&self, listener: &Name, head: &Parts) -> Result<Vec<Considered>, Error> {
        let canonical = path::canonical(head.uri.path()).map_err(Error::InvalidPath)?;
        Ok(self.table.considered(&table::Request::new(listener, head), &canonical.path))
    }

    /// The routes that requests like `head` would take for `path`, whatever their method.
    pub fn at(&self, listener: &Name, head: &Parts, path: &str) -> Vec<Arc<Route>> {
        let mut uri = head.uri.clone().into_parts();
        uri.path_and_query = path.parse().ok();
        let Ok(uri) = Uri::from_parts(uri) else { return Vec::new() };
        let mut asked = head.clone();
        asked.uri = uri;
        let mut routes: Vec<Arc<Route>> = Vec::new();
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            asked.method = method;
            let found = self.find(listener, &asked).ok().map(|routed| routed.route);
            routes.extend(found.filter(|route| !routes.iter().any(|own| Arc::ptr_eq(own, route))));
        }
        routes
    }
}

fn same(one: Option<&Arc<Route>>, other: Option<&Arc<Route>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

#[cfg(test)]
mod tests;
