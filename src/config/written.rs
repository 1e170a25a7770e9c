//! A configuration as it is in use: what files and environment say together, where each value was written, and what holds
//! where nothing was.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::mask;
use crate::config::node::Kind;
use crate::config::node::Node;
use crate::config::node::Path;
use crate::config::node::Place;
use crate::config::node::Segment;
use crate::config::source::Source;
use crate::domain::printable;

/// Where a value was written that nobody wrote: it is a default, or follows from settings elsewhere.
const UNWRITTEN: &str = "in effect";

/// The merged settings. Secrets are masked: they are not in it.
#[derive(Clone, Debug)]
pub struct Written(Setting);

/// One setting, and those below it.
#[derive(Clone, Debug)]
struct Setting {
    /// `file:line`, or an environment variable.
    from: String,
    /// Its place among its siblings: file, line, column; the environment comes last, defaults after it.
    order: (usize, usize, usize),
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Nil,
    Scalar(String),
    List(Vec<Setting>),
    Map(BTreeMap<String, Setting>),
}

impl Written {
    /// What `root` says, of which `sources` were the files.
    pub(super) fn of(root: &Node, sources: &[Source]) -> Self {
        Self(setting(&Path::default(), root, sources))
    }

    /// The same, with `value` at `keys` if nothing was written there or above.
    pub(super) fn or(self, keys: &[&str], value: String) -> Self {
        self.or_content(keys, Content::Scalar(value))
    }

    /// The same for a list.
    pub(super) fn or_list(self, keys: &[&str], values: &[String]) -> Self {
        let item = |value: &String| Setting::unwritten(Content::Scalar(value.clone()));
        self.or_content(keys, Content::List(values.iter().map(item).collect()))
    }

    fn or_content(mut self, keys: &[&str], content: Content) -> Self {
        let mut at = &mut self.0;
        for key in keys {
            if let Content::Nil = at.content {
                at.content = Content::Map(BTreeMap::new());
            }
            // a short form that was written says it all
            let Content::Map(map) = &mut at.content else { return self };
            at = map.entry((*key).to_owned()).or_insert_with(|| Setting::unwritten(Content::Nil));
        }
        if at.from == UNWRITTEN {
            at.content = content;
        }
        self
    }

    /// The upstream that the route of that name names, if it names one of those that are configured.
    pub(super) fn upstream_of(&self, route: &str) -> Option<String> {
        let named = |keys: &[&str]| match &self.0.find(keys)?.content {
            Content::Scalar(text) => Some(text.clone()),
            Content::Nil | Content::List(_) | Content::Map(_) => None,
        };
        let name = named(&["routes", route, "upstream"]).or_else(|| named(&["defaults", "upstream"]))?;
        self.0.find(&["upstreams", &name]).is_some().then_some(name)
    }

    /// As a file, with the place of each value behind it.
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        if let Content::Map(map) = &self.0.content {
            write_map(&mut out, map, 0);
        }
        out
    }

    /// The values alone, for a machine. Every scalar is a text, as written.
    pub fn values(&self) -> Value {
        self.0.to_json("", &mut serde_json::Map::new())
    }

    /// For a machine: `values`, and `origins` by the dotted path of each value.
    pub fn to_json(&self) -> Value {
        let mut origins = serde_json::Map::new();
        let values = self.0.to_json("", &mut origins);
        serde_json::json!({ "values": values, "origins": origins })
    }
}

impl Setting {
    fn unwritten(content: Content) -> Self {
        Self { from: UNWRITTEN.into(), order: (usize::MAX, 1, 0), content }
    }

    fn find(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |setting, key| match &setting.content {
            Content::Map(map) => map.get(*key),
            Content::Nil | Content::Scalar(_) | Content::List(_) => None,
        })
    }

    fn to_json(&self, path: &str, origins: &mut serde_json::Map<String, Value>) -> Value {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match &self.content {
            Content::Map(map) if !map.is_empty() => {
                let member =
                    |(key, setting): (&String, &Self)| (key.clone(), setting.to_json(&below(key), origins));
                return Value::Object(map.iter().map(member).collect());
            }
            _ => {
                origins.insert(path.to_owned(), self.from.clone().into());
            }
        }
        match &self.content {
            Content::Nil => Value::Null,
            Content::Scalar(text) => text.clone().into(),
            Content::Map(_) => Value::Object(serde_json::Map::new()),
            Content::List(items) => {
                let items = items.iter().enumerate();
                items.map(|(at, item)| item.to_json(&format!("{path}[{at}]"), origins)).collect()
            }
        }
    }

    /// Its value in one line, if it has one.
    fn in_line(&self) -> Option<String> {
        match &self.content {
            Content::Nil => Some("~".into()),
            Content::Scalar(text) => Some(scalar(text)),
            Content::Map(map) => map.is_empty().then(|| "{}".into()),
            Content::List(items) => {
                let plain = |item: &Self| match &item.content {
                    Content::Scalar(text) => Some(scalar(text)),
                    Content::Nil | Content::List(_) | Content::Map(_) => None,
                };
                let items: Option<Vec<String>> = items.iter().map(plain).collect();
                items.map(|items| format!("[{}]", items.join(", ")))
            }
        }
    }
}

