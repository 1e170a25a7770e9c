//! Commands as a user types them.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::certificates::Authority;
use crate::support::process::Demo;
use crate::support::process::Proxy;
use crate::support::process::check_the_three_curls;
use crate::support::process::config;
use crate::support::process::obo_proxy;
use crate::support::process::run;
use crate::support::process::shell;
use crate::support::process::signal;
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
    let flags =
        ["--proxy", "--idp", "--upstream", "--telemetry", "--admin"].map(|flag| [flag, "127.0.0.1:0"]);
    let arguments: Vec<&str> = ["demo"].into_iter().chain(flags.into_iter().flatten()).collect();
    let mut child = obo_proxy(&arguments);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    while lines.iter().filter(|line: &&String| line.trim_start().starts_with("curl")).count() < 3 {
        let mut line = String::new();
        BufRead::read_line(&mut out, &mut line).unwrap();
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
fn a_signal_that_comes_as_soon_as_it_listens_ends_it_well() {
    let config = config("http://127.0.0.1:9", "127.0.0.1:9", "info");
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yaml");
        fs::write(&file, &config).unwrap();
        let mut command = obo_proxy(&["run", "--config", file.to_str().unwrap()]);
        let mut child = command.env("SECRET", "x").stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(log.any(|line| line.contains("\"listening\"")));
        signal(child.id(), "TERM");
        let begun = Instant::now();
        let code = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if begun.elapsed().as_secs() > 20 {
                child.kill().unwrap();
            }
            thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(code, Some(0));
    }
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
fn parts_of_the_demo_start_alone_with_a_secret_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("client_secret");
    fs::write(&file, "another-secret\n").unwrap();
    let secret = ["--client-secret", file.to_str().unwrap()];
    // everywhere, as in a container whose port is published: it goes by the name that is reached from outside too
    let idp = Demo::start_with(&[&["--only", "idp", "--idp", "0.0.0.0:0"], &secret[..]].concat());
    let upstream = Demo::start_with(&["--only", "upstream", "--upstream", "127.0.0.1:0"]);
    assert_eq!(idp.addresses.as_object().unwrap().len(), 1, "{}", idp.addresses);
    assert!(idp.address("idp").starts_with("127.0.0.1:"), "{}", idp.addresses);
    for address in [idp.address("idp"), upstream.address("upstream")] {
        assert_eq!(run(&["health", "--address", address]).status.code(), Some(0));
    }
    let config = |secret: &str| {
        format!(
            "listeners: {{ default: {{ address: 127.0.0.1:0 }} }}
telemetry: {{ address: 127.0.0.1:0 }}
identity_providers:
  demo:
    entra: {{ tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490, authority: \"http://{}\" }}
    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
    credential: {{ secret: {{ {secret} }} }}
routes:
  orders:
    match: /
    upstream: http://{}
    exchange: {{ scopes: [api://orders-backend/.default] }}
",
            idp.address("idp"),
            upstream.address("upstream")
        )
    };
    let call = |proxy: &Proxy| {
        let token = format!("curl -s 'http://{}/demo/token?user=alice'", idp.address("idp"));
        shell(&format!("curl -si http://{}/orders -H \"Authorization: Bearer $({token})\"", proxy.address))
    };
    let answer = call(&Proxy::start(&config(&format!("file: {}", file.display())), &[]));
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"aud\":\"api://orders-backend\""),
        "{answer}"
    );
    let answer = call(&Proxy::start(&config("env: WRONG"), &[("WRONG", "yet-another")]));
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    for part in [idp, upstream] {
        part.signal("TERM");
        let (code, log) = part.wait();
        assert_eq!(code, Some(0), "{log}");
    }
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
fn run_names_the_setting_of_an_address_that_is_taken_and_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    for taken in ["listeners.front.address", "telemetry.address", "admin.address"] {
        let at = |setting: &str| if setting == taken { address.as_str() } else { "127.0.0.1:0" };
        let config = format!(
            "listeners: {{ front: {{ address: \"{}\" }} }}\ntelemetry: {{ address: \"{}\" }}\nadmin: {{ address: \"{}\" }}\nroutes: {{ open: {{ match: /, auth: anonymous, upstream: \"http://127.0.0.1:1\" }} }}\n",
            at("listeners.front.address"),
            at("telemetry.address"),
            at("admin.address"),
        );
        fs::write(&file, config).unwrap();
        let output = run(&["run", "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(74), "{output:?}");
        let told = text(&output.stderr);
        let begins =
            format!("error: cannot bind `{taken}` ({address}): Address already in use (os error 98); ");
        assert!(told.contains(&begins) && told.contains("`ss -lntxp` shows which"), "{told}");
    }
}

#[test]
fn the_start_tells_once_of_a_variable_that_sets_nothing_and_what_is_meant() {
    let config = "listeners: { front: { address: \"127.0.0.1:0\" } }
telemetry: { address: \"127.0.0.1:0\", logs: { format: json } }
routes: { open: { match: /, auth: anonymous, upstream: \"http://127.0.0.1:1\" } }
";
    let links = ("OBO_PROXY_SERVICE_HOST", "10.0.0.1");
    let proxy = Proxy::start(config, &[("OBO_ROUTES_OPEN_UPSTREAM", "hunter2"), links]);
    let told = proxy.lines(|message| message == "this variable sets nothing");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["at"], "environment variable OBO_ROUTES_OPEN_UPSTREAM");
    assert_eq!(told[0]["help"], "did you mean `OBO__ROUTES__OPEN__UPSTREAM`?");
    assert!(!proxy.log().contains("hunter2"));
}

#[test]
fn a_stderr_that_takes_nothing_changes_no_exit_code() {
    for (arguments, code) in [
        (&["run", "--config", "/nonexistent"][..], 74),
        (&["check", "--config", "/nonexistent"], 74),
        (&["bogus"], 2),
        (&["health", "--address", "127.0.0.1:1"], 1),
        (&["token", "verify", "--config", "/nonexistent", "--token-file", "/nonexistent"], 74),
        (&["init", "--output", "-"], 2),
    ] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = obo_proxy(arguments);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(full).status();
        assert_eq!(status.unwrap().code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn a_stdout_that_takes_nothing_is_74() {
    for arguments in [&["schema"][..], &["check", "--config", "config/minimal.yaml"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let status = obo_proxy(arguments).stdout(full).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(74), "{arguments:?}");
    }
}

#[test]
fn a_proxy_whose_log_nobody_reads_serves_on_and_ends_well() {
    let mut demo = Demo::start();
    demo.ignore();
    for _ in 0..3 {
        let url = format!("http://{}/public", demo.address("proxy"));
        assert_eq!(shell(&format!("curl -s -o /dev/null -w '%{{http_code}}' {url}")), "200");
    }
    demo.signal("TERM");
    assert_eq!(demo.wait().0, Some(0));
}

#[test]
fn check_and_config_show_where_a_private_key_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    let config = "identity_providers:
  contoso:
    entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }
    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
    credential: { certificate: { file: /nowhere/tls.crt, key: /nowhere/tls.key } }
routes: { all: { match: /, upstream: http://127.0.0.1:1, token: passthrough } }
";
    fs::write(&file, config).unwrap();
    let said = |command: &str| text(&run(&[command, "--config", file.to_str().unwrap()]).stdout);
    let (checked, printed) = (said("check"), said("config"));
    assert!(checked.contains("key: /nowhere/tls.key }") && !checked.contains("***"), "{checked}");
    assert!(printed.contains("key: /nowhere/tls.key  #"), "{printed}");
    fs::write(&file, config.replace("/nowhere/tls.key", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC")).unwrap();
    for said in [said("check"), said("config")] {
        assert!(said.contains("***") && !said.contains("MIIE"), "{said}");
    }
}

#[test]
fn demo_reads_no_configuration_and_says_so() {
    for arguments in [
        &["demo", "--config", "mine.yaml"][..],
        &["demo", "-c", "mine.yaml", "--print-config"],
        &["--config", "mine.yaml", "demo"],
        &["init", "-c", "mine.yaml"],
        &["schema", "-c", "mine.yaml"],
        &["completions", "bash", "-c", "mine.yaml"],
        &["token", "decode", "-c", "mine.yaml"],
        &["token", "-c", "mine.yaml", "decode"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.starts_with("error: --config names a configuration: `"), "{said}");
    }
    // a variable is for all the commands of a shell
    let output = obo_proxy(&["demo", "--print-config"]).env("OBO_CONFIG", "mine.yaml").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn what_demo_prints_runs_before_the_entra_of_a_running_demo() {
    let demo = Demo::start();
    let (idp, upstream) = (demo.address("idp"), demo.address("upstream"));
    let mut arguments = vec!["demo", "--print-config", "--idp", idp, "--upstream", upstream];
    for flag in ["--proxy", "--telemetry", "--admin"] {
        arguments.extend([flag, "127.0.0.1:0"]);
    }
    let printed = run(&arguments);
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let proxy = Proxy::start(&text(&printed.stdout), &[]);
    let answers: Vec<String> = [("/orders/7", "alice"), ("/reports/q3", "alice"), ("/orders/7", "mfa")]
        .iter()
        .map(|(path, user)| {
            let token = format!("$(curl -s 'http://{idp}/demo/token?user={user}')");
            shell(&format!("curl -si http://{}{path} -H \"Authorization: Bearer {token}\"", proxy.address))
        })
        .collect();
    check_the_three_curls(&answers);
}
