//! Fingerprints of files: what tells a file's content from another.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use crate::config::file;
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
            let print = digest(&file).map_or_else(Print::Unreadable, Print::Content);
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

fn digest(file: &Path) -> Result<Digest, io::ErrorKind> {
    let file = file::open(file).map_err(|error| match error {
        file::Error::Unreadable(error) => error.kind(),
        // what a pipe holds can be read once, and not by us
        _ => io::ErrorKind::InvalidInput,
    })?;
    let (mut file, mut hasher) = (file.take(LONGEST), Hasher::new());
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(piece.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_file_is_told_by_what_it_holds_and_found_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let seen = || Prints::of([at("a"), at("link")]);
        let changed = |before: &Prints| {
            let changed = before.differing(&seen());
            changed
                .iter()
                .map(|file| file.strip_prefix(directory.path()).unwrap().display().to_string())
                .collect()
        };
        fs::write(at("a"), "one").unwrap();
        fs::write(at("b"), "one").unwrap();
        symlink(at("a"), at("link")).unwrap();
        let mut before = seen();
        let mut step = |what: &str, expected: &[&str]| {
            let now: Vec<String> = changed(&before);
            assert_eq!(now, expected, "{what}");
            before = seen();
        };
        step("nothing", &[]);
        fs::write(at("a"), "one").unwrap();
        step("written again", &[]);
        fs::write(at("a"), "two").unwrap();
        step("written", &["a", "link"]);
        fs::remove_file(at("link")).unwrap();
        symlink(at("b"), at("link")).unwrap();
        step("led elsewhere", &["link"]);
        fs::remove_file(at("a")).unwrap();
        step("gone", &["a"]);
        step("still gone", &[]);
        fs::create_dir(at("a")).unwrap();
        step("a directory", &["a"]);
    }

    #[test]
    fn a_pipe_is_left_to_whoever_is_to_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // to open it would be to wait for a writer
        assert_eq!(Prints::of([pipe.clone()]), Prints::of([pipe]));
    }

    #[test]
    fn prints_are_kept_for_the_files_that_are_meant() {
        let directory = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
        fs::write(&a, "one").unwrap();
        let (one, both) = (Prints::of([a.clone()]), Prints::of([a.clone(), b.clone()]));
        assert_eq!(both.only(&BTreeSet::from([a])), one);
        assert_eq!(one.clone().and(&both), both);
        assert_eq!(one.differing(&both), BTreeSet::from([b]), "it was not looked at before");
        assert_eq!(both.differing(&one), BTreeSet::new());
    }
}
