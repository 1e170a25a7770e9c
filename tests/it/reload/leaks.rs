//! What a hundred reloads leave behind: nothing.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use obo_proxy::app::App;
use obo_proxy::app::reload::Source;
use obo_proxy::app::reload::Watch;
use obo_proxy::domain::clock::Clock;
use obo_proxy::telemetry::dial::Dial;
use obo_proxy::telemetry::dial::Setting;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::oneshot;

use crate::reload::IN_USE;
use crate::reload::address;
use crate::reload::check;
use crate::reload::echo;
use crate::support::idp::Answer;
use crate::support::idp::Idp;
use crate::support::load::Kept;
use crate::support::load::Load;
use crate::support::process::Proxy;
use crate::support::until;

/// Keys and a listener that come and go with each reload, and routes that change.
fn config(number: usize, idp: &Idp, upstream: &str) -> String {
    let more = match number % 2 {
        0 => "",
        _ => ", second: { address: \"127.0.0.1:0\", underscore_headers: keep }",
    };
    format!(
        r#"
workers: 2
listeners: {{ default: {{ address: "127.0.0.1:0" }}{more} }}
identity_providers:
  partner{0}:
    oidc: {{ issuer: "{1}" }}
    client_id: orders-proxy
    audiences: [orders]
    credential: {{ secret: {{ env: SECRET }} }}
    grant: token_exchange
  steady: {{ entra: {{ tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490, authority: "{1}" }}, client_id: x, credential: {{ secret: {{ env: SECRET }} }} }}
routes:
  sales: {{ match: /sales, identity_provider: partner{0}, upstream: "http://{upstream}/{number}", exchange: {{ audience: sales }} }}
  all: {{ match: /, auth: anonymous, upstream: "http://{upstream}/{0}" }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json, level: error, access: false }} }}
shutdown: {{ delay: 0s, drain: 2s }}
"#,
        number % 2,
        idp.authority(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_is_left_of_a_hundred_configurations() {
    let (echo, idp) = (echo().await, Idp::start(|_| Answer::exchanged("b")).await);
    let upstream = echo.address().to_string();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    fs::write(&file, config(0, &idp, &upstream)).unwrap();
    let (bell, clock) = (Arc::new(Notify::new()), Clock::system());
    let source =
        Source { files: vec![file.clone()], environment: vec![("SECRET".into(), "s".into())].into() };
    let (watch, loaded) = Watch::begin(source, bell.clone(), clock.clone()).unwrap();
    let dial = Dial::at(Setting::of(&loaded.config.telemetry.logs).unwrap());
    let app = App::bind(loaded.config, clock).await.unwrap().watching(watch, dial);
    let at = app.listeners().unwrap()[0].1.tcp().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(app.serve(async {
        let _ = stopped.await;
    }));
    let mut kept = Kept::to(at).await.unwrap();
    let mut tasks = Vec::new();
    for number in 1..=100 {
        fs::write(&file, config(number, &idp, &upstream)).unwrap();
        bell.notify_one();
        let path = format!("/{}/x", number % 2);
        loop {
            let reply = kept.ask("/x", "").await.unwrap();
            assert_eq!(reply.status, 200);
            if reply.path() == path {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if number % 10 == 0 {
            // what was fading had its time
            tokio::time::sleep(Duration::from_millis(100)).await;
            tasks.push(Handle::current().metrics().num_alive_tasks());
        }
    }
    // connections to the identity provider come and go
    let (first, last) = (tasks[0], tasks[9]);
    assert!(last <= first + 4, "{tasks:?}");
    stop.send(()).unwrap();
    drop(kept);
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_descriptor_thread_or_memory_is_left_of_a_hundred_configurations() {
    let (echo, idp) = (echo().await, Idp::start(|_| Answer::exchanged("b")).await);
    let upstream = echo.address().to_string();
    let proxy =
        Proxy::start(&config(0, &idp, &upstream).replace("level: error", "level: info"), &[("SECRET", "s")]);
    let load =
        Load::new().http1(address(&proxy), 4, Duration::from_millis(1), "").http2(address(&proxy), 1, 2);
    let process = format!("/proc/{}", proxy.id());
    let status = |of: &str| -> usize {
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(of)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let mut seen = Vec::new();
    for number in 1..=100 {
        let config = config(number, &idp, &upstream).replace("level: error", "level: info");
        let verdict = tokio::task::block_in_place(|| proxy.reload(&config));
        check(&verdict, IN_USE, &proxy);
        if number % 20 == 0 {
            // resting connections to upstreams that are gone, and to the identity provider, are let go by and by
            let most = seen.first().map_or(usize::MAX, |(first, ..): &(usize, usize, usize)| first + 5);
            until("descriptors are closed", async || proxy.descriptors() <= most).await;
            seen.push((proxy.descriptors(), status("Threads:"), status("VmRSS:")));
        }
    }
    let tally = load.end().await;
    tally.check(&["/0/x", "/1/x"]);
    let [first, .., last] = seen[..] else { panic!("{seen:?}") };
    // threads that read files are kept for a while
    assert!(last.1 <= first.1 + 8, "{seen:?}");
    assert!(last.2 <= first.2 + 12 * 1024, "{seen:?}");
}
