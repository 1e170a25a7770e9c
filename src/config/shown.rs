//! The configuration as it may be shown: files and environment laid over each other, without a secret.

use serde_json::Map;
use serde_json::Value;

use crate::config::mask;
use crate::config::mask::MASK;
use crate::config::node::Kind;
use crate::config::node::Node;
use crate::config::node::Path;
use crate::config::node::Segment;
use crate::domain::printable;

/// What was written, masked. What was left out is not there: its default holds.
#[derive(Clone, Debug, Default)]
pub struct Shown(Value);

impl Shown {
    /// The merged values below `root`.
    pub(super) fn of(root: &Node) -> Self {
        Self(shown(&Path::default(), root))
    }

    /// It as JSON. Every scalar is a text, as written.
    pub fn as_json(&self) -> &Value {
        &self.0
    }
}

fn shown(path: &Path, node: &Node) -> Value {
    match &node.kind {
        Kind::Nil => Value::Null,
        Kind::Scalar(text) if mask::is_hidden(path, text) => MASK.into(),
        Kind::Scalar(text) => printable::line(text).into(),
        Kind::List(items) => {
            let item = |(at, item)| shown(&path.and(Segment::Item(at)), item);
            items.iter().enumerate().map(item).collect()
        }
        Kind::Map(map) => {
            let entry = |(key, below): (&_, &Node)| {
                let path = path.key(key);
                (mask::shown_key(&path), shown(&path, below))
            };
            Value::Object(map.iter().map(|(key, below)| entry((key.as_ref(), below))).collect::<Map<_, _>>())
        }
    }
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
            *config.shown.as_json(),
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
        assert!(!format!("{:?}", config.shown).contains("hunter"));
    }
}
