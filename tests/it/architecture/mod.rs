//! The house rules no compiler checks: which floor may import which, and what is absent from where.

mod source;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use source::code;
use source::has_word;
use source::paths;
use source::without_tests;

/// From the ground up: a floor imports lower floors and itself.
const FLOORS: [&str; 6] = ["domain", "config", "telemetry", "net", "pipeline", "app"];
/// What may be on the floor `pipeline` besides its `mod.rs`.
const STAGES: [&str; 6] = ["accept", "route", "authenticate", "exchange", "forward", "respond"];
/// What is there of `mod.rs` itself, and imports the stages as it does.
const LINE: [&str; 5] = ["assembly", "browsers", "onward", "refused", "survey"];
/// What `respond` may name of other stages: how they fail.
const FAILURES: [&str; 6] = ["Error", "Failure", "Kind", "Phase", "Reason", "Why"];
/// Types whose value must not get out by being formatted or serialised.
const SECRETS: [&str; 3] = ["UserToken", "DownstreamToken", "Secret"];
/// Lines of code a file may have, tests not counted.
const LONGEST: usize = 400;
/// What tests may import whole: what they test, and a prelude that is made for it.
const TEST_GLOBS: [&str; 2] = ["super", "proptest::prelude"];
/// Files that may be longer, each with its reason.
const LONG: [(&str, &str); 1] =
    [("src/config/mod.rs", "the checked configuration is one vocabulary, almost all of it comments")];

/// A file, and what is wrong with it.
type Problem = (String, String);

/// A source file as the rules see it.
struct File<'a> {
    name: &'a str,
    /// Its code, tests included.
    code: &'a str,
    /// Its modules from the top: `["pipeline", "exchange", "key"]`.
    module: Vec<&'a str>,
}

impl<'a> File<'a> {
    fn new(name: &'a str, code: &'a str) -> Self {
        let inner = name.trim_start_matches("src/").trim_end_matches(".rs");
        let module = inner.split('/').filter(|part| !["mod", "lib", "main"].contains(part)).collect();
        Self { name, code, module }
    }

    fn floor(&self) -> Option<&'a str> {
        self.module.first().copied()
    }

    fn is_tests(&self) -> bool {
        self.module.contains(&"tests")
    }

    /// Its code without tests.
    fn production(&self) -> &'a str {
        if self.is_tests() { "" } else { without_tests(self.code) }
    }

    /// Every path into this crate, from the top: `crate::` and `super::` are resolved.
    fn imports(&self) -> Vec<Vec<String>> {
        let tests_begin = without_tests(self.code).len();
        let mut imports = Vec::new();
        for path in paths(self.code) {
            let supers = path.names.iter().take_while(|name| *name == "super").count();
            let absolute = path.names.first().is_some_and(|name| name == "crate");
            if !absolute && supers == 0 {
                continue;
            }
            let inline = usize::from(path.at > tests_begin);
            let kept = if absolute { 0 } else { (self.module.len() + inline).saturating_sub(supers) };
            let above = self.module.iter().take(kept).map(ToString::to_string);
            imports.push(above.chain(path.names.into_iter().skip(supers.max(1))).collect());
        }
        imports
    }
}

/// Everything wrong with the file `name` of that `text`.
fn problems(name: &str, text: &str) -> Vec<Problem> {
    let code = code(text);
    let file = File::new(name, &code);
    let mut problems = Vec::new();
    problems.extend(import_style(&file));
    problems.extend(length(&file));
    problems.extend(secrets(&file));
    if let Some(floor) = file.floor() {
        match FLOORS.iter().position(|own| *own == floor) {
            Some(level) => problems.extend(downward(&file, level)),
            None => problems.push(format!("`{floor}` is on no floor")),
        }
        problems.extend(sideways(&file));
        problems.extend(absences(&file, floor));
    }
    problems.into_iter().map(|problem| (name.to_owned(), problem)).collect()
}

fn downward(file: &File<'_>, level: usize) -> Vec<String> {
    let mut problems = Vec::new();
    for import in file.imports() {
        let Some(top) = import.first() else { continue };
        match FLOORS.iter().position(|own| own == top) {
            Some(other) if other <= level => {}
            Some(_) => problems.push(format!("imports upward: {}", import.join("::"))),
            None => problems.push(format!("imports what is on no floor: {}", import.join("::"))),
        }
    }
    problems
}

/// Inside `pipeline`, `mod.rs` imports the stages, `respond` their errors, and nobody else a stage.
fn sideways(file: &File<'_>) -> Vec<String> {
    let Some(("pipeline", stage)) = file.module.first().copied().zip(file.module.get(1).copied()) else {
        return Vec::new();
    };
    if LINE.contains(&stage) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    if !STAGES.contains(&stage) && stage != "tests" {
        problems.push(format!("`{stage}` is no stage"));
    }
    for import in file.imports() {
        let mut names = import.iter().map(String::as_str);
        if names.next() != Some("pipeline") {
            continue;
        }
        let of = names.next().unwrap_or_default();
        let is_failure = stage == "respond" && STAGES.contains(&of) && names_failure(names);
        if of != stage && stage != "tests" && !is_failure {
            problems.push(format!("imports sideways: {}", import.join("::")));
        }
    }
    if stage == "respond" {
        // the stage as a module may be imported; then its items are named by it
        for path in paths(file.code) {
            let mut names = path.names.iter().map(String::as_str);
            let of = names.next().unwrap_or_default();
            if STAGES.contains(&of) && of != stage && !names_failure(names) {
                problems.push(format!("names more than an error: {}", path.names.join("::")));
            }
        }
    }
    problems
}

