//! Variables of the environment that were meant as settings and are none: `OBO_` where `OBO__` is meant.

use std::sync::Arc;

use serde_json::Value;

use crate::config::check::Check;
use crate::config::node::Kind;
use crate::config::node::Node;
use crate::config::node::Place;
use crate::config::problem::Severity;
use crate::config::schema::schema;
use crate::domain::printable;

/// What our own variables begin with, and what those begin with that are settings.
const OURS: &str = "OBO_";
const SETTINGS: &str = "OBO__";

/// Those that are no settings, and read elsewhere.
const KNOWN: [&str; 1] = ["OBO_CONFIG"];

/// The protocols of Kubernetes' services.
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Warns of each variable that seems to be ours, and that nobody has read.
pub fn warn(check: &Check<'_>) {
    let is_lost = |(name, value): &&(String, String)| {
        name.starts_with(OURS)
            && !name.starts_with(SETTINGS)
            && !KNOWN.contains(&name.as_str())
            && !check.read.borrow().contains(name)
            && !is_of_a_service(name, value)
    };
    let lost: Vec<&String> = check.environment.texts.iter().filter(is_lost).map(|(name, _)| name).collect();
    if lost.is_empty() {
        return;
    }
    let schema = schema();
    for name in lost {
        let words = name.strip_prefix(OURS).unwrap_or(name).to_ascii_lowercase();
        let words: Vec<&str> = words.split('_').filter(|word| !word.is_empty()).collect();
        let help = match meant(&words, &schema, &schema, Some(&check.tree.root)) {
            Some(path) => format!("did you mean `{SETTINGS}{}`?", path.join("__").to_ascii_uppercase()),
            None => "a variable that sets something is called OBO__SECTION__KEY, with two underscores; leave others out".into(),
        };
        let shown = printable::line(name);
        let place = Place::Environment(Arc::from(shown));
        let message = "this variable sets nothing".into();
        check.problems.borrow_mut().push(check.tree.problem(Severity::Warning, &place, message, Some(help)));
    }
}

/// Whether it tells where a service is that is called `obo` or `obo-proxy`: Kubernetes gives such to every container
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
fn is_of_a_service(name: &str, value: &str) -> bool {
    let is_url = || {
        let scheme = value.split_once("://").map(|(scheme, _)| scheme.to_ascii_uppercase());
        scheme.is_some_and(|scheme| PROTOCOLS.contains(&scheme.as_str()))
    };
    let of_a_port = name.split_once("_PORT_").is_some_and(|(_, rest)| is_port(rest));
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || (name.contains("_SERVICE_PORT_") && is_number(value))
        || (name.ends_with("_PORT") && is_url())
        || of_a_port
}

/// Whether that is what stands behind `_PORT_`: `8080_TCP`, or `8080_TCP_ADDR` and the like.
fn is_port(rest: &str) -> bool {
    let mut parts = rest.split('_');
    let number = parts.next().is_some_and(is_number);
    let protocol = parts.next().is_some_and(|part| PROTOCOLS.contains(&part));
    let what = parts.next().is_none_or(|part| matches!(part, "PROTO" | "PORT" | "ADDR"));
    number && protocol && what && parts.next().is_none()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The path of the setting that `words` spell, which stand where `schema`, part of `whole`, says what may be written. Names
/// that `node` has there come before others.
fn meant(words: &[&str], whole: &Value, schema: &Value, node: Option<&Node>) -> Option<Vec<String>> {
    if words.is_empty() {
        return Some(Vec::new());
    }
    forms(whole, schema).into_iter().find_map(|form| {
        let properties = form.get("properties").and_then(Value::as_object);
        let named =
            properties.into_iter().flatten().find_map(|(key, below)| step(words, key, whole, below, node));
        named.or_else(|| {
            let below = form.get("additionalProperties").filter(|below| below.is_object())?;
            let known = match node.map(|node| &node.kind) {
                Some(Kind::Map(children)) => children.keys().map(ToString::to_string).collect(),
                _ => Vec::new(),
            };
            let any = (1..=words.len()).filter_map(|count| Some(words.get(..count)?.join("_")));
            known.into_iter().chain(any).find_map(|key| step(words, &key, whole, below, node))
        })
    })
}

/// The same, if the words begin with `key`.
fn step(words: &[&str], key: &str, whole: &Value, below: &Value, node: Option<&Node>) -> Option<Vec<String>> {
    let rest = key.split('_').try_fold(words, |words, word| {
        let (first, rest) = words.split_first()?;
        (*first == word).then_some(rest)
    })?;
    let child = match node.map(|node| &node.kind) {
        Some(Kind::Map(children)) => children.get(key),
        _ => None,
    };
    let mut path = vec![key.to_owned()];
    path.extend(meant(rest, whole, below, child)?);
    Some(path)
}

/// The forms that `schema` allows, without references.
fn forms<'s>(whole: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    let mut found = Vec::new();
    let mut open = vec![schema];
    while let Some(one) = open.pop() {
        let target = one.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
        open.extend(target.and_then(|path| whole.pointer(path)));
        for key in ["oneOf", "anyOf"] {
            open.extend(one.get(key).and_then(Value::as_array).into_iter().flatten());
        }
        found.push(one);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_says_of_services_is_known_by_its_form() {
        for (name, value, is_one) in [
            ("OBO_PROXY_SERVICE_HOST", "10.0.0.1", true),
            ("OBO_PROXY_SERVICE_PORT", "8080", true),
            ("OBO_PROXY_SERVICE_PORT_HTTP_METRICS", "9902", true),
            ("OBO_PORT", "tcp://10.0.0.1:80", true),
            ("OBO_PROXY_PORT_8080_TCP", "tcp://10.0.0.1:8080", true),
            ("OBO_PROXY_PORT_8080_TCP_PROTO", "tcp", true),
            ("OBO_PROXY_PORT_8080_TCP_PORT", "8080", true),
            ("OBO_PROXY_PORT_8080_TCP_ADDR", "10.0.0.1", true),
            ("OBO_PROXY_PORT_53_UDP_ADDR", "10.0.0.1", true),
            ("OBO_PORT", "8080", false),
            ("OBO_ROUTES_ORDERS_UPSTREAM", "http://127.0.0.1", false),
            ("OBO_TELEMETRY_ADDRESS", "0.0.0.0:1", false),
        ] {
            assert_eq!(is_of_a_service(name, value), is_one, "{name}={value}");
        }
    }
}
