//! The configuration's files: when they are read anew, and what becomes of a bad one.

use std::fs;
use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::reload::IN_USE;
use crate::reload::REFUSED;
use crate::reload::check;
use crate::reload::curl;
use crate::reload::echo;
use crate::reload::leading_to;
use crate::reload::metric;
use crate::support::process::Proxy;
use crate::support::process::obo_proxy;
use crate::support::process::repository;
use crate::support::process::run;
use crate::support::process::shell;
use crate::support::process::text;

const SUCCESSFUL: &str = "obo_config_last_reload_successful ";
const TIMESTAMP: &str = "obo_config_last_reload_success_timestamp_seconds ";

/// Longer than it takes until the files are looked at again.
const A_WHILE: Duration = Duration::from_secs(7);

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_refused_and_the_one_before_goes_on() {
    let echo = echo().await;
    let good = leading_to(&echo, "/one", "");
    tokio::task::block_in_place(|| {
        let proxy = Proxy::start(&good, &[]);
        let since = metric(&proxy, TIMESTAMP);
        assert_eq!(metric(&proxy, SUCCESSFUL), Some(1.0));
        let credential = "identity_providers:\n  contoso:\n    entra: { tenant: nonsense/ }\n    client_id: x\n    credential: { secret: hunter2 }\n";
        let bad = good.replace("match: /,", "mtach: /,") + credential;
        let verdict = proxy.reload(&bad);
        check(&verdict, REFUSED, &proxy);
        assert_eq!((metric(&proxy, SUCCESSFUL), metric(&proxy, TIMESTAMP)), (Some(0.0), since));
        assert_eq!(curl(&proxy.address, ""), ("200".into(), "/one/x".into()));

        // every problem, as `check` lists them
        let file = proxy.directory().join("config.yaml");
        let checked =
            obo_proxy(&["check", "--format", "json", "--config", file.to_str().unwrap()]).output().unwrap();
        let checked: Value = serde_json::from_str(&text(&checked.stdout)).unwrap();
        let problems = checked.as_array().unwrap();
        assert!(problems.len() >= 3, "{checked}");
        for problem in problems {
            let at =
                format!("{}:{}:{}", problem["file"].as_str().unwrap(), problem["line"], problem["column"]);
            let is_told = |line: &Value| line["at"] == *at && line["help"] == problem["help"];
            let told = proxy.lines(|message| message == problem["message"].as_str().unwrap());
            assert!(told.iter().any(is_told), "{problem} is not in {}", proxy.log());
        }
        assert!(proxy.log().contains("did you mean `match`?") && !proxy.log().contains("hunter2"));

        // it is told once, and again when someone asks
        thread::sleep(A_WHILE);
        assert_eq!(proxy.verdicts().len(), 1, "{}", proxy.log());
        check(&proxy.read_again(), REFUSED, &proxy);

        // a file that is gone is a bad one; a good one is found without being asked for
        let before = proxy.verdicts().len();
        fs::remove_file(proxy.directory().join("config.yaml")).unwrap();
        check(&proxy.verdict(before), REFUSED, &proxy);
        proxy.write(&leading_to(&echo, "/two", ""));
        check(&proxy.verdict(before + 1), IN_USE, &proxy);
        assert_eq!(metric(&proxy, SUCCESSFUL), Some(1.0));
        assert!(metric(&proxy, TIMESTAMP) > since);
        assert_eq!(curl(&proxy.address, ""), ("200".into(), "/two/x".into()));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_config_map_is_followed_through_its_symbolic_links() {
    let echo = echo().await;
    tokio::task::block_in_place(|| {
        // as the kubelet lays them out: config.yaml -> ..data/config.yaml, ..data -> ..1
        let proxy = Proxy::start_linked(&leading_to(&echo, "/one", ""));
        let directory = proxy.directory().to_owned();
        fs::create_dir(directory.join("..2")).unwrap();
        fs::write(directory.join("..2/config.yaml"), leading_to(&echo, "/two", "")).unwrap();
        symlink("..2", directory.join("..data_tmp")).unwrap();
        fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
        fs::remove_dir_all(directory.join("..1")).unwrap();
        check(&proxy.verdict(0), IN_USE, &proxy);
        assert_eq!(curl(&proxy.address, ""), ("200".into(), "/two/x".into()));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_of_the_start_still_overrides_what_a_new_file_says() {
    let echo = echo().await;
    tokio::task::block_in_place(|| {
        let proxy = Proxy::start(&leading_to(&echo, "/one", ""), &[("OBO__LIMITS__CONNECTIONS", "77")]);
        let verdict =
            proxy.reload(&leading_to(&echo, "/one", "limits: { connections: 1, header_timeout: 9s }"));
        check(&verdict, IN_USE, &proxy);
        // the environment says the same as before
        assert_eq!((&verdict["added"], &verdict["changed"]), (&"limits.header_timeout".into(), &Value::Null));
        check(&proxy.read_again(), "the configuration was read again", &proxy);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_logged_follows_and_what_takes_a_restart_is_named() {
    let echo = echo().await;
    let logs = |logs: &str, more: &str| {
        leading_to(&echo, "", more)
            .replace("logs: { format: json }", &format!("logs: {{ format: json, {logs} }}"))
    };
    tokio::task::block_in_place(|| {
        let proxy = Proxy::start(&logs("level: info, access: false", "workers: 1"), &[]);
        let requests = || {
            curl(&proxy.address, "");
            proxy.lines(|message| message == "request").len()
        };
        assert_eq!(requests(), 0);
        check(&proxy.reload(&logs("level: info, access: true", "workers: 1")), IN_USE, &proxy);
        assert_eq!(requests(), 1);
        check(&proxy.reload(&logs("level: debug, access: false", "workers: 3")), IN_USE, &proxy);
        assert_eq!(requests(), 1);
        let restart = proxy.lines(|message| message.contains("`workers` takes a restart"));
        assert_eq!((restart.len(), &restart[0]["workers"]), (1, &1.into()), "{}", proxy.log());
        let before = proxy.verdicts().len();
        check(&proxy.reload(&logs("level: \"a=b=c\", access: false", "workers: 3")), REFUSED, &proxy);
        assert_eq!(proxy.verdicts().len(), before + 1);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_place_of_the_configuration_is_refused_and_the_next_good_one_is_used() {
    let echo = echo().await;
    let good = leading_to(&echo, "/one", "").replace("delay: 1s", "delay: 0s");
    tokio::task::block_in_place(|| {
        let proxy = Proxy::start(&good, &[]);
        for round in ["/two", "/three"] {
            let pipe = proxy.directory().join("pipe");
            // to open it and wait would be to wait for a writer, who never comes
            shell(&format!("mkfifo {}", pipe.display()));
            fs::rename(pipe, proxy.directory().join("config.yaml")).unwrap();
            check(&proxy.read_again(), REFUSED, &proxy);
            assert!(proxy.log().contains("a pipe that nobody writes into"), "{}", proxy.log());
            assert_eq!(metric(&proxy, SUCCESSFUL), Some(0.0));
            assert_eq!(curl(&proxy.address, "").0, "200");
            check(&proxy.reload(&good.replace("/one", round)), IN_USE, &proxy);
            assert_eq!(metric(&proxy, SUCCESSFUL), Some(1.0));
            assert_eq!(curl(&proxy.address, ""), ("200".into(), format!("{round}/x")));
        }
        let (code, log) = proxy.stop();
        assert_eq!(code, Some(0), "{log}");
    });
}

#[test]
fn a_pipe_that_nobody_writes_into_is_no_configuration_to_begin_with() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let pipe = pipe.to_str().unwrap();
    shell(&format!("mkfifo {pipe}"));
    for command in ["run", "check"] {
        let ended = run(&[command, "--config", pipe]);
        let said = text(&ended.stdout) + &text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(74), "{command}: {said}");
        assert!(said.contains("a pipe that nobody writes into"), "{said}");
    }
    // what a shell makes of a command's output is one that somebody writes into, in a while
    let checked = shell(&format!(
        "{} check --config <(sleep 0.2; cat {})",
        env!("CARGO_BIN_EXE_obo-proxy"),
        repository("config/minimal.yaml").display()
    ));
    assert!(checked.contains("ok: 1 identity provider"), "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_from_a_pipe_is_read_once() {
    let echo = echo().await;
    tokio::task::block_in_place(|| {
        let proxy = Proxy::start_from_a_pipe(&leading_to(&echo, "/one", ""));
        assert_eq!(curl(&proxy.address, ""), ("200".into(), "/one/x".into()));
        // there is nothing more in it
        check(&proxy.read_again(), REFUSED, &proxy);
        assert_eq!(curl(&proxy.address, ""), ("200".into(), "/one/x".into()));
    });
}
