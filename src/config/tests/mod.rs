//! Tests of the whole floor: text in, configuration or rendered problems out.

mod examples;
mod malformed;
mod secrets;
mod values;

use crate::config::Config;
use crate::config::load_text;

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