fn setting(path: &Path, node: &Node, sources: &[Source]) -> Setting {
    let content = match &node.kind {
        Kind::Nil => Content::Nil,
        Kind::Scalar(text) => Content::Scalar(shown(path, text)),
        Kind::List(items) => {
            let item = |(at, item): (usize, &Node)| setting(&path.and(Segment::Item(at)), item, sources);
            Content::List(items.iter().enumerate().map(item).collect())
        }
        Kind::Map(map) => {
            let member = |(key, below): (&std::sync::Arc<str>, &Node)| {
                // every key of a configuration that holds is known, or a name that an operator gave
                let name = mask::shown_key(&Path::default().key(key));
                (name, setting(&path.key(key), below, sources))
            };
            Content::Map(map.iter().map(member).collect())
        }
    };
    let (from, order) = match node.place() {
        Place::Environment(variable) => (printable::line(variable), (usize::MAX, 0, 0)),
        Place::File { file, span } => {
            let name = sources.get(*file).map(|source| source.name.clone()).unwrap_or_default();
            match span {
                Some(span) => (format!("{name}:{}", span.line), (*file, span.line, span.column)),
                None => (name, (*file, 0, 0)),
            }
        }
    };
    Setting { from, order, content }
}

/// A value as a terminal may show it, however long it is.
fn shown(path: &Path, text: &str) -> String {
    match mask::is_hidden(path, text) {
        true => mask::MASK.into(),
        false => printable::line(text),
    }
}

fn write_map(out: &mut String, map: &BTreeMap<String, Setting>, depth: usize) {
    let mut members: Vec<(&String, &Setting)> = map.iter().collect();
    members.sort_by_key(|(_, setting)| setting.order);
    for (key, setting) in members {
        out.push_str(&"  ".repeat(depth));
        out.push_str(&scalar(key));
        out.push(':');
        write_value(out, setting, depth);
    }
}

/// What stands behind a key or a dash, and all that is below it.
fn write_value(out: &mut String, setting: &Setting, depth: usize) {
    if let Some(value) = setting.in_line() {
        out.push_str(&format!(" {value}  # {}\n", setting.from));
        return;
    }
    out.push('\n');
    match &setting.content {
        Content::Map(map) => write_map(out, map, depth + 1),
        Content::List(items) => {
            for item in items {
                out.push_str(&"  ".repeat(depth + 1));
                out.push('-');
                write_value(out, item, depth + 1);
            }
        }
        Content::Nil | Content::Scalar(_) => {}
    }
}

/// `text` as a YAML scalar: bare where it can be taken for nothing else.
fn scalar(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./+=".contains(&byte);
    let starts_plain = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    let is_url = |text: &str| {
        let mut parts = text.split(':');
        !text.ends_with(':') && parts.all(|part| part.bytes().all(is_plain))
    };
    if starts_plain && is_url(text) && text != "null" {
        return text.to_owned();
    }
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::config::load_text;

    #[test]
    fn what_was_written_is_shown_and_no_secret() {
        let text = "
identity_providers:
  contoso:
    entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }
    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
    credential: [{ secret: { value: hunter2 } }, { secret: { file: /run/s } }]
    parameters: { x: hunter3 }
routes:
  orders:
    match: { path: /, headers: { x-channel: hunter4 } }
    upstream: http://127.0.0.1:8000
    exchange: { scopes: [a, b] }
    headers: { set: { x-anything: hunter5 }, remove: [cookie] }
admin: { token: { value: hunter6 } }
cache:
";
        let loaded = load_text("config.yaml", text, &[("OBO__WORKERS".into(), "2".into())]);
        let config = loaded.unwrap_or_else(|report| panic!("{report}")).config;
        assert_eq!(
            config.written.values(),
            json!({
                "workers": "2",
                "identity_providers": { "contoso": {
                    "entra": { "tenant": "8eaef023-2b34-4da1-9baa-8bc8c9d6a490" },
                    "client_id": "6731de76-14a6-49ae-97bc-6eba6914391e",
                    "credential": [{ "secret": { "value": "***" } }, { "secret": { "file": "/run/s" } }],
                    "parameters": { "x": "***" },
                } },
                "routes": { "orders": {
                    "match": { "path": "/", "headers": { "x-channel": "***" } },
                    "upstream": "http://127.0.0.1:8000",
                    "exchange": { "scopes": ["a", "b"] },
                    "headers": { "set": { "x-anything": "***" }, "remove": ["cookie"] },
                } },
                "admin": { "token": { "value": "***" } },
                "cache": null,
            })
        );
        assert!(!format!("{:?}", config.written).contains("hunter"));
    }
}
