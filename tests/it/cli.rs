//! Commands as a user types them.

use std::fs;

use serde_json::Value;

use crate::support::certificates::Authority;
use crate::support::process::Demo;
use crate::support::process::check_the_three_curls;
use crate::support::process::obo_proxy;
use crate::support::process::run;
use crate::support::process::shell;
use crate::support::process::text;

#[test]
fn demo_says_where_everything_is_and_serves_it() {
    let demo = Demo::start();
    let idp = demo.address("idp");
    let curl = |of: &str, path: &str| {
        shell(&format!("curl -s -o /dev/null -w '%{{http_code}}' 'http://{}{path}'", demo.address(of)))
    };
    assert_eq!(curl("telemetry", "/readyz"), "200");
    assert_eq!(curl("admin", "/"), "200");
    assert_eq!(curl("admin", "/api/v1/status"), "200");
    assert_eq!(curl("upstream", "/"), "200");
    assert_eq!(curl("proxy", "/public"), "200");
    assert_eq!(curl("idp", "/demo/token?user=alice"), "200");
    assert_eq!(curl("idp", "/demo/token?user=nobody"), "400");
    assert_eq!(shell(&format!("curl -s 'http://{idp}/demo/token?user=bob'")).split('.').count(), 3);
}

#[test]
fn demo_prints_three_lines_to_paste_and_they_do_what_they_say() {
    let mut child = obo_proxy(&[
        "demo",
        "--proxy",
        "127.0.0.1:18480",
        "--idp",
        "127.0.0.1:18490",
        "--upstream",
        "127.0.0.1:18400",
        "--telemetry",
        "127.0.0.1:18402",
        "--admin",
        "127.0.0.1:18401",
    ]);
    let mut child =
        child.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    while lines.iter().filter(|line: &&String| line.trim_start().starts_with("curl")).count() < 3 {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        assert!(!line.is_empty(), "the demo ended: {lines:?}");
        lines.push(line);
    }
    let answers: Vec<String> =
        lines.iter().filter(|line| line.trim_start().starts_with("curl")).map(|line| shell(line)).collect();
    let _ = child.kill();
    let _ = child.wait();
    check_the_three_curls(&answers);
}

#[test]
fn demo_ends_well_on_sigterm() {
    let demo = Demo::start();
    demo.signal("TERM");
    let (code, log) = demo.wait();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn check_lists_every_problem_and_exits_with_78() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broken.yaml");
    let broken = "identity_providers:\n  contoso:\n    entra: { tenant: nonsense/ }\n    client_id: x\n    credential: { secret: hunter2 }\nroutes:\n  orders:\n    match: /\n    upstrem: http://127.0.0.1:8000\n    exchange: { scpoes: [a] }\n    timeouts: { response: 30 }\n";
    fs::write(&file, broken).unwrap();
    let path = file.to_str().unwrap();
    let output = run(&["check", "--config", path]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(78), "{said}");
    for expected in [
        ":9:5",
        "did you mean `upstream`?",
        ":10:17",
        "did you mean `scopes`?",
        ":11:27",
        "write a number and a unit",
    ] {
        assert!(said.contains(expected), "{expected} is missing in\n{said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
    let output = run(&["check", "--config", path, "--format", "json"]);
    let problems: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(problems.as_array().unwrap().len() >= 3, "{problems}");
    let output = run(&["run", "--config", path]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("did you mean `upstream`?"));
}

#[test]
fn a_certificate_and_a_key_that_are_no_pair_are_78_with_the_file_and_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (one, other) = (authority.issue("localhost"), authority.issue("localhost"));
    one.write(directory.path(), "one");
    other.write(directory.path(), "other");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let config = |key: &str| {
        format!(
            "listeners:\n  default:\n    address: 127.0.0.1:0\n    tls:\n      certificate: {}\n      key: {}\nroutes: {{ a: {{ match: /, upstream: http://127.0.0.1:1, auth: anonymous }} }}\n",
            at("one.crt"),
            at(key)
        )
    };
    let file = at("config.yaml");
    for (key, message, help) in [
        ("other.key", "this private key is not that of the certificate", "name the two files of one pair"),
        ("one.crt", "there is no private key in this file", "BEGIN PRIVATE KEY"),
    ] {
        fs::write(&file, config(key)).unwrap();
        for command in ["check", "run"] {
            let output = run(&[command, "--config", &file]);
            assert_eq!(output.status.code(), Some(78), "{output:?}");
            let told = text(&output.stdout) + &text(&output.stderr);
            for expected in [message, help, "config.yaml:6:12", &at(key)] {
                assert!(told.contains(expected), "{expected} is missing in\n{told}");
            }
        }
    }
    fs::write(&file, config("one.key")).unwrap();
    assert_eq!(run(&["check", "--deny-warnings", "--config", &file]).status.code(), Some(0));
}

#[test]
fn a_file_that_is_not_there_is_a_warning_to_check_and_74_to_run_if_nothing_goes_on_without_it() {
    let directory = tempfile::tempdir().unwrap();
    Authority::new().issue("localhost").write(directory.path(), "one");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let (file, one, absent) = (at("config.yaml"), at("one"), at("absent"));
    let listener = |more: &str| format!("listeners: {{ default: {{ address: '127.0.0.1:0'{more} }} }}");
    let upstream =
        |tls: &str| format!("upstreams: {{ a: {{ url: https://localhost:1, tls: {{ {tls} }} }} }}");
    let (plain, trusting) = (listener(""), upstream("ca: system"));
    for (listener, upstream) in [
        (listener(&format!(", tls: {{ certificate: {one}.crt, key: {absent} }}")), trusting.clone()),
        (listener(&format!(", tls: {{ certificate: {absent}, key: {one}.key }}")), trusting),
        (plain.clone(), upstream(&format!("ca: {absent}"))),
        (plain.clone(), upstream(&format!("client_certificate: {{ file: {absent}, key: {one}.key }}"))),
        (plain, upstream(&format!("client_certificate: {{ file: {one}.crt, key: {absent} }}"))),
    ] {
        let routes = "routes: { a: { match: /, upstream: a, auth: anonymous } }";
        let telemetry = "telemetry: { address: '127.0.0.1:0' }";
        fs::write(&file, format!("{listener}\n{upstream}\n{routes}\n{telemetry}\n")).unwrap();
        for (arguments, code) in [(&["check"][..], 0), (&["check", "--deny-warnings"], 78), (&["run"], 74)] {
            let output = run(&[arguments, &["--config", &file]].concat());
            let told = text(&output.stdout) + &text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments:?} {told}");
            assert!(told.contains("No such file"), "{told}");
        }
    }
}

