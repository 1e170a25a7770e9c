//! Another configuration, without a restart and without a request lost.

mod draining;
mod files;
mod leaks;
mod listeners;
mod load;
mod providers;
mod upstreams;

use std::net::SocketAddr;

use obo_proxy::app::demo::echo::Echo;
use obo_proxy::app::server::Transport;
use serde_json::Value;

use crate::support::listen;
use crate::support::process::Proxy;
use crate::support::process::shell;

/// What the proxy says of a configuration that it uses from now on.
const IN_USE: &str = "another configuration is in use";
/// And of one that it does not use.
const REFUSED: &str = "the configuration is refused";

async fn echo() -> Echo {
    Echo::start(listen().await, Transport::Plain).unwrap()
}

/// A configuration whose only route, an anonymous one, leads to `base` at the echo API.
fn leading_to(echo: &Echo, base: &str, sections: &str) -> String {
    format!(
        r#"
listeners: {{ default: {{ address: "127.0.0.1:0" }} }}
routes: {{ all: {{ match: /, auth: anonymous, upstream: "http://{}{base}" }} }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json }} }}
shutdown: {{ delay: 1s, drain: 5s }}
{sections}
"#,
        echo.address()
    )
}

/// Where callers connect.
fn address(proxy: &Proxy) -> SocketAddr {
    proxy.address.parse().unwrap()
}

#[track_caller]
fn check(verdict: &Value, expected: &str, proxy: &Proxy) {
    assert!(verdict["msg"].as_str().unwrap().starts_with(expected), "{verdict}\n{}", proxy.log());
}

/// What the metric that `name_and_labels` begins with says.
fn metric(proxy: &Proxy, name_and_labels: &str) -> Option<f64> {
    let metrics = shell(&format!("curl -sf http://{}/metrics", proxy.telemetry));
    metrics.lines().find_map(|line| line.strip_prefix(name_and_labels)?.trim().parse().ok())
}

/// What `curl` gets from there: the status and the path that the echo API saw.
fn curl(address: &str, options: &str) -> (String, String) {
    let answer = shell(&format!("curl -s -m 20 -w '\n%{{http_code}}' {options} 'http://{address}/x'"));
    let (body, status) = answer.rsplit_once('\n').unwrap();
    let seen: Value = serde_json::from_str(body).unwrap_or_default();
    (status.to_owned(), seen["path"].as_str().unwrap_or_default().to_owned())
}
