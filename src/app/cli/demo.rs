//! `demo`: an emulated Entra, an echo API and the proxy in one process, and the lines to try them with; or one of the first two alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use anyhow::anyhow;
use tokio::net::TcpListener;

use crate::app::App;
use crate::app::cli::Failure;
use crate::app::cli::print;
use crate::app::cli::run;
use crate::app::demo::echo::Echo;
use crate::app::demo::entra::Entra;
use crate::app::demo::entra::settings::Settings;
use crate::app::demo::reachable;
use crate::app::server::Transport;
use crate::config;
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::secret::Secret;

const PATIENCE: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  obo-proxy demo                   and then paste the lines that it prints into another terminal
  obo-proxy demo --proxy 127.0.0.1:8180 --idp 127.0.0.1:8190

A proxy of your own before the demo's Entra and API, beside the demo (or edit the addresses in the file):
  obo-proxy demo --print-config --proxy 127.0.0.1:8180 --telemetry 127.0.0.1:9912 --admin 127.0.0.1:9911 > mine.yaml
  obo-proxy run --config mine.yaml

Exit codes: 0 it was ended; 1 it cannot go on; 2 usage; 74 an address is taken.

Read on: the README's `Try it`; docs/entra-registration.md, for a tenant of your own.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
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
    /// Where the status page is
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Start only this, for a playground of several containers
    #[arg(long, value_name = "PART")]
    only: Option<Part>,
    /// The file with the proxy's secret at the emulated Entra [default: the demo's own secret]
    #[arg(long, value_name = "FILE")]
    client_secret: Option<PathBuf>,
    /// Print the addresses as one line of JSON
    #[arg(long)]
    json: bool,
    /// Print the configuration that it has with these addresses, its secret included, and start nothing
    #[arg(long, conflicts_with = "json")]
    print_config: bool,
}

/// What may run without the rest, named as the flags for their addresses; the proxy beside them is a `run`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Part {
    Idp,
    Upstream,
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
    if arguments.print_config {
        let settings = settings(arguments)?;
        return print(&configuration(arguments, &settings, arguments.idp, arguments.upstream));
    }
    let runtime = run::runtime()?;
    runtime.block_on(async {
        match arguments.only {
            None => play(arguments).await,
            Some(part) => alone(part, arguments).await,
        }
    })?;
    runtime.shutdown_background();
    Ok(())
}

async fn play(arguments: &Arguments) -> Result<(), Failure> {
    let clock = Clock::system();
    let settings = settings(arguments)?;
    let idp = entra(settings.clone(), arguments.idp, &clock).await?;
    let echo = echo(arguments).await?;
    let config = read(&configuration(arguments, &settings, idp.address(), echo.address()))?;
    let (dial, _outlet) = run::log_to_stderr(&config, &clock)?;
    let app = App::bind(config, clock).await?.logging_by(dial);
    let listeners = app.listeners().context("cannot tell what the proxy listens on")?;
    let proxy = listeners.into_iter().find_map(|(_, address)| address.tcp());
    let proxy = proxy.context("there is no listener")?;
    let addresses = Addresses {
        proxy: reachable(proxy),
        idp: reachable(idp.address()),
        upstream: reachable(echo.address()),
        telemetry: reachable(app.telemetry()),
        admin: app.admin().context("there is no admin interface")?,
    };
    let probes = app.probes();
    let serving = tokio::spawn(app.serve(run::signals(1)?));
    if !App::until_ready(&probes, PATIENCE).await {
        return Err(anyhow!("the demo did not become ready").into());
    }
    print(&match arguments.json {
        true => format!("{}\n", serde_json::json!(addresses)),
        false => instructions(&addresses),
    })?;
    Ok(serving.await.context("the proxy broke")?)
}

/// One part until it is told to end.
async fn alone(part: Part, arguments: &Arguments) -> Result<(), Failure> {
    let say = |name: &str, what: &str, address: SocketAddr| {
        let address = reachable(address);
        let json = arguments.json.then(|| format!("{}\n", serde_json::json!({ name: address })));
        print(&json.unwrap_or_else(|| format!("{what} is at http://{address}\n")))
    };
    let stopped = run::signals(1)?;
    match part {
        Part::Idp => {
            let idp = entra(settings(arguments)?, arguments.idp, &Clock::system()).await?;
            say("idp", "an emulated Entra", idp.address())?;
            stopped.await;
        }
        Part::Upstream => {
            let echo = echo(arguments).await?;
            say("upstream", "an echo API", echo.address())?;
            stopped.await;
        }
    }
    Ok(())
}

/// What the emulated Entra has registered.
fn settings(arguments: &Arguments) -> anyhow::Result<Settings> {
    let mut settings = Settings::default();
    if let Some(file) = &arguments.client_secret {
        let secret =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        settings.client_secret = Secret::new(secret.trim_end().into());
    }
    Ok(settings)
}

async fn entra(settings: Settings, address: SocketAddr, clock: &Clock) -> anyhow::Result<Entra> {
    Entra::start(settings, listen(address, "--idp").await?, clock.clone()).await
}

async fn echo(arguments: &Arguments) -> anyhow::Result<Echo> {
    Ok(Echo::start(listen(arguments.upstream, "--upstream").await?, Transport::Plain)?)
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot bind {address}; choose another one with {flag}"))
}

/// The demo's configuration.
fn configuration(
    arguments: &Arguments,
    settings: &Settings,
    idp: SocketAddr,
    upstream: SocketAddr,
) -> String {
    let Arguments { proxy, telemetry, admin, .. } = arguments;
    let Settings { tenant, client_id, client_secret, .. } = settings;
    let (idp, upstream, client_secret) = (reachable(idp), reachable(upstream), client_secret.expose());
    format!(
        r#"# What `obo-proxy demo` runs with: {idp} is its emulated Entra, {upstream} its echo API.
listeners: {{ default: {{ address: "{proxy}" }} }}
identity_providers:
  demo:
    entra: {{ tenant: {tenant}, authority: "http://{idp}" }}
    client_id: {client_id}
    # The demo's, which everybody knows. Yours belongs into a file: {{ secret: {{ file: PATH }} }}
    credential: {{ secret: {{ value: {client_secret} }} }}
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
admin: {{ address: "{admin}" }}
shutdown: {{ delay: 0s, drain: 2s }}
"#
    )
}

/// Read like anyone's.
fn read(text: &str) -> anyhow::Result<Config> {
    match config::load_text("demo.yaml", text, &[]) {
        Ok(loaded) => Ok(loaded.config),
        Err(report) => anyhow::bail!("the demo's own configuration is wrong:\n{report}"),
    }
}

fn instructions(addresses: &Addresses) -> String {
    let Addresses { proxy, idp, upstream, telemetry, admin } = addresses;
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

Status page: http://{admin}/     Metrics: curl -s http://{telemetry}/metrics | grep obo_
All users: curl http://{idp}/     Its configuration: the same command with --print-config     Ctrl-C ends it.
",
        call("/orders/7", "alice"),
        call("/reports/q3", "alice"),
        call("/orders/7", "mfa"),
    )
}
