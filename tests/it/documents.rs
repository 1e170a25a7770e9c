//! What the documents say is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::support::process::Demo;
use crate::support::process::check_the_three_curls;
use crate::support::process::obo_proxy;
use crate::support::process::repository;
use crate::support::process::run;
use crate::support::process::shell;
use crate::support::process::text;

fn readme() -> String {
    fs::read_to_string(repository("README.md")).unwrap()
}

#[test]
fn the_readmes_three_curls_do_what_it_says() {
    let demo = Demo::start();
    let readme = readme();
    let curls: Vec<&str> = readme.lines().filter(|line| line.starts_with("curl -i")).collect();
    let answers: Vec<String> = curls
        .iter()
        .map(|line| {
            line.replace("127.0.0.1:8080", demo.address("proxy"))
                .replace("127.0.0.1:8090", demo.address("idp"))
        })
        .map(|line| shell(&line))
        .collect();
    check_the_three_curls(&answers);
}

#[test]
fn the_readmes_configuration_is_the_minimal_one_and_checks() {
    let readme = readme();
    let start = readme.find("identity_providers:\n").unwrap();
    let shown = &readme[start..start + readme[start..].find("```").unwrap()];
    let minimal = fs::read_to_string(repository("config/minimal.yaml")).unwrap();
    let bare: String = minimal
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(shown, bare);
    assert!(run(&["check", "--config", "config/minimal.yaml"]).status.success());
}

#[test]
fn the_reference_configuration_checks() {
    let mut command = obo_proxy(&["check", "--config", "config/reference.yaml"]);
    let output = command
        .env("PARTNERS_SECRET", "secret")
        .env("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/tokens/azure-identity-token")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stdout));
}

#[test]
fn the_schema_file_is_what_the_command_prints() {
    let printed = text(&run(&["schema"]).stdout);
    let file = fs::read_to_string(repository("config/schema.json")).unwrap();
    assert!(printed == file, "stale: run `cargo run -- schema > config/schema.json`");
}

#[test]
fn the_readme_names_every_reason() {
    let readme = readme();
    for reason in obo_proxy::pipeline::respond::reason::Reason::ALL {
        assert!(
            readme.contains(&format!("`{}`", reason.as_str())),
            "{} is missing in the README",
            reason.as_str()
        );
    }
}

/// What `check` needs to be told where an example takes a secret from the environment.
const SECRETS: [&str; 6] = ["AUTH0", "ENTRA", "KEYCLOAK", "OKTA", "PING", "ZITADEL"];

fn examples() -> Vec<PathBuf> {
    fs::read_dir(repository("config/examples")).unwrap().map(|file| file.unwrap().path()).collect()
}

#[test]
fn every_example_checks() {
    let examples = examples();
    assert!(examples.len() > 10);
    for example in examples {
        let mut command = obo_proxy(&["check", "--config", example.to_str().unwrap()]);
        let secrets = SECRETS.map(|name| (format!("{name}_SECRET"), "x"));
        let output = command.envs(secrets).output().unwrap();
        let said = text(&output.stdout);
        assert!(output.status.success() && said.contains("ok: "), "{}: {said}", example.display());
        // without its secret it is not fine
        let bare = run(&["check", "--config", example.to_str().unwrap()]);
        let needs_secret = fs::read_to_string(&example).unwrap().contains("_SECRET");
        assert_eq!(bare.status.code(), Some(if needs_secret { 78 } else { 0 }), "{}", example.display());
    }
}

#[test]
fn the_page_on_identity_providers_names_every_example() {
    let page = fs::read_to_string(repository("docs/identity-providers.md")).unwrap();
    for example in examples() {
        let link = format!("(../config/examples/{})", example.file_name().unwrap().to_str().unwrap());
        assert!(page.contains(&link), "{link} is missing");
    }
}

/// The pages under docs/.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        fs::read_dir(repository("docs")).unwrap().map(|file| file.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    assert!(pages.len() > 15, "{pages:?}");
    pages
}

#[test]
fn the_index_names_every_page_once() {
    let index = fs::read_to_string(repository("docs/README.md")).unwrap();
    for page in pages() {
        let name = page.file_name().unwrap().to_str().unwrap();
        let times = index.matches(&format!("]({name})")).count();
        assert_eq!(times, usize::from(name != "README.md"), "{name}");
    }
}

/// What the webhook of workload identity sets in a pod, and the secret that a page takes from the environment.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
    ("AZURE_CLIENT_ID", "6731de76-14a6-49ae-97bc-6eba6914391e"),
    ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/tokens/azure-identity-token"),
    ("AZURE_TENANT_ID", "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"),
    ("PARTNER_SECRET", "x"),
];

/// How much of a configuration a block of YAML in a page is.
#[derive(Debug, PartialEq, Eq)]
enum Extent {
    /// All of it, as its first line says.
    Whole,
    /// Some sections, to be read beside the shortest configuration there is.
    Sections,
    /// Part of a section, or no configuration of ours.
    Other,
}

