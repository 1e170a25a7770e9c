//! Names that the pages use: metrics, reasons, settings, and what is asked of a running proxy.

use std::collections::BTreeSet;

use obo_proxy::pipeline::respond::reason::Reason;
use obo_proxy::telemetry::catalogue;
use obo_proxy::telemetry::catalogue::Metric;
use obo_proxy::telemetry::catalogue::Values;

use crate::pages::page::Page;
use crate::pages::page::pages;
use crate::pages::schema::Schema;
use crate::support::process::Demo;
use crate::support::process::shell;

/// Whether a letter belongs to the name of a metric, a reason or a key.
fn belongs(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

fn reason(word: &str) -> Option<Reason> {
    Reason::ALL.into_iter().find(|reason| reason.as_str() == word)
}

/// The metric of a name, which may be one that a histogram has beside it.
fn metric(name: &str) -> Option<&'static Metric> {
    let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    catalogue::ALL.iter().find(|metric| metric.name == name || Some(metric.name) == bare)
}

/// What stands in the braces behind a name: labels, each with what it is compared with.
fn labels(behind: &str) -> Vec<(&str, &str)> {
    let Some(inside) = behind.strip_prefix('{').and_then(|rest| rest.split('}').next()) else {
        return Vec::new();
    };
    let labels = inside.split(',').filter(|label| *label != "…");
    labels.map(|label| label.split_once('=').unwrap_or((label, ""))).collect()
}

/// Whether a label of the metric may be that.
fn may_be(metric: &Metric, label: &str, value: &str) -> bool {
    let Some((_, values)) = metric.labels.iter().find(|(name, _)| *name == label) else { return false };
    let wanted = value.trim_start_matches('~').trim_matches('"').split('|').filter(|word| !word.is_empty());
    wanted.into_iter().all(|word| match values {
        Values::Words(words) => words.contains(&word),
        Values::OkOrReason => word == "ok" || reason(word).is_some(),
        Values::Reason => reason(word).is_some(),
        Values::Names(_) | Values::Method | Values::Status | Values::Other(_) => true,
    })
}

#[test]
fn every_metric_in_the_pages_exists_with_its_labels_and_their_values() {
    let (mut seen, mut faults) = (BTreeSet::new(), Vec::new());
    for page in pages() {
        let text = page.everything();
        let begins = text
            .char_indices()
            .filter(|(at, _)| !text[..*at].ends_with(|letter| belongs(letter) || "./-%".contains(letter)));
        for rest in begins.map(|(at, _)| &text[at..]) {
            let name = rest.split(|letter| !belongs(letter)).next().unwrap();
            let behind = &rest[name.len()..];
            let is_ours = ["obo_", "process_", "http_server_", "http_client_"]
                .iter()
                .any(|begin| name.starts_with(begin));
            // the name of the crate in a filter; a family; an alternative that a shell reads
            if !is_ours || name == "obo_proxy" || behind.starts_with('*') || behind.starts_with('(') {
                continue;
            }
            match metric(name) {
                Some(metric) => faults.extend(
                    labels(behind)
                        .iter()
                        .filter(|(label, value)| !may_be(metric, label, value))
                        .map(|label| format!("{}: {name}: {label:?}", page.name)),
                ),
                None => faults.push(format!("{}: {name}", page.name)),
            }
            seen.insert(name.to_owned());
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen.len() > 15, "{seen:?}");
}

/// The statuses among the words of a text.
fn statuses(text: &str) -> Vec<u16> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| word.len() == 3).filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn the_readme_has_every_reason_with_its_status() {
    let readme = Page::read("README.md");
    let tables = readme.tables();
    let table = tables.iter().find(|table| table.header[0] == "Case").unwrap();
    let mut found = BTreeSet::new();
    for row in &table.rows {
        for word in row[2].split('`').skip(1).step_by(2) {
            let status = reason(word).unwrap_or_else(|| panic!("there is no {word}")).row().status.as_u16();
            assert!(statuses(&row[1]).contains(&status), "{word} is {status}");
            found.insert(word.to_owned());
        }
    }
    assert_eq!(found.len(), Reason::ALL.len(), "{found:?}");
}

