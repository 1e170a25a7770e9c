//! Users whose tokens are to be had anew.

use crate::domain::digest::Digest;
use crate::pipeline::exchange::Exchanger;
use crate::pipeline::exchange::memory::Purged;

impl Exchanger {
    /// Drops every token and refusal of the users who are meant, told by [`Claims::user_digest`], and what is on its way
    /// for them: whoever waits for it gets it, and nobody after. What the proxy got in its own name is nobody's.
    /// This proxy takes no such token from Redis either. Nor do others, of the users of whom anything was here: what is in
    /// their memory is theirs, and of whom nothing was here they are told nothing.
    ///
    /// [`Claims::user_digest`]: crate::domain::caller::Claims::user_digest
    pub fn purge(&self, is_meant: impl Fn(Digest) -> bool + Send + Sync + 'static) -> Purged {
        let purged = self.shared.memory.purge(is_meant);
        self.shared.mark_purged(&purged.users);
        purged
    }
}
