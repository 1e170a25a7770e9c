//! Where what a page prints is tried: a demo, a proxy before its API and with its Entra, and a directory with what pages name.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use obo_proxy::app::demo::entra::settings::Settings;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::certificates::Authority;
use crate::support::process::Demo;
use crate::support::process::Proxy;
use crate::support::process::repository;
use crate::support::process::shell;
use crate::support::process::signal;

/// What curl says of each answer on stderr, before its status.
const SAID_BY_CURL: &str = "curl was answered ";

/// How long anything may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a log.
const PAUSE: Duration = Duration::from_millis(10);

pub struct Playground<'d> {
    demo: &'d Demo,
    proxy: Proxy,
    admin: String,
    directory: TempDir,
    environment: Vec<(&'static str, String)>,
}

/// What came of a line.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code was 0.
    pub is_success: bool,
    pub stdout: String,
    pub stderr: String,
    /// The status of every answer that curl got, in order.
    pub statuses: Vec<u16>,
}

impl<'d> Playground<'d> {
    /// Starts a proxy with that configuration, in which paths and addresses are made those of here.
    pub fn new(demo: &'d Demo, config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let config = config
            .replace("/run/secrets/", &format!("{}/secrets/", directory.path().display()))
            .replace("127.0.0.1:8000", demo.address("upstream"))
            .replace("0.0.0.0:8443", "127.0.0.1:0");
        for name in ["bin", "secrets", "config", "target/release"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["bin/obo-proxy", "target/release/obo-proxy"] {
            symlink(env!("CARGO_BIN_EXE_obo-proxy"), at(name)).unwrap();
        }
        for name in ["config.yaml", "config/minimal.yaml"] {
            fs::write(at(name), &config).unwrap();
        }
        let secret = Settings::default().client_secret;
        fs::write(at("secrets/client_secret"), secret.expose()).unwrap();
        Authority::new().issue("localhost").write(&at("secrets"), "tls");
        let token = shell(&format!("curl -sf 'http://{}/demo/token?user=alice'", demo.address("idp")));
        for name in ["token_a", "token.txt"] {
            fs::write(at(name), &token).unwrap();
        }
        let status = format!("write-out = \"%{{stderr}}{SAID_BY_CURL}%{{http_code}}\\n\"\n");
        fs::write(at(".curlrc"), status).unwrap();
        let environment = environment(demo, directory.path(), &config, &token);
        let borrowed: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let proxy = Proxy::start(&config, &borrowed);
        let begun = Instant::now();
        let admin = loop {
            assert!(begun.elapsed() < PATIENCE, "the proxy is not ready: {}", proxy.log());
            let ready = shell(&format!("curl -s http://{}/readyz", proxy.telemetry));
            let page = proxy.lines(|message| message == "admin interface");
            if let (Some(line), "ok") = (page.first(), ready.trim()) {
                break line["address"].as_str().unwrap().to_owned();
            }
            thread::sleep(PAUSE);
        };
        Self { demo, proxy, admin, directory, environment }
    }

    /// Runs a line as somebody would who has pasted it.
    pub fn run(&self, line: &str) -> Outcome {
        let output = self
            .command(&["timeout", "60", "bash", "-euo", "pipefail", "-c", &self.told(line)])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let statuses =
            stderr.lines().filter_map(|line| line.strip_prefix(SAID_BY_CURL)?.parse().ok()).collect();
        Outcome { is_success: output.status.success(), stdout: self.untold(line, &stdout), stderr, statuses }
    }

    /// Starts what does not end by itself, waits until it listens, and ends it.
    pub fn serve(&self, line: &str) -> Outcome {
        let log = self.directory.path().join("log");
        let mut child = self
            .command(&["bash", "-c", &format!("exec {}", self.told(line))])
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let said = || fs::read_to_string(&log).unwrap();
        let begun = Instant::now();
        let mut is_told_to_end = false;
        let is_success = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.success();
            }
            if !is_told_to_end && said().contains("\"msg\":\"listening\"") {
                signal(child.id(), "TERM");
                is_told_to_end = true;
            }
            if begun.elapsed() > PATIENCE {
                child.kill().unwrap();
            }
            thread::sleep(PAUSE);
        };
        Outcome { is_success, stdout: String::new(), stderr: said(), statuses: Vec::new() }
    }

    /// A program of the system's, where the lines of the page are run.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.directory.path()).env_clear();
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The addresses that a line means, each with the one that it has here.
    fn addresses(&self, line: &str) -> [(&'static str, &str); 6] {
        let demo = |of: &str| self.demo.address(of);
        let Proxy { address, telemetry, .. } = &self.proxy;
        // who asks the demo for a token means the demo with the rest too
        let [proxy, probes, admin] = match line.contains("/demo/token") {
            true => ["proxy", "telemetry", "admin"].map(demo),
            false => [address, telemetry, self.admin.as_str()],
        };
        [
            ("127.0.0.1:8080", proxy),
            ("127.0.0.1:8443", proxy),
            ("127.0.0.1:9902", probes),
            ("127.0.0.1:9901", admin),
            ("127.0.0.1:8090", demo("idp")),
            ("127.0.0.1:8000", demo("upstream")),
        ]
    }

    fn told(&self, line: &str) -> String {
        let line = line.replace("https://orders.example", &format!("http://{}", self.proxy.address));
        self.addresses(&line)
            .into_iter()
            .fold(line.clone(), |line, (printed, real)| line.replace(printed, real))
    }

    /// What came, with the addresses that the page prints.
    fn untold(&self, line: &str, text: &str) -> String {
        let untold = |text: String, (printed, real): (&str, &str)| text.replace(real, printed);
        self.addresses(line).into_iter().fold(text.to_owned(), untold)
    }
}

/// What the proxy and the lines of the page find in their environment.
fn environment(demo: &Demo, directory: &Path, config: &str, token: &str) -> Vec<(&'static str, String)> {
    let at = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let free = || "127.0.0.1:0".to_owned();
    let mut environment = vec![
        ("PATH", format!("{}:{}", at("bin"), shell("printf %s \"$PATH\""))),
        ("HOME", at("")),
        ("TOKEN", token.to_owned()),
        ("OBO_CONFIG", at("config.yaml")),
        ("OBO__TELEMETRY__ADDRESS", free()),
        ("OBO__ADMIN__ADDRESS", free()),
        ("OBO__IDENTITY_PROVIDERS__CONTOSO__ENTRA__AUTHORITY", format!("http://{}", demo.address("idp"))),
        ("OBO__DEFAULTS__CORS__ORIGINS", "https://app.example".to_owned()),
    ];
    if !config.contains("listeners:") {
        environment.push(("OBO__LISTENERS__DEFAULT__ADDRESS", free()));
    }
    if config.contains("workload_identity") {
        let Settings { tenant, client_id, .. } = Settings::default();
        environment.extend([
            ("AZURE_TENANT_ID", tenant),
            ("AZURE_CLIENT_ID", client_id),
            // no cluster vouches for anybody here
            ("OBO__IDENTITY_PROVIDERS__CONTOSO__CREDENTIAL__SECRET__FILE", at("secrets/client_secret")),
        ]);
    }
    environment
}

/// The configuration of a page that has none of its own.
pub fn minimal() -> String {
    fs::read_to_string(repository("config/minimal.yaml")).unwrap()
}
