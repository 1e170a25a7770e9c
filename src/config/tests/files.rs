//! Files that a configuration names and that cannot be read now.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::config::load;
use crate::config::tests::FINE;

/// What is warned of when `text` stands in a file in `folder`.
fn warned(folder: &Path, text: &str) -> String {
    let file = folder.join("config.yaml");
    fs::write(&file, text).unwrap();
    let loaded = load(std::slice::from_ref(&file), &[]).unwrap();
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
