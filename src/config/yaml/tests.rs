//! Tests of the YAML reader: values as written, and where.

use config::Format;

use crate::config::node::Path;
use crate::config::node::Segment;
use crate::config::yaml::Document;
use crate::config::yaml::Yaml;

fn read(text: &str) -> (config::Map<String, config::Value>, Document) {
    let yaml = Yaml::new("a.yaml");
    let values = yaml.parse(None, text).unwrap();
    (values, yaml.take())
}

fn path(text: &str) -> Path {
    let segment = |part: &str| match part.parse() {
        Ok(item) => Segment::Item(item),
        Err(_) => Segment::Key(part.into()),
    };
    Path(text.split('.').map(segment).collect())
}

#[test]
fn every_scalar_is_the_text_that_was_written_and_only_a_plain_nothing_is_nothing() {
    let (values, document) =
        read("a: 1.10\nb: no\nc: ''\nd:\ne: ~\nf: null\ng: 'null'\nh: 0x1F\ni: |\n  two\n  lines\n");
    assert!(document.complete && document.complaints.is_empty());
    let seen = |key: &str| values[key].to_string();
    assert_eq!(
        (seen("a"), seen("b"), seen("c"), seen("g"), seen("h")),
        ("1.10".into(), "no".into(), String::new(), "null".into(), "0x1F".into())
    );
    assert_eq!(seen("i"), "two\nlines\n");
    for nothing in ["d", "e", "f"] {
        assert_eq!(values[nothing].kind, config::ValueKind::Nil, "{nothing}");
    }
}

#[test]
fn keys_and_values_are_found_where_they_stand() {
    let (_, document) = read("\u{feff}é: { ü: [x, \"y z\"] }\r\nnext:\r\n  deep: value # not this\r\n");
    let at = |text: &str| {
        let spot = document.spots[&path(text)];
        let key = spot.key.map(|key| (key.line, key.column, key.width));
        (key, (spot.value.line, spot.value.column, spot.value.width))
    };
    assert_eq!(at("é"), (Some((1, 1, 1)), (1, 4, 1)));
    assert_eq!(at("é.ü.0"), (None, (1, 10, 1)));
    assert_eq!(at("é.ü.1"), (None, (1, 13, 5)));
    assert_eq!(at("next.deep"), (Some((3, 3, 4)), (3, 9, 5)));
    // no setting is called so
    assert_eq!(document.source.excerpt(document.spots[&path("next.deep")].value).line, "  deep: ***");
}

#[test]
fn an_empty_file_is_an_empty_map() {
    for text in ["", "\n", "# nothing\n", "---\n", "~\n", "---\n...\n"] {
        let (values, document) = read(text);
        assert!(values.is_empty() && document.complete && document.complaints.is_empty(), "{text:?}");
    }
}

#[test]
fn the_first_of_two_equal_keys_is_kept() {
    let (values, document) = read("a: { x: 1 }\na: { x: 2, y: 3 }\n");
    assert_eq!(values["a"].clone().into_table().unwrap()["x"].to_string(), "1");
    assert_eq!(document.spots[&path("a.x")].value.line, 1);
    assert!(!document.spots.contains_key(&path("a.y")));
    assert_eq!(document.complaints.len(), 1);
}

#[test]
fn nesting_ends_at_64_levels() {
    let nested = |depth: usize| format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(63)).1.complete);
    assert!(!read(&nested(64)).1.complete);
}
