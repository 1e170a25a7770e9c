//! Words and lines that pages quote of the program: it still says them.

use std::collections::BTreeSet;
use std::fs;

use crate::pages::page::Page;
use crate::pages::page::pages;
use crate::support::process::Demo;
use crate::support::process::files_below;
use crate::support::process::obo_proxy;
use crate::support::process::text;

/// All of the program's source.
fn source() -> String {
    files_below("src", "rs").iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn every_name_with_underscores_in_the_pages_is_one_of_the_programs() {
    /// Names that others gave.
    const OTHERS: [&str; 2] = ["acquire_token_on_behalf_of", "container_cpu_cfs_throttled_periods_total"];
    let source = source();
    let known: BTreeSet<&str> =
        source.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').collect();
    let mut faults = BTreeSet::new();
    // the page on requirements names tests, and another test looks for them
    for page in pages().iter().filter(|page| page.name != "docs/requirements.md") {
        // files and variables that the page has people make
        let is_typed = |name: &str| page.blocks.iter().any(|block| block.text.contains(name));
        for code in page.codes() {
            let is_name = code.contains('_')
                && code
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
            if is_name
                && !known.contains(code.as_str())
                && !OTHERS.contains(&code.as_str())
                && !is_typed(&code)
            {
                faults.insert(format!("{}: {code}", page.name));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_sentence_set_as_code_is_written_by_the_program() {
    let source = source();
    let (mut seen, mut faults) = (BTreeSet::new(), BTreeSet::new());
    for page in pages() {
        for code in page.codes() {
            let sentence = code.trim_matches('…').trim();
            let of_words = |letter: char| letter.is_ascii_lowercase() || " ,;'".contains(letter);
            if sentence.split(' ').count() < 3 || !sentence.chars().all(of_words) {
                continue;
            }
            if !source.contains(sentence) {
                faults.insert(format!("{}: {sentence}", page.name));
            }
            seen.insert(sentence.to_owned());
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(seen.len() > 20, "{seen:?}");
}

#[test]
fn every_line_of_the_log_on_the_page_on_operations_is_written() {
    let source = source();
    let page = Page::read("docs/operations.md");
    let tables = page.tables();
    let table = tables.iter().find(|table| table.header[0] == "Line").unwrap();
    for line in table.rows.iter().flat_map(|row| row[0].split('`').skip(1).step_by(2)) {
        assert!(source.contains(line.trim_matches('…')), "nothing writes: {line}");
    }
    assert!(table.rows.len() > 12);
}

#[test]
fn what_is_printed_as_text_is_a_picture_or_what_the_program_prints() {
    let source = source();
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.language == "text") {
            let is_picture = block.text.contains('─');
            let is_report = block.text.starts_with("identity provider ");
            let is_quoted = block.text.lines().all(|line| source.contains(line));
            assert!(is_picture || is_report || is_quoted, "{}:{}: what is it?", page.name, block.line);
        }
    }
}

/// Of a line of the doctor's, how it went and what was looked at; what is seen and to be done is told by words alone.
fn item(line: &str) -> String {
    let is_summary = line.ends_with("checks failed");
    let kept = |word: &&str| !word.contains('.') || word.starts_with('v');
    let words = line.trim().split("  ").next().unwrap_or_default().split(' ').filter(kept);
    let words: Vec<&str> = words.skip_while(|word| is_summary && word.parse::<u8>().is_ok()).collect();
    match words[..] {
        ["seen:", "invalid_client,", ..] => "seen".to_owned(),
        ["of", _, ..] if is_summary => "checks failed".to_owned(),
        _ => words.join(" "),
    }
}

#[test]
fn the_readmes_report_of_the_doctor_is_like_one() {
    let demo = Demo::start();
    let readme = Page::read("README.md");
    let block = readme.blocks.iter().find(|block| block.text.starts_with("identity provider ")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("client_secret");
    fs::write(&secret, "another than the right one").unwrap();
    let output = obo_proxy(&["doctor", "--config", "config/minimal.yaml", "--only", "contoso"])
        .env("OBO__IDENTITY_PROVIDERS__CONTOSO__ENTRA__AUTHORITY", format!("http://{}", demo.address("idp")))
        .env("OBO__IDENTITY_PROVIDERS__CONTOSO__CREDENTIAL__SECRET__FILE", &secret)
        .output()
        .unwrap();
    let report = text(&output.stdout);
    let real: Vec<String> = report.lines().map(item).collect();
    // an address on loopback has no name to look up, and no TLS
    let printed = block.text.lines().map(item).filter(|item| !["✓ dns", "✓ tls"].contains(&item.as_str()));
    assert_eq!(printed.collect::<Vec<_>>(), real, "{report}");
    let failed = block.text.lines().filter(|line| line.contains('✗')).count();
    let looked_at = block.text.lines().filter(|line| line.contains(['✓', '✗'])).count();
    assert!(block.text.ends_with(&format!("{failed} of {looked_at} checks failed\n")));
    let source = source();
    for quoted in ["the client secret has expired", "and put it where the old one was"] {
        assert!(block.text.contains(quoted) && source.contains(quoted), "{quoted}");
    }
}
