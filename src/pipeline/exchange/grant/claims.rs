//! The `claims` parameter (OpenID Connect Core section 5.5): what we declare, and what a challenge demands. Pure.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// The claims that declare these capabilities of ours; `None` if there are none.
/// <https://learn.microsoft.com/entra/identity-platform/claims-challenge>
pub fn declaring(capabilities: &[String]) -> Option<String> {
    (!capabilities.is_empty())
        .then(|| json!({"access_token": {"xms_cc": {"values": capabilities}}}).to_string())
}

/// Both claims in one: objects are merged member by member, lists are united, and elsewhere `above` wins, but with null,
/// which demands nothing. What is no JSON object does not count; if neither is one, `above` stands as it is.
pub fn merged(below: &str, above: &str) -> String {
    match (object(below), object(above)) {
        (Some(mut merged), Some(above)) => {
            merge(&mut merged, above);
            Value::from(merged).to_string()
        }
        (Some(_), None) => below.to_owned(),
        (None, _) => above.to_owned(),
    }
}

fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (Some(Value::Array(into)), Value::Array(from)) => {
                for item in from {
                    if !into.contains(&item) {
                        into.push(item);
                    }
                }
            }
            (Some(_), Value::Null) => {}
            (_, value) => drop(into.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn both(below: &Value, above: &Value) -> Value {
        serde_json::from_str(&merged(&below.to_string(), &above.to_string())).unwrap()
    }

    #[test]
    fn capabilities_are_declared_as_microsoft_writes_it() {
        assert_eq!(declaring(&[]), None);
        assert_eq!(
            declaring(&["cp1".into()]).as_deref(),
            Some(r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#)
        );
    }

    #[test]
    fn what_a_challenge_demands_is_added_to_what_we_declare() {
        let ours = json!({"access_token": {"xms_cc": {"values": ["cp1"]}}});
        for (challenge, expected) in [
            (json!({}), ours.clone()),
            (
                json!({"access_token": {"nbf": {"essential": true, "value": "1604106651"}}}),
                json!({"access_token": {
                    "xms_cc": {"values": ["cp1"]}, "nbf": {"essential": true, "value": "1604106651"},
                }}),
            ),
            (
                json!({"access_token": {"xms_cc": {"values": ["cp2", "cp1"]}}}),
                json!({"access_token": {"xms_cc": {"values": ["cp1", "cp2"]}}}),
            ),
            (json!({"access_token": {"xms_cc": null}}), ours.clone()),
            (json!({"access_token": null}), ours.clone()),
            (
                json!({"access_token": {"xms_cc": {"values": "cp3"}}}),
                json!({"access_token": {"xms_cc": {"values": "cp3"}}}),
            ),
            (
                json!({"id_token": {"auth_time": {"essential": true}}}),
                json!({"access_token": {"xms_cc": {"values": ["cp1"]}}, "id_token": {"auth_time": {"essential": true}}}),
            ),
        ] {
            assert_eq!(both(&ours, &challenge), expected, "{challenge}");
        }
        let (old, new) = (json!({"a": {"value": 1, "b": true}}), json!({"a": {"value": 2}}));
        assert_eq!(both(&old, &new), json!({"a": {"value": 2, "b": true}}));
    }

    #[test]
    fn what_is_no_object_does_not_spoil_what_is() {
        assert_eq!(merged(r#"{"a":1}"#, "[1]"), r#"{"a":1}"#);
        assert_eq!(merged("nonsense", r#"{"a":1}"#), r#"{"a":1}"#);
        assert_eq!(merged("nonsense", "too"), "too");
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn merging_twice_changes_nothing_more(
            below in proptest::collection::btree_map("[a-c]", json(), 0..4),
            above in proptest::collection::btree_map("[a-c]", json(), 0..4),
        ) {
            let (below, above) = (json!(below), json!(above));
            let once = both(&below, &above);
            prop_assert_eq!(both(&once, &above), once);
        }
    }
}
