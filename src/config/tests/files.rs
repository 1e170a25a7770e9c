//! Files that a configuration names and that cannot be read now.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rcgen::CertificateParams;
use rcgen::KeyPair;

use crate::config::Environment;
use crate::config::Look;
use crate::config::load;
use crate::config::problem::Problem;
use crate::config::tests::FINE;
use crate::domain::clock::UnixTime;

/// What is warned of when `text` stands in a file in `folder`.
fn warned(folder: &Path, text: &str) -> String {
    let file = folder.join("config.yaml");
    fs::write(&file, text).unwrap();
    let loaded = load(std::slice::from_ref(&file), &Environment::default(), Look::At).unwrap();
    loaded.warnings.iter().map(|warning| format!("{warning}\n")).collect()
}

fn with_secret(path: &Path) -> String {
    FINE.replace("/run/secrets/client_secret", path.to_str().unwrap())
}

#[test]
fn a_secret_file_that_cannot_be_read_is_warned_of_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    let told = warned(folder.path(), &with_secret(&secret));
    assert_eq!(told.matches("warning: ").count(), 1, "{told}");
    for expected in [
        "warning: the file cannot be read: No such file or directory",
        "config.yaml:5:35",
        "help: exchanges that need it are answered with 502 until it can be read",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    fs::write(&secret, "hunter2").unwrap();
    assert_eq!(warned(folder.path(), &with_secret(&secret)), "");
    // whoever may read everything is refused nothing
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&secret).is_err() {
        let told = warned(folder.path(), &with_secret(&secret));
        assert!(told.contains("warning: the file cannot be read: Permission denied"), "{told}");
    }
}

#[test]
fn what_is_no_file_is_warned_of_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    // without a writer, opening it would wait for ever
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), folder.path(), Path::new("/dev/zero")] {
        let told = warned(folder.path(), &with_secret(path));
        assert!(told.contains("warning: this is not a regular file"), "{told}");
    }
}

#[test]
fn certificates_of_an_upstream_are_looked_at_too() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "hunter2").unwrap();
    let upstream = |url: &str, ca: &str| {
        format!(
            "{}upstreams:\n  legacy:\n    url: {url}\n    tls:\n      ca: {ca}\n      client_certificate:\n        file: /nonexistent/c\n        key: /nonexistent/k\n",
            with_secret(&secret)
        )
    };
    let told = warned(folder.path(), &upstream("https://legacy.example", "/nonexistent/ca"));
    for expected in
        ["config.yaml:15:11", "config.yaml:17:15", "config.yaml:18:14", "`run` does not start without it"]
    {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    assert_eq!(told.matches("warning: the file cannot be read: ").count(), 3, "{told}");
    let told = warned(folder.path(), &upstream("https://legacy.example", "system"));
    assert_eq!(told.matches("warning: ").count(), 2, "{told}");
    // nothing is encrypted, and nothing is read
    let told = warned(folder.path(), &upstream("http://127.0.0.1", "/nonexistent/ca"));
    assert!(told.contains("`tls` has no effect") && !told.contains("cannot be read"), "{told}");
}

#[test]
fn certificates_of_a_listener_are_looked_at_too() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "hunter2").unwrap();
    let text = with_secret(&secret)
        + "\
listeners:
  one:
    address: 0.0.0.0:1
    tls:
      certificate: /nonexistent/c
      key: /nonexistent/k
      client_ca: /nonexistent/ca
  two:
    address: 0.0.0.0:2
    tls:
      certificates:
        - certificate: /nonexistent/c
          key: /nonexistent/k
";
    let told = warned(folder.path(), &text);
    for place in ["15:20", "16:12", "17:18", "22:24", "23:16"] {
        assert!(told.contains(&format!("config.yaml:{place}")), "{place}\n{told}");
    }
    assert_eq!(told.matches("warning: the file cannot be read: ").count(), 5, "{told}");
    assert_eq!(told.matches("`run` does not start without it").count(), 5, "{told}");
}

