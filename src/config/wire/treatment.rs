//! What a route does to its requests beyond sending them on: `headers`, `cors`, `limits`, `retry`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::Schema;
use schemars::SchemaGenerator;
use schemars::json_schema;
use serde::Deserialize;

use crate::config::wire::scalar::DurationText;
use crate::config::wire::scalar::OneOrMany;
use crate::config::wire::scalar::Size;

/// Which header fields of the request the proxy writes or removes.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Headers {
    /// Fields and their values. `{claims.NAME}` stands for a claim of the validated token, where a dot reaches into an
    /// object; `{{` and `}}` stand for braces. What a caller sends under such a name is removed first, in every spelling.
    /// Default: none. A field whose claim is absent is not sent at all.
    pub set: Option<BTreeMap<String, String>>,
    /// Fields that are removed, in every spelling.
    /// Default: none.
    pub remove: Option<OneOrMany>,
}

/// Scripts of which origins may call the route from a browser (CORS).
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins, each a scheme, a host and perhaps a port, as in `https://app.example`; `*` is any.
    /// No default. A browser keeps answers from the scripts of all others.
    pub origins: Option<OneOrMany>,
}

/// What the requests of a route may take.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteLimits {
    /// The longest body of a request; a longer one is answered with 413.
    /// Default: any length.
    pub request_body: Option<Size>,
    /// The most requests on their way to the upstream or back at a time; one more is answered with 503.
    /// Default: any number. Too few refuses callers while the upstream has room.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub concurrency: Option<u64>,
}

/// When a request is sent to the upstream once more. Only requests without a body, or with a small one of known length, can
/// be.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How many times at most, beyond the first.
    /// Default: 1. Each multiplies the load on an upstream that has trouble already.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: Option<u64>,
    /// After what: `connect_error` (nothing was sent), `reset` (the connection ended before the answer), statuses from 500
    /// to 599.
    /// Default: `connect_error`. After the others the upstream may have acted already.
    pub on: Option<Setbacks>,
    /// Requests of which methods.
    /// Default: the idempotent ones: GET, HEAD, OPTIONS, PUT and DELETE.
    pub methods: Option<OneOrMany>,
    /// How long to wait before the first further attempt, give or take; twice as long before each one after it.
    /// Default: 100ms.
    pub backoff: Option<DurationText>,
}

/// What may be worth another attempt: words and statuses.
#[derive(Deserialize)]
pub struct Setbacks(pub OneOrMany);

impl JsonSchema for Setbacks {
    fn schema_name() -> Cow<'static, str> {
        "Setbacks".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = serde_json::json!([
            { "enum": ["connect_error", "reset"] },
            { "type": "string", "pattern": "^5[0-9][0-9]$" },
            { "type": "integer", "minimum": 500, "maximum": 599 },
        ]);
        json_schema!({
            "anyOf": [{ "anyOf": one }, { "type": "array", "items": { "anyOf": one } }],
            "description": "`connect_error`, `reset`, statuses from 500 to 599; one or a list.",
        })
    }
}
