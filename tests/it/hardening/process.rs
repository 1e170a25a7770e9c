//! Core dumps, the eyes of others, privileges: each with a process beside it that has done nothing to itself.

use std::fs;
use std::io::Write;
use std::io::stderr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::hardening::open_directory;
use crate::hardening::program;
use crate::hardening::status;
use crate::hardening::unprivileged;
use crate::support::process::Proxy;
use crate::support::process::config;
use crate::support::process::obo_proxy;
use crate::support::process::repository;
use crate::support::process::signal;
use crate::support::process::text;

const PATIENCE: Duration = Duration::from_secs(30);

/// What can be read of a process only by who may look into it.
const HIDDEN: [&str; 4] = ["environ", "mem", "maps", "fd"];

/// Kills it when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn proxy() -> Proxy {
    let directory = open_directory();
    let file = directory.path().join("config.yaml");
    fs::write(&file, config("http://127.0.0.1:1", "127.0.0.1:1", "info")).unwrap();
    let mut command = program(directory.path());
    command.args(["run", "--config", file.to_str().unwrap()]).env("SECRET", "hunter2");
    Proxy::begun(command, directory)
}

/// A process of the same user that is as any other.
fn plain(directory: &Path) -> Running {
    let mut command = Command::new("sleep");
    Running(unprivileged(command.arg("600").current_dir(directory)).spawn().unwrap())
}

/// Whether another process of the same user can open that of `process`.
fn can_read(process: u32, what: &str) -> bool {
    let place = format!("/proc/{process}/{what}");
    let mut reader = Command::new(if what == "fd" { "ls" } else { "head" });
    let arguments: &[&str] = if what == "fd" { &[&place] } else { &["-c", "0", &place] };
    unprivileged(reader.args(arguments))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

/// How large a core of that process may be: now, and at most.
fn core_limits(process: &str) -> [String; 2] {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    [words.next().unwrap(), words.next().unwrap()]
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not yet so: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn nobody_of_the_same_user_looks_into_the_proxy_and_it_gains_no_privilege() {
    let proxy = proxy();
    let plain = plain(proxy.directory());
    until("it sleeps", || can_read(plain.0.id(), "environ"));
    for what in HIDDEN {
        assert!(!can_read(proxy.id(), what), "{what} of the proxy can be read");
    }
    assert_eq!(status(proxy.id(), "NoNewPrivs"), "1");
    let tasks = fs::read_dir(format!("/proc/{}/task", proxy.id())).unwrap().count();
    assert!(tasks > 2);
    // each thread has the flag for itself
    for task in fs::read_dir(format!("/proc/{}/task", proxy.id())).unwrap() {
        let task = task.unwrap().file_name().to_string_lossy().parse().unwrap();
        assert_eq!(status(task, "NoNewPrivs"), "1");
    }
    assert_eq!(core_limits(&proxy.id().to_string()), ["0", "0"]);
    assert!(!proxy.log().contains("look into"), "{}", proxy.log());
}

#[test]
fn who_is_not_root_still_counts_its_own_descriptors_and_memory() {
    let proxy = proxy();
    let metrics = proxy.metrics();
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_start_time_seconds",
        "process_open_fds",
        "process_max_fds",
    ] {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        assert!(
            value.is_some_and(|value| value.parse::<f64>().unwrap() > 0.0 || name.contains("cpu")),
            "{name}: {value:?}"
        );
    }
}

#[test]
fn who_is_not_root_still_reads_standard_input_by_its_name() {
    let directory = open_directory();
    fs::write(directory.path().join("config.yaml"), config("http://127.0.0.1:1", "127.0.0.1:1", "info"))
        .unwrap();
    let program = program(directory.path()).get_program().to_owned();
    // a pipe belongs to whoever made it
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat config.yaml | \"$0\" check --config /dev/stdin"]).arg(program);
    let ended = unprivileged(shell.env("SECRET", "hunter2").current_dir(directory.path())).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// How a command ends by a signal that would have a core written, in a directory where it could be.
fn broken(mut command: Command, is_ready: impl FnOnce(&mut Child), by: &str) -> ExitStatus {
    let mut running = Running(command.spawn().unwrap());
    is_ready(&mut running.0);
    let begun = Instant::now();
    loop {
        // Rust looks at the first SIGSEGV to tell of a stack that overflows, and then lets the next one do what it does
        signal(running.0.id(), by);
        thread::sleep(Duration::from_millis(10));
        if let Some(ended) = running.0.try_wait().unwrap() {
            return ended;
        }
        assert!(begun.elapsed() < PATIENCE, "{by} does not end it");
    }
}

/// The command with the highest limit of cores that there is.
fn with_cores(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -c \"$(ulimit -H -c)\"; exec \"$@\"", "sh"]).arg(command.get_program());
    shell.args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    unprivileged(shell.stdin(Stdio::piped()));
    shell
}

#[test]
fn no_core_is_left_of_a_command_that_breaks() {
    let directory = open_directory();
    for by in ["SEGV", "ABRT", "QUIT"] {
        // waits for a token, and is secluded before
        let mut command = program(directory.path());
        command.args(["token", "decode"]);
        let is_secluded = |child: &mut Child| {
            until("it is secluded", || status(child.id(), "NoNewPrivs") == "1");
            assert_eq!(core_limits(&child.id().to_string()), ["0", "0"], "{by}");
        };
        let ended = broken(with_cores(&command), is_secluded, by);
        assert!(ended.signal().is_some() && !ended.core_dumped(), "{by}: {ended}");
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "obo-proxy"), "{left:?}");
    }
    // where this system writes cores into the directory, something else leaves one
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let [_, most] = core_limits("self");
    if pattern.is_empty() || pattern.contains(['|', '/']) || most != "unlimited" {
        let why = format!("cores go to {:?}, of {most} bytes at most", pattern.trim());
        let _ = writeln!(stderr(), "NOT shown that anything else would have left a core: {why}");
    } else {
        let mut sleep = Command::new("sleep");
        sleep.arg("600").current_dir(directory.path());
        let sleeps = |child: &mut Child| until("it sleeps", || status(child.id(), "Name") == "sleep");
        assert!(broken(with_cores(&sleep), sleeps, "SEGV").core_dumped());
    }
}

#[test]
fn the_unit_says_the_same_before_the_process_can() {
    let unit = fs::read_to_string(repository("deploy/systemd/obo-proxy.service")).unwrap();
    for line in ["LimitCORE=0", "NoNewPrivileges=yes"] {
        assert!(unit.lines().any(|own| own == line), "{line}");
    }
}

#[test]
fn a_token_that_is_given_as_an_argument_is_not_repeated() {
    const TOKEN: &str = "eyJhbGciOiJub25lIn0.e30.c2VjcmV0";
    let opaque = "an0paque".repeat(5);
    for arguments in [
        &["token", "decode", TOKEN][..],
        &["token", "decode", &opaque],
        &["token", "verify", "--token-file", TOKEN],
        &["token", "decode", "--token-file", &opaque],
        &["token", "verify", "--token", TOKEN],
        &["token", TOKEN],
        &[TOKEN],
        &["doctor", "--only", TOKEN],
        &["check", TOKEN],
    ] {
        let ended = obo_proxy(arguments).output().unwrap();
        let said = text(&[ended.stdout, ended.stderr].concat());
        assert!(matches!(ended.status.code(), Some(2 | 74)), "{arguments:?}: {said}");
        assert!(!said.contains("eyJ") && !said.contains("an0paque"), "{arguments:?}: {said}");
    }
}
