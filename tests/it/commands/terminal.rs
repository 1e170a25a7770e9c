//! What commands do at a terminal, and do not elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::process::obo_proxy;
use crate::support::process::text;
use crate::support::terminal::CONTROL_C;
use crate::support::terminal::CONTROL_D;
use crate::support::terminal::Terminal;

const ESCAPE: char = '\u{1b}';

/// The questions, by how they begin.
const TENANT: &str = "Tenant of Microsoft Entra";
const CLIENT: &str = "Client id";
const CREDENTIAL: &str = "Credential:";
const UPSTREAM: &str = "URL of the service";
const SCOPES: &str = "Scopes of the API";

/// Answers all questions but the last.
fn answer_four(terminal: &mut Terminal) {
    terminal.answer(TENANT, "8eaef023-2b34-4da1-9baa-8bc8c9d6a490\n");
    terminal.answer(CLIENT, "6731de76-14a6-49ae-97bc-6eba6914391e\n");
    terminal.answer(CREDENTIAL, "secret-file\n");
    terminal.answer(UPSTREAM, "http://127.0.0.1:8000\n");
    terminal.see(SCOPES);
}

/// What the command left in its directory.
fn left(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| name != "process").collect()
}

#[test]
fn init_asks_and_a_wrong_answer_says_why_and_loses_no_other() {
    let mut terminal = Terminal::start("$OBO init --secret-file secret", &[]);
    terminal.answer(TENANT, "two words\n");
    let said = terminal.answer(TENANT, "\n");
    assert!(said.contains("`two words` is not a tenant") && said.contains("write the tenant's id"), "{said}");
    let said = terminal.answer(TENANT, "8eaef023-2b34-4da1-9baa-8bc8c9d6a490\n");
    assert!(said.contains("that is no answer"), "{said}");
    terminal.answer(CLIENT, "6731de76-14a6-49ae-97bc-6eba6914391e\n");
    terminal.answer(CREDENTIAL, "a password\n");
    let said = terminal.answer(CREDENTIAL, "SECRET-FILE\n");
    assert!(said.contains("that is no answer"), "{said}");
    terminal.answer(UPSTREAM, "localhost\n");
    let said = terminal.answer(UPSTREAM, "http://127.0.0.1:8000\n");
    assert!(said.contains("localhost") && !said.contains("tenant"), "{said}");
    terminal.answer(SCOPES, "one \"two\"\n");
    let said = terminal.answer(SCOPES, "api://one/a, api://one/b\n");
    assert!(said.contains("is not a scope"), "{said}");
    let (code, said, directory) = terminal.wait();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("obo-proxy.yaml is written. What comes next:"), "{said}");
    assert_eq!(left(directory.path()), ["obo-proxy.yaml"]);
    let written = fs::read_to_string(directory.path().join("obo-proxy.yaml")).unwrap();
    for answer in
        ["tenant: 8eaef023", "client_id: 6731de76", "file: secret", "scopes: [api://one/a, api://one/b]"]
    {
        assert!(written.contains(answer), "{answer}\n{written}");
    }
    fs::write(directory.path().join("secret"), "x").unwrap();
    let check = obo_proxy(&["check", "--deny-warnings", "--config", "obo-proxy.yaml"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stdout));
}

#[test]
fn init_asks_only_for_what_no_flag_says_and_looks_at_the_flags_first() {
    let flags = "--client-id orders --credential workload-identity --scope orders";
    let mut terminal = Terminal::start(&format!("$OBO init {flags}"), &[]);
    terminal.answer(TENANT, "https://id.example\n");
    let said = terminal.answer(TENANT, "contoso.example\n");
    assert!(said.contains("only Microsoft Entra (--tenant) takes that credential"), "{said}");
    terminal.answer(UPSTREAM, "http://127.0.0.1:8000\n");
    let (code, said, _directory) = terminal.wait();
    assert_eq!(code, 0, "{said}");
    // what is odd and no mistake is told in the end
    assert!(said.contains("this is no client id of Entra's"), "{said}");
    let (code, said, directory) = Terminal::start("$OBO init --upstream nonsense", &[]).wait();
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("nonsense") && !said.contains(TENANT), "{said}");
    assert!(left(directory.path()).is_empty());
}