fn extent(block: &str) -> Extent {
    const SECTIONS: [&str; 4] = ["cache:", "identity_providers:", "listeners:", "routes:"];
    match block.lines().next() {
        Some("# config.yaml") => Extent::Whole,
        Some(line) if SECTIONS.contains(&line) => Extent::Sections,
        _ => Extent::Other,
    }
}

#[test]
fn every_configuration_in_the_pages_checks() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    let (mut whole, mut sections) = (0, 0);
    for page in pages() {
        let text_of_page = fs::read_to_string(&page).unwrap();
        for block in text_of_page.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let mut command = obo_proxy(&["check"]);
            match extent(block) {
                Extent::Whole => whole += 1,
                Extent::Sections => {
                    command.args(["--config", "config/minimal.yaml"]);
                    command.env("OBO__DEFAULTS__IDENTITY_PROVIDER", "contoso");
                    sections += 1;
                }
                Extent::Other => continue,
            }
            fs::write(&file, block).unwrap();
            let output = command.arg("--config").arg(&file).envs(ENVIRONMENT).output().unwrap();
            let said = text(&output.stdout);
            assert!(output.status.success() && said.contains("ok: "), "{}: {said}", page.display());
        }
    }
    assert!(whole + sections >= 6, "{whole} {sections}");
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let mut links = 0;
    let roots = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(repository);
    for document in roots.into_iter().chain(pages()) {
        let text = fs::read_to_string(&document).unwrap();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("https://")) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            assert!(file.exists(), "{}: {target}", document.display());
            let headings = || headings(&fs::read_to_string(&file).unwrap());
            assert!(heading.is_empty() || headings().contains(heading), "{}: {target}", document.display());
            links += 1;
        }
    }
    assert!(links > 150, "{links}");
}

/// The headings of a page as links name them.
fn headings(page: &str) -> BTreeSet<String> {
    let titles =
        page.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#'));
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    let anchor = |title: &str| title.trim().to_lowercase().chars().filter(kept).collect::<String>();
    titles.map(|title| anchor(title).replace(' ', "-")).collect()
}

#[test]
fn the_page_on_operations_names_every_metric() {
    let page = fs::read_to_string(repository("docs/operations.md")).unwrap();
    for metric in obo_proxy::telemetry::catalogue::ALL {
        let name = if metric.name.starts_with("process_") { "process_*" } else { metric.name };
        assert!(page.contains(&format!("`{name}")), "{name} is missing");
    }
}

#[test]
fn the_page_on_operations_quotes_lines_that_are_written() {
    let page = fs::read_to_string(repository("docs/operations.md")).unwrap();
    let of_the_proxy = sources().into_iter().filter(|file| file.starts_with(repository("src")));
    let sources: String = of_the_proxy.map(|file| fs::read_to_string(file).unwrap()).collect();
    let section = page.split("## What the log says").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut lines = 0;
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let quoted = row.split(" | ").next().unwrap().split('`').skip(1).step_by(2);
        for line in quoted.map(|line| line.trim_matches('…')) {
            assert!(sources.contains(line), "nothing writes: {line}");
            lines += 1;
        }
    }
    assert!(lines > 15, "{lines}");
}

#[test]
fn every_requirement_is_listed_once_with_what_meets_it() {
    let page = fs::read_to_string(repository("docs/requirements.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| S-"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let ids: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let ranges = [1..=16, 20..=31, 40..=47, 50..=61, 70..=75, 80..=81, 90..=99, 110..=117];
    let expected: Vec<String> = ranges.into_iter().flatten().map(|id| format!("S-{id}")).collect();
    assert_eq!(ids, expected);
    let functions = functions();
    for row in rows {
        let [id, statement, place] = row[..] else { panic!("{row:?} has not three columns") };
        assert!(!statement.is_empty(), "{id}");
        let named: Vec<&str> = place.split('`').skip(1).step_by(2).collect();
        let tests = named.iter().filter(|name| name.matches('_').count() >= 3);
        let files = named.iter().filter(|name| name.contains('/') && !name.contains(':'));
        let mut found = 0;
        for test in tests {
            assert!(functions.contains(*test), "{id}: there is no test {test}");
            found += 1;
        }
        for file in files {
            assert!(repository(file).exists(), "{id}: there is no file {file}");
            found += 1;
        }
        let is_not_ours = ["operator", "client", "service"].iter().any(|who| place.starts_with(who));
        assert!(found > 0 || is_not_ours, "{id}: {place}");
    }
}

/// The names of all tests.
fn functions() -> BTreeSet<String> {
    sources().iter().flat_map(|file| tests_in(file)).collect()
}

/// Every file of source.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![repository("src"), repository("tests/it")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The names of the functions of a file that are marked as tests.
fn tests_in(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let mut is_marked = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_marked = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_marked) {
            found.extend(rest.split('(').next().map(String::from));
            is_marked = false;
        }
    }
    found
}
