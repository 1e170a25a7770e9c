//! Files that a configuration names: whether they could be read now, and what is in them where that is asked.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

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
        let unreadable = |error: io::Error| format!("the file cannot be read: {error}");
        if self == Self::Away {
            return Ok(None);
        }
        let attributes = fs::metadata(path).map_err(unreadable)?;
        if !attributes.is_file() {
            // opening a pipe would wait for somebody who writes into it
            return Err("this is not a regular file".into());
        }
        let file = File::open(path).map_err(unreadable)?;
        if self == Self::At {
            return Ok(None);
        }
        // room for everything from the start: growing would leave copies of secrets behind
        let room = attributes.len().min(LONGEST).saturating_add(2);
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or_default()));
        file.take(LONGEST + 1).read_to_end(&mut content).map_err(unreadable)?;
        match u64::try_from(content.len()) {
            Ok(length) if length <= LONGEST => Ok(Some(content)),
            _ => Err("the file is far too long".into()),
        }
    }
}