#[test]
fn whoever_stops_init_is_told_that_nothing_is_written() {
    for (key, code, what) in [
        (CONTROL_C, 1, "stopped: obo-proxy.yaml is not written"),
        (CONTROL_D, 2, "no more answers: obo-proxy.yaml is not written"),
    ] {
        let mut terminal = Terminal::start("$OBO init", &[]);
        terminal.answer(TENANT, key);
        let (own, said, directory) = terminal.wait();
        assert_eq!(own, code, "{said}");
        assert!(said.contains(what), "{said}");
        assert!(left(directory.path()).is_empty());
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("obo-proxy.yaml"), "mine").unwrap();
        let mut terminal = Terminal::start_in(directory, "$OBO init --force", &[]);
        answer_four(&mut terminal);
        terminal.press(key);
        let (own, said, directory) = terminal.wait();
        assert_eq!(own, code, "{said}");
        assert_eq!(fs::read_to_string(directory.path().join("obo-proxy.yaml")).unwrap(), "mine");
    }
}

#[test]
fn init_says_before_it_asks_that_it_could_not_write() {
    for (output, why) in [
        ("there.yaml", "there.yaml is there already; --force replaces it"),
        ("link.yaml", "link.yaml is there already; --force replaces it"),
        ("nowhere/own.yaml", "cannot write nowhere/own.yaml"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("there.yaml"), "mine").unwrap();
        symlink("gone.yaml", directory.path().join("link.yaml")).unwrap();
        let (code, said, directory) =
            Terminal::start_in(directory, &format!("$OBO init --output {output}"), &[]).wait();
        assert_eq!(code, 74, "{said}");
        assert!(said.contains(why) && !said.contains(TENANT), "{said}");
        assert_eq!(fs::read_to_string(directory.path().join("there.yaml")).unwrap(), "mine");
    }
    // somebody else may be quicker than whoever answers
    let mut terminal = Terminal::start("$OBO init", &[]);
    answer_four(&mut terminal);
    fs::write(terminal.directory().join("obo-proxy.yaml"), "theirs").unwrap();
    terminal.press("api://one/.default\n");
    let (code, said, directory) = terminal.wait();
    assert_eq!(code, 74, "{said}");
    assert_eq!(fs::read_to_string(directory.path().join("obo-proxy.yaml")).unwrap(), "theirs");
}