#[test]
fn every_reason_that_a_page_names_exists_and_has_that_status() {
    let mut seen = 0;
    for page in pages() {
        // in a table of its own
        for table in page.tables().iter().filter(|table| table.header[0] == "`reason`") {
            for word in table.rows.iter().flat_map(|row| row[0].split('`').skip(1).step_by(2)) {
                assert!(reason(word).is_some(), "{}: there is no {word}", page.name);
                seen += 1;
            }
        }
        // beside a status: 503 `overloaded`, `401 wrong_audience`
        for paragraph in page.prose() {
            let text = paragraph.replace("**", "").replace([',', ':'], "");
            let words: Vec<&str> = text.split(' ').collect();
            for pair in words.windows(2) {
                let [status, word] =
                    [pair[0].trim_start_matches(['(', '`']), pair[1].trim_matches(['`', ')', ';', '.'])];
                let is_status = statuses(status).len() == 1 && status.len() == 3;
                let is_reason = word.contains('_')
                    && word.chars().all(belongs)
                    && (pair[1].starts_with('`') || pair[0].starts_with('`'));
                if is_status && is_reason {
                    let found = reason(word).map(|reason| reason.row().status.as_str().to_owned());
                    assert_eq!(found.as_deref(), Some(status), "{}: {status} {word}", page.name);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn every_path_of_the_telemetry_and_admin_addresses_exists() {
    let demo = Demo::start();
    let (mut seen, mut faults) = (BTreeSet::new(), Vec::new());
    for page in pages() {
        let text = page.everything();
        for (at, _) in text.match_indices('/') {
            let rest = &text[at..];
            let path = rest.split(|letter: char| !belongs(letter) && letter != '/').next().unwrap();
            let before = text[..at].chars().next_back().unwrap_or(' ');
            let of = match path {
                "/metrics" => "telemetry",
                // kubelets and load balancers ask for it of whoever they look after
                "/healthz" => continue,
                path if path.ends_with('z') && !path[1..].contains('/') => "telemetry",
                path if path.starts_with("/api/v1/") => "admin",
                _ => continue,
            };
            if before.is_alphabetic() || before == '.' || !seen.insert((of, path.to_owned())) {
                continue;
            }
            let status =
                shell(&format!("curl -s -o /dev/null -w '%{{http_code}}' http://{}{path}", demo.address(of)));
            // 405 is a path that wants POST
            if !["200", "405"].contains(&status.as_str()) {
                faults.push(format!("{}: {path}: {status}", page.name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen.len() > 10, "{seen:?}");
}

#[test]
fn every_setting_that_a_page_names_by_its_path_exists() {
    /// Names of files and hosts end so.
    const ENDS: [&str; 11] = ["com", "conf", "crt", "csr", "json", "key", "md", "pem", "sock", "txt", "yaml"];
    /// Names that others gave to attributes of spans and lines of the log.
    const ATTRIBUTES: [&str; 2] = ["url.path", "error.type"];
    let schema = Schema::new();
    let keys = schema.keys();
    let mut seen = BTreeSet::new();
    for page in pages() {
        for code in page.codes() {
            let name = code.split([':', ' ', '=']).next().unwrap();
            let path: Vec<&str> = name.split('.').collect();
            let is_name = path
                .iter()
                .all(|part| !part.is_empty() && part.chars().all(|letter| belongs(letter) || letter == '*'));
            if !is_name || path.len() < 2 || !keys.contains(path[0]) || ATTRIBUTES.contains(&name) {
                continue;
            }
            let is_file = ENDS.contains(path.last().unwrap());
            assert!(schema.has(&path) || is_file, "{}: there is no {name}", page.name);
            seen.insert(name.to_owned());
        }
    }
    assert!(seen.len() > 25, "{seen:?}");
}

#[test]
fn every_variable_that_overrides_a_setting_names_one() {
    let schema = Schema::new();
    let mut seen = BTreeSet::new();
    for page in pages() {
        let text = page.everything();
        for rest in text.split("OBO__").skip(1) {
            let name = rest.split(|letter| !belongs(letter)).next().unwrap().to_lowercase();
            // `OBO__…`, and the pattern itself
            if name.is_empty() || name == "section__key" {
                continue;
            }
            let path: Vec<&str> = name.split("__").collect();
            assert!(schema.has_from_the_top(&path), "{}: {name}", page.name);
            seen.insert(name);
        }
    }
    assert!(!seen.is_empty());
}
