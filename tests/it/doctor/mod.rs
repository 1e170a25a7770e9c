//! `doctor`, the binary, before servers that are well and servers with one fault each.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::demo::entra::Entra;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::app::server::Transport;
use obo_proxy::domain::clock::Clock;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::certificates::Pair;
use crate::support::listen;
use crate::support::process::obo_proxy;
use crate::support::process::text;

mod credentials;
mod listeners;
mod providers;
mod redis;
mod upstreams;
mod whole;

/// The secret the emulated Entra knows.
fn secret() -> String {
    Settings::default().client_secret.expose().to_owned()
}

/// What the doctor said.
struct Said {
    code: i32,
    document: Value,
    took: Duration,
}

impl Said {
    /// What became of one check.
    fn check(&self, group: &str, name: &str) -> &Value {
        let mut all = self.document["checks"].as_array().unwrap().iter();
        let found = all.find(|check| check["group"] == group && check["name"] == name);
        found.unwrap_or_else(|| panic!("no check {name} of {group} in {:#}", self.document))
    }

    fn result(&self, group: &str, name: &str) -> &str {
        self.check(group, name)["result"].as_str().unwrap()
    }

    fn seen(&self, group: &str, name: &str) -> &str {
        self.check(group, name)["seen"].as_str().unwrap()
    }

    fn remedy(&self, group: &str, name: &str) -> &str {
        self.check(group, name)["remedy"].as_str().unwrap()
    }

    fn names(&self, group: &str) -> Vec<&str> {
        let all = self.document["checks"].as_array().unwrap().iter();
        all.filter(|check| check["group"] == group).map(|check| check["name"].as_str().unwrap()).collect()
    }

    /// The names of the checks that are neither well nor warnings.
    fn failed(&self) -> Vec<&str> {
        let all = self.document["checks"].as_array().unwrap().iter();
        let is_bad = |check: &&Value| check["result"] == "failed" || check["result"] == "unreachable";
        all.filter(is_bad).map(|check| check["name"].as_str().unwrap()).collect()
    }
}

/// Asks the doctor about `config`, and for JSON.
async fn examined(config: &str) -> Said {
    examined_with(config, &[], &[]).await
}

async fn examined_with(config: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
    let arguments: Vec<&str> = ["--json"].into_iter().chain(arguments.iter().copied()).collect();
    let begun = Instant::now();
    let (code, said) = asked(config, &arguments, environment).await;
    let document = serde_json::from_str(&said).unwrap_or_else(|_| panic!("no JSON: {said}"));
    Said { code, document, took: begun.elapsed() }
}

/// Asks the doctor about `config`: its exit code, and what it printed. No secret is ever in that.
async fn asked(config: &str, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    fs::write(&file, config).unwrap();
    let mut command = obo_proxy(&["doctor", "--config", file.to_str().unwrap()]);
    command.args(arguments).env("SECRET", secret()).envs(environment.iter().copied());
    // the servers it asks are in this process
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    for hidden in [secret().as_str(), "eyJ", "PRIVATE KEY", "hunter2"] {
        assert!(!out.contains(hidden) && !err.contains(hidden), "{hidden} is in {out}{err}");
    }
    (output.status.code().unwrap(), out)
}

/// The emulated Entra and an API behind, both well.
struct Around {
    entra: Entra,
    echo: Echo,
}

impl Around {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(settings: Settings) -> Self {
        let entra = Entra::start(settings, listen().await, Clock::system()).await.unwrap();
        Self { entra, echo: Echo::start(listen().await, Transport::Plain).unwrap() }
    }

    /// A configuration with that credential, and further sections.
    fn config(&self, credential: &str, more: &str) -> String {
        self.config_at(self.entra.authority(), credential, more)
    }

    fn config_at(&self, authority: &str, credential: &str, more: &str) -> String {
        let Settings { tenant, client_id, .. } = self.entra.settings();
        format!(
            r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
identity_providers:
  demo:
    entra: {{ tenant: {tenant}, authority: "{authority}" }}
    client_id: {client_id}
    credential: {credential}
routes:
  orders: {{ match: /, upstream: "http://{}", exchange: {{ scopes: [api://orders-backend/orders.read] }} }}
telemetry: {{ address: "127.0.0.1:0" }}
{more}
"#,
            self.echo.address()
        )
    }
}

/// The group of the provider in [`Around::config`].
const DEMO: &str = "identity provider demo";
/// A credential that it takes.
const GOOD: &str = "{ secret: { env: SECRET } }";

/// A configuration with one provider found by discovery, whose `oidc` has these members.
fn oidc(members: &str) -> String {
    format!(
        r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
identity_providers:
  partner:
    oidc: {{ {members} }}
    client_id: orders-proxy
    audiences: [orders]
    timeout: 2s
    credential: {{ secret: {{ env: SECRET }} }}
routes:
  orders: {{ match: /, upstream: "unix:/nonexistent/socket", exchange: {{ audience: inventory }} }}
telemetry: {{ address: "127.0.0.1:0" }}
"#
    )
}

/// The group of the provider in [`oidc`].
const PARTNER: &str = "identity provider partner";

/// A server that shows that certificate.
fn showing(pair: &Pair) -> Transport {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = builder.unwrap().with_no_client_auth().with_single_cert(vec![pair.der.clone()], key);
    Transport::Tls(Arc::new(config.unwrap()))
}

/// A file of that name and content in a directory of its own.
fn file(name: &str, content: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}
