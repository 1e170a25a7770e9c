//! `cache.redis`: the tier of the cache that proxies share.
//!
//! **In:** what the file says of it. **Out:** a checked [`Redis`]. **Never:** shows a password that was written into a
//! URL.

use std::time::Duration;

use crate::config::Redis;
use crate::config::SecretSource;
use crate::config::check::At;
use crate::config::check::positive;
use crate::config::check::secret;
use crate::config::wire;
use crate::config::wire::scalar::DurationText;
use crate::domain::secret::Secret;

mod login;
mod topology;
mod url;

/// What follows from a file that cannot be read now.
const UNREADABLE: &str = "no token is shared until it can be read";

/// The most encryption keys: each costs one more question a look-up.
const MOST_KEYS: usize = 4;

/// The shortest text that can hold 128 bits, even in hexadecimal digits.
const SHORTEST_KEY: usize = 32;

const MAKE_ONE: &str = "make one with `openssl rand -base64 32`";

const DEFAULT_TIMEOUT: Duration = Duration::from_millis(50);

/// Above it, somebody notices.
const SHORT_TIMEOUT: Duration = Duration::from_secs(1);

const LONGEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The tier. `None` if it cannot be used, which was reported.
pub fn check(wire: &wire::redis::Redis, at: &At<'_>) -> Option<Redis> {
    let reached = topology::check(wire, at);
    let way = reached.as_ref().map(|(_, way)| way);
    let written = login::Written {
        username: wire.username.as_deref(),
        password: wire.password.as_ref(),
        tls: wire.tls.as_ref(),
    };
    let login = login::check(&written, way, at);
    let encryption_keys = encryption_keys(wire.encryption_keys.as_ref(), at);
    let timeout = timeout(wire.timeout, &at.key("timeout"));
    let (topology, _) = reached?;
    Some(Redis { topology, login: login?, encryption_keys: encryption_keys?, timeout })
}

fn encryption_keys(written: Option<&wire::redis::EncryptionKeys>, at: &At<'_>) -> Option<Vec<SecretSource>> {
    let Some(written) = written.map(|keys| &keys.0) else {
        at.missing("encryption_keys", format!("write encryption_keys: [{{ file: PATH }}], and {MAKE_ONE}"));
        return None;
    };
    let at = at.key("encryption_keys");
    if written.is_empty() && !at.is_poisoned() {
        at.error_with("this list is empty", format!("write [{{ file: PATH }}], and {MAKE_ONE}"));
    }
    if written.len() > MOST_KEYS {
        let help = "two are enough to replace one by the other";
        at.error_with(format!("there are more than {MOST_KEYS} encryption keys"), help);
    }
    let mut keys: Vec<(SecretSource, At<'_>)> = Vec::new();
    let mut known: Vec<(Secret, At<'_>)> = Vec::new();
    for (item, one) in written.iter().enumerate() {
        let at = at.item(item);
        let Some(key) = encryption_key(one, &at) else { continue };
        match keys.iter().find(|(other, _)| *other == key) {
            Some((_, other)) => {
                let message = format!("this is the same encryption key as that of {}", other.line());
                secret::place(one, &at).error_with(message, "leave one of them out");
            }
            None => {
                let at = secret::place(one, &at);
                if let Some(text) = secret::known(&key, &at) {
                    if let Some((_, other)) = known.iter().find(|(other, _)| *other == text) {
                        let message = format!("this holds the same encryption key as {}", other.line());
                        at.warning(message, "leave one of them out, or make another key");
                    }
                    known.push((text, at.clone()));
                }
                keys.push((key, at));
            }
        }
    }
    let is_complete = keys.len() == written.len() && (1..=MOST_KEYS).contains(&keys.len());
    is_complete.then(|| keys.into_iter().map(|(key, _)| key).collect())
}

fn encryption_key(written: &wire::credential::Secret, at: &At<'_>) -> Option<SecretSource> {
    let key = secret::check(written, UNREADABLE, at)?;
    let at = secret::place(written, at);
    let is_short = secret::known(&key, &at).is_some_and(|text| text.expose().len() < SHORTEST_KEY);
    let message = format!("this encryption key is shorter than {SHORTEST_KEY} bytes");
    match &key {
        SecretSource::Here(_) if is_short => {
            at.error_with(message, MAKE_ONE);
            return None;
        }
        // a file may be replaced at any time
        SecretSource::File(_) if is_short => {
            at.warning(message, format!("no token is shared until it is longer: {MAKE_ONE}"))
        }
        _ => {}
    }
    Some(key)
}

fn timeout(written: Option<DurationText>, at: &At<'_>) -> Duration {
    let timeout = positive(written, DEFAULT_TIMEOUT, at);
    let help = "while Redis is slow, every request whose token is not in memory waits for that long";
    if timeout > LONGEST_TIMEOUT {
        at.error_with(format!("this must be {}s at most", LONGEST_TIMEOUT.as_secs()), help);
    } else if timeout > SHORT_TIMEOUT {
        at.warning("this is long for a look-up", help);
    }
    timeout
}