/// A configuration that `check` has a warning for, and with `broken` an error.
fn checkable(broken: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let config = format!(
        "identity_providers:
  contoso:
    entra: {{ tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490, authority: http://127.0.0.1:1 }}
    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
    credential: {{ secret: {{ value: x }} }}
routes:
  all: {{ match: /, upstream: http://127.0.0.1:1, token: passthrough }}
telemetry: {{ address: 127.0.0.1:0, logs: {{ format: human }} }}
listeners: {{ default: {{ address: 127.0.0.1:0 }} }}
shutdown: {{ delay: 0s, drain: 1s }}
{broken}
"
    );
    fs::write(directory.path().join("config.yaml"), config).unwrap();
    directory
}

#[test]
fn commands_are_coloured_at_a_terminal_and_nowhere_else() {
    for (line, broken, coloured) in [
        ("check", "", "\u{1b}[33m^^^"),
        ("check", "wrong: 1", "\u{1b}[31m^^^"),
        ("doctor", "", "\u{1b}[31m✗"),
        ("doctor", "wrong: 1", "\u{1b}[31merror"),
        ("explain GET /", "", "\u{1b}[1mall"),
        ("run", "wrong: 1", "\u{1b}[31merror"),
        ("health", "wrong: 1", "\u{1b}[31merror"),
        ("health --address 127.0.0.1:1", "", "\u{1b}[31merror"),
        ("frobnicate", "", "\u{1b}[1m\u{1b}[31merror"),
        ("--help", "", "\u{1b}[1m"),
    ] {
        let line = format!("$OBO {line}");
        let shown = |line: &str, environment: &[(&str, &str)]| {
            let variables = [environment, &[("OBO_CONFIG", "config.yaml")]].concat();
            Terminal::start_in(checkable(broken), line, &variables).wait().1
        };
        let seen = shown(&line, &[]);
        assert!(seen.contains(coloured), "{line}: {seen:?}");
        assert!(shown(&line, &[("NO_COLOR", "")]).contains(coloured), "{line}");
        for unwanted in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let seen = shown(&line, &[unwanted]);
            assert!(!seen.contains(ESCAPE), "{line} {unwanted:?}: {seen:?}");
        }
        // a pipe, and a file
        let seen = shown(&format!("{line} 2>&1 | cat"), &[]);
        assert!(!seen.contains(ESCAPE) && !seen.is_empty(), "{line}: {seen:?}");
        let seen = shown(&format!("sh -c '{line} > file 2>&1; cat file'"), &[]);
        assert!(!seen.contains(ESCAPE) && !seen.is_empty(), "{line}: {seen:?}");
        let seen = shown(&format!("{line} 2>&1 | cat"), &[("CLICOLOR_FORCE", "1")]);
        assert!(seen.contains(coloured), "{line}: {seen:?}");
        let seen = shown(&format!("{line} 2>&1 | cat"), &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]);
        assert!(!seen.contains(ESCAPE), "{line}: {seen:?}");
    }
}

#[test]
fn each_stream_is_looked_at_by_itself_and_machines_read_no_colours() {
    let shown = |line: &str, broken: &str| {
        Terminal::start_in(checkable(broken), line, &[("OBO_CONFIG", "config.yaml")]).wait().1
    };
    // the log is at the terminal, the answer in a pipe
    let seen = shown("$OBO explain GET / | cat", "");
    assert!(!seen.contains(ESCAPE), "{seen:?}");
    let seen = shown("$OBO run | cat", "wrong: 1");
    assert!(seen.contains("\u{1b}[31merror"), "{seen:?}");
    for line in
        ["check --format json", "doctor --json", "explain GET / --json", "config", "config --json", "schema"]
    {
        let seen = shown(&format!("$OBO {line}"), "");
        assert!(!seen.contains(ESCAPE), "{line}: {seen:?}");
    }
}

#[test]
fn log_lines_are_coloured_at_a_terminal_and_nowhere_else() {
    let logged = |redirection: &str, environment: &[(&str, &str)]| {
        let variables = [environment, &[("OBO_CONFIG", "config.yaml")]].concat();
        let mut terminal = Terminal::start_in(checkable(""), &format!("$OBO run {redirection}"), &variables);
        terminal.see("probes and metrics");
        terminal.press(CONTROL_C);
        let (code, seen, _directory) = terminal.wait();
        // in a pipe the code is another's
        assert!(code == 0 || redirection.contains('|'), "{code}: {seen}");
        seen
    };
    let seen = logged("", &[]);
    assert!(
        seen.contains("\u{1b}[32mINFO \u{1b}[0m") && seen.contains("\u{1b}[2maddress=\u{1b}[0m"),
        "{seen:?}"
    );
    assert!(seen.contains("\u{1b}[33mWARN \u{1b}[0m"), "{seen:?}");
    for (redirection, environment) in
        [("", ("NO_COLOR", "1")), ("", ("TERM", "dumb")), ("2>&1 | cat", ("TERM", "xterm"))]
    {
        let seen = logged(redirection, &[environment]);
        assert!(!seen.contains(ESCAPE), "{redirection} {environment:?}: {seen:?}");
        // they are lines for a person all the same
        assert!(seen.contains("INFO  listening"), "{seen:?}");
    }
    assert!(logged("2>&1 | cat", &[("CLICOLOR_FORCE", "1")]).contains(ESCAPE));
}
