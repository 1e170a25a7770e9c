//! What a route does to its requests beyond sending them on. All of it is off unless it is asked for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::StatusCode;

/// What a route does to its requests beyond sending them on.
#[derive(Clone, Debug, Default)]
pub struct Treatment {
    /// Which fields it writes or removes.
    pub headers: Option<Arc<FieldRules>>,
    /// Whose scripts in browsers may call it.
    pub cors: Option<Cors>,
    /// What a request may take of us and of the upstream.
    pub limits: RouteLimits,
    /// When a request is sent once more.
    pub retry: Option<Retry>,
}

/// Which fields a route writes or removes. No name is among them twice, in whatever spelling.
#[derive(Clone, Debug, Default)]
pub struct FieldRules {
    /// Fields that the upstream gets from us alone.
    pub set: Vec<(HeaderName, Template)>,
    /// Fields that the upstream does not get.
    pub remove: Vec<HeaderName>,
}

impl FieldRules {
    /// Whether a field of that name is none of the caller's business.
    pub fn owns(&self, name: &str) -> bool {
        let mut names = self.set.iter().map(|(name, _)| name).chain(&self.remove);
        names.any(|own| is_spelling_of(name, own.as_str()))
    }
}

/// Fields that concern one connection only, or that only who is on it may answer (RFC 9110 section 7.6.1).
pub const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
];

/// Whether a back end could take the field `one` for `other`: many know letters without case, and no difference between
/// `-`, `_` and other signs.
pub fn is_spelling_of(one: &str, other: &str) -> bool {
    let folded = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    one.len() == other.len() && one.bytes().map(folded).eq(other.bytes().map(folded))
}

/// A value that is made anew for each request.
#[derive(Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Piece>);

/// Part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// This very text: visible ASCII characters and spaces.
    Text(String),
    /// What the claim of that name says, or the one that the dotted path leads to.
    Claim(String),
}

impl Template {
    /// Whether it takes a caller whose token was validated.
    pub fn wants_claims(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Claim(_)))
    }
}

/// Hides the text: it may be a key to the upstream.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(..)")
    }
}

/// Whose scripts in browsers may call a route and read its answers (the Fetch standard's CORS protocol).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Those of any origin.
    Any,
    /// Those of these origins, compared byte for byte.
    Origins(Vec<HeaderValue>),
}

/// What a route's requests may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteLimits {
    /// Longest body of a request, in bytes; `None` = any.
    pub request_body: Option<u64>,
    /// Most requests at a time, over all workers; `None` = any number.
    pub concurrency: Option<usize>,
}

/// When a request is sent once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many times at most, beyond the first; never 0.
    pub attempts: u32,
    /// After what.
    pub on: Vec<Setback>,
    /// Requests of these methods.
    pub methods: Vec<Method>,
    /// How long to wait before the first of them; twice as long before each further one.
    pub backoff: Duration,
}

/// What may be worth another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// There was no connection: nothing was sent.
    ConnectError,
    /// The connection ended before the head of an answer: the upstream may have acted.
    Reset,
    /// An answer with this status.
    Status(StatusCode),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_in_every_spelling() {
        for (one, other, is_same) in [
            ("x-user-id", "x-user-id", true),
            ("X-User-ID", "x-user-id", true),
            ("x_user_id", "x-user-id", true),
            ("x_user-id", "X-USER_ID", true),
            ("x.user.id", "x-user-id", true),
            ("x-user-ids", "x-user-id", false),
            ("xuserid", "x-user-id", false),
            ("x-user-1d", "x-user-id", false),
            ("", "", true),
        ] {
            assert_eq!(is_spelling_of(one, other), is_same, "{one} {other}");
        }
    }

    #[test]
    fn a_template_hides_its_text() {
        let template = Template(vec![Piece::Text("canary".into())]);
        assert_eq!(format!("{template:?}"), "Template(..)");
    }
}
