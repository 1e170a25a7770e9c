//! What the documents say is so.

use std::fs;

use crate::support::process::Demo;
use crate::support::process::check_the_three_curls;
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
fn the_readmes_configuration_is_the_minimal_one_and_checks() {
    let readme = readme();
    let start = readme.find("identity_providers:\n").unwrap();
    let shown = &readme[start..start + readme[start..].find("```").unwrap()];
    let minimal = fs::read_to_string(repository("config/minimal.yaml")).unwrap();
    let bare: String = minimal
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(shown, bare);
    assert!(run(&["check", "--config", "config/minimal.yaml"]).status.success());
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

#[test]
fn the_readme_names_every_reason() {
    let readme = readme();
    for reason in obo_proxy::pipeline::respond::reason::Reason::ALL {
        use obo_proxy::pipeline::respond::reason::Reason;
        let of_later_features = [Reason::BodyTooLarge, Reason::Overloaded];
        if !of_later_features.contains(&reason) {
            assert!(
                readme.contains(&format!("`{}`", reason.as_str())),
                "{} is missing in the README",
                reason.as_str()
            );
        }
    }
}
