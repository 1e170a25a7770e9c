//! All of it: what it prints, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::doctor::Around;
use crate::doctor::GOOD;
use crate::doctor::asked;
use crate::doctor::examined_with;
use crate::doctor::file;
use crate::support::process::obo_proxy;
use crate::support::process::run;
use crate::support::process::text;
use crate::support::redis::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_well_gets_a_line_for_each_check() {
    let (around, redis) = (Around::new().await, Redis::start());
    let (_directory, key) = file("key", "a secret of more than thirty-two characters\n");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let cache =
        format!("cache: {{ redis: {{ url: \"{}\", encryption_keys: [{{ file: {key} }}] }} }}", redis.url());
    let (code, said) = asked(&around.config(GOOD, &cache), &[], &[]).await;
    let lines: Vec<String> = said
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| match line.split_once("✓ ") {
            Some((_, rest)) => format!("✓ {}", rest.split("  ").next().unwrap()),
            None => line.to_owned(),
        })
        .collect();
    let address = |text: &str| text.trim_start_matches("http://").to_owned();
    let (entra, echo) = (address(around.entra.authority()), around.echo.address());
    let expected = format!(
        "identity provider demo
✓ tcp {entra}
✓ discovery v2.0
✓ clock
✓ keys v2.0
✓ discovery v1.0
✓ keys v1.0
✓ client secret
✓ token endpoint
upstream http://{echo}
✓ tcp {echo}
✓ http HEAD /
redis
✓ tcp 127.0.0.1:{}
✓ encryption keys
✓ login
✓ SET
✓ GETRANGE
✓ DEL
listener default
✓ 127.0.0.1:0
telemetry
✓ 127.0.0.1:0
files
✓ {key}
all is well: 19 checks",
        redis.port()
    );
    assert_eq!(lines.join("\n"), expected, "{said}");
    assert_eq!(code, 0);
    assert!(!said.contains('\u{1b}'), "it is no terminal: {said}");
    assert!(redis.entries().is_empty(), "it leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_followed_by_what_was_seen_and_what_to_do() {
    let around = Around::new().await;
    let config = around.config("{ secret: { file: /nonexistent/client_secret } }", "");
    let (code, said) = asked(&config, &["--only", "demo"], &[]).await;
    assert_eq!(code, 1);
    let begin = said.find("  ✗").unwrap();
    let wrong: Vec<&str> = said[begin..].lines().collect();
    assert!(wrong[0].starts_with("  ✗ client secret") && wrong[0].ends_with(" ms"), "{said}");
    assert_eq!(
        wrong[1..],
        [
            "      seen: cannot read the client secret /nonexistent/client_secret: No such file or directory (os error 2)",
            "      do:   is the secret mounted, is the path right, and may this user read it (`ls -l`, fsGroup in Kubernetes)?",
            "",
            "1 of 7 checks failed",
        ]
    );
    // what `check` says of it stands before
    assert!(said.starts_with("warning: the file cannot be read: "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_thing_can_be_looked_at_alone() {
    let around = Around::new().await;
    let config = around.config(GOOD, "");
    let said = examined_with(&config, &["--only", "listener", "--only", "telemetry"], &[]).await;
    let groups: Vec<&str> = said.document["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["group"].as_str().unwrap())
        .collect();
    assert_eq!((said.code, groups), (0, vec!["listener default", "telemetry"]));
    assert_eq!(said.document["ok"], true);
    let (code, _) = asked(&config, &["--only", "nobody"], &[]).await;
    assert_eq!(code, 2);
}

#[test]
fn a_wrong_configuration_is_78_and_one_that_cannot_be_read_74() {
    let (_directory, path) = file("broken.yaml", "routes: { orders: { matsch: / } }\n");
    let output = run(&["doctor", "--config", &path]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stdout).contains("did you mean `match`?"), "{output:?}");
    let output = run(&["doctor", "--config", &path, "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &document["ok"]), (Some(78), &false.into()));
    assert_eq!(document["checks"][0]["group"], "configuration");
    assert_eq!(run(&["doctor", "--config", "/nonexistent.yaml"]).status.code(), Some(74));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = obo_proxy(&["doctor", "--config", &path]);
    let status = command.stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(74));
}
