//! Tests of the whole floor: text in, configuration or rendered problems out.

mod at_once;
mod contradictions;
mod credentials;
mod egress;
mod environment;
mod examples;
mod files;
mod listeners;
mod malformed;
mod placements;
mod providers;
mod redis;
mod routes;
mod secrets;
mod settings;
mod traces;
mod treatment;
mod values;

use crate::config::Config;
use crate::config::Route;
use crate::config::load_text;
use crate::config::problem::Problem;

/// A configuration that is fine, to which tests add what they are about.
const FINE: &str = "\
identity_providers:
  contoso:
    entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }
    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
    credential: { secret: { file: /run/secrets/client_secret } }
routes:
  orders:
    match: /
    upstream: http://127.0.0.1:8000
    exchange: { scopes: [api://orders-backend/.default] }
";

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// What is said about `text`, warnings too.
fn told(text: &str, environment: &[(&str, &str)]) -> String {
    match load_text("config.yaml", text, &env(environment)) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Err(report) => report.to_string(),
    }
}

fn config(text: &str) -> Config {
    match load_text("config.yaml", text, &[]) {
        Ok(loaded) => loaded.config,
        Err(report) => panic!("{report}"),
    }
}

fn route<'a>(config: &'a Config, name: &str) -> &'a Route {
    config.routes.iter().find(|route| route.name.as_str() == name).unwrap()
}

/// The fine configuration with more top-level settings and routes.
fn routes(before: &str, more: &str) -> Config {
    config(&format!("{before}\n{FINE}{more}"))
}

/// The problems of `text`, one a line: `line:column severity: message [help]`.
fn lines(text: &str) -> Vec<String> {
    let problems = match load_text("config.yaml", text, &[]) {
        Ok(loaded) => loaded.warnings,
        Err(report) => report.problems().to_vec(),
    };
    let line = |problem: &Problem| {
        let json = problem.to_json();
        let place = match (json["line"].as_u64(), json["column"].as_u64()) {
            (Some(line), Some(column)) => format!("{line}:{column}"),
            _ => "-".into(),
        };
        let help = problem.help.as_ref().map(|help| format!(" [{help}]")).unwrap_or_default();
        format!("{place} {}: {}{help}", problem.severity.as_str(), problem.message)
    };
    problems.iter().map(line).collect()
}

/// The fine configuration with one line replaced.
fn with(line: usize, text: &str) -> String {
    let mut lines: Vec<&str> = FINE.lines().collect();
    lines[line - 1] = text;
    lines.join("\n")
}
