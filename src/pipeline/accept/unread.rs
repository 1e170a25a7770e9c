//! Heads that never become requests: hyper answers them itself, and says so when the connection ends.

/// Why there is no head: hyper could not read it, and answered without a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is none of HTTP/1.
    #[error("the head is malformed")]
    Malformed,
    /// It, or the target in it, is longer than allowed.
    #[error("the head is too large")]
    TooLarge,
}

impl Error {
    /// What is wrong with the head that hyper answered, if that is what ended a connection.
    pub fn of(error: &hyper::Error) -> Option<Self> {
        if error.is_parse_too_large() {
            return Some(Self::TooLarge);
        }
        // a preface of HTTP/2 is not answered
        (error.is_parse() && !error.is_parse_version_h2()).then_some(Self::Malformed)
    }
}
