//! `explain`: what the proxy would do with a request, and why. Contacts nothing, unless it is to verify a signature.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::Uri;
use http::header;

use crate::app::cli::Failure;
use crate::app::cli::input;
use crate::app::cli::judge::Judge;
use crate::app::cli::load;
use crate::app::cli::paint;
use crate::app::cli::print;
use crate::app::cli::print_json;
use crate::app::explain;
use crate::app::explain::Outcome;
use crate::app::explain::Question;
use crate::config::Access;
use crate::config::Config;
use crate::config::Look;
use crate::domain::clock::Clock;
use crate::pipeline::authenticate;
use crate::pipeline::authenticate::Kind;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  obo-proxy explain GET https://orders.example/api/orders/7
  obo-proxy explain POST /api/orders --header 'X-Channel: web' --listener public
  echo \"$TOKEN\" | obo-proxy explain GET /api/orders --token-file - --verify
  obo-proxy explain GET /api/orders --json | jq .outcome

Exit codes: 0 it would go on, or be answered as it should; 1 it would be refused; 2 usage; 69 the identity provider cannot be
            reached (--verify); 74 a file cannot be read; 78 the configuration is wrong.

Read on: docs/routes.md says which route takes a request, docs/answers.md what refusals mean.")]
pub(super) struct Arguments {
    /// The request's method
    method: Method,
    /// Its URL, or its path alone
    url: Uri,
    /// Its token A, in a file; `-` = standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// One more header field; not Authorization, which would be seen by every process
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The listener that it comes by [default: the one that the URL fits]
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The address that it comes from
    #[arg(long, value_name = "IP", default_value = "192.0.2.1")]
    peer: IpAddr,
    /// The client certificate that its caller shows, in a PEM file
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    /// Fetch the identity provider's keys, and check the token's signature
    #[arg(long, requires = "token_file")]
    verify: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(files: &[PathBuf], arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = load(files, Look::Away).map_err(Failure::Config)?.config;
    let clock = Clock::system();
    let token = match &arguments.token_file {
        Some(path) => Some(input::user_token(&input::token(path)?)?),
        None => None,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &arguments.headers {
        headers.append(name, value.clone());
    }
    let question = Question {
        method: arguments.method.clone(),
        url: arguments.url.clone(),
        headers,
        listener: arguments.listener.clone(),
        peer: arguments.peer,
        certificate: input::certificate(arguments.client_certificate.as_ref())?,
        token,
        now: clock.now(),
    };
    let verdict = match arguments.verify {
        true => verdict(&config, &question, &clock)?,
        false => None,
    };
    let explanation = explain::explain(&config, &question, verdict.as_ref())
        .map_err(|error| Failure::Usage(error.into()))?;
    match arguments.json {
        true => print_json(json(&explanation)?)?,
        false => print(&explanation.to_text(paint::of_stdout()))?,
    }
    Ok(match (&explanation.outcome, verdict) {
        (_, Some(Err(error))) if is_silence(error.kind) => ExitCode::from(69),
        (Outcome::Refused { .. }, _) => ExitCode::from(1),
        (Outcome::Forwarded { .. } | Outcome::Answered { .. }, _) => ExitCode::SUCCESS,
    })
}

/// What the one who has the keys says of the token, if the request has a route that wants one.
fn verdict(
    config: &Config,
    question: &Question,
    clock: &Clock,
) -> Result<Option<Result<(), authenticate::Error>>, Failure> {
    let route = explain::route(config, question).map_err(|error| Failure::Usage(error.into()))?;
    let (Some(route), Some(token)) = (route, &question.token) else { return Ok(None) };
    let Access::Validated { policy, .. } = &route.access else { return Ok(None) };
    let judge = Judge::of(config, policy, clock)?;
    Ok(Some(judge.caller(token, question.certificate.as_ref())?.map(|_| ())))
}

/// Whether nobody said whether the token is good.
pub(super) fn is_silence(kind: Kind) -> bool {
    matches!(kind, Kind::KeysUnavailable | Kind::IdpUnavailable { .. })
}

fn json(explanation: &explain::Explanation) -> Result<String, Failure> {
    serde_json::to_string_pretty(explanation).map_err(|error| Failure::No(anyhow!(error)))
}

/// `Name: value`.
fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `Name: value`")?;
    let name: HeaderName = name.trim().parse().map_err(|_| "that is no name of a header field")?;
    if [header::AUTHORIZATION, header::PROXY_AUTHORIZATION].contains(&name) {
        return Err("a token comes by --token-file, where nobody else can read it".into());
    }
    let value = HeaderValue::from_str(value.trim()).map_err(|_| "that is no value of a header field")?;
    Ok((name, value))
}
