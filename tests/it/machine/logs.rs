//! Nobody reads the log, or there is no room for it: that costs lines, and no request.

use std::io::BufRead;
use std::io::BufReader;
use std::process::Child;
use std::process::ChildStderr;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::server::Transport;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::machine::free;
use crate::support::listen;
use crate::support::load::Kept;
use crate::support::process::obo_proxy;
use crate::support::process::shell;
use crate::support::process::signal;
use crate::support::until;

/// How long anything may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A proxy whose log goes to whatever the test says. Killed when dropped.
struct Mute {
    child: Child,
    address: String,
    telemetry: String,
    _echo: Echo,
    _directory: tempfile::TempDir,
}

impl Mute {
    /// Starts it, `wiring` being what a shell does to its descriptors, and waits until it serves.
    async fn start(wiring: &str) -> Self {
        Self::start_as(|config| {
            let mut command = Command::new("bash");
            let line = format!("exec \"$0\" run --config \"$1\" {wiring}");
            command.args(["-c", &line, env!("CARGO_BIN_EXE_obo-proxy"), config]).stdin(Stdio::null());
            command
        })
        .await
    }

    /// The same, where its log is a pipe of the test's.
    async fn start_piped() -> (Self, ChildStderr) {
        let mut proxy = Self::start_as(|config| {
            let mut command = obo_proxy(&["run", "--config", config]);
            command.stderr(Stdio::piped());
            command
        })
        .await;
        let stderr = proxy.child.stderr.take().unwrap();
        (proxy, stderr)
    }

    async fn start_as(command: impl FnOnce(&str) -> Command) -> Self {
        let echo = Echo::start(listen().await, Transport::Plain).unwrap();
        let (directory, address, telemetry) = (tempfile::tempdir().unwrap(), free(), free());
        let config = directory.path().join("config.yaml");
        let text = format!(
            r#"
listeners: {{ default: {{ address: "{address}" }} }}
routes: {{ all: {{ match: /, auth: anonymous, upstream: "http://{}" }} }}
telemetry: {{ address: "{telemetry}", logs: {{ format: json }} }}
shutdown: {{ delay: 0s, drain: 2s }}
"#,
            echo.address()
        );
        std::fs::write(&config, text).unwrap();
        let child = command(config.to_str().unwrap()).spawn().unwrap();
        let proxy = Self { child, address, telemetry, _echo: echo, _directory: directory };
        until("it serves", async || proxy.probe("readyz").starts_with("ok")).await;
        proxy
    }

    /// What the telemetry address says, if anything.
    fn probe(&self, path: &str) -> String {
        tokio::task::block_in_place(|| {
            shell(&format!("curl -s -m 20 http://{}/{path} || true", self.telemetry))
        })
    }

    /// How many lines it says are lost.
    fn lost(&self) -> u64 {
        let metrics = self.probe("metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix("obo_log_lines_lost_total "));
        line.unwrap_or_else(|| panic!("it does not say: {metrics}")).parse().unwrap()
    }

    /// Asks so often for a path that makes lines of 4 kB, four at a time; each time it must be answered.
    async fn asked(&self, times: usize) {
        let address = self.address.parse().unwrap();
        let mut callers = JoinSet::new();
        for _ in 0..4 {
            callers.spawn(async move {
                let mut kept = Kept::to(address).await.unwrap();
                for _ in 0..times / 4 {
                    let reply = kept.ask(&format!("/{}", "x".repeat(4000)), "").await.unwrap();
                    assert_eq!(reply.status, 200);
                }
            });
        }
        callers.join_all().await;
    }

    /// Ends it by SIGTERM: its exit code.
    fn stop(mut self) -> Option<i32> {
        signal(self.child.id(), "TERM");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_reads_the_log_requests_are_served_and_who_reads_again_is_told_what_is_missing() {
    let (proxy, log) = Mute::start_piped().await;
    // the pipe takes 64 KiB of it
    proxy.asked(200).await;
    assert!(proxy.probe("livez").starts_with("ok"));
    for _ in 0..20 {
        proxy.asked(400).await;
        if proxy.lost() > 0 {
            break;
        }
    }
    assert!(proxy.lost() > 0, "there is room for more");
    signal(proxy.child.id(), "HUP");
    proxy.asked(100).await;
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(log).lines().map_while(Result::ok).for_each(|line| {
            let line = serde_json::from_str::<Value>(&line);
            // a test that has failed does not wait for it
            let _ = send.send(line.map_err(|error| error.to_string()));
        });
    });
    let next = || lines.recv_timeout(PATIENCE).unwrap().unwrap();
    let told = loop {
        let line = next();
        if line["msg"].as_str().unwrap().starts_with("lines of the log are lost") {
            break line;
        }
    };
    assert_eq!((&told["level"], told["lost"].as_u64()), (&"warn".into(), Some(proxy.lost())), "{told}");
    // from here on none is missing
    proxy.asked(40).await;
    let mut requests = 0;
    while requests < 40 {
        requests += usize::from(next()["msg"] == "request");
    }
    assert_eq!(proxy.lost(), told["lost"].as_u64().unwrap());
    assert_eq!(proxy.stop(), Some(0));
    let rest: Vec<_> = lines.iter().map(Result::unwrap).collect();
    assert_eq!(rest.last().unwrap()["msg"], "stopped", "the last line is written too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_does_not_keep_the_process_from_its_end() {
    let (proxy, _log) = Mute::start_piped().await;
    proxy.asked(200).await;
    assert_eq!(proxy.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_goes_nowhere_costs_nothing_else() {
    for (wiring, is_lost) in [
        // a disk that is full
        ("2>/dev/full >/dev/full", true),
        // a reader that is gone
        ("2> >(exec sleep 0)", true),
        ("2>&- >&-", false),
    ] {
        let proxy = Mute::start(wiring).await;
        proxy.asked(200).await;
        assert!(proxy.probe("livez").starts_with("ok"), "{wiring}");
        until(wiring, async || (proxy.lost() >= 200) == is_lost).await;
        assert_eq!(proxy.stop(), Some(0), "{wiring}");
    }
}
