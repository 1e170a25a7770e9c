//! The JSON Schema of a configuration file, for editors.

use serde_json::Value;

use crate::config::wire::File;

/// The JSON Schema, as generated from the wire types.
pub fn schema() -> Value {
    schemars::schema_for!(File).to_value()
}
