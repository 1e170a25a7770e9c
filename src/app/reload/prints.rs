//! Fingerprints of files: what tells a file's content from another.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use crate::domain::digest::Digest;
use crate::domain::digest::Hasher;

/// More of a file is not looked at. No file that a configuration names is so long.
const LONGEST: u64 = 16 * 1024 * 1024;

/// What files hold, without holding it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prints(BTreeMap<PathBuf, Print>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Print {
    Content(Digest),
    Unreadable(io::ErrorKind),
}

impl Prints {
    /// Those of `files` as they are now. Each is looked up by its path: a symbolic link may lead elsewhere than before.
    pub fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let print = |file: PathBuf| {
            let print = digest(&file).map_or_else(|error| Print::Unreadable(error.kind()), Print::Content);
            (file, print)
        };
        Self(files.into_iter().map(print).collect())
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }

    /// The files in `newer` that hold something else than here, or are not here.
    pub fn differing(&self, newer: &Self) -> BTreeSet<PathBuf> {
        let differing = newer.0.iter().filter(|(file, print)| self.0.get(*file) != Some(print));
        differing.map(|(file, _)| file.clone()).collect()
    }

    /// Those of `files` alone.
    pub fn only(&self, files: &BTreeSet<PathBuf>) -> Self {
        let own = self.0.iter().filter(|(file, _)| files.contains(*file));
        Self(own.map(|(file, print)| (file.clone(), *print)).collect())
    }

    /// These and the `newer` ones.
    pub fn and(mut self, newer: &Self) -> Self {
        self.0.extend(newer.0.iter().map(|(file, print)| (file.clone(), *print)));
        self
    }
}

fn digest(file: &Path) -> io::Result<Digest> {
    let (mut file, mut hasher) = (File::open(file)?.take(LONGEST), Hasher::new());
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(piece.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