/// What is told of `text` in a file in `folder` when the files are looked into that it names: `line:column severity: message`.
fn found(folder: &Path, text: &str) -> Vec<String> {
    let file = folder.join("config.yaml");
    fs::write(&file, text).unwrap();
    let problems = match load(std::slice::from_ref(&file), &Environment::default(), Look::Into(NOW)) {
        Ok(loaded) => loaded.warnings,
        Err(report) => report.problems().to_vec(),
    };
    let line = |problem: &Problem| {
        let json = problem.to_json();
        format!("{}:{} {}: {}", json["line"], json["column"], problem.severity.as_str(), problem.message)
    };
    problems.iter().map(line).collect()
}

/// In 2026, of which rcgen's certificates know nothing by themselves.
const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);

/// The content of a certificate's file and its key's; it ends in that year.
fn made(year: i32) -> (String, String) {
    let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn what_is_in_certificates_and_keys_is_told_where_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let ((ours, key), (expired, expired_key), (_, other)) = (made(2040), made(2021), made(2040));
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let both = format!("{ours}{key}");
    for (name, content) in [
        ("secret", "hunter2"),
        ("ours.crt", ours.as_str()),
        ("ours.key", key.as_str()),
        ("both.pem", both.as_str()),
        ("expired.crt", &expired),
        ("expired.key", &expired_key),
        ("other.key", &other),
        ("text", "hunter2"),
        ("broken.pem", "-----BEGIN CERTIFICATE-----\n%%%"),
        ("empty.pem", empty),
        ("encrypted.key", encrypted),
    ] {
        fs::write(at(name), content).unwrap();
    }
    let mismatch = "this private key is not that of the certificate";
    let fine = FINE.replace("/run/secrets/client_secret", &at("secret"));
    let base = FINE.lines().count();
    // the key of a certificate, then of what it stands in
    for (certificate, key, expected) in [
        ("ours.crt", "ours.key", None),
        ("both.pem", "both.pem", None),
        ("absent", "ours.key", Some(("certificate", "warning", "the file cannot be read"))),
        ("ours.crt", "absent", Some(("key", "warning", "the file cannot be read"))),
        ("expired.crt", "expired.key", Some(("certificate", "warning", "this certificate has expired"))),
        ("ours.crt", "other.key", Some(("key", "unusable", mismatch))),
        ("text", "ours.key", Some(("certificate", "unusable", "there is no certificate in this file"))),
        ("ours.key", "ours.key", Some(("certificate", "unusable", "there is no certificate in this file"))),
        ("broken.pem", "ours.key", Some(("certificate", "unusable", "this is no PEM file"))),
        (
            "empty.pem",
            "ours.key",
            Some(("certificate", "unusable", "a certificate in this file is no X.509")),
        ),
        ("ours.crt", "text", Some(("key", "unusable", "there is no private key in this file"))),
        ("ours.crt", "encrypted.key", Some(("key", "unusable", "the private key in this file is encrypted"))),
    ] {
        let [certificate, key] = [certificate, key].map(at);
        let listener = format!(
            "listeners:\n  a:\n    address: 0.0.0.0:1\n    tls:\n      certificate: {certificate}\n      key: {key}\n"
        );
        let upstream = format!(
            "upstreams:\n  a:\n    url: https://a.example\n    tls:\n      client_certificate:\n        file: {certificate}\n        key: {key}\n"
        );
        let redis = format!(
            "cache:\n  redis:\n    url: rediss://a\n    encryption_keys: {{ file: {} }}\n    tls:\n      client_certificate:\n        file: {certificate}\n        key: {key}\n",
            at("key")
        );
        fs::write(at("key"), "an encryption key of 32 letters.").unwrap();
        let credential = fine.replace(
            &format!("{{ secret: {{ file: {} }} }}", at("secret")),
            &format!("\n      certificate:\n        file: {certificate}\n        key: {key}"),
        );
        for (text, line, severity) in [
            (format!("{fine}{listener}"), base + 5, "error"),
            (format!("{fine}{upstream}"), base + 6, "error"),
            (format!("{fine}{redis}"), base + 7, "warning"),
            (credential, 7, "warning"),
        ] {
            let told = found(folder.path(), &text);
            let Some((place, gravity, message)) = expected else {
                assert_eq!(told, [""; 0], "{text}");
                continue;
            };
            let line = if place == "key" { line + 1 } else { line };
            let severity = if gravity == "warning" { gravity } else { severity };
            let is_it = |told: &String| {
                told.starts_with(&format!("{line}:")) && told.contains(&format!(" {severity}: {message}"))
            };
            assert!(told.len() == 1 && is_it(&told[0]), "{text}\n{told:#?}\n{line} {severity} {message}");
        }
    }
}

