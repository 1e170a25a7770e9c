//! The admin interface: what it shows, what it does, and for whom.

mod guards;
mod page;
mod process;
mod steering;

use bytes::Bytes;
use http::Request;
use serde_json::Value;

use crate::support::Answer;
use crate::support::Plan;
use crate::support::World;

/// Everything that can be looked at.
const PLACES: [&str; 7] = [
    "/",
    "/api/v1/status",
    "/api/v1/routes",
    "/api/v1/identity_providers",
    "/api/v1/cache",
    "/api/v1/events",
    "/api/v1/config",
];

/// The demo's world with an admin interface.
async fn world() -> World {
    world_with("admin: { address: \"127.0.0.1:0\" }").await
}

async fn world_with(sections: &'static str) -> World {
    World::with(Plan { sections, ..Plan::default() }).await
}

impl World {
    async fn look(&self, path: &str) -> Answer {
        self.send(Request::get(self.admin_url(path))).await
    }

    async fn json(&self, of: &str) -> Value {
        self.look(&format!("/api/v1/{of}")).await.json()
    }

    /// A request as it is meant.
    async fn steer(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(self.admin_url(path)).header("x-obo-admin", "1");
        let request = request.header("content-type", "application/json");
        self.send_body(request, Bytes::from(body.to_string())).await
    }

    fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin.unwrap())
    }
}
