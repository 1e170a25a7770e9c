//! Variables whose value is no text.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::config::Environment;
use crate::config::Look;
use crate::config::load;
use crate::config::tests::FINE;

const SECRET: &str = "credential: { secret: { file: /run/secrets/client_secret } }";

/// What is said of `text`, warnings too, if those variables are set to something that is no text.
fn told(text: &str, names: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, text).unwrap();
    let garbled = |name: &&str| (OsString::from(name), OsString::from_vec(b"hunter2\xff".to_vec()));
    let environment: Environment = names.iter().map(garbled).collect();
    let problems = match load(&[file], &environment, Look::Away) {
        Ok(loaded) => loaded.warnings,
        Err(report) => report.problems().to_vec(),
    };
    let line = |problem: crate::config::problem::Problem| {
        format!("{:?}: {} [{}]", problem.severity, problem.message, problem.help.unwrap_or_default())
    };
    problems.into_iter().map(line).collect()
}

#[test]
fn a_secret_that_is_no_text_is_not_said_to_be_absent() {
    let named = |credential: &str| FINE.replace(SECRET, credential);
    assert_eq!(
        told(&named("credential: { secret: { env: S } }"), &["S"]),
        [
            "Error: the environment variable `S` is not UTF-8 [set it to the secret itself, or write { file: PATH }]"
        ]
    );
    let found = told(&named("credential: workload_identity"), &["AZURE_FEDERATED_TOKEN_FILE"]);
    let [found] = &found[..] else { panic!("{found:?}") };
    assert!(found.starts_with("Error: the environment variable `AZURE_FEDERATED_TOKEN_FILE` is not UTF-8 ["));
}

#[test]
fn other_variables_that_are_no_text_and_would_be_read_are_told_once_and_ignored() {
    let help = "set it to a text in UTF-8, or unset it";
    let ignored = |name: &str| {
        format!("Warning: the environment variable `{name}` is not UTF-8 and is ignored [{help}]")
    };
    let traced = format!("{FINE}telemetry: {{ traces: {{ otlp: 'http://c:4318' }} }}\n");
    let names = ["OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME", "LESS"];
    let mut found = told(&traced, &names);
    found.sort();
    assert_eq!(found, ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME"].map(ignored));
    // without it nothing is traced
    assert_eq!(told(FINE, &["OTEL_EXPORTER_OTLP_ENDPOINT"]), [ignored("OTEL_EXPORTER_OTLP_ENDPOINT")]);
    let proxied = FINE.replace(SECRET, &format!("{SECRET}\n    proxy: environment"));
    assert_eq!(told(&proxied, &["HTTPS_PROXY"]), [ignored("HTTPS_PROXY")]);
}
