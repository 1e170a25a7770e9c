//! `init`: a configuration to begin with.

use std::fs;

use crate::support::certificates::Authority;
use crate::support::process::obo_proxy;
use crate::support::process::text;

const ENTRA: [&str; 10] = [
    "init",
    "--tenant",
    "8eaef023-2b34-4da1-9baa-8bc8c9d6a490",
    "--client-id",
    "6731de76-14a6-49ae-97bc-6eba6914391e",
    "--upstream",
    "http://127.0.0.1:8000",
    "--scope",
    "api://orders-backend/.default",
    "--credential",
];

#[test]
fn what_init_writes_passes_the_check_without_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let pair = Authority::new().issue("orders-proxy");
    for (file, content) in
        [("secret", "x"), ("tls.crt", &pair.certificate), ("tls.key", &pair.key), ("token", "x")]
    {
        fs::write(at(file), content).unwrap();
    }
    let paths = [at("secret"), at("tls.crt"), at("tls.key")];
    for (kind, issuer) in [
        ("secret-file", None),
        ("certificate", None),
        ("workload-identity", None),
        ("managed-identity", None),
        ("secret-file", Some("https://id.example/realms/b2b")),
        ("certificate", Some("https://id.example/realms/b2b")),
    ] {
        let file = at("obo-proxy.yaml");
        let mut arguments: Vec<&str> = ENTRA.to_vec();
        if let Some(issuer) = issuer {
            (arguments[1], arguments[2]) = ("--issuer", issuer);
        }
        arguments.push(kind);
        let [secret, certificate, key] = &paths;
        arguments.extend(["--secret-file", secret, "--certificate", certificate, "--key", key]);
        arguments.extend(["--output", &file]);
        let output = obo_proxy(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(text(&output.stderr).contains("What comes next"), "{output:?}");
        let mut check = obo_proxy(&["check", "--deny-warnings", "--config", &file]);
        let output = check.env("AZURE_FEDERATED_TOKEN_FILE", at("token")).output().unwrap();
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{kind} {issuer:?}\n{said}");
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_file_that_is_there_stays_unless_it_is_to_be_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let mut arguments = [&ENTRA[..], &["secret-file"], more].concat();
        arguments.extend(["--output", "own.yaml"]);
        obo_proxy(&arguments).current_dir(directory.path()).output().unwrap()
    };
    let file = directory.path().join("own.yaml");
    fs::write(&file, "mine").unwrap();
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(74));
    assert!(text(&output.stderr).contains("--force replaces it"), "{output:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(run(&["--force"]).status.code(), Some(0));
    assert!(fs::read_to_string(&file).unwrap().contains("identity_providers:"));
}

#[test]
fn what_is_missing_or_cannot_be_is_said() {
    let output = obo_proxy(&["init", "--tenant", "x.example"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("--client-id, --credential, --upstream, --scope"), "{said}");
    let arguments = [&ENTRA[..9], &["--output", "-", "--credential", "secret-file"]].concat();
    let printed = obo_proxy(&arguments).output().unwrap();
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    super::snapshot::pinned("init", &text(&printed.stdout));
    let mut wrong = arguments.clone();
    wrong[6] = "no url";
    let output = obo_proxy(&wrong).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("no url") && output.stdout.is_empty(), "{output:?}");
    let mut foreign = [&ENTRA[..], &["workload-identity"]].concat();
    (foreign[1], foreign[2]) = ("--issuer", "https://id.example");
    assert_eq!(obo_proxy(&foreign).output().unwrap().status.code(), Some(2));
}
