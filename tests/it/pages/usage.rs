//! How the pages use our commands, wherever they run them, and those of the source: they exist, with their flags.

use std::collections::BTreeSet;
use std::fs;

use yaml_rust2::Yaml;
use yaml_rust2::YamlLoader;

use crate::pages::commands::statements_of;
use crate::pages::page::Page;
use crate::pages::page::pages;
use crate::pages::shell::statements;
use crate::support::process::repository;
use crate::support::process::run;
use crate::support::process::text;

/// The arguments that a line gives to us, through whatever program. Where our name stands for something else there are none.
fn arguments(words: &[String]) -> Option<&[String]> {
    let words = words.strip_prefix(&["exec".to_owned()][..]).unwrap_or(words);
    let is_us = |word: &String| word == "obo-proxy" || word.ends_with("/obo-proxy");
    // the image, with its version
    let is_image = |word: &String| {
        word.rsplit_once("obo-proxy:")
            .is_some_and(|(_, tag)| tag.starts_with(|tag: char| tag.is_ascii_digit()))
    };
    let behind =
        |mark: &dyn Fn(&String) -> bool| words.iter().position(mark).and_then(|at| words.get(at + 1..));
    let has = |word: &str| words.iter().any(|other| other == word);
    let rest = match words.first()?.as_str() {
        "kubectl" => {
            behind(&|word| word == "--")
                .and_then(|rest| rest.split_first().filter(|(first, _)| is_us(first)))?
                .1
        }
        "cargo" if has("run") => behind(&|word| word == "--")?,
        "docker" | "podman" if has("exec") => behind(&is_us)?,
        // the service of the page on compose
        "docker" if has("compose") && has("run") => behind(&|word| word == "gateway")?,
        "docker" | "podman" if has("run") => behind(&is_image)?,
        "sudo" => {
            words.get(words.iter().rposition(is_us)? + 1..).filter(|_| !has("useradd") && !has("install"))?
        }
        _ if is_us(&words[0]) => &words[1..],
        _ => return None,
    };
    (!rest.is_empty()).then_some(rest)
}

/// The arguments that manifests give to our image.
fn arguments_in(yaml: &Yaml, found: &mut Vec<Vec<String>>) {
    let words = |list: &Yaml| -> Vec<String> {
        list.as_vec().into_iter().flatten().filter_map(Yaml::as_str).map(str::to_owned).collect()
    };
    match yaml {
        Yaml::Hash(table) => {
            let is_ours = yaml["image"].as_str().is_some_and(|image| image.contains("/obo-proxy:"));
            let given = ["args", "command"]
                .iter()
                .map(|key| words(&yaml[*key]))
                .filter(|words| is_ours && !words.is_empty());
            found.extend(given.map(|words| [vec!["obo-proxy".to_owned()], words].concat()));
            table.iter().for_each(|(_, value)| arguments_in(value, found));
        }
        Yaml::Array(items) => {
            let words = words(yaml);
            found.extend(words.iter().position(|word| word == "obo-proxy").map(|at| words[at..].to_vec()));
            items.iter().for_each(|item| arguments_in(item, found));
        }
        _ => {}
    }
}

/// Every line of a page that may run us.
fn uses(page: &Page, commands: &BTreeSet<String>) -> Vec<Vec<String>> {
    let mut uses: Vec<Vec<String>> =
        statements_of(page).into_iter().flat_map(|statement| statement.programs).collect();
    for code in page.codes() {
        let words: Vec<String> = code.split(' ').map(str::to_owned).collect();
        if code.contains("obo-proxy") {
            uses.extend(
                statements(&code.replace(['<', '>'], ""))
                    .into_iter()
                    .flat_map(|statement| statement.programs),
            );
        } else if commands.contains(&words[0]) && words.len() > 1 {
            uses.push([vec!["obo-proxy".to_owned()], words].concat());
        }
    }
    for block in &page.blocks {
        match block.language.as_str() {
            "yaml" => {
                let documents = YamlLoader::load_from_str(&block.text).unwrap();
                documents.iter().for_each(|document| arguments_in(document, &mut uses));
            }
            // a unit of systemd
            "ini" => {
                let lines = block.text.lines().filter(|line| line.starts_with("Exec"));
                let commands = lines.filter_map(|line| line.split_once('='));
                uses.extend(commands.map(|(_, line)| line.split_whitespace().map(str::to_owned).collect()));
            }
            _ => {}
        }
    }
    uses
}

