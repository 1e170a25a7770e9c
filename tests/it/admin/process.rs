//! The real binary: its log, its reloads, curl.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::process::Proxy;
use crate::support::process::shell;
use crate::support::process::signal;
use crate::support::process::text;

const PATIENCE: Duration = Duration::from_secs(30);

fn config(admin: &str) -> String {
    format!(
        "
listeners: {{ default: {{ address: \"127.0.0.1:0\" }} }}
routes: {{ all: {{ match: /, auth: anonymous, upstream: \"http://127.0.0.1:1\" }} }}
telemetry: {{ address: \"127.0.0.1:0\", logs: {{ format: json, level: warn }} }}
shutdown: {{ delay: 0s, drain: 2s }}
{admin}
"
    )
}

const ON: &str = "admin: { address: \"127.0.0.1:0\" }";

/// `config` at level info, so that the log says where everything is.
fn start(admin: &str) -> Proxy {
    Proxy::start(&config(admin).replace("level: warn", "level: info"), &[])
}

/// Where the admin interface is that came up last.
fn admin(proxy: &Proxy) -> String {
    let lines = || proxy.lines(|message| message == "admin interface");
    // it is the last of what is told at the start
    until("there is one", || !lines().is_empty());
    lines().last().unwrap()["address"].as_str().unwrap().to_owned()
}

fn get(address: &str, options: &str) -> String {
    shell(&format!("curl -s {options} -w ' %{{http_code}}' 'http://{address}/api/v1/status'"))
}

fn set_level(address: &str, body: &str) -> Value {
    let answer = shell(&format!(
        "curl -sS 'http://{address}/api/v1/log_level' -H 'X-Obo-Admin: 1' -H 'Content-Type: application/json' -d '{body}'"
    ));
    serde_json::from_str(&answer).unwrap()
}

fn level(address: &str) -> Value {
    let status = shell(&format!("curl -sS 'http://{address}/api/v1/status'"));
    serde_json::from_str::<Value>(&status).unwrap()["log"].clone()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_log_level_is_changed_for_a_while_and_by_hand_wins_over_a_reload() {
    let proxy = start(ON);
    let address = admin(&proxy);
    let has_debug = || proxy.log().lines().any(|line| line.contains("\"level\":\"debug\""));
    // half a head, and no more
    let call = || TcpStream::connect(&proxy.address).unwrap().write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    call();
    shell(&format!("curl -s -o /dev/null 'http://{}/'", proxy.address));
    assert!(!has_debug());
    let set = set_level(&address, "{\"level\":\"debug\"}");
    assert_eq!((&set["level"], &set["configured"]), (&"debug".into(), &"info".into()));
    call();
    until("debug lines", has_debug);
    // a reload changes what comes after it
    proxy.reload(&config(ON));
    let log = level(&address);
    assert_eq!(
        (&log["level"], &log["configured"], &log["by_hand"]),
        (&"debug".into(), &"warn".into(), &true.into())
    );
    assert_eq!(set_level(&address, "{\"level\":null}")["level"], "warn");
    let set = set_level(&address, "{\"level\":\"off\",\"for\":\"1s\"}");
    assert!(set["level"] == "off" && set["until"].is_string(), "{set}");
    until("the level is back", || level(&address)["by_hand"] == false);
    assert_eq!(level(&address)["level"], "warn");

    // every one of them is in the log, also at a level that says nothing
    let refused = shell(&format!("curl -s -X POST 'http://{address}/api/v1/cache/purge' -d x"));
    assert!(refused.contains("X-Obo-Admin"), "{refused}");
    let purge =
        "-H 'X-Obo-Admin: 1' -H 'Content-Type: application/json' -d '{\"user\":\"0123456789abcdef\"}'";
    shell(&format!("curl -sSf 'http://{address}/api/v1/cache/purge' {purge}"));
    until("the lines", || proxy.lines(|message| message == "an operator intervened").len() == 5);
    let lines = proxy.lines(|message| message == "an operator intervened");
    let told: Vec<[&Value; 3]> =
        lines.iter().map(|line| [&line["action"], &line["outcome"], &line["log_level"]]).collect();
    let [null, ok] = [Value::Null, "ok".into()];
    let [change, purge] = ["log_level", "cache_purge"].map(Value::from);
    let [debug, warn, off, not_meant] = ["debug", "warn", "off", "not_meant"].map(Value::from);
    assert_eq!(
        told,
        [
            [&change, &ok, &debug],
            [&change, &ok, &warn],
            [&change, &ok, &off],
            [&purge, &not_meant, &null],
            [&purge, &ok, &null],
        ]
    );
    assert!(lines.iter().all(|line| line["peer"].as_str().unwrap().starts_with("127.0.0.1:")));
    assert_eq!((&lines[4]["user"], &lines[4]["tokens"]), (&"0123456789abcdef".into(), &0.into()));
}

#[test]
fn the_interface_comes_moves_and_goes_with_the_configuration() {
    let proxy = start("");
    assert!(proxy.lines(|message| message == "admin interface").is_empty());
    let info = |admin: &str| config(admin).replace("level: warn", "level: info");
    proxy.reload(&info(ON));
    let first = admin(&proxy);
    assert!(get(&first, "").ends_with(" 200"));
    let status: Value = serde_json::from_str(get(&first, "").trim_end_matches(" 200")).unwrap();
    assert_eq!(
        (&status["reload"]["outcome"], &status["reload"]["added"][0]),
        (&"in_use".into(), &"admin".into())
    );
    // a bad configuration is told of where the good one goes on
    proxy.reload(&info("admin: { address: \"0.0.0.0:0\" }"));
    let status: Value = serde_json::from_str(get(&first, "").trim_end_matches(" 200")).unwrap();
    assert_eq!(status["reload"]["outcome"], "refused");
    let problem = &status["reload"]["problems"][0];
    assert!(problem["help"].as_str().unwrap().contains("token: { file: PATH }"), "{problem}");
    // another address
    proxy.reload(&info("admin: { address: \"localhost:0\" }"));
    let second = admin(&proxy);
    assert_ne!(first, second);
    assert!(get(&second, "").ends_with(" 200"));
    let is_gone = |address: &str| {
        let output =
            Command::new("curl").args(["-s", "-o", "/dev/null", &format!("http://{address}/")]).output();
        output.unwrap().status.code() == Some(7)
    };
    until("the first is gone", || is_gone(&first));
    proxy.reload(&info(""));
    until("the second is gone", || is_gone(&second));
}

#[test]
fn a_token_from_a_file_is_read_anew_and_without_it_nobody_may() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "first\n").unwrap();
    let proxy =
        start(&format!("admin: {{ address: \"127.0.0.1:0\", token: {{ file: {} }} }}", file.display()));
    let address = admin(&proxy);
    let with = |token: &str| get(&address, &format!("-o /dev/null -H 'Authorization: Bearer {token}'"));
    assert_eq!((with("first"), with("second")), (" 200".into(), " 401".into()));
    fs::write(&file, "second\n").unwrap();
    assert_eq!((with("first"), with("second")), (" 401".into(), " 200".into()));
    for content in [Some(""), Some("\n"), None] {
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        for token in ["second", ""] {
            assert_eq!(with(token), " 503", "{content:?} {token:?}");
        }
    }
    let page = Command::new("curl")
        .args(["-s", "-u", "any:second", &format!("http://{address}/")])
        .output()
        .unwrap();
    assert!(text(&page.stdout).contains("cannot be read"));
}

/// A port of this machine that somebody listens at, who never answers.
fn silence() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A provider whose keys a reload waits for in vain.
fn behind(silence: &TcpListener) -> String {
    format!(
        "identity_providers: {{ slow: {{ oidc: {{ issuer: \"http://{}\" }}, client_id: x, audiences: [x], credential: {{ secret: {{ value: hunter2 }} }} }} }}",
        silence.local_addr().unwrap()
    )
}

/// Has `proxy` read another configuration: every status that `ask` got until it was in use, and a second after.
fn meanwhile(proxy: &Proxy, config: &str, ask: impl Fn() -> String) -> Vec<String> {
    let before = proxy.verdicts().len();
    // at this level the log says what is in use
    proxy.write(&config.replace("level: warn", "level: info"));
    signal(proxy.id(), "HUP");
    let (begun, mut seen) = (Instant::now(), Vec::new());
    while proxy.verdicts().len() == before {
        assert!(begun.elapsed() < PATIENCE, "{}", proxy.log());
        seen.push(ask());
    }
    let in_use = Instant::now();
    while in_use.elapsed() < Duration::from_secs(1) {
        seen.push(ask());
    }
    seen.dedup();
    seen
}

/// The status that somebody gets who has no token; 000 is none.
fn status(address: &str) -> String {
    shell(&format!(
        "curl -s -m 1 -o /dev/null -w '%{{http_code}}' -H 'Host: localhost' 'http://{address}/api/v1/config' || true"
    ))
}

#[test]
fn an_interface_that_comes_answers_nothing_before_its_own_token_is_asked_for() {
    let (silence, proxy) = (silence(), start(ON));
    let first = admin(&proxy);
    let port = free_port();
    let wider = format!("admin: {{ address: \"0.0.0.0:{port}\", token: {{ value: s3cret-of-admins }} }}\n");
    let seen =
        meanwhile(&proxy, &(config(&wider) + &behind(&silence)), || status(&format!("127.0.0.1:{port}")));
    assert!(seen.ends_with(&["401".to_owned()]) && !seen.contains(&"200".to_owned()), "{seen:?}");
    assert_eq!(status(&first), "000", "the one before is gone");
}

#[test]
fn an_interface_asks_for_its_own_token_until_it_goes() {
    let (silence, port) = (silence(), free_port());
    let wide = format!("admin: {{ address: \"0.0.0.0:{port}\", token: {{ value: s3cret-of-admins }} }}\n");
    let proxy = start(&wide);
    let ask = || status(&format!("127.0.0.1:{port}"));
    assert_eq!(ask(), "401");
    let narrow = config("admin: { address: \"127.0.0.1:0\" }\n") + &behind(&silence);
    let seen = meanwhile(&proxy, &narrow, ask);
    assert_eq!(seen, ["401", "000"]);
}

#[test]
fn where_the_address_stays_the_token_comes_and_goes_with_the_configuration() {
    let port = free_port();
    let with = |token: &str| config(&format!("admin: {{ address: \"localhost:{port}\"{token} }}"));
    let proxy = start("");
    let ask = || status(&format!("127.0.0.1:{port}"));
    for (token, expected) in [("", "200"), (", token: { value: a }", "401"), ("", "200")] {
        let seen = meanwhile(&proxy, &with(token), ask);
        assert_eq!(seen.last().map(String::as_str), Some(expected), "{token} {seen:?}");
    }
}

#[test]
fn no_level_hides_what_operators_do() {
    let proxy = start(ON);
    let address = admin(&proxy);
    let lines = |message: &str| proxy.lines(|own| own == message).len();
    let quiet = "{\"level\":\"off,admin[{action}]=off,access[{request_id}]=off\"}";
    for done in 1..4 {
        set_level(&address, quiet);
        shell(&format!("curl -s -o /dev/null 'http://{}/'", proxy.address));
        until("each has its line", || lines("an operator intervened") == done && lines("request") == done);
    }
}

#[test]
fn who_looks_with_a_wrong_token_leaves_a_trace_and_not_too_many() {
    let proxy = start("admin: { address: \"127.0.0.1:0\", token: { value: s3cret-of-admins } }");
    let address = admin(&proxy);
    let lines = || proxy.lines(|message| message == "the admin interface was refused to somebody");
    assert_eq!((get(&address, "-o /dev/null"), lines().len()), (" 401".into(), 0));
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(get(&address, "-o /dev/null -H 'Authorization: Bearer gu3ss'"), " 401");
    }
    let most = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    until("there is a line", || !lines().is_empty());
    assert!(lines().len() <= most, "{}", proxy.log());
    let line = &lines()[0];
    assert_eq!((&line["level"], &line["reason"]), (&"warn".into(), &"wrong_token".into()));
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert!(!proxy.log().contains("gu3ss"));
}

fn free_port() -> u16 {
    silence().local_addr().unwrap().port()
}
