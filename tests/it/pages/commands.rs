//! Every line of shell: it is run, or of a kind that cannot be run here and has its words looked at in usage.rs.

use obo_proxy::pipeline::respond::reason::Reason;

use crate::pages::answers;
use crate::pages::configurations::whole_configuration;
use crate::pages::page::Block;
use crate::pages::page::Page;
use crate::pages::page::pages;
use crate::pages::playground::Outcome;
use crate::pages::playground::Playground;
use crate::pages::playground::minimal;
use crate::pages::shell::Statement;
use crate::pages::shell::statements;
use crate::support::process::Demo;

/// What is run as it stands.
const RUN: [&str; 11] = [
    "obo-proxy",
    "target/release/obo-proxy",
    "curl",
    "openssl",
    "echo",
    "printf",
    "cat",
    "base64",
    "grep",
    "rm",
    "test",
];

/// What wants a cluster, a tenant, a container engine, root, or the source and time.
const ELSEWHERE: [&str; 14] = [
    "az",
    "kubectl",
    "helm",
    "docker",
    "podman",
    "sudo",
    "systemctl",
    "journalctl",
    "cargo",
    "bash",
    "cd",
    "cp",
    "jq",
    "mkdir",
];

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// It ends by itself.
    Runs,
    /// It goes on until it is stopped.
    Serves,
    Elsewhere,
}

/// What a statement is; what nobody has thought of is a fault.
fn kind(page: &str, statement: &Statement) -> Kind {
    let programs: Vec<&str> = statement.programs.iter().map(|words| words[0].as_str()).collect();
    if programs.iter().any(|program| ELSEWHERE.contains(program)) {
        return Kind::Elsewhere;
    }
    let stranger = programs.iter().find(|program| !RUN.contains(program));
    assert!(stranger.is_none(), "{page}: is {stranger:?} run, or why not? {}", statement.text);
    let is_served = |words: &Vec<String>| matches!(words.get(1).map(String::as_str), Some("run" | "demo"));
    match statement.programs.iter().any(|words| words[0].ends_with("obo-proxy") && is_served(words)) {
        true => Kind::Serves,
        false => Kind::Runs,
    }
}

/// The lines of shell of a page.
pub fn statements_of(page: &Page) -> Vec<Statement> {
    page.blocks
        .iter()
        .filter(|block| block.language == "sh")
        .flat_map(|block| statements(&block.text))
        .collect()
}

/// Tries the lines of a page in order, and compares what it prints of answers; says what was not so.
fn followed(page: &Page, demo: &Demo) -> (usize, Vec<String>) {
    let runs = |statement: &Statement| kind(&page.name, statement) != Kind::Elsewhere;
    let is_printed = |block: &Block| ["http", "json"].contains(&block.language.as_str());
    if !statements_of(page).iter().any(runs) && !page.blocks.iter().any(is_printed) {
        return (0, Vec::new());
    }
    let place = Playground::new(demo, &whole_configuration(page).unwrap_or_else(minimal));
    let (mut ran, mut faults, mut answers) = (0, Vec::new(), Vec::new());
    for block in &page.blocks {
        let statements = if block.language == "sh" { statements(&block.text) } else { Vec::new() };
        for statement in statements.iter().filter(|statement| runs(statement)) {
            let outcome = match kind(&page.name, statement) {
                Kind::Serves => place.serve(&statement.text),
                _ => place.run(&statement.text),
            };
            if let Err(fault) = as_said(&statement.comment, &outcome) {
                faults
                    .push(format!("{}:{}: {}\n{fault}: {outcome:#?}", page.name, block.line, statement.text));
            }
            answers.push(outcome.stdout);
            ran += 1;
        }
        let is_like: fn(&str, &str) -> bool = match block.language.as_str() {
            "http" => answers::is_like,
            "json" => answers::is_same_shape,
            _ => continue,
        };
        if !answers.iter().any(|answer| is_like(&block.text, answer)) {
            faults.push(format!("{}:{}: no such answer among {answers:#?}", page.name, block.line));
        }
    }
    (ran, faults)
}

/// Whether it came as the comment says: a status, `ok`, or JSON; without any of these, well.
fn as_said(comment: &str, outcome: &Outcome) -> Result<(), String> {
    let words = || comment.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let status = words().find_map(|word| word.parse::<u16>().ok().filter(|code| (100..600).contains(code)));
    let reason = words().find(|word| Reason::ALL.iter().any(|reason| reason.as_str() == *word));
    let (inner, last) = match outcome.statuses.split_last() {
        Some((last, inner)) => (inner, Some(*last)),
        None => (&[][..], None),
    };
    let is_good = |code: &u16| (200..300).contains(code);
    if !outcome.is_success || !inner.iter().all(is_good) {
        return Err(format!("it failed: {}", outcome.stderr));
    }
    let is_expected = |last: u16| status.map_or_else(|| is_good(&last), |status| status == last);
    if last.is_some_and(|last| !is_expected(last)) {
        return Err(format!("not what the comment says: {comment}"));
    }
    if reason
        .is_some_and(|reason| last.is_some() && !outcome.stdout.contains(&format!("\"reason\":\"{reason}\"")))
    {
        return Err(format!("another reason than {comment}"));
    }
    let is_output = comment == "ok" || comment.starts_with('{');
    if is_output && !answers::matches(comment, outcome.stdout.trim()) {
        return Err(format!("it does not print {comment}"));
    }
    Ok(())
}

#[test]
fn what_the_pages_have_people_type_does_what_they_say() {
    let demo = Demo::start();
    let (mut ran, mut faults) = (0, Vec::new());
    for page in pages() {
        let (of_page, wrong) = followed(&page, &demo);
        ran += of_page;
        faults.extend(wrong);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    assert!(ran > 20, "{ran} lines were run");
}
