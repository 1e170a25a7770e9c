//! What the program is made of: crates without faults that are known, in a file that is hard to bend.

use std::path::Path;
use std::process::Command;

const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");

/// Below these versions a fault is known that would reach us.
const FLOORS: [(&str, [u64; 3], &str); 5] = [
    ("h2", [0, 4, 16], "RUSTSEC-2026-0258: empty DATA frames without bound"),
    ("jsonwebtoken", [10, 3, 0], "CVE-2026-25537: a claim of the wrong type counts as absent"),
    (
        "rustls-webpki",
        [0, 103, 13],
        "RUSTSEC-2026-0098, -0099 and -0104: names that a certificate may not have, a panic",
    ),
    ("aws-lc-sys", [0, 39, 0], "RUSTSEC-2026-0044 to -0048"),
    ("tracing-subscriber", [0, 3, 20], "RUSTSEC-2025-0055: what a terminal obeys goes into the log"),
];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(MANIFEST).join(path)).unwrap()
}

/// The crates of a lock file, with their versions.
fn locked(path: &str) -> Vec<(String, String)> {
    let text = read(path);
    let value = |line: &str, key: &str| {
        line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"').map(str::to_owned)
    };
    let lines: Vec<&str> = text.lines().collect();
    lines.windows(2).filter_map(|pair| value(pair[0], "name").zip(value(pair[1], "version"))).collect()
}

fn version(text: &str) -> [u64; 3] {
    let mut parts = text.split(['.', '+', '-']).map(|part| part.parse().unwrap());
    std::array::from_fn(|_| parts.next().unwrap())
}

#[test]
fn no_crate_is_older_than_what_mended_it() {
    for path in ["Cargo.lock", "tests/fuzz/Cargo.lock"] {
        let locked = locked(path);
        assert!(locked.len() > 150, "{path}: {}", locked.len());
        for (name, floor, fault) in FLOORS {
            let found: Vec<_> = locked.iter().filter(|(own, _)| own == name).collect();
            assert!(!found.is_empty(), "{path}: {name}");
            for (_, found) in found {
                assert!(version(found) >= floor, "{path}: {name} {found}: {fault}");
            }
        }
    }
}

#[test]
fn the_lock_file_of_the_fuzz_targets_knows_what_the_proxy_depends_on() {
    let manifest = read("Cargo.toml");
    let wanted = manifest.split_once("\n[dependencies]\n").unwrap().1.split_once("\n[").unwrap().0;
    let wanted: Vec<&str> = wanted.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    assert!(wanted.len() > 30, "{wanted:?}");
    let lock = read("tests/fuzz/Cargo.lock");
    let own = lock.split_once("name = \"obo-proxy\"\n").unwrap().1.split_once("\n]").unwrap().0;
    for name in wanted {
        // behind the name may be a version, where there are several
        assert!(own.contains(&format!("\n \"{name}\"")) || own.contains(&format!("\n \"{name} ")), "{name}");
    }
}

#[test]
fn what_is_fuzzed_is_built_of_the_same_crates() {
    let own = locked("Cargo.lock");
    let differs = |(name, version): &(String, String)| {
        let mut versions = own.iter().filter(|(own, _)| own == name).map(|(_, own)| own).peekable();
        versions.peek().is_some() && !versions.any(|own| own == version)
    };
    let other: Vec<_> = locked("tests/fuzz/Cargo.lock").into_iter().filter(differs).collect();
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn the_banned_crates_are_in_no_lock_file() {
    let text = read("deny.toml");
    let list = text.split_once("\ndeny = [").unwrap().1.split_once("\n]").unwrap().0;
    let banned: Vec<&str> =
        list.split("crate = \"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    assert!(banned.len() >= 4, "{banned:?}");
    for path in ["Cargo.lock", "tests/fuzz/Cargo.lock"] {
        let locked = locked(path);
        // crates that could do with it name it, and it stands in lock files without being compiled: cargo-deny tells
        for banned in banned.iter().filter(|name| **name != "ring") {
            assert!(!locked.iter().any(|(name, _)| name == banned), "{path}: {banned}");
        }
    }
}

#[test]
fn the_program_can_be_anywhere_in_memory_and_what_is_linked_cannot_be_changed() {
    let said = Command::new("readelf")
        .args(["--wide", "--file-header", "--program-headers", "--dynamic", env!("CARGO_BIN_EXE_obo-proxy")])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    let said = String::from_utf8(said.stdout).unwrap();
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    let dynamic = |tag: &str| {
        let tag = format!("({tag})");
        lines.iter().find(|words| words.get(1) == Some(&tag.as_str())).map(|words| words[2..].join(" "))
    };
    // position-independent, so that each start is elsewhere
    assert!(said.contains("DYN (Position-Independent Executable file)"), "{said}");
    let flags = dynamic("FLAGS_1").unwrap();
    assert!(flags.contains("PIE") && flags.contains("NOW"), "{flags}");
    // everything is bound at the start, and read-only from then on
    assert!(lines.iter().any(|words| words.first() == Some(&"GNU_RELRO")), "{said}");
    for bad in ["TEXTREL", "RPATH", "RUNPATH"] {
        assert_eq!(dynamic(bad), None, "{bad}");
    }
    assert!(!dynamic("FLAGS").unwrap_or_default().contains("TEXTREL"));
    // nothing is both written and run, the stack neither
    let rights = |words: &&Vec<&str>| words[6..words.len() - 1].concat();
    let segments = |kind: &str| lines.iter().filter(|words| words.first() == Some(&kind)).collect::<Vec<_>>();
    let (loaded, stack) = (segments("LOAD"), segments("GNU_STACK"));
    assert!(loaded.len() > 2 && stack.len() == 1, "{said}");
    for segment in loaded.iter().chain(&stack) {
        let rights = rights(segment);
        assert!(rights.starts_with('R') && !(rights.contains('W') && rights.contains('E')), "{segment:?}");
    }
}

#[test]
fn a_release_checks_its_sums_and_names_none_of_its_functions() {
    let text = read("Cargo.toml");
    let release = text.split_once("[profile.release]\n").unwrap().1.split_once("\n[").unwrap().0;
    for line in ["overflow-checks = true", "strip = \"symbols\"", "lto = \"fat\""] {
        assert!(release.lines().any(|own| own == line), "{line}");
    }
}