/// The names of our commands, as `--help` lists them.
fn commands() -> BTreeSet<String> {
    let help = text(&run(&["--help"]).stdout);
    let section = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    section.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The fault that the command line finds in `words`. Asked for help at the end, it does nothing else.
fn usage_fault(words: &[String]) -> Option<String> {
    let words = words.iter().take_while(|word| *word != "…");
    let mut arguments: Vec<&str> = words.map(String::as_str).collect();
    arguments.push("--help");
    let output = run(&arguments);
    (!output.status.success()).then(|| text(&output.stderr))
}

#[test]
fn every_command_of_ours_in_the_pages_exists_with_its_flags() {
    let commands = commands();
    let (mut seen, mut faults) = (BTreeSet::new(), Vec::new());
    for page in pages() {
        for words in uses(&page, &commands) {
            let Some(arguments) = arguments(&words).filter(|arguments| seen.insert(arguments.to_vec()))
            else {
                continue;
            };
            faults.extend(usage_fault(arguments).map(|fault| format!("{}: {words:?}: {fault}", page.name)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen.len() > 25, "{seen:#?}");
}

#[test]
fn every_flag_named_by_itself_is_one_of_ours_or_of_a_program_that_is_named() {
    /// Those of others, and whose they are.
    const OTHERS: [(&str, &str); 12] = [
        ("--append", "az"),
        ("--interop", "tests/run.sh"),
        ("--deploy", "tests/run.sh"),
        ("--supply-chain", "tests/run.sh"),
        ("--rate", "tests/soak"),
        ("--counted", "tests/soak"),
        ("--public-client-redirect-uris", "az"),
        ("--web-redirect-uris", "az"),
        ("--bench", "cargo"),
        ("--build-arg", "docker"),
        ("--format", "podman"),
        ("--output", "docker"),
    ];
    let mut helps = String::new();
    for command in commands().into_iter().filter(|command| command != "help") {
        helps += &text(&run(&[&command, "--help"]).stdout);
    }
    for command in ["decode", "verify", "exchange"] {
        helps += &text(&run(&["token", command, "--help"]).stdout);
    }
    let ours: BTreeSet<&str> = helps
        .split(|letter: char| letter.is_whitespace() || "[],.=;:`()".contains(letter))
        .filter(|word| word.starts_with("--"))
        .collect();
    for page in pages() {
        for code in page.codes() {
            let Some(flag) = code.split([' ', '=']).next().filter(|word| word.starts_with("--")) else {
                continue;
            };
            let is_known = ours.contains(flag) || OTHERS.iter().any(|(name, _)| *name == flag);
            assert!(is_known, "{}: whose is {flag}?", page.name);
        }
    }
}

#[test]
fn the_readmes_table_of_commands_has_all_of_them() {
    let readme = Page::read("README.md");
    let tables = readme.tables();
    let table = tables.iter().find(|table| table.header[0] == "Command").unwrap();
    let first_cells = table.rows.iter().flat_map(|row| row[0].split('`').skip(1).step_by(2));
    let named: BTreeSet<String> =
        first_cells.filter_map(|code| code.split(' ').next()).map(str::to_owned).collect();
    // `doctor` has a section of its own, `help` explains itself
    let missing: Vec<String> = commands()
        .into_iter()
        .filter(|name| !named.contains(name) && name != "help" && name != "doctor")
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(named.is_subset(&commands()), "{named:?}");
}

#[test]
fn what_cargo_and_our_scripts_are_given_in_the_pages_exists() {
    let manifest = fs::read_to_string(repository("Cargo.toml")).unwrap();
    let main = fs::read_to_string(repository("tests/it/main.rs")).unwrap();
    let script = fs::read_to_string(repository("tests/run.sh")).unwrap();
    for page in pages() {
        for words in statements_of(&page).into_iter().flat_map(|statement| statement.programs) {
            let is = |program: &str| words[0] == program;
            for flag in words.iter().filter(|word| word.starts_with("--") && is("bash")) {
                let named = match flag.split_once('=') {
                    Some((name, _)) => script.contains(&format!("{name}=")),
                    None => script.contains(&format!("{flag})")),
                };
                assert!(named, "{}: {words:?}", page.name);
            }
            for pair in words
                .windows(2)
                .filter(|pair| is("cargo") && ["--test", "--bench"].contains(&pair[0].as_str()))
            {
                assert!(manifest.contains(&format!("name = \"{}\"", pair[1])), "{}: {words:?}", page.name);
            }
            if is("cargo") && words.get(1).is_some_and(|word| word == "nextest") {
                let module = words.last().unwrap();
                assert!(main.contains(&format!("mod {module};")), "{}: {words:?}", page.name);
            }
        }
    }
}
