//! Files that a configuration names: whether they could be read now, not what is in them.

use std::fs;
use std::fs::File;
use std::path::Path;

/// Why the file at `path` cannot be read now; `None` = it can. Nothing is read, and nothing is waited for.
pub fn look_at(path: &Path) -> Option<String> {
    let opened = fs::metadata(path).and_then(|attributes| match attributes.is_file() {
        true => File::open(path).map(Some),
        // opening a pipe would wait for somebody who writes into it
        false => Ok(None),
    });
    match opened {
        Ok(Some(_)) => None,
        Ok(None) => Some("this is not a regular file".into()),
        Err(error) => Some(format!("the file cannot be read: {error}")),
    }
}