/// Whether the first type among `names` says how a stage fails; a module alone says nothing.
fn names_failure<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let mut types = names.filter(|name| name.starts_with(char::is_uppercase));
    types.next().is_none_or(|name| FAILURES.iter().any(|failure| name.ends_with(failure)))
}

fn import_style(file: &File<'_>) -> Vec<String> {
    let tests_begin = without_tests(file.code).len();
    let mut problems = Vec::new();
    for path in paths(file.code) {
        let written = path.names.join("::");
        let in_tests = file.is_tests() || path.at > tests_begin;
        let is_ours =
            path.names.first().is_some_and(|name| ["crate", "super", "self"].contains(&name.as_str()));
        match path.end {
            Some('*') if !in_tests || !TEST_GLOBS.contains(&written.as_str()) => {
                problems.push(format!("a glob: {written}::*"))
            }
            Some('{') if is_ours => problems.push(format!("a group: {written}::{{")),
            _ => {}
        }
        if written.starts_with("super::super") {
            problems.push(format!("say where from the top: {written}"));
        }
    }
    problems
}

fn absences(file: &File<'_>, floor: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if floor == "domain" && has_word(file.code, "async") {
        problems.push("`domain` has no async".to_owned());
    }
    let reads_environment = |path: &source::Path| path.names.iter().take(2).eq(["std", "env"]);
    if floor != "app" && paths(file.production()).iter().any(reads_environment) {
        problems.push("only `app` reads the environment".to_owned());
    }
    problems
}

fn secrets(file: &File<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    let words: Vec<&str> = file.code.split_whitespace().collect();
    for of in SECRETS {
        for by in ["Display", "Serialize", "LowerHex", "UpperHex"] {
            let implemented = words.windows(3).any(|window| match window {
                [name, "for", secret] => name.rsplit("::").next() == Some(by) && is_type(secret, of),
                _ => false,
            });
            if implemented || derives(file.code, of).any(|name| name == by) {
                problems.push(format!("{of} is {by}"));
            }
        }
    }
    problems
}

fn is_type(word: &str, name: &str) -> bool {
    let word = word.rsplit("::").next().unwrap_or_default();
    word.split(|c: char| !c.is_alphanumeric()).next() == Some(name)
}

/// What is derived for the type `name`, if `code` declares it.
fn derives<'a>(code: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let declared = code
        .match_indices("struct ")
        .find(|(at, keyword)| is_type(code.split_at(at + keyword.len()).1.trim_start(), name));
    let before = declared.map_or("", |(at, _)| code.split_at(at).0);
    // attributes stand between the item before, which ends in `}` or `;`, and this one
    let attributes = before.rsplit(['}', ';']).next().unwrap_or_default();
    attributes.split(|c: char| !c.is_alphanumeric())
}

fn length(file: &File<'_>) -> Vec<String> {
    let lines = file.production().lines().count();
    let may_be_long = LONG.iter().any(|(name, _)| *name == file.name);
    match (lines > LONGEST, may_be_long) {
        (true, false) => vec![format!("{lines} lines: more than {LONGEST}")],
        (false, true) => vec![format!("{lines} lines: it needs no exception any more")],
        _ => Vec::new(),
    }
}

/// Top-level modules that import each other in a circle, if there are any.
fn cycle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    // what imports nothing that is left is in no circle: take such modules away until nothing changes
    let mut left = edges.clone();
    loop {
        let before = left.len();
        let names: BTreeSet<String> = left.keys().cloned().collect();
        left.retain(|own, others| others.iter().any(|other| other != own && names.contains(other)));
        if left.len() == before {
            return (!left.is_empty()).then(|| left.into_keys().collect());
        }
    }
}

/// Every Rust file under `directory`, by its path from the top of the repository.
fn sources(directory: &Path, name: &str) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let inner = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            found.extend(sources(&entry.path(), &inner)?);
        } else if inner.ends_with(".rs") {
            found.insert(inner, fs::read_to_string(entry.path())?);
        }
    }
    Ok(found)
}

fn ours() -> io::Result<BTreeMap<String, String>> {
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "src")
}

#[test]
fn the_house_keeps_its_rules() {
    let ours = ours().unwrap();
    let problems: Vec<Problem> = ours.iter().flat_map(|(name, text)| problems(name, text)).collect();
    assert_eq!(problems, []);
    assert!(LONG.iter().all(|(name, _)| ours.contains_key(*name)), "an exception for a file that is gone");
    for floor in ["domain", "app"] {
        assert!(ours.contains_key(&format!("src/{floor}/mod.rs")), "the scan has missed the floor {floor}");
    }
}

#[test]
fn no_two_top_level_modules_import_each_other() {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in ours().unwrap() {
        let code = code(&text);
        let file = File::new(&name, &code);
        let Some(floor) = file.floor() else { continue };
        let imports = file.imports().into_iter().filter_map(|import| import.into_iter().next());
        edges.entry(floor.to_owned()).or_default().extend(imports);
    }
    assert!(edges["net"].contains("config"), "no import was seen: {edges:?}");
    assert_eq!(cycle(&edges), None);
}

mod tests;
