//! The way is cut or garbled below TLS, at any of its bytes: within the handshake there is no connection, after it nothing that
//! was not sent arrives.

use std::fs;
use std::sync::Arc;

use http::StatusCode;
use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::server::Transport;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::faults::IN_TIME;
use crate::support::Answer;
use crate::support::Plan;
use crate::support::World;
use crate::support::certificates::Authority;
use crate::support::listen;
use crate::support::relay::CLEAR;
use crate::support::relay::Conduct;
use crate::support::relay::Fault;
use crate::support::relay::Relay;
use crate::support::until;

/// How long a handshake may take, and an answer.
const LIMIT: &str = "4s";

/// A proxy before an API that speaks TLS, behind a relay.
struct Secured {
    world: World,
    echo: Echo,
    relay: Relay,
    _directory: TempDir,
}

impl Secured {
    async fn new() -> Self {
        let authority = Authority::new();
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        fs::write(&ca, authority.pem()).unwrap();
        let echo = Echo::start(listen().await, Transport::Tls(Arc::new(authority.server()))).unwrap();
        let relay = Relay::to(echo.address());
        let upstreams = format!(
            ", secured: {{ url: \"https://{}\", tls: {{ ca: \"{}\" }}, timeouts: {{ connect: {LIMIT}, response: {LIMIT}, idle: {LIMIT} }} }}",
            relay.address(),
            ca.display()
        );
        let routes = "\n  secured: { match: /, upstream: secured, auth: anonymous }\n";
        let world = World::with(Plan { routes, upstreams: upstreams.leak(), ..Plan::default() }).await;
        Self { world, echo, relay, _directory: directory }
    }

    /// Calls on a connection of its own.
    async fn call(&self, conduct: Conduct) -> Answer {
        self.relay.open_ones(Conduct::both(Fault::ResetNow));
        until("nothing rests", async || self.relay.open() == 0).await;
        self.relay.new_ones(conduct);
        self.world.get_anonymously("/").await
    }

    /// Calls when all is well: how many bytes went up and came down for it.
    async fn well(&self) -> (u64, u64) {
        let before = self.relay.bytes();
        assert_eq!(self.call(CLEAR).await.status, StatusCode::OK);
        let after = self.relay.bytes();
        (after.0 - before.0, after.1 - before.1)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_cut_reset_or_garbled_anywhere_is_no_connection() {
    let secured = Secured::new().await;
    secured.well().await;
    let faults: [fn(u64) -> Fault; 4] = [Fault::Cut, Fault::Reset, Fault::Garble, Fault::HalfClose];
    for fault in faults {
        // ClientHello; ServerHello, and what follows it under encryption
        for at in [0, 1, 4, 5, 6, 50, 150] {
            for conduct in [Conduct::up(fault(at)), Conduct::down(fault(at))] {
                let before = secured.echo.requests();
                let asked = Instant::now();
                let told = secured.call(conduct).await;
                assert!(asked.elapsed() < IN_TIME, "{conduct:?}: {:?}", asked.elapsed());
                let refused = (told.status.as_u16(), told.reason());
                // a length that was garbled is waited for
                let expected = match refused.0 {
                    504 => "upstream_timeout",
                    _ => "upstream_unreachable",
                };
                assert!(matches!(refused.0, 502 | 504), "{conduct:?}: {refused:?}");
                assert_eq!(refused.1, expected, "{conduct:?}");
                assert_eq!(secured.echo.requests(), before, "{conduct:?}");
            }
        }
        secured.well().await;
    }
    let held_up = secured.call(Conduct::down(Fault::Stall(50))).await;
    assert_eq!((held_up.status.as_u16(), held_up.reason().as_str()), (504, "upstream_timeout"));
    secured.well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_garbled_after_the_handshake_arrives_nowhere() {
    let secured = Secured::new().await;
    secured.well().await;
    let (up, down) = secured.well().await;
    for of_the_end in [1, 20, 60] {
        let before = secured.echo.requests();
        // the last record up is the request
        let told = secured.call(Conduct::up(Fault::Garble(up - of_the_end))).await;
        assert!(matches!(told.status.as_u16(), 502 | 504), "{told:?}");
        assert_eq!(secured.echo.requests(), before);
        // the last record down is the answer
        let told = secured.call(Conduct::down(Fault::Garble(down - of_the_end))).await;
        assert!(matches!(told.status.as_u16(), 502 | 504), "{told:?}");
        assert_eq!(secured.echo.requests(), before + 1);
    }
    secured.well().await;
}
