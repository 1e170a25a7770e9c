//! What somebody did to the proxy by hand: each has its line, whatever else is logged.

use std::net::SocketAddr;

/// The `tracing` target of these lines.
pub const TARGET: &str = "admin";

/// What was done, or tried.
#[derive(Clone, Copy, Debug)]
pub struct Intervention<'a> {
    /// What: `cache_purge` or `log_level`.
    pub action: &'a str,
    /// Whose socket it came from.
    pub peer: Option<SocketAddr>,
    /// `ok`, or why it was not done.
    pub outcome: &'a str,
    /// The user it was about, hashed with a key.
    pub user: Option<&'a str>,
    /// How many tokens were dropped.
    pub tokens: Option<usize>,
    /// What is logged from now on.
    pub level: Option<&'a str>,
}

impl Intervention<'_> {
    /// Writes its line.
    pub fn log(&self) {
        tracing::info!(
            target: TARGET,
            action = self.action,
            peer = self.peer.map(tracing::field::display),
            outcome = self.outcome,
            user = self.user,
            tokens = self.tokens,
            log_level = self.level,
            "an operator intervened"
        );
    }
}

/// Somebody was not let in, for that reason: one line a second at most.
pub fn refused(reason: &str, peer: Option<SocketAddr>) {
    let peer = peer.map(tracing::field::display);
    tracing::warn!(target: TARGET, reason, peer, "the admin interface was refused to somebody");
}