#[test]
fn what_is_in_files_of_authorities_is_told_where_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = made(2040);
    for (name, content) in [
        ("secret", "hunter2"),
        ("ca.pem", &certificate),
        ("a.crt", &certificate),
        ("a.key", &key),
        ("text", "x"),
    ] {
        fs::write(at(name), content).unwrap();
    }
    fs::write(at("key"), "an encryption key of 32 letters.").unwrap();
    let fine = FINE.replace("/run/secrets/client_secret", &at("secret"));
    let base = FINE.lines().count();
    for (ca, is_fine) in [("ca.pem", true), ("text", false)] {
        let ca = at(ca);
        let [listener, upstream, redis] = [
            format!(
                "listeners:\n  a:\n    address: 0.0.0.0:1\n    tls:\n      certificate: {}\n      key: {}\n      client_ca: {ca}\n",
                at("a.crt"),
                at("a.key")
            ),
            format!("upstreams:\n  a:\n    url: https://a.example\n    tls:\n      ca: {ca}\n"),
            format!(
                "cache:\n  redis:\n    url: rediss://a\n    encryption_keys: {{ file: {} }}\n    tls:\n      ca: {ca}\n",
                at("key")
            ),
        ];
        for (text, place, severity) in [
            (&listener, format!("{}:18", base + 7), "error"),
            (&upstream, format!("{}:11", base + 5), "error"),
            (&redis, format!("{}:11", base + 6), "warning"),
        ] {
            let told = found(folder.path(), &format!("{fine}{text}"));
            let message = format!("{place} {severity}: there is no certificate in this file: {ca}");
            let expected = if is_fine { vec![] } else { vec![message] };
            assert_eq!(told, expected, "{text}");
        }
    }
}

#[test]
fn secrets_that_are_none_are_told_where_their_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let long = "an encryption key of 32 letters.";
    for (name, content) in [
        ("fine", "hunter2"),
        ("long", long),
        ("same", &format!("{long}\n")),
        ("empty", "\n"),
        ("short", "short"),
        ("two", "hunter2\nhunter3\n"),
    ] {
        fs::write(at(name), content).unwrap();
    }
    let text = |secret: &str, keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(|key| format!("{{ file: {} }}", at(key))).collect();
        let fine = FINE.replace("/run/secrets/client_secret", &at(secret));
        format!(
            "{fine}cache:\n  redis:\n    url: rediss://a\n    encryption_keys:\n      - {}\n",
            keys.join("\n      - ")
        )
    };
    let first = FINE.lines().count() + 5;
    let none = "there is no secret in this file: it";
    for (text, expected) in [
        (text("fine", &["long"]), vec![]),
        (text("empty", &["long"]), vec![format!("5:35 warning: {none} is empty")]),
        (text("fine", &["empty"]), vec![format!("{first}:17 warning: {none} is empty")]),
        (
            text("two", &["long"]),
            vec![format!("5:35 warning: {none} has a second line: a secret is one line")],
        ),
        (
            text("fine", &["short"]),
            vec![format!("{first}:17 warning: this encryption key is shorter than 32 bytes")],
        ),
        (
            text("fine", &["long", "same"]),
            vec![format!(
                "{}:17 warning: this holds the same encryption key as {}:{first}",
                first + 1,
                at("config.yaml")
            )],
        ),
    ] {
        assert_eq!(found(folder.path(), &text), expected, "{text}");
    }
}
