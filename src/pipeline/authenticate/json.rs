//! Strict JSON (RFC 8259, as RFC 8725 wants it): what two parsers could read in two ways is no JSON here. Pure.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::Error as _;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::Map;
use serde_json::Number;
use serde_json::Value;

/// The JSON object that `bytes` are, nested at most `depth` deep (itself included). `None` for anything else:
/// other bytes after it, a member that comes twice at any level, or two of its own members whose names differ in
/// case only (`tid` and `TID`: which of them a reader sees depends on the reader).
pub fn object(bytes: &[u8], depth: usize) -> Option<Map<String, Value>> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth, names: Names::DifferInMoreThanCase }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

#[derive(Clone, Copy)]
struct Strict {
    /// How many more levels may be opened.
    depth: usize,
    names: Names,
}

#[derive(Clone, Copy, PartialEq)]
enum Names {
    Differ,
    DifferInMoreThanCase,
}

impl Strict {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        Ok(Self { depth, names: Names::Differ })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        let mut folded = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            let twice = object.contains_key(&name)
                || (self.names == Names::DifferInMoreThanCase && !folded.insert(name.to_lowercase()));
            if twice {
                return Err(A::Error::custom("a member comes twice"));
            }
            let value = members.next_value_seed(inner)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_read_as_serde_json_reads_it() {
        let text = r#" {"a": [1, -2, 3.5, "\u00e4", null, true, {"b": {}}], "A b": 18446744073709551615} "#;
        let own = object(text.as_bytes(), 8).unwrap();
        assert_eq!(Value::Object(own), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn what_two_parsers_could_read_in_two_ways_is_refused() {
        for text in [
            "",
            "1",
            "[]",
            "null",
            "\"{}\"",
            "{}x",
            "{} {}",
            "{'a':1}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "{\"a\":1e1000000}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\n\"}",
            "{/**/}",
            "\u{feff}{}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"tid":1,"TID":2}"#,
            r#"{"\u212ai":1,"ki":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
        ] {
            assert_eq!(object(text.as_bytes(), 8), None, "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}", 8), None);
    }

    #[test]
    fn below_the_top_names_may_differ_in_case_only() {
        assert_eq!(
            object(br#"{"a":{"b":1,"B":2}}"#, 8).map(Value::Object),
            Some(json!({"a": {"b": 1, "B": 2}}))
        );
    }

    #[test]
    fn depth_is_bounded() {
        assert!(object(br#"{"a":{"b":[]}}"#, 3).is_some());
        assert!(object(br#"{"a":{"b":[]}}"#, 2).is_none());
        let bomb = format!("{{\"a\":{}", "[".repeat(12_000));
        assert!(object(bomb.as_bytes(), 16).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = object(&bytes, 8);
        }

        #[test]
        fn what_looks_like_json_is_read_as_serde_json_reads_it_or_refused(
            text in r#"\{("[ab]":(1|-0|1e5|"x"|\[\{"[ab]":2\}\]|\{"[aA]":3,"[ab]":4\}),?){0,3}\}"#
        ) {
            if let Some(own) = object(text.as_bytes(), 8) {
                prop_assert_eq!(Value::Object(own), serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
