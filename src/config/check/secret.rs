//! Where a secret is: in a file, in an environment variable, or in the configuration itself.

use crate::config::SecretSource;
use crate::config::check::At;
use crate::config::check::upstream;
use crate::config::wire;
use crate::domain::secret::Secret;

const HELP: &str = "write exactly one of file, env and value";

/// The place of a secret. `unreadable` says what follows from a file that cannot be read now.
pub fn check(written: &wire::credential::Secret, unreadable: &str, at: &At<'_>) -> Option<SecretSource> {
    match (&written.file, &written.env, &written.value) {
        (Some(file), None, None) => {
            let at = at.key("file");
            let path = upstream::path(file, &at)?;
            let content = at.look_at(&path, unreadable);
            if content.is_some_and(|content| text(&content).is_none()) {
                at.warning("there is no secret in this file: it is empty, or no UTF-8", unreadable);
            }
            Some(SecretSource::File(path))
        }
        (None, Some(variable), None) => variable_of(variable, &at.key("env")).map(SecretSource::Here),
        (None, None, Some(secret)) => {
            let at = at.key("value");
            let Some(secret) = Secret::from_line(secret) else {
                at.error("this secret is empty");
                return None;
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
        SecretSource::File(path) => text(&at.look_into(path)?),
    }
}

fn text(content: &[u8]) -> Option<Secret> {
    std::str::from_utf8(content).ok().and_then(Secret::from_line)
}

fn variable_of(variable: &str, at: &At<'_>) -> Option<Secret> {
    let found = at.environment(variable);
    let secret = found.and_then(Secret::from_line);
    if secret.is_none() {
        let state = if found.is_some() { "empty" } else { "not set" };
        let help = "set it to the secret itself, or write { file: PATH }";
        at.error_with(format!("the environment variable `{}` is {state}", at.shown(variable)), help);
    }
    secret
}
