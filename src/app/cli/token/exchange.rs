//! `token exchange`: an exchange as a request would cause it, and all that the identity provider says of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

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
use crate::app::cli::say;
use crate::app::cli::token::route;
use crate::app::explain::Outcome;
use crate::app::words;
use crate::config::Access;
use crate::config::Exchange;
use crate::config::Look;
use crate::config::Policy;
use crate::config::Route;
use crate::config::ValidatedToken;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::domain::paint::Paint;
use crate::domain::printable;
use crate::pipeline::exchange::Kind;
use crate::pipeline::exchange::rehearsal::Rehearsal;
use crate::pipeline::respond::refusal::Refusal;
use crate::telemetry::logs;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo \"$TOKEN\" | obo-proxy token exchange --route orders
  obo-proxy token exchange --route orders --token-file a.txt --print-token | obo-proxy token decode

Exit codes: 0 token B was granted; 1 it was not; 2 usage; 69 the identity provider cannot be reached; 74 the file cannot be read;
            78 the configuration is wrong.

Read on: docs/entra-registration.md (what has to be registered), docs/answers.md, docs/troubleshooting.md.")]
pub(super) struct Arguments {
    /// The file that holds token A; `-` = standard input [default: -]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The route whose exchange it is [default: the only one that exchanges]
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// The client certificate that its caller shows, in a PEM file
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<PathBuf>,
    /// Print token B, alone, to stdout; everything else goes to stderr. Whoever has it can act as the user
    #[arg(long)]
    print_token: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(files: &[PathBuf], arguments: &Arguments) -> Result<ExitCode, Failure> {
    let config = load(files, Look::At).map_err(Failure::Config)?.config;
    let route = route(&config, arguments.route.as_deref(), |route| terms(route).is_some())?;
    let Some((policy, wanted)) = terms(route) else {
        return Err(Failure::Usage(anyhow!("route {} exchanges no token", route.name)));
    };
    let clock = Clock::system();
    let token = input::user_token(&input::given(arguments.token_file.as_ref())?)?;
    let certificate = input::certificate(arguments.client_certificate.as_ref())?;
    let judge = Judge::of(&config, policy, &clock)?;
    let caller = match judge.caller(&token, certificate.as_ref())? {
        Ok(caller) => caller,
        Err(error) => {
            let code = if is_silence(error.kind) { 69 } else { 1 };
            let outcome = Outcome::from(Refusal::from(error));
            tell(arguments, &Told::before(&outcome))?;
            return Ok(ExitCode::from(code));
        }
    };
    let rehearsal = judge.exchanging(async |tokens| tokens.exchanger.rehearse(&caller, wanted).await);
    tell(arguments, &Told::of(&rehearsal, caller.claims.identity_provider.as_str(), clock.now()))?;
    Ok(match &rehearsal.result {
        Ok(granted) => {
            if arguments.print_token {
                print(&format!("{}\n", granted.token.expose()))?;
            }
            ExitCode::SUCCESS
        }
        Err(error) if matches!(error.kind, Kind::Unavailable { .. }) => ExitCode::from(69),
        Err(_) => ExitCode::from(1),
    })
}

/// What a route demands, and what it exchanges for, if it does.
fn terms(route: &Route) -> Option<(&Policy, &Arc<Exchange>)> {
    match &route.access {
        Access::Validated { policy, token: ValidatedToken::Exchange(wanted) } => Some((policy, wanted)),
        Access::Validated { .. } | Access::Anonymous(_) => None,
    }
}

/// Where there is token B on stdout, everything else has no place there.
fn tell(arguments: &Arguments, told: &Told) -> Result<(), Failure> {
    let paint = if arguments.print_token { Paint::Plain } else { paint::of_stdout() };
    let text = match arguments.json {
        true => printable::json(format!("{:#}\n", told.to_json())),
        false => told.to_text(paint),
    };
    match arguments.print_token {
        true => {
            say(text);
            Ok(())
        }
        false => print(&text),
    }
}

/// What is told of an exchange: pairs of what and how.
struct Told {
    is_granted: bool,
    lines: Vec<(&'static str, String)>,
}

impl Told {
    /// Of a token that was not good enough to be exchanged.
    fn before(outcome: &Outcome) -> Self {
        let mut told = Self { is_granted: false, lines: Vec::new() };
        told.refused(outcome);
        told.add("hint", "token A was refused before any exchange: see token verify".into());
        told
    }

