//! How this stage stands at a moment, for operators.

use crate::domain::name::Name;
use crate::pipeline::exchange::Exchanger;

/// The token cache.
#[derive(Clone, Debug)]
pub struct Holdings {
    /// Tokens in memory.
    pub tokens: u64,
    /// Bytes that they take, by our reckoning.
    pub bytes: u64,
    /// The tier that proxies share, if there is one.
    pub shared: Option<SharedTier>,
}

/// How Redis serves us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedTier {
    /// There is a connection.
    Connected,
    /// There is none, and no trouble is known: it is made when it is needed.
    Resting,
    /// It does not, for the cause that the log names.
    Troubled(String),
}

/// A token endpoint that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEndpointState {
    /// Whose it is.
    pub identity_provider: Name,
    /// Where it is.
    pub url: String,
    /// Whether it is asked freely.
    pub breaker: BreakerState,
}

/// Whether a token endpoint is asked freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// It is.
    Closed,
    /// It keeps failing, and is asked once a second until it answers.
    Open,
}

impl Exchanger {
    /// What is held, and how the token endpoints fare.
    pub fn survey(&self) -> (Holdings, Vec<TokenEndpointState>) {
        let memory = &self.shared.memory;
        let shared = self.shared.redis.as_ref().map(|redis| redis.state());
        let holdings = Holdings { tokens: memory.tokens(), bytes: memory.bytes(), shared };
        (holdings, self.shared.endpoint.states())
    }
}
