//! What fuzzing begins with, and whatever it ever found, held to the same properties: see tests/fuzz.

#[path = "../fuzz/src/properties/mod.rs"]
mod properties;

#[path = "../fuzz/src/connection.rs"]
mod connection;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::path::PathBuf;

/// The files of a directory; none if there is no such directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_seed_and_every_former_finding_keeps_its_property() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let mut broken = Vec::new();
    let whole: (&str, properties::Check) = ("connection", connection::check);
    let targets: Vec<_> = properties::ALL.into_iter().chain([whole]).collect();
    for (name, check) in &targets {
        let seeds = files(&fuzz.join("seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for file in seeds.into_iter().chain(files(&fuzz.join("regressions").join(name))) {
            let bytes = fs::read(&file).unwrap();
            broken.extend(catch_unwind(|| check(&bytes)).is_err().then_some(file));
        }
    }
    assert_eq!(broken, Vec::<PathBuf>::new());
    for directory in files(&fuzz.join("seeds")).into_iter().chain(files(&fuzz.join("regressions"))) {
        let own = directory.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(targets.iter().any(|(name, _)| *name == own), "{own} is no target");
    }
}
