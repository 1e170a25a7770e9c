//! docs/configuration.md, which is made of the schema: every setting, what it may be, what it means.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use serde_json::Map;
use serde_json::Value;

const OPENING: &str = "# Configuration reference

Every key of the configuration file, made from [its schema](../config/schema.json), which editors understand:
`# yaml-language-server: $schema=PATH` as a first line gives completion there. [config/reference.yaml](../config/reference.yaml) has the
same as one file with comments. A name is any of yours: lower-case letters, digits and `_`.
";

/// What is written while the page is made: sections that were named and are still to come.
struct Page<'s> {
    definitions: &'s Map<String, Value>,
    known: BTreeSet<&'s str>,
    coming: VecDeque<&'s str>,
    text: String,
}

impl<'s> Page<'s> {
    fn of(schema: &'s Value) -> String {
        let definitions = schema["$defs"].as_object().unwrap();
        let mut page =
            Self { definitions, known: BTreeSet::new(), coming: VecDeque::new(), text: OPENING.to_owned() };
        page.section("The file", schema);
        while let Some(name) = page.coming.pop_front() {
            page.section(&title(name), &definitions[name]);
        }
        page.text
    }

    fn section(&mut self, title: &str, definition: &'s Value) {
        write!(self.text, "\n## {title}\n\n{}\n", sentence(definition)).unwrap();
        let shapes = shapes(definition);
        let others: Vec<String> = shapes
            .iter()
            .filter(|shape| shape["properties"].is_null())
            .map(|shape| self.kind(shape))
            .filter(|kind| !kind.is_empty())
            .collect();
        let tables: Vec<&'s Value> =
            shapes.into_iter().filter(|shape| !shape["properties"].is_null()).collect();
        if !others.is_empty() {
            let also = if tables.is_empty() { "It is" } else { "Instead of the keys below it may be" };
            write!(self.text, "\n{also} {}.\n", others.join(" or ")).unwrap();
        }
        for table in tables {
            self.text.push_str("\n| Key | Is | Means |\n|---|---|---|\n");
            for (key, setting) in table["properties"].as_object().unwrap() {
                let row = format!("| `{key}` | {} | {} |\n", self.kind(setting), sentence(setting));
                self.text.push_str(&row);
            }
        }
    }

    /// What a setting may be.
    fn kind(&mut self, setting: &'s Value) -> String {
        if let Some(reference) = setting["$ref"].as_str() {
            return self.named(reference.rsplit('/').next().unwrap());
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(choices) = setting[choice].as_array() {
                let kinds: Vec<String> = choices.iter().map(|choice| self.kind(choice)).collect();
                let kinds: Vec<String> = kinds.into_iter().filter(|kind| !kind.is_empty()).collect();
                return kinds.join(" or ");
            }
        }
        if let Some(word) = setting.get("const") {
            return format!("`{}`", word.as_str().map_or_else(|| word.to_string(), str::to_owned));
        }
        if let Some(words) = setting["enum"].as_array() {
            let words = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`"));
            return words.collect::<Vec<_>>().join(" or ");
        }
        let kinds = match &setting["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => Vec::from_iter(kind.as_str()),
        };
        let kinds = kinds.into_iter().filter(|kind| *kind != "null").map(|kind| match kind {
            "string" => "text".to_owned(),
            "integer" | "number" => "a number".to_owned(),
            "boolean" => "`true` or `false`".to_owned(),
            "array" => format!("a list of {}", self.kind(&setting["items"])),
            "object" => match setting["additionalProperties"].is_object() {
                true => format!("by name, {}", self.kind(&setting["additionalProperties"])),
                false => String::new(),
            },
            other => panic!("{other} has no words"),
        });
        kinds.collect::<Vec<_>>().join(" or ")
    }

    /// A definition: one that has keys gets a section, another is said in place.
    fn named(&mut self, name: &str) -> String {
        let (name, definition) = self.definitions.get_key_value(name).unwrap();
        if !shapes(definition).iter().any(|shape| !shape["properties"].is_null()) {
            return self.kind(definition);
        }
        if self.known.insert(name) {
            self.coming.push_back(name);
        }
        format!("[{}](#{})", title(name), title(name).to_lowercase().replace(' ', "-"))
    }
}

/// A definition's own shape, or each of those that it lets choose from.
fn shapes(definition: &Value) -> Vec<&Value> {
    let has_keys = definition["properties"].is_object();
    let choices = ["anyOf", "oneOf"].iter().find_map(|choice| definition[choice].as_array());
    // beside keys, they only say which of them go together
    choices.filter(|_| !has_keys).map_or_else(|| vec![definition], |choices| choices.iter().collect())
}

/// `ListenerTls` is `Listener tls`.
fn title(name: &str) -> String {
    let mut title = String::new();
    for (at, letter) in name.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            title.push(' ');
            title.push(letter.to_ascii_lowercase());
        } else {
            title.push(letter);
        }
    }
    title
}

fn sentence(of: &Value) -> String {
    of["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}

#[test]
fn the_configuration_reference_is_made_of_the_schema() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let schema: Value = serde_json::from_str(&obo_proxy::config::schema().to_string()).unwrap();
    let page = Page::of(&schema);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = written.lines().zip(page.lines()).find(|(written, made)| written != made);
    assert!(written == page, "first at {differs:?}; if that is meant: UPDATE_DOCS=1");
    // keys that stand deep in it
    for key in ["`send_x5c`", "`negative_ttl`", "`proxy_protocol`", "`sample_ratio`", "`strip_prefix`"] {
        assert!(page.contains(key), "{key}");
    }
}
