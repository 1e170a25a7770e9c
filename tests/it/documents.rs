//! What the documents say is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::support::process::Demo;
use crate::support::process::check_the_three_curls;
use crate::support::process::files_below;
use crate::support::process::obo_proxy;
use crate::support::process::repository;
use crate::support::process::run;
use crate::support::process::shell;
use crate::support::process::text;

fn readme() -> String {
    fs::read_to_string(repository("README.md")).unwrap()
}

#[test]
fn the_readmes_three_curls_do_what_it_says() {
    let demo = Demo::start();
    let readme = readme();
    let curls: Vec<&str> = readme.lines().filter(|line| line.starts_with("curl -i")).collect();
    let answers: Vec<String> = curls
        .iter()
        .map(|line| {
            line.replace("127.0.0.1:8080", demo.address("proxy"))
                .replace("127.0.0.1:8090", demo.address("idp"))
        })
        .map(|line| shell(&line))
        .collect();
    check_the_three_curls(&answers);
}

#[test]
fn the_reference_configuration_checks() {
    let mut command = obo_proxy(&["check", "--config", "config/reference.yaml"]);
    let output = command
        .env("PARTNERS_SECRET", "secret")
        .env("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/tokens/azure-identity-token")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stdout));
}

#[test]
fn the_schema_file_is_what_the_command_prints() {
    let printed = text(&run(&["schema"]).stdout);
    let file = fs::read_to_string(repository("config/schema.json")).unwrap();
    assert!(printed == file, "stale: run `cargo run -- schema > config/schema.json`");
}

/// What `check` needs to be told where an example takes a secret from the environment.
const SECRETS: [&str; 6] = ["AUTH0", "ENTRA", "KEYCLOAK", "OKTA", "PING", "ZITADEL"];

fn examples() -> Vec<PathBuf> {
    fs::read_dir(repository("config/examples")).unwrap().map(|file| file.unwrap().path()).collect()
}

#[test]
fn every_example_checks() {
    let examples = examples();
    assert!(examples.len() > 10);
    for example in examples {
        let mut command = obo_proxy(&["check", "--config", example.to_str().unwrap()]);
        let secrets = SECRETS.map(|name| (format!("{name}_SECRET"), "x"));
        let output = command.envs(secrets).output().unwrap();
        let said = text(&output.stdout);
        assert!(output.status.success() && said.contains("ok: "), "{}: {said}", example.display());
        // without its secret it is not fine
        let bare = run(&["check", "--config", example.to_str().unwrap()]);
        let needs_secret = fs::read_to_string(&example).unwrap().contains("_SECRET");
        assert_eq!(bare.status.code(), Some(if needs_secret { 78 } else { 0 }), "{}", example.display());
    }
}

#[test]
fn the_page_on_identity_providers_names_every_example() {
    let page = fs::read_to_string(repository("docs/identity-providers.md")).unwrap();
    for example in examples() {
        let link = format!("(../config/examples/{})", example.file_name().unwrap().to_str().unwrap());
        assert!(page.contains(&link), "{link} is missing");
    }
}

#[test]
fn every_requirement_is_listed_once_with_what_meets_it() {
    let page = fs::read_to_string(repository("docs/requirements.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| S-"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let ids: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let ranges = [1..=16, 20..=31, 40..=47, 50..=61, 70..=75, 80..=81, 90..=99, 110..=117];
    let expected: Vec<String> = ranges.into_iter().flatten().map(|id| format!("S-{id}")).collect();
    assert_eq!(ids, expected);
    let functions = functions();
    for row in rows {
        let [id, statement, place] = row[..] else { panic!("{row:?} has not three columns") };
        assert!(!statement.is_empty(), "{id}");
        let named: Vec<&str> = place.split('`').skip(1).step_by(2).collect();
        let tests = named.iter().filter(|name| name.matches('_').count() >= 3);
        let files = named.iter().filter(|name| name.contains('/') && !name.contains(':'));
        let mut found = 0;
        for test in tests {
            assert!(functions.contains(*test), "{id}: there is no test {test}");
            found += 1;
        }
        for file in files {
            assert!(repository(file).exists(), "{id}: there is no file {file}");
            found += 1;
        }
        let is_not_ours = ["operator", "client", "service"].iter().any(|who| place.starts_with(who));
        assert!(found > 0 || is_not_ours, "{id}: {place}");
    }
}

#[test]
fn every_test_that_the_page_on_testing_names_by_its_file_is_there() {
    let page = fs::read_to_string(repository("docs/testing.md")).unwrap();
    let named: Vec<(&str, &str)> = page.split('`').filter_map(|word| word.split_once(".rs::")).collect();
    assert!(named.len() > 50, "{named:?}");
    for (file, test) in named {
        let file = repository(&format!("{file}.rs"));
        assert!(file.exists(), "there is no file {}", file.display());
        let tests = tests_in(&file);
        assert!(tests.iter().any(|own| own == test), "{} has no test {test}", file.display());
    }
}

/// The names of all tests.
fn functions() -> BTreeSet<String> {
    let files = ["src", "tests/it"].into_iter().flat_map(|directory| files_below(directory, "rs"));
    files.flat_map(|file| tests_in(&file)).collect()
}

/// The names of the functions of a file that are marked as tests.
fn tests_in(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let mut is_marked = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_marked = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_marked) {
            found.extend(rest.split('(').next().map(String::from));
            is_marked = false;
        }
    }
    found
}
