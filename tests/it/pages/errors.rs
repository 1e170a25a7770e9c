//! The page on errors: every reason and every number of Entra's, as the program has them.

use obo_proxy::pipeline::exchange::aadsts;
use obo_proxy::pipeline::respond::reason::Reason;
use obo_proxy::telemetry::access_log::Fault;

use crate::pages::page::Page;

/// The rows of those tables of the page whose first column is called that.
fn rows(first: &str) -> Vec<Vec<String>> {
    let tables = Page::read("docs/errors.md").tables();
    tables.into_iter().filter(|table| table.header[0] == first).flat_map(|table| table.rows).collect()
}

/// Who is to blame, as the page says it.
fn named(fault: Fault) -> &'static str {
    match fault {
        Fault::Client => "caller",
        Fault::Idp => "identity provider",
        Fault::Upstream => "service",
        Fault::Proxy => "proxy",
    }
}

#[test]
fn the_page_on_errors_has_every_reason_once_with_its_status_fault_and_a_cure() {
    let rows = rows("`reason`");
    for reason in Reason::ALL {
        let word = format!("`{}`", reason.as_str());
        let of_reason: Vec<_> = rows.iter().filter(|row| row[0] == word).collect();
        let [row] = of_reason[..] else { panic!("{word} has {} rows", of_reason.len()) };
        let [_, status, meaning, fault, cure] = &row[..] else { panic!("{row:?}") };
        let expected = reason.row();
        assert_eq!(
            (status.as_str(), fault.as_str()),
            (expected.status.as_str(), named(expected.fault)),
            "{word}"
        );
        assert!(!meaning.is_empty() && !cure.is_empty(), "{word}");
    }
    assert_eq!(rows.len(), Reason::ALL.len());
}

#[test]
fn the_page_on_errors_says_of_every_number_what_the_program_says() {
    let expected: Vec<Vec<String>> = aadsts::MEANINGS
        .iter()
        .map(|meaning| {
            let codes: Vec<String> = meaning.codes.iter().map(u64::to_string).collect();
            vec![codes.join(", "), meaning.says.to_owned(), meaning.cure.to_owned()]
        })
        .collect();
    let rows = rows("Number");
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!(row, expected);
    }
    assert_eq!(rows.len(), expected.len());
}
