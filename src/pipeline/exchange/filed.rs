//! What a token B is filed under, and whose it is.

use crate::domain::digest::Digest;
use crate::pipeline::exchange::key::CacheKey;

/// A place in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filed {
    /// What decides which token it is.
    pub key: CacheKey,
    /// Whose it is: bounds and purges are by user. `None` = our own, which no user can make many of.
    pub holder: Option<Digest>,
}
