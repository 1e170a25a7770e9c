//! `token verify`: whether the proxy would let a token in.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use serde_json::Value;
use serde_json::json;

use crate::app::cli::Failure;
use crate::app::cli::explain::is_silence;
use crate::app::cli::input;
use crate::app::cli::judge::Judge;
use crate::app::cli::load;
use crate::app::cli::paint;
use crate::app::cli::print;
use crate::app::cli::print_json;
use crate::app::cli::token::route;
use crate::app::explain::verdict::Verdict;
use crate::config::Access;
use crate::config::Config;
use crate::config::Demand;
use crate::config::Look;
use crate::config::Policy;
use crate::config::Principals;
use crate::domain::clock::Clock;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo \"$TOKEN\" | obo-proxy token verify --route orders
  obo-proxy token verify --identity-provider contoso --token-file token.txt --json | jq -r .reason

Exit codes: 0 it is good; 1 it is not; 2 usage; 69 the identity provider cannot be reached; 74 the file cannot be read;
            78 the configuration is wrong.

Read on: docs/answers.md says what each reason means, docs/troubleshooting.md what to do.")]
pub(super) struct Arguments {
    /// The file that holds the token; `-` = standard input [default: -]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The route whose demands it must meet [default: the only one that wants a token]
    #[arg(long, value_name = "NAME", conflicts_with = "identity_provider")]
    route: Option<String>,
    /// Only whether it is a valid token of this identity provider
    #[arg(long, value_name = "NAME")]
    identity_provider: Option<String>,
    /// The client certificate that its caller shows, in a PEM file
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(files: &[PathBuf], arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = load(files, Look::At).map_err(Failure::Config)?.config;
    let of_provider = match &arguments.identity_provider {
        Some(name) => Some(valid_at(&config, name)?),
        None => None,
    };
    let (policy, asked) = match &of_provider {
        Some(policy) => (
            policy,
            format!("identity provider {}", arguments.identity_provider.as_deref().unwrap_or_default()),
        ),
        None => {
            let wants_token = |route: &crate::config::Route| matches!(route.access, Access::Validated { .. });
            let route = route(&config, arguments.route.as_deref(), wants_token)?;
            let Access::Validated { policy, .. } = &route.access else {
                return Err(Failure::Usage(anyhow!("route {} asks for no token", route.name)));
            };
            (policy, format!("route {}", route.name))
        }
    };
    let clock = Clock::system();
    let token = input::user_token(&input::given(arguments.token_file.as_ref())?)?;
    let certificate = input::certificate(arguments.client_certificate.as_ref())?;
    let judge = Judge::of(&config, policy, &clock)?;
    let result = judge.caller(&token, certificate.as_ref())?.map(|_| ());
    let verdict = Verdict::of(&config, policy, &token, certificate.as_ref(), &result, clock.now());
    match arguments.json {
        true => print_json(format!("{:#}", with(verdict.to_json(), &asked)))?,
        false => print(&verdict.to_text(&asked, paint::of_stdout()))?,
    }
    Ok(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_silence(error.kind) => ExitCode::from(69),
        Err(_) => ExitCode::from(1),
    })
}

/// A policy that demands nothing but a valid token of that provider.
fn valid_at(config: &Config, name: &str) -> Result<Policy, Failure> {
    let provider = config.identity_providers.iter().find(|provider| provider.name.as_str() == name);
    let Some(provider) = provider else {
        let known: Vec<&str> =
            config.identity_providers.iter().map(|provider| provider.name.as_str()).collect();
        let known = known.join(", ");
        return Err(Failure::Usage(anyhow!("there is no identity provider `{name}`: there are {known}")));
    };
    Ok(Policy {
        identity_providers: vec![provider.name.clone()],
        principals: Principals::UsersAndApplications,
        scopes: Demand::All(Vec::new()),
        roles: Demand::All(Vec::new()),
        clients: Vec::new(),
        claims: Vec::new(),
    })
}

fn with(mut verdict: Value, asked: &str) -> Value {
    if let Some(members) = verdict.as_object_mut() {
        members.insert("for".into(), json!(asked));
    }
    verdict
}
