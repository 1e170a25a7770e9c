//! Where in a configuration a value may stand, as the schema says. Pure.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::Map;
use serde_json::Value;

use crate::config::node::Path;
use crate::config::node::Segment;
use crate::config::schema::schema;

/// The schema, and the names of all settings in it. It does not change while we run.
static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let schema = schema();
    let mut names = BTreeSet::new();
    collect(&schema, &mut names);
    Known { schema, names }
});

struct Known {
    schema: Value,
    names: BTreeSet<String>,
}

/// Whether the schema knows of a value at `path`, alone or in a list.
pub fn takes_value(path: &Path) -> bool {
    leads_to_value(&KNOWN.schema, &path.0)
}

/// Whether a setting is called `word`, wherever that is.
pub fn is_setting(word: &str) -> bool {
    KNOWN.names.contains(word)
}

/// Recurses no deeper than a path is long and the schema offers choices.
fn leads_to_value(schema: &Value, path: &[Segment]) -> bool {
    let inner = |schema: &Value| leads_to_value(schema, path);
    if let Some(named) = schema.get("$ref").and_then(Value::as_str) {
        let pointer = named.trim_start_matches('#');
        return KNOWN.schema.pointer(pointer).is_some_and(inner);
    }
    let choices = ["oneOf", "anyOf"].into_iter().filter_map(|name| schema.get(name)?.as_array()).flatten();
    if choices.into_iter().any(inner) {
        return true;
    }
    let items = schema.get("items");
    match path.split_first() {
        // what belongs in a list, somebody writes without one
        None => is_value(schema) || items.is_some_and(inner),
        Some((Segment::Item(_), below)) => items.is_some_and(|items| leads_to_value(items, below)),
        Some((Segment::Key(key), below)) => {
            let named = schema.get("properties").and_then(|all| all.get(key.as_ref()));
            let schema = named.or_else(|| schema.get("additionalProperties"));
            schema.is_some_and(|schema| leads_to_value(schema, below))
        }
    }
}

/// Whether one text, number or truth value fits, whatever it says.
fn is_value(schema: &Value) -> bool {
    const VALUES: [&str; 4] = ["string", "integer", "number", "boolean"];
    let is_one = |name: &Value| name.as_str().is_some_and(|name| VALUES.contains(&name));
    let is_typed = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(is_one),
        Some(name) => is_one(name),
        None => false,
    };
    is_typed || schema.get("enum").is_some() || schema.get("const").is_some()
}

fn collect(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            let own = members.get("properties").and_then(Value::as_object).map(Map::keys);
            names.extend(own.into_iter().flatten().cloned());
            members.values().for_each(|below| collect(below, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        let segment = |part: &str| match part.parse() {
            Ok(item) => Segment::Item(item),
            Err(_) => Segment::Key(part.into()),
        };
        Path(text.split('.').map(segment).collect())
    }

    #[test]
    fn a_value_stands_where_the_schema_knows_of_one() {
        for known in [
            "version",
            "workers",
            "listeners.default.address",
            "identity_providers.contoso.entra.tenant",
            "identity_providers.contoso.credential.secret.file",
            "identity_providers.contoso.audiences.0",
            "identity_providers.contoso.audiences",
            "routes.orders.match",
            "routes.orders.match.path",
            "routes.orders.match.methods.1",
            "routes.orders.upstream",
            "routes.orders.exchange.scopes.0",
            "routes.orders.headers.set.x-user",
            "upstreams.legacy.url",
            "telemetry.traces.sample_ratio",
        ] {
            assert!(takes_value(&path(known)), "{known}");
        }
        for unknown in [
            "jwt",
            "admin",
            "routes",
            "routes.orders",
            "routes.orders.header.set.x-user",
            "routes.orders.headers.x-user",
            "routes.orders.headers.st.x-user",
            "routes.orders.headers.set.x-user.0",
            "identity_providers.contoso.parameters",
            "identity_providers.contoso.cookie",
            "identity_providers.contoso.entra",
            "version.x",
        ] {
            assert!(!takes_value(&path(unknown)), "{unknown}");
        }
        assert!(!takes_value(&Path::default()));
        assert!(is_setting("sample_ratio") && is_setting("routes") && !is_setting("orders"));
    }
}
