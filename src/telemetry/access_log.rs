//! The access log: one line per request, whose fields are a contract.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;

use crate::domain::caller::Claims;
use crate::domain::digest::Digest;
use crate::telemetry::logs;

/// The `tracing` target of access-log lines.
pub const TARGET: &str = "access";

/// Most characters of a cause in one line.
const LONGEST_CAUSE: usize = 300;

/// Who is to blame for a refusal: it alone decides the level of its log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller: info.
    Client,
    /// The identity provider: warn.
    Idp,
    /// The upstream: warn.
    Upstream,
    /// We, or whoever configured us: error.
    Proxy,
}

/// Whether a line of that fault would be written at all.
pub fn is_on(fault: Option<Fault>) -> bool {
    match fault {
        None | Some(Fault::Client) => tracing::enabled!(target: TARGET, tracing::Level::INFO),
        Some(Fault::Idp | Fault::Upstream) => tracing::enabled!(target: TARGET, tracing::Level::WARN),
        Some(Fault::Proxy) => tracing::enabled!(target: TARGET, tracing::Level::ERROR),
    }
}

/// What is known of one request. Absent facts are absent from the line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line<'a> {
    /// The id that caller, log and upstream share.
    pub request_id: &'a str,
    /// The trace id of an inbound `traceparent`.
    pub trace_id: Option<&'a str>,
    /// The method.
    pub method: Option<&'a str>,
    /// The path without its query.
    pub path: Option<&'a str>,
    /// Who asked.
    pub client: Option<IpAddr>,
    /// The route's name and path.
    pub route: Option<(&'a str, &'a str)>,
    /// Whose token came in.
    pub identity_provider: Option<&'a str>,
    /// Why the request was refused.
    pub reason: Option<&'a str>,
    /// What that reason does not say, where the caller is not to blame.
    pub cause: Option<&'a str>,
    /// The identity provider's numbers.
    pub error_codes: &'a [u64],
    /// How the token cache answered.
    pub cache: Option<&'a str>,
    /// Until the upstream's response head.
    pub upstream: Option<Duration>,
    /// Waiting for token B.
    pub exchange: Option<Duration>,
    /// The user, hashed with a key.
    pub user: Option<&'a str>,
    /// The identity provider's correlation id.
    pub correlation_id: Option<&'a str>,
}

impl Line<'_> {
    /// Writes the line of a request answered with `status` after `took`.
    pub fn write(&self, status: u16, fault: Option<Fault>, took: Duration) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    request_id = self.request_id,
                    trace_id = self.trace_id,
                    http.request.method = self.method,
                    http.route = self.route.map(|(_, path)| path),
                    http.response.status_code = status,
                    url.path = self.path,
                    client.address = self.client.map(tracing::field::display),
                    route = self.route.map(|(name, _)| name),
                    identity_provider = self.identity_provider,
                    reason = self.reason,
                    cause = self.cause.map(short),
                    error_codes = logs::numbers(self.error_codes),
                    cache = self.cache,
                    duration_ms = logs::milliseconds(took),
                    upstream_ms = self.upstream.map(logs::milliseconds),
                    exchange_ms = self.exchange.map(logs::milliseconds),
                    user = self.user,
                    correlation_id = self.correlation_id,
                    "request"
                )
            };
        }
        match fault {
            None | Some(Fault::Client) => line!(info),
            Some(Fault::Idp | Fault::Upstream) => line!(warn),
            Some(Fault::Proxy) => line!(error),
        }
    }
}

/// As much of a cause as one line can do with.
fn short(cause: &str) -> &str {
    cause.char_indices().nth(LONGEST_CAUSE).and_then(|(at, _)| cause.get(..at)).unwrap_or(cause)
}

/// Hashes users with a key of this process: the same user has the same word in all its lines, and nobody who reads
/// them can tell who it is or compare them with another process's. Clones share the key.
#[derive(Clone, Debug)]
pub struct UserHash(Arc<hmac::Key>);

impl UserHash {
    /// With a fresh key.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        hmac::Key::generate(hmac::HMAC_SHA256, &random).map(|key| Self(Arc::new(key)))
    }

    /// The word for the user of `claims`: 16 hexadecimal digits.
    pub fn of(&self, claims: &Claims) -> String {
        self.word(claims.user_digest)
    }

    /// The same, for the user of that digest.
    pub fn word(&self, user: Digest) -> String {
        let hash = hmac::sign(&self.0, user.as_bytes());
        hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The word for whatever else is to be told apart and not named: no user has the same.
    pub fn word_of(&self, what: &str, text: &str) -> String {
        self.word(Digest::of(format!("{what}\0{text}").as_bytes()))
    }

    /// Whether a user is the one with that word.
    pub fn is_called(&self, word: &str) -> impl Fn(Digest) -> bool + Send + Sync + use<> {
        let (user_hash, word) = (self.clone(), word.to_owned());
        move |user| user_hash.word(user) == word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_s_word_is_its_own_and_this_process_s() {
        let [alice, bob] = [b"alice".as_slice(), b"bob"].map(Digest::of);
        let (ours, theirs) = (UserHash::new().unwrap(), UserHash::new().unwrap());
        let word = ours.word(alice);
        assert!(
            word.len() == 16 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
            "{word}"
        );
        assert_eq!(ours.word(alice), word);
        assert!(ours.word(bob) != word && theirs.word(alice) != word);
        let is_alice = ours.is_called(&word);
        assert_eq!((is_alice(alice), is_alice(bob)), (true, false));
        for other in [
            "",
            &word[1..],
            &format!("{word}0"),
            &word.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A"),
        ] {
            assert!(!ours.is_called(other)(alice), "{other}");
        }
        assert!(!theirs.is_called(&word)(alice));
    }
}
