//! `init`: a configuration to begin with.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;

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
fn a_file_is_replaced_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let forced = |file: &str| {
        let arguments = [&ENTRA[..], &["secret-file", "--force", "--output", file]].concat();
        obo_proxy(&arguments).current_dir(directory.path()).output().unwrap()
    };
    fs::write(at("own.yaml"), "mine").unwrap();
    fs::set_permissions(at("own.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::metadata(at("own.yaml")).unwrap().ino();
    assert_eq!(forced("own.yaml").status.code(), Some(0));
    let after = fs::metadata(at("own.yaml")).unwrap();
    assert_eq!(after.mode() & 0o777, 0o640);
    assert_ne!(after.ino(), before, "it was written where whoever reads it saw it half");
    // what is no file of its own stays as it is
    std::os::unix::fs::symlink("own.yaml", at("link.yaml")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("pipe.yaml")).status().unwrap().success());
    fs::create_dir(at("directory.yaml")).unwrap();
    fs::write(at("own.yaml"), "mine").unwrap();
    for name in ["link.yaml", "pipe.yaml", "directory.yaml"] {
        let output = forced(name);
        assert_eq!(output.status.code(), Some(74), "{name}: {output:?}");
        assert!(text(&output.stderr).contains("is not replaced"), "{name}: {output:?}");
    }
    assert_eq!(fs::read_to_string(at("own.yaml")).unwrap(), "mine");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 4, "nothing is left beside");
}

#[test]
fn no_error_and_no_advice_is_obeyed_by_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("obo.yaml");
    let file = file.to_str().unwrap();
    let init = [&ENTRA[..], &["secret-file", "--secret-file", "/run/a\u{1b}[31m\u{202e}", "--output", file]]
        .concat();
    for (arguments, code) in [
        (&init[..], 0),
        (&["token", "decode", "--token-file", "a\u{1b}[31m\u{202e}"], 74),
        (&["--config", file, "explain", "--listener", "a\u{1b}[31m\u{202e}", "GET", "/"], 2),
        (&["--config", file, "token", "verify", "--route", "a\u{1b}[31m\u{202e}", "--token-file", file], 2),
    ] {
        let output = obo_proxy(arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("a\u{fffd}[31m\u{fffd}"), "{said:?}");
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
    }
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
