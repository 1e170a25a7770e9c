//! Every block of YAML: ours is checked as `check` does it, at the place where it would stand; others' at least are YAML.

use std::fs;

use yaml_rust2::Yaml;
use yaml_rust2::YamlLoader;

use crate::pages::page::Block;
use crate::pages::page::Page;
use crate::pages::page::pages;
use crate::pages::schema::Schema;
use crate::support::process::obo_proxy;
use crate::support::process::repository;
use crate::support::process::text;

/// The first line of a block that is all of a configuration.
const WHOLE: &str = "# config.yaml\n";

/// The first keys of what others read: Kubernetes (and Kustomize), Compose, Helm, Prometheus, the OpenTelemetry collector.
const OTHERS: [&str; 7] =
    ["apiVersion", "services", "image", "resources", "groups", "receivers", "scrape_configs"];

/// What the webhook of workload identity sets in a pod, and the secret that a page takes from the environment.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
    ("AZURE_CLIENT_ID", "6731de76-14a6-49ae-97bc-6eba6914391e"),
    ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/tokens/azure-identity-token"),
    ("AZURE_TENANT_ID", "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"),
    ("PARTNER_SECRET", "x"),
];

/// How much of a configuration a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// All of it, as its first line or its sections say.
    Whole,
    /// Some sections, to be read beside the shortest configuration there is.
    Sections,
    /// Keys of a route, as deep as they stand in a file.
    OfARoute,
    /// No configuration of ours.
    Others,
}

fn extent(page: &Page, block: &Block) -> Extent {
    if block.text.starts_with(WHOLE) {
        return Extent::Whole;
    }
    if block.text.starts_with("    ") {
        return Extent::OfARoute;
    }
    let documents = YamlLoader::load_from_str(&block.text).unwrap();
    let keys: Vec<&str> =
        documents.iter().filter_map(Yaml::as_hash).flatten().filter_map(|(key, _)| key.as_str()).collect();
    let schema = Schema::new();
    if OTHERS.contains(&keys[0]) {
        return Extent::Others;
    }
    assert!(
        keys.iter().all(|key| schema.sections().contains(key)),
        "{}:{}: whose is it?",
        page.name,
        block.line
    );
    match ["identity_providers", "routes"].iter().all(|section| keys.contains(section)) {
        true => Extent::Whole,
        false => Extent::Sections,
    }
}

fn blocks_of_yaml(page: &Page) -> impl Iterator<Item = &Block> {
    page.blocks.iter().filter(|block| block.language == "yaml")
}

/// The one configuration that a page has people write to a file.
pub fn whole_configuration(page: &Page) -> Option<String> {
    let whole = blocks_of_yaml(page).find(|block| block.text.starts_with(WHOLE));
    whole.map(|block| block.text.clone())
}

/// Configurations that are text within other YAML, as in a ConfigMap or the values of a chart.
fn enclosed(yaml: &Yaml, found: &mut Vec<String>) {
    match yaml {
        Yaml::Hash(table) => {
            for (key, value) in table {
                match value.as_str() {
                    Some(text) if key.as_str().is_some_and(|key| key.ends_with("config.yaml")) => {
                        found.push(text.to_owned())
                    }
                    _ => enclosed(value, found),
                }
            }
        }
        Yaml::Array(items) => items.iter().for_each(|item| enclosed(item, found)),
        _ => {}
    }
}

/// What `check` says that is not good.
fn fault(configuration: &str, extent: Extent) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    let mut command = obo_proxy(&["check"]);
    if extent != Extent::Whole {
        command.args(["--config", "config/minimal.yaml"]);
        command.env("OBO__DEFAULTS__IDENTITY_PROVIDER", "contoso");
    }
    let of_a_route = format!("routes:\n  orders:\n{configuration}");
    fs::write(&file, if extent == Extent::OfARoute { &of_a_route } else { configuration }).unwrap();
    let output = command.arg("--config").arg(&file).envs(ENVIRONMENT).output().unwrap();
    let said = text(&output.stdout);
    let is_good = output.status.success() && said.contains("ok: ");
    (!is_good).then(|| format!("{said}{}", text(&output.stderr)))
}

#[test]
fn every_configuration_in_the_pages_checks() {
    let mut faults = Vec::new();
    let mut counts = [0; 4];
    for page in pages() {
        for block in blocks_of_yaml(&page) {
            let extent = extent(&page, block);
            counts[extent as usize] += 1;
            let mut configurations = Vec::new();
            match extent {
                Extent::Others => {
                    let documents = YamlLoader::load_from_str(&block.text).unwrap();
                    documents.iter().for_each(|document| enclosed(document, &mut configurations));
                    configurations.retain(|text| !text.is_empty());
                }
                _ => configurations.push(block.text.clone()),
            }
            let extent = if extent == Extent::Others { Extent::Whole } else { extent };
            let wrong = configurations.iter().filter_map(|configuration| fault(configuration, extent));
            faults.extend(wrong.map(|fault| format!("{}:{}: {fault}", page.name, block.line)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(counts.iter().all(|count| *count >= 1), "{counts:?}");
}

#[test]
fn the_readmes_configuration_is_the_minimal_one() {
    let readme = Page::read("README.md");
    let shown = &blocks_of_yaml(&readme).next().unwrap().text;
    let minimal = fs::read_to_string(repository("config/minimal.yaml")).unwrap();
    let bare: Vec<&str> = minimal.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(shown.lines().collect::<Vec<_>>(), bare);
}

/// Code that is YAML with a key of ours: its path and what stands there.
fn setting(schema: &Schema, code: &str) -> Option<(Vec<String>, Yaml)> {
    let is_of_our_keys = code.split_once(": ").is_some_and(|(key, _)| {
        key.split('.').next().is_some_and(|first| schema.keys().contains(first.trim_start_matches("{ ")))
    });
    let document = YamlLoader::load_from_str(code).ok().filter(|_| is_of_our_keys)?.pop()?;
    let table = document.into_hash()?;
    // several keys are those of one place
    let (path, value) = match table.len() {
        1 => table.into_iter().next()?,
        _ => return Some((Vec::new(), Yaml::Hash(table))),
    };
    Some((path.as_str()?.split('.').map(str::to_owned).collect(), value))
}

#[test]
fn every_setting_written_in_a_sentence_may_be_written_so() {
    /// Words of ours with a colon that are no settings: fields of the log, of Compose and of scripts.
    const NONE: [&str; 3] = ["cache: miss", "credentials: \"omit\"", "user: claim"];
    let schema = Schema::new();
    let (mut seen, mut faults) = (0, Vec::new());
    for page in pages() {
        for code in page.codes().into_iter().filter(|code| !NONE.contains(&code.as_str())) {
            let Some((path, value)) = setting(&schema, &code) else { continue };
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            seen += 1;
            if !schema.takes(&path, &value) {
                faults.push(format!("{}: {code}", page.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 60, "{seen}");
}
