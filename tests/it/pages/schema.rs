//! What may stand where in a configuration, as its schema says.

use std::collections::BTreeSet;

use serde_json::Value;
use yaml_rust2::Yaml;

/// The schema of the configuration.
pub struct Schema(Value);

impl Schema {
    pub fn new() -> Self {
        Self(obo_proxy::config::schema())
    }

    /// The sections of a file.
    pub fn sections(&self) -> BTreeSet<&str> {
        self.0["properties"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// Every key that may stand anywhere.
    pub fn keys(&self) -> BTreeSet<&str> {
        let shapes = self.tables().into_iter().flat_map(|table| self.shapes(table));
        let tables = shapes.filter_map(|shape| shape["properties"].as_object());
        tables.flat_map(|table| table.keys().map(String::as_str)).collect()
    }

    /// Whether keys that stand in one another exist, from the top of the file or of any part of it; `*` is any key.
    pub fn has(&self, path: &[&str]) -> bool {
        self.tables().into_iter().any(|table| !self.under(table, path).is_empty())
    }

    /// Whether they exist from the top.
    pub fn has_from_the_top(&self, path: &[&str]) -> bool {
        !self.under(&self.0, path).is_empty()
    }

    /// Whether a value may stand under a path from somewhere.
    pub fn takes(&self, path: &[&str], value: &Yaml) -> bool {
        let tables = self.tables();
        let found = tables.iter().flat_map(|table| self.under(table, path));
        found.into_iter().any(|shape| self.fits(shape, value))
    }

    fn tables(&self) -> Vec<&Value> {
        self.0["$defs"].as_object().unwrap().values().chain([&self.0]).collect()
    }

    fn under<'s>(&'s self, table: &'s Value, path: &[&str]) -> Vec<&'s Value> {
        let step = |tables: Vec<&'s Value>, key: &&str| {
            tables.into_iter().flat_map(|table| self.child(table, key)).collect::<Vec<_>>()
        };
        path.iter().fold(vec![table], step)
    }

    /// What may stand under a key.
    fn child<'s>(&'s self, table: &'s Value, key: &str) -> Vec<&'s Value> {
        let mut found = Vec::new();
        for shape in self.shapes(table) {
            match &shape["properties"] {
                Value::Object(properties) if key == "*" => found.extend(properties.values()),
                Value::Object(properties) => found.extend(properties.get(key)),
                _ => {}
            }
            if shape["additionalProperties"].is_object() {
                found.push(&shape["additionalProperties"]);
            }
        }
        found
    }

    /// What a definition comes to: itself, or each of what it lets choose from; of a list, its items.
    fn shapes<'s>(&'s self, definition: &'s Value) -> Vec<&'s Value> {
        let mut shapes = vec![definition];
        if let Some(name) = definition["$ref"].as_str() {
            shapes.extend(self.shapes(&self.0["$defs"][name.rsplit('/').next().unwrap()]));
        }
        for choice in ["anyOf", "oneOf", "allOf"] {
            let choices = definition[choice].as_array().into_iter().flatten();
            shapes.extend(choices.flat_map(|choice| self.shapes(choice)));
        }
        if definition["items"].is_object() {
            shapes.extend(self.shapes(&definition["items"]));
        }
        shapes
    }

    /// Whether a value may stand there, as far as its keys and words go.
    fn fits(&self, definition: &Value, value: &Yaml) -> bool {
        let shapes = self.shapes(definition);
        match value {
            Yaml::Hash(table) => table.iter().all(|(key, value)| {
                // what is left out has no value
                let Some(key) = key.as_str().filter(|key| *key != "...") else { return true };
                self.child(definition, key).into_iter().any(|child| self.fits(child, value))
            }),
            Yaml::Array(items) => items.iter().all(|item| self.fits(definition, item)),
            Yaml::String(word) => {
                let is_open = |shape: &&Value| {
                    shape["type"].is_string()
                        && shape["const"].is_null()
                        && shape["enum"].is_null()
                        && shape["oneOf"].is_null()
                        || shape["type"].is_array()
                };
                let is_listed = |shape: &&Value| {
                    shape["const"] == word.as_str()
                        || shape["enum"].as_array().is_some_and(|words| words.contains(&word.as_str().into()))
                };
                word == "..."
                    || shapes
                        .iter()
                        .any(|shape| is_listed(shape) || is_open(shape) && shape["properties"].is_null())
            }
            _ => true,
        }
    }
}
