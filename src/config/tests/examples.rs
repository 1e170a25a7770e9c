//! The example files and the schema: they load, and they hold the same keys.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::config::Look;
use crate::config::layers::Input;
use crate::config::layers::Layers;
use crate::config::load;
use crate::config::load_text;
use crate::config::node::Kind;
use crate::config::node::Node;
use crate::config::schema;
use crate::config::tests::FINE;
use crate::config::tests::env;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

/// The warnings about the example `name`, but for those of files that this machine does not have.
fn warnings(name: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let loaded = load(&[example(name)], &env(environment).into(), Look::At).unwrap();
    let told = loaded.warnings.into_iter().filter(|warning| !warning.message.starts_with("the file cannot"));
    told.map(|warning| warning.message).collect()
}

#[test]
fn the_shortest_example_loads_and_warns_of_nothing() {
    assert_eq!(warnings("minimal.yaml", &[]), [""; 0]);
}

#[test]
fn the_reference_loads_and_warns_of_nothing_but_its_literal_secret() {
    let warnings =
        warnings("reference.yaml", &[("PARTNERS_SECRET", "x"), ("AZURE_FEDERATED_TOKEN_FILE", "/token")]);
    assert_eq!(warnings, ["a secret stands in the configuration itself: whoever can read that has it"]);
}

#[test]
fn every_example_loads_and_warns_of_nothing() {
    const SECRETS: [&str; 6] = ["AUTH0", "ENTRA", "KEYCLOAK", "OKTA", "PING", "ZITADEL"];
    let names = SECRETS.map(|name| format!("{name}_SECRET"));
    let environment = names.each_ref().map(|name| (name.as_str(), "x"));
    let files: Vec<PathBuf> =
        std::fs::read_dir(example("examples")).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() > 10);
    for file in files {
        assert_eq!(warnings(file.to_str().unwrap(), &environment), [""; 0], "{file:?}");
    }
}

#[test]
fn the_schema_file_is_fresh() {
    let text = std::fs::read_to_string(example("schema.json")).unwrap_or_default();
    let written: Value = serde_json::from_str(&text).unwrap_or_default();
    assert_eq!(written, schema(), "run: cargo run -- schema > config/schema.json");
}

#[test]
fn the_schema_knows_what_a_name_may_be() {
    let schema = schema();
    for names in ["listeners", "identity_providers", "upstreams", "routes"] {
        assert_eq!(schema["properties"][names]["propertyNames"]["pattern"], "^[a-z][a-z0-9_]*$", "{names}");
    }
}

#[test]
fn the_reference_holds_exactly_the_keys_of_the_schema() {
    let text = with_alternatives(&std::fs::read_to_string(example("reference.yaml")).unwrap());
    let root = Layers::merge(&[Input { name: "reference.yaml".into(), text }], &[]).unwrap().root;
    let schema = schema();
    let mut walk = Walk { schema: &schema, all: BTreeSet::new(), written: BTreeSet::new() };
    walk.collect(&schema, "", 0);
    walk.visit(&root, &schema, "");
    // what may stand in `defaults` stands in the routes of the reference already; where a secret may be, in a credential
    let is_place = |key: &str| key.ends_with(".env") || key.ends_with(".value");
    let once = |key: &&String| match key.split_once('.') {
        Some(("defaults", _)) => false,
        Some(("admin", below)) => !is_place(below),
        Some(("cache", below)) => !(below.starts_with("redis.") && is_place(below)),
        _ => true,
    };
    let all: Vec<_> = walk.all.iter().filter(once).collect();
    let written: Vec<_> = walk.written.iter().filter(once).collect();
    assert_eq!(written, all);
    let routes: BTreeSet<_> = walk.all.iter().filter_map(|key| key.strip_prefix("routes.*.")).collect();
    let defaults: BTreeSet<_> = walk.all.iter().filter_map(|key| key.strip_prefix("defaults.")).collect();
    let expected: BTreeSet<_> = routes.into_iter().filter(|key| !key.starts_with("match")).collect();
    assert_eq!(defaults, expected, "any route setting but match may stand in defaults");
}

