//! What a command says, pinned in files.

use std::fs;

use crate::support::process::repository;

/// Compares `text` with what is pinned under `name`. With `UPDATE_SNAPSHOTS=1` it is pinned anew, for whoever looks at the
/// difference.
pub fn pinned(name: &str, text: &str) {
    let file = repository(&format!("tests/it/commands/snapshots/{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        fs::write(&file, text).unwrap();
    }
    let pinned = fs::read_to_string(&file).unwrap_or_default();
    let differs = pinned.lines().zip(text.lines()).find(|(one, other)| one != other);
    assert!(
        pinned == text,
        "{} is not what is said now, first at {differs:?}; if that is meant: UPDATE_SNAPSHOTS=1\n{text}",
        file.display()
    );
}
