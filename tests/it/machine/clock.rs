//! The wall clock is wrong, or jumps, or the process is stopped for a while: what is kept stays kept, nothing dead comes to life,
//! and nobody spins.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use obo_proxy::app::demo::entra::keys::OldKey;
use obo_proxy::domain::clock::Clock;
use obo_proxy::domain::clock::Timestamp;
use obo_proxy::domain::clock::UnixTime;
use serde_json::json;

use crate::machine::Provider;
use crate::machine::SECRET;
use crate::support::NOW;
use crate::support::World;
use crate::support::fleet::TENANT;
use crate::support::fleet::name;
use crate::support::fleet::served;
use crate::support::load::Load;
use crate::support::process::signal;
use crate::support::sidecar::Sidecar;

/// Where Debian's package `libfaketime` puts what changes the clock of a program.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// The wall clock of a proxy, in a file. It stands still until it jumps: so it does not matter how long a test takes.
struct Wall {
    directory: tempfile::TempDir,
    /// When the test began.
    start: i64,
}

impl Wall {
    fn new() -> Self {
        let (directory, start) = (tempfile::tempdir().unwrap(), Clock::system().now().as_seconds());
        let wall = Self { directory, start };
        wall.jump(0);
        wall
    }

    /// From now on it is so many seconds after the start.
    fn jump(&self, seconds: i64) {
        let at = u64::try_from(self.start + seconds).unwrap();
        let at = Timestamp::new(Duration::from_secs(at)).to_string();
        let new = self.directory.path().join("new");
        fs::write(&new, format!("{} {}\n", &at[..10], &at[11..19])).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    fn file(&self) -> String {
        self.directory.path().join("time").display().to_string()
    }

    /// A proxy that goes by it.
    async fn proxy(&self, provider: &Provider) -> Arc<Sidecar> {
        let library = LIBRARIES.into_iter().find(|library| Path::new(library).exists());
        let library = library.expect("the package libfaketime is not installed");
        let environment = [
            ("TZ", "UTC"),
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", &self.file()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        provider.proxy_by(&[], "", &environment).await
    }

    /// A token A of a user that is good from that second to that one.
    fn token(&self, provider: &Provider, user: usize, from: i64, to: i64) -> String {
        let [from, to] = [from, to].map(|seconds| self.start + seconds);
        provider.idp.entra_token(TENANT, &name(user), json!({"iat": from, "nbf": from, "exp": to}))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_less_than_a_minute_off_is_no_trouble_and_one_further_off_refuses() {
    let (provider, wall) = (Provider::start().await, Wall::new());
    let proxy = wall.proxy(&provider).await;
    for (at, from, to, expected) in [
        (55, -3600, 0, None),
        (65, -3600, 0, Some("token_expired")),
        (-55, 0, 3600, None),
        (-65, 0, 3600, Some("token_not_yet_valid")),
        (0, -3600, 3600, None),
    ] {
        wall.jump(at);
        let token = wall.token(&provider, 1, from, to);
        match expected {
            None => drop(served(&proxy, "/", &token).await),
            Some(reason) => assert_eq!(proxy.refused("/", &token).await, (401, reason.into()), "{at}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_empties_no_cache_revives_no_token_and_has_nobody_spin() {
    let (provider, wall) = (Provider::start().await, Wall::new());
    let proxy = wall.proxy(&provider).await;
    let refreshes = "obo_jwks_refreshes_total{identity_provider=\"contoso\",result=\"ok\"} ";
    let refreshed = proxy.count(refreshes).await;
    // good at all of these times; its token B is for an hour
    let token = wall.token(&provider, 1, -7200, 7200);
    let first = served(&proxy, "/", &token).await;
    let ticks = proxy.proxy.cpu_ticks();
    for jump in [600, -600, 0, -3600, 0] {
        wall.jump(jump);
        assert_eq!(served(&proxy, "/", &token).await, first, "{jump}");
    }
    wall.jump(3600);
    let second = served(&proxy, "/", &token).await;
    assert_ne!(second, first, "it has expired");
    wall.jump(0);
    assert_eq!(served(&proxy, "/", &token).await, second);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ticks = proxy.proxy.cpu_ticks() - ticks;
    assert!(ticks < 100, "{ticks} of 200 ticks and some were used for eight requests");
    assert_eq!(proxy.count(refreshes).await, refreshed);
    assert_eq!(provider.idp.requests(), 2);
}

#[tokio::test]
async fn a_clock_set_back_revives_no_token_and_keys_are_refreshed_all_the_same() {
    let world = World::new().await;
    let exchanged = async |expected: u64| {
        let answer = world.get("/orders", &world.token("alice")).await;
        assert_eq!((answer.status.as_u16(), world.entra().token_requests()), (200, expected), "{answer:?}");
    };
    exchanged(1).await;
    world.clock.set_wall(UnixTime::from_seconds(NOW - 3600));
    exchanged(1).await;
    // a hundred seconds after its start by the clock, and two hours by all that has passed
    world.clock.advance(Duration::from_secs(7200));
    world.clock.set_wall(UnixTime::from_seconds(NOW + 100));
    exchanged(2).await;
    let asked = world.entra().key_requests();
    world.clock.set_wall(UnixTime::from_seconds(NOW - 3600));
    world.entra().rotate_keys(OldKey::Dropped).unwrap();
    exchanged(2).await;
    assert_eq!(world.entra().key_requests(), asked + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_for_a_while_goes_on_where_it_was() {
    let provider = Provider::start().await;
    let sidecar = Sidecar::start_with(
        &provider.configured(SECRET),
        "\n  open: { match: { path: /x, exact: true }, auth: anonymous }\n  orders: { match: /, exchange: { scopes: [api://orders-backend/.default] } }\n",
        "",
        &[],
    )
    .await;
    sidecar.ready().await;
    let token = provider.stranger();
    let number = served(&sidecar, "/", &token).await;
    let at = sidecar.proxy.address.parse().unwrap();
    let load = Load::new().http1(at, 4, Duration::from_millis(5), "").http2(at, 1, 4);
    load.proceeds(50).await;
    signal(sidecar.proxy.id(), "STOP");
    // longer than `header_timeout`, and than the exchange may take
    tokio::time::sleep(Duration::from_secs(11)).await;
    signal(sidecar.proxy.id(), "CONT");
    load.proceeds(50).await;
    load.end().await.check(&["/x"]);
    assert_eq!(served(&sidecar, "/", &token).await, number);
    provider.serves_a_stranger(&sidecar).await;
}
