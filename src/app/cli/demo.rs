//! `demo`: an emulated Entra, an echo API and the proxy in one process, and the lines to try them with.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use anyhow::ensure;
use http::Response;
use http::StatusCode;
use tokio::net::TcpListener;

use crate::app::App;
use crate::app::cli::Failure;
use crate::app::cli::run;
use crate::app::demo::echo::Echo;
use crate::app::demo::entra::Entra;
use crate::app::demo::entra::settings::Settings;
use crate::app::server::Server;
use crate::app::server::Transport;
use crate::app::server::whole;
use crate::config;
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::net::Body;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the proxy listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    proxy: SocketAddr,
    /// Where the emulated Entra listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8090")]
    idp: SocketAddr,
    /// Where the echo API listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8000")]
    upstream: SocketAddr,
    /// Where probes and metrics are served
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9902")]
    telemetry: SocketAddr,
    /// Kept for the admin interface, of which there is none yet
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Print the addresses as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Where everything listens, once it does.
#[derive(serde::Serialize)]
struct Addresses {
    proxy: SocketAddr,
    idp: SocketAddr,
    upstream: SocketAddr,
    telemetry: SocketAddr,
    admin: SocketAddr,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = run::runtime()?;
    runtime.block_on(play(arguments))?;
    runtime.shutdown_background();
    Ok(())
}

async fn play(arguments: &Arguments) -> anyhow::Result<()> {
    let clock = Clock::system();
    let idp = Entra::start(Settings::default(), listen(arguments.idp, "--idp").await?, clock.clone()).await?;
    let echo = Echo::start(listen(arguments.upstream, "--upstream").await?, Transport::Plain)?;
    let admin = listen(arguments.admin, "--admin").await?;
    let config = configuration(arguments.proxy, idp.address(), echo.address(), arguments.telemetry)?;
    run::log_to_stderr(&config, &clock)?;
    let app = App::bind(config, clock).await?;
    let proxy = app.listeners()?.into_iter().find_map(|(_, address)| address.tcp());
    let proxy = proxy.context("there is no listener")?;
    let addresses = Addresses {
        proxy,
        idp: idp.address(),
        upstream: echo.address(),
        telemetry: app.telemetry(),
        admin: admin.local_addr()?,
    };
    let _admin = Server::start(admin, Transport::Plain, |_| std::future::ready(not_found()))?;
    let probes = app.probes();
    let serving = tokio::spawn(app.serve(run::stopped()));
    ensure!(App::until_ready(&probes, PATIENCE).await, "the demo did not become ready");
    let text =
        if arguments.json { serde_json::to_string(&addresses)? + "\n" } else { instructions(&addresses) };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to stdout")?;
    serving.await.context("the proxy broke")
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot bind {address}; choose another one with {flag}"))
}

/// What the admin address says: nothing is there yet.
fn not_found() -> Response<Body> {
    let mut response = Response::new(whole("not found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

/// The demo's configuration, read like anyone's.
fn configuration(
    proxy: SocketAddr,
    idp: SocketAddr,
    upstream: SocketAddr,
    telemetry: SocketAddr,
) -> anyhow::Result<Config> {
    let Settings { tenant, client_id, client_secret, .. } = Settings::default();
    let text = format!(
        r#"
listeners: {{ default: {{ address: "{proxy}" }} }}
identity_providers:
  demo:
    entra: {{ tenant: {tenant}, authority: "http://{idp}" }}
    client_id: {client_id}
    credential: {{ secret: {{ env: OBO_DEMO_SECRET }} }}
upstreams:
  echo: {{ url: "http://{upstream}" }}
defaults: {{ upstream: echo }}
routes:
  orders:
    match: /orders
    require: {{ scopes: [orders.read] }}
    exchange: {{ scopes: [api://orders-backend/orders.read] }}
  reports:
    match: /reports
    require: {{ scopes: [reports.read] }}
    exchange: {{ scopes: [api://reports-backend/.default] }}
  public:
    match: /public
    auth: anonymous
  raw:
    match: /raw
    token: passthrough
telemetry: {{ address: "{telemetry}" }}
shutdown: {{ delay: 0s, drain: 2s }}
"#
    );
    let secret = ("OBO_DEMO_SECRET".to_owned(), client_secret.expose().to_owned());
    match config::load_text("demo.yaml", &text, &[secret]) {
        Ok(loaded) => Ok(loaded.config),
        Err(report) => anyhow::bail!("the demo's own configuration is wrong:\n{report}"),
    }
}

fn instructions(addresses: &Addresses) -> String {
    let Addresses { proxy, idp, upstream, telemetry, .. } = addresses;
    let call = |path: &str, user: &str| {
        format!(
            "curl -i http://{proxy}{path} -H \"Authorization: Bearer $(curl -s 'http://{idp}/demo/token?user={user}')\""
        )
    };
    format!(
        "obo-proxy is at http://{proxy}, an emulated Entra at http://{idp}, an echo API behind at http://{upstream}.

1. Alice's token goes in, a token for the orders API comes out (paste it twice: the second answer is from the cache):
   {}

2. Alice's token lacks the scope of the reports API: 403.
   {}

3. This user's sign-in lacks a second factor: 401 with the claims that the client needs to sign in again.
   {}

Metrics: curl -s http://{telemetry}/metrics | grep obo_     All users: curl http://{idp}/     Ctrl-C ends it.
",
        call("/orders/7", "alice"),
        call("/reports/q3", "alice"),
        call("/orders/7", "mfa"),
    )
}
