//! What a route does to its requests: `headers`, `cors`, `limits`, `retry`, with real upstreams.

mod cors;
mod headers;
mod limits;
mod retry;
mod upstream;

use crate::support::Plan;
use crate::support::World;

/// A world with these routes.
async fn world(routes: String) -> World {
    World::with(Plan { routes: routes.leak(), ..Plan::default() }).await
}
