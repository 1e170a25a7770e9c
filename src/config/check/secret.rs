//! Where a secret is: in a file, in an environment variable, or in the configuration itself.

use crate::config::SecretSource;
use crate::config::Variable;
use crate::config::check::At;
use crate::config::check::upstream;
use crate::config::wire;
use crate::domain::secret;
use crate::domain::secret::Secret;

const HELP: &str = "write exactly one of file, env and value";

/// The place of a secret. `unreadable` says what follows from a file that cannot be read now.
pub fn check(written: &wire::credential::Secret, unreadable: &str, at: &At<'_>) -> Option<SecretSource> {
    match (&written.file, &written.env, &written.value) {
        (Some(file), None, None) => {
            let at = at.key("file");
            let path = upstream::path(file, &at)?;
            let content = at.look_at(&path, unreadable);
            // a file may be replaced at any time
            if let Some(Err(problem)) = content.map(|content| Secret::from_line(&content)) {
                at.warning(format!("there is no secret in this file: it {problem}"), unreadable);
            }
            Some(SecretSource::File(path))
        }
        (None, Some(variable), None) => variable_of(variable, &at.key("env")).map(SecretSource::Here),
        (None, None, Some(secret)) => {
            let at = at.key("value");
            let secret = match Secret::from_line(secret.as_bytes()) {
                Ok(secret) => secret,
                Err(problem) => {
                    at.error(format!("this secret {problem}"));
                    return None;
                }
            };
            let help = "write { file: PATH } or { env: NAME }";
            at.warning("a secret stands in the configuration itself: whoever can read that has it", help);
            Some(SecretSource::Here(secret))
        }
        (None, None, None) => {
            if !at.is_poisoned() {
                at.error_with("this says nowhere what the secret is", HELP);
            }
            None
        }
        _ => {
            at.error_with("this says more than once where the secret is", HELP);
            None
        }
    }
}

/// The place in `written` that says where the secret is.
pub fn place<'a>(written: &wire::credential::Secret, at: &At<'a>) -> At<'a> {
    let said = [
        ("file", written.file.is_some()),
        ("env", written.env.is_some()),
        ("value", written.value.is_some()),
    ];
    said.iter().find(|(_, is_said)| *is_said).map_or_else(|| at.clone(), |(key, _)| at.key(key))
}

/// The secret itself, where it is here or its file is looked into.
pub fn known(source: &SecretSource, at: &At<'_>) -> Option<Secret> {
    match source {
        SecretSource::Here(secret) => Some(secret.clone()),
        SecretSource::File(path) => Secret::from_line(&at.look_into(path)?).ok(),
    }
}

fn variable_of(variable: &str, at: &At<'_>) -> Option<Secret> {
    let problem = match at.variable(variable) {
        Some(Variable::Text(text)) => match Secret::from_line(text.as_bytes()) {
            Ok(secret) => return Some(secret),
            Err(problem) => problem.to_string(),
        },
        Some(Variable::NotText) => secret::Error::NotText.to_string(),
        None => "is not set".to_owned(),
    };
    let help = "set it to the secret itself, or write { file: PATH }";
    at.error_with(format!("the environment variable `{}` {problem}", at.shown(variable)), help);
    None
}