    fn of(rehearsal: &Rehearsal, provider: &str, now: UnixTime) -> Self {
        let mut told = Self { is_granted: rehearsal.result.is_ok(), lines: Vec::new() };
        let last = rehearsal.heard.last();
        match &rehearsal.result {
            Ok(granted) => {
                told.add("outcome", "ok".into());
                told.add("identity_provider", provider.into());
                match &granted.lifetime {
                    Some(lifetime) => {
                        told.add("expires", words::moment(lifetime.expires_on, now));
                        told.add("renewed_from", words::moment(lifetime.renew_at, now));
                    }
                    None => told.add("expires", "not said, or absurd: it would be used once".into()),
                }
                let scope = last.and_then(|said| said.scope.clone());
                told.add("scope", scope.unwrap_or_else(|| "not said".into()));
                told.add("correlation_id", granted.correlation_id.to_string());
            }
            Err(error) => {
                told.refused(&Outcome::from(Refusal::from(error.clone())));
                told.add("identity_provider", provider.into());
                let report = printable::line(&logs::report(error));
                told.maybe("cause", (report != error.to_string()).then_some(report));
                if let Some(said) = &error.answer {
                    told.add("error", said.error.clone());
                    told.maybe("suberror", said.suberror.clone());
                    let codes: Vec<String> = said.error_codes.iter().map(u64::to_string).collect();
                    told.maybe("error_codes", (!codes.is_empty()).then(|| codes.join(", ")));
                    told.maybe("claims", said.claims.as_deref().map(printable::line));
                    told.maybe("trace_id", said.trace_id.clone());
                }
                let named = error.answer.as_ref().and_then(|said| said.correlation_id.clone());
                let sent = error.correlation_id.as_deref().map(str::to_owned);
                told.maybe("correlation_id", named.or(sent));
            }
        }
        for said in &rehearsal.heard {
            told.add("asked", format!("{} -> {}", said.url, said.status.as_u16()));
            told.maybe("said", said.text.clone());
        }
        told
    }

    fn refused(&mut self, outcome: &Outcome) {
        if let Outcome::Refused { status, reason, detail, cause } = outcome {
            self.add("outcome", format!("{status} {reason}"));
            self.add("detail", detail.clone());
            self.add("found", cause.clone());
        }
    }

    fn add(&mut self, what: &'static str, how: String) {
        self.lines.push((what, how));
    }

    fn maybe(&mut self, what: &'static str, how: Option<String>) {
        self.lines.extend(how.map(|how| (what, how)));
    }

    fn to_json(&self) -> Value {
        let mut members = serde_json::Map::new();
        members.insert("granted".into(), json!(self.is_granted));
        for (what, how) in &self.lines {
            match members.get_mut(*what) {
                // several answers
                Some(Value::Array(all)) => all.push(json!(how)),
                Some(one) => *one = json!([one.clone(), how]),
                None => {
                    members.insert((*what).into(), json!(how));
                }
            }
        }
        Value::Object(members)
    }

    fn to_text(&self, paint: Paint) -> String {
        let line = |(what, how): &(&'static str, String)| {
            let shown = match (*what, self.is_granted) {
                ("outcome", true) => paint.good(how),
                ("outcome", false) => paint.bad(how),
                _ => how.clone(),
            };
            format!("{} {shown}\n", paint.dim(&format!("{:17}", what.replace('_', " "))))
        };
        self.lines.iter().map(line).collect()
    }
}
