//! Files that a configuration names: whether they could be read now, and what is in them where that is asked.

use std::path::Path;

use zeroize::Zeroizing;

use crate::config::file;
use crate::domain::clock::UnixTime;

/// Longer than any file is that a configuration names.
const LONGEST: u64 = 1024 * 1024;

/// How closely the files are looked at that a configuration names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Not at all.
    Away,
    /// Whether they could be read. Whoever uses them finds out by itself what is in them.
    At,
    /// What is in them, if they can be read, at this time: certificates end.
    Into(UnixTime),
}

impl Look {
    /// Looks at the file at `path`: its content, if that is asked. Nothing is waited for.
    ///
    /// # Errors
    /// Why it cannot be read now.
    pub fn at(self, path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        let looked = match self {
            Self::Away => Ok(None),
            Self::At => file::open(path).map(|_| None),
            Self::Into(_) => file::read(path, LONGEST).map(Some),
        };
        looked.map_err(|error| error.to_string())
    }
}