/// The reference with the settings that exclude others: those behind a `#` without a space.
fn with_alternatives(text: &str) -> String {
    let line = |line: &str| match line.split_once('#') {
        Some((indent, rest)) if indent.trim().is_empty() && rest.starts_with(char::is_alphabetic) => {
            format!("{indent}{rest}\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn each_alternative_of_the_reference_loads_alone() {
    let text = std::fs::read_to_string(example("reference.yaml")).unwrap();
    let url = "    url: rediss://redis:6380/0\n";
    assert!(text.contains(url));
    let whole = with_alternatives(&text);
    let cluster = whole.lines().find(|line| line.starts_with("    cluster: ")).unwrap();
    let start = whole.find("    sentinel:\n").unwrap();
    let sentinel = &whole[start..start + whole[start..].find("    # The ACL user").unwrap()];
    for alternative in [cluster, sentinel] {
        let text = text.replace(url, &format!("{alternative}\n"));
        let environment = env(&[("PARTNERS_SECRET", "x"), ("AZURE_FEDERATED_TOKEN_FILE", "/token")]);
        let loaded =
            load_text("reference.yaml", &text, &environment).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(loaded.warnings.len(), 1, "{alternative}");
    }
}

#[test]
fn what_the_page_on_the_shared_cache_shows_loads_and_warns_of_nothing() {
    let page = std::fs::read_to_string(example("../docs/shared-cache.md")).unwrap();
    let shown: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(shown.len() > 1);
    for text in shown {
        let loaded = load_text("shared-cache.md", &format!("{FINE}{text}"), &[]);
        let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
        assert!(loaded.warnings.is_empty() && loaded.config.cache.redis.is_some(), "{text}");
    }
}

#[test]
fn what_the_page_on_listeners_shows_loads_and_warns_of_nothing() {
    let page = std::fs::read_to_string(example("../docs/listeners.md")).unwrap();
    let shown: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(shown.len() > 3);
    let (providers, routes) = FINE.split_at(FINE.find("routes:").unwrap());
    for text in shown {
        let routes = if text.contains("routes:") { "" } else { routes };
        let loaded = load_text("listeners.md", &format!("{providers}{routes}{text}"), &[]);
        let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
        assert!(loaded.warnings.is_empty(), "{text}\n{:?}", loaded.warnings);
    }
}

/// Walks a schema, and a file along it. Names that an operator chooses are `*`.
struct Walk<'a> {
    schema: &'a Value,
    all: BTreeSet<String>,
    written: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    /// All alternatives of a schema, references followed.
    fn alternatives(&self, schema: &'a Value) -> Vec<&'a Value> {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.schema.pointer(reference.trim_start_matches('#')).unwrap();
            return self.alternatives(target);
        }
        let mut all = vec![schema];
        for word in ["anyOf", "oneOf"] {
            for one in schema[word].as_array().into_iter().flatten() {
                all.extend(self.alternatives(one));
            }
        }
        all
    }

    fn collect(&mut self, schema: &'a Value, path: &str, depth: usize) {
        assert!(depth < 20);
        for schema in self.alternatives(schema) {
            for (key, below) in schema["properties"].as_object().into_iter().flatten() {
                assert!(schema["additionalProperties"] == false, "{path} takes unknown keys");
                let path = format!("{path}.{key}").trim_start_matches('.').to_owned();
                self.all.insert(path.clone());
                self.collect(below, &path, depth + 1);
            }
            if schema["additionalProperties"].is_object() {
                self.collect(&schema["additionalProperties"], &format!("{path}.*"), depth + 1);
            }
            if schema["items"].is_object() {
                self.collect(&schema["items"], path, depth + 1);
            }
        }
    }

    fn visit(&mut self, node: &Node, schema: &'a Value, path: &str) {
        for schema in self.alternatives(schema) {
            match &node.kind {
                Kind::Map(map) => {
                    for (key, node) in map {
                        if let Some(below) = schema["properties"].get(key.as_ref()) {
                            let path = format!("{path}.{key}").trim_start_matches('.').to_owned();
                            self.written.insert(path.clone());
                            self.visit(node, below, &path);
                        } else if schema["additionalProperties"].is_object() {
                            self.visit(node, &schema["additionalProperties"], &format!("{path}.*"));
                        }
                    }
                }
                Kind::List(items) if schema["items"].is_object() => {
                    items.iter().for_each(|item| self.visit(item, &schema["items"], path));
                }
                _ => {}
            }
        }
    }
}
