//! Users whose tokens are to be had anew.

use crate::domain::digest::Digest;
use crate::pipeline::exchange::Exchanger;
use crate::pipeline::exchange::memory::Purged;

impl Exchanger {
    /// Drops every token and refusal of the users who are meant, told by [`Claims::user_digest`], and what is on its way
    /// for them: whoever waits for it gets it, and nobody after. What the proxy got in its own name is nobody's.
    /// Other proxies find no such token in Redis any more; what is in their memory is theirs.
    ///
    /// [`Claims::user_digest`]: crate::domain::caller::Claims::user_digest
    pub fn purge(&self, is_meant: impl Fn(Digest) -> bool + Send + Sync + 'static) -> Purged {
        let purged = self.shared.memory.purge(is_meant);
        self.shared.mark_purged(&purged.users);
        purged
    }
}
