//! What a route says, and what `defaults` says where it does not.

use crate::config::check::At;
use crate::config::wire::route::Settings;

/// The settings of one route: its own, and the defaults behind them.
pub struct Layered<'w, 'a> {
    /// Its own.
    pub own: Settings<'w>,
    /// The defaults.
    pub base: Settings<'w>,
    /// The place of its own.
    pub at: At<'a>,
    /// The place of the defaults.
    pub base_at: At<'a>,
}

impl<'w, 'a> Layered<'w, 'a> {
    /// One setting and where it was written: the route's, or else the defaults'.
    pub fn pick<T>(&self, keys: &[&str], of: impl Fn(&Settings<'w>) -> Option<T>) -> Option<(T, At<'a>)> {
        let below = |at: &At<'a>| keys.iter().fold(at.clone(), |at, key| at.key(key));
        match of(&self.own) {
            Some(own) => Some((own, below(&self.at))),
            None => of(&self.base).map(|base| (base, below(&self.base_at))),
        }
    }
}
