//! The pools of all routes, and what of them outlives a change of the routes.

use std::sync::Arc;

use crate::config::Route;
use crate::config::Upstream;
use crate::net::budget::Budget;
use crate::net::names::Names;
use crate::net::tls;
use crate::pipeline::forward::pool::Bounds;
use crate::pipeline::forward::pool::Pool;
use crate::pipeline::forward::pool::room::Room;

/// The pool of each route. Routes share a pool when they share an upstream.
#[derive(Debug, Default)]
pub struct Pools {
    routes: Vec<(Arc<Route>, Arc<Pool>)>,
    /// What all of them know of host names, and those that come after them.
    names: Names,
    /// What all of them share of connections.
    room: Room,
}

impl Pools {
    /// A pool for each upstream of `routes`.
    ///
    /// # Errors
    /// If an upstream's roots or our certificate for it cannot be used.
    pub fn new(routes: &[Arc<Route>], bounds: Bounds) -> Result<Self, tls::Error> {
        Self::default().succeeding(routes, bounds, |_| true)
    }

    /// A pool for each upstream of `routes`: the one at hand for an upstream that did not change and `is_current`.
    ///
    /// # Errors
    /// If an upstream's roots or our certificate for it cannot be used.
    pub fn succeeding(
        &self,
        routes: &[Arc<Route>],
        bounds: Bounds,
        is_current: impl Fn(&Upstream) -> bool,
    ) -> Result<Self, tls::Error> {
        let mut made: Vec<(&Arc<Upstream>, Arc<Pool>)> = Vec::new();
        let mut pools = Vec::with_capacity(routes.len());
        for route in routes {
            let upstream = &route.upstream;
            let known = made.iter().find(|(known, _)| Arc::ptr_eq(known, upstream));
            let pool = match (known, self.to(upstream).filter(|_| is_current(upstream))) {
                (Some((_, pool)), _) => Arc::clone(pool),
                (None, Some(pool)) => Arc::clone(pool),
                (None, None) => self.room.admit(Pool::new(upstream, bounds, &self.names, &self.room)?),
            };
            made.push((upstream, Arc::clone(&pool)));
            pools.push((Arc::clone(route), pool));
        }
        Ok(Self { routes: pools, names: self.names.clone(), room: self.room.clone() })
    }

    /// Pools to the same upstreams for another runtime: those of `before` that led to them there already, new ones else.
    pub fn beside(&self, before: Option<&Self>) -> Self {
        let mut made: Vec<(&Arc<Pool>, Arc<Pool>)> = Vec::new();
        let mut pools = Vec::with_capacity(self.routes.len());
        for (route, here) in &self.routes {
            let known = made.iter().find(|(known, _)| Arc::ptr_eq(known, here));
            let there =
                || before.and_then(|before| before.routes.iter().find(|(_, pool)| pool.is_beside(here)));
            let pool = match (known, known.is_none().then(there).flatten()) {
                (Some((_, pool)), _) | (None, Some((_, pool))) => Arc::clone(pool),
                (None, None) => self.room.admit(Pool::beside(here)),
            };
            made.push((here, Arc::clone(&pool)));
            pools.push((Arc::clone(route), pool));
        }
        Self { routes: pools, names: self.names.clone(), room: self.room.clone() }
    }

    /// How many connections there may be.
    pub fn budget(&self) -> &Budget {
        self.room.budget()
    }

    /// The pool of that upstream, or of one that was configured alike.
    fn to(&self, upstream: &Upstream) -> Option<&Arc<Pool>> {
        self.routes.iter().find(|(known, _)| *known.upstream == *upstream).map(|(_, pool)| pool)
    }

    /// The pool of `route`.
    pub fn of(&self, route: &Route) -> Option<&Arc<Pool>> {
        // by where it is, not by what it is called: nothing to hash, a few pointers to compare
        self.routes.iter().find(|(known, _)| std::ptr::eq(&**known, route)).map(|(_, pool)| pool)
    }
}