#[test]
fn check_of_a_good_file_says_what_is_in_it() {
    let output = run(&["check", "--config", "config/minimal.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = text(&output.stdout);
    // the machine that tests run on does not have the secret
    assert!(said.contains("warning: the file cannot be read: "), "{said}");
    assert!(said.contains("config/minimal.yaml:6:35"), "{said}");
    assert!(said.ends_with("ok: 1 identity provider, 1 route, 1 listener, 1 warning\n"), "{said}");
}

#[test]
fn a_file_that_cannot_be_read_is_74_and_bad_usage_is_2() {
    let output = run(&["check", "--config", "/nonexistent.yaml"]);
    assert_eq!(output.status.code(), Some(74));
    assert!(text(&output.stdout).contains("help: name the configuration with --config FILE"), "{output:?}");
    let output = run(&["health", "--config", "/nonexistent.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: the file cannot be read: "), "{output:?}");
    assert_eq!(run(&["chekc"]).status.code(), Some(2));
    assert_eq!(run(&[]).status.code(), Some(2));
}

#[test]
fn a_later_file_and_then_the_environment_win() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("over.yaml");
    fs::write(&file, "workers: many\n").unwrap();
    let over = file.to_str().unwrap();
    let arguments = ["check", "--config", "config/minimal.yaml", "--config", over];
    assert_eq!(run(&arguments).status.code(), Some(78));
    let output = obo_proxy(&arguments).env("OBO__WORKERS", "2").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn health_says_whether_the_proxy_is_ready() {
    let demo = Demo::start();
    assert_eq!(run(&["health", "--address", demo.address("telemetry")]).status.code(), Some(0));
    assert_eq!(run(&["health", "--address", demo.address("admin")]).status.code(), Some(1));
    assert_eq!(run(&["health", "--address", "127.0.0.1:1"]).status.code(), Some(1));
    assert_eq!(run(&["health", "--address", "no address"]).status.code(), Some(1));
}

#[test]
fn an_address_that_is_taken_is_named() {
    let demo = Demo::start();
    let output = run(&[
        "demo",
        "--proxy",
        demo.address("proxy"),
        "--idp",
        "127.0.0.1:0",
        "--upstream",
        "127.0.0.1:0",
        "--telemetry",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    assert_eq!(output.status.code(), Some(74));
    assert!(text(&output.stderr).contains(demo.address("proxy")), "{output:?}");
}

#[test]
fn a_stdout_that_takes_nothing_is_74() {
    for arguments in [&["schema"][..], &["check", "--config", "config/minimal.yaml"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let status = obo_proxy(arguments).stdout(full).stderr(std::process::Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(74), "{arguments:?}");
    }
}
