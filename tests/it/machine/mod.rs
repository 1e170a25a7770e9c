//! Faults of the machine: disk, log, clock, descriptors, memory, and ends of the process that nobody asked for. The real binary.

mod clock;
mod descriptors;
mod disk;
mod ends;
mod logs;
mod memory;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use serde_json::json;

use crate::support::fleet::CLIENT;
use crate::support::fleet::TENANT;
use crate::support::fleet::granted;
use crate::support::fleet::name;
use crate::support::fleet::served;
use crate::support::idp::Idp;
use crate::support::sidecar::Sidecar;

/// Everything is exchanged.
const ROUTES: &str = "\n  orders: { match: /, exchange: { scopes: [api://orders-backend/.default] } }\n";

const SECRET: &str = "{ secret: { env: SECRET } }";

/// An identity provider, and users whom nobody has seen.
struct Provider {
    idp: Idp,
    seen: AtomicUsize,
}

impl Provider {
    async fn start() -> Self {
        Self { idp: Idp::start(granted).await, seen: AtomicUsize::new(0) }
    }

    /// How a proxy is told of it, which shows this credential.
    fn configured(&self, credential: &str) -> String {
        format!(
            "\n  contoso:\n    entra: {{ tenant: {TENANT}, authority: \"{}\" }}\n    client_id: {CLIENT}\n    credential: {credential}",
            self.idp.authority()
        )
    }

    /// A proxy before it, started by `program`, with further sections.
    async fn proxy_by(&self, program: &[&str], sections: &str, environment: &[(&str, &str)]) -> Arc<Sidecar> {
        let proxy = Sidecar::start_by(program, &self.configured(SECRET), ROUTES, sections, environment).await;
        proxy.ready().await;
        Arc::new(proxy)
    }

    /// A token A of a user whom nobody has seen.
    fn stranger(&self) -> String {
        self.token(1 + self.seen.fetch_add(1, Ordering::Relaxed))
    }

    fn token(&self, user: usize) -> String {
        self.idp.entra_token(TENANT, &name(user), json!({}))
    }

    /// Calls the proxy for somebody whom nobody has seen: let through with a token B of their own.
    async fn serves_a_stranger(&self, proxy: &Sidecar) {
        served(proxy, "/", &self.stranger()).await;
    }
}

/// An address that is free a moment from now, most likely.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
