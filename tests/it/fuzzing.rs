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

/// The packages of a lock file: the line with the name, and the others.
fn locked(file: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let packages = text.split("[[package]]\n").skip(1);
    packages
        .map(|package| {
            let (name, rest) = package.split_once('\n').unwrap();
            (name.to_owned(), rest.trim().to_owned())
        })
        .collect()
}

#[test]
fn what_is_fuzzed_is_built_of_what_the_proxy_is_built_of() {
    let own = locked("Cargo.lock");
    let field = |package: &str, name: &str| {
        package.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned))
    };
    let mut differ = Vec::new();
    for (name, fuzzed) in locked("tests/fuzz/Cargo.lock") {
        let mut versions = own.iter().filter(|(own, _)| *own == name).peekable();
        let known = versions.peek().is_some();
        if known && !versions.any(|(_, package)| field(package, "version") == field(&fuzzed, "version")) {
            differ.push(format!("{name}: {}", fuzzed.lines().next().unwrap_or_default()));
        }
    }
    assert_eq!(differ, Vec::<String>::new());
    // the lock file is the whole one, or `cargo --locked` refuses to build the targets
    let dependencies = |package: &str| -> Vec<String> {
        let list = package.split_once("dependencies = [").map_or("", |(_, list)| list);
        list.lines().map(|line| line.trim().trim_matches(&['"', ','][..]).to_owned()).collect()
    };
    let proxy = |packages: &[(String, String)]| -> String {
        packages.iter().find(|(name, _)| name == "name = \"obo-proxy\"").unwrap().1.clone()
    };
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let (_, wanted) = manifest.split_once("[dependencies]\n").unwrap();
    let (wanted, _) = wanted.split_once("[dev-dependencies]").unwrap();
    let wanted = wanted.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.to_owned());
    let fuzzed = dependencies(&proxy(&locked("tests/fuzz/Cargo.lock")));
    let missing: Vec<_> =
        wanted.filter(|name| !fuzzed.iter().any(|own| own.split(' ').next() == Some(name))).collect();
    assert_eq!(missing, Vec::<String>::new(), "run `cargo metadata` in tests/fuzz");
}
