//! What a route demands of a validated token A. Pure.

use serde_json::Value;

use crate::config::Demand;
use crate::config::Policy;
use crate::domain::caller::Claims;
use crate::pipeline::authenticate::error::Kind;

/// Checks that `claims` satisfy `policy`.
///
/// # Errors
/// [`Kind::ClientNotAllowed`] first, then [`Kind::InsufficientScope`].
pub fn check(policy: &Policy, claims: &Claims) -> Result<(), Kind> {
    let client = claims.client.as_ref();
    if !policy.clients.is_empty() && !client.is_some_and(|client| policy.clients.contains(client)) {
        return Err(Kind::ClientNotAllowed);
    }
    let satisfied = holds(&policy.scopes, |scope| claims.scopes.contains(scope))
        && holds(&policy.roles, |role| claims.roles.iter().any(|own| own == role))
        && policy
            .claims
            .iter()
            .all(|(name, wanted)| claims.find(name).is_some_and(|value| says(value, wanted)));
    if satisfied { Ok(()) } else { Err(Kind::InsufficientScope) }
}

fn holds(demand: &Demand, has: impl Fn(&str) -> bool) -> bool {
    match demand {
        Demand::All(words) => words.iter().all(|word| has(word)),
        Demand::Any(words) => words.iter().any(|word| has(word)),
    }
}

/// Whether a claim is the text `wanted`, or a list that holds it. A number or truth value is its JSON text.
fn says(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Number(number) => number.to_string() == wanted,
        Value::Bool(truth) => truth.to_string() == wanted,
        Value::Array(items) => items.iter().any(|item| !item.is_array() && says(item, wanted)),
        Value::Null | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pipeline::authenticate::testing::claims;
    use crate::pipeline::authenticate::testing::policy;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_demand_is_all_or_any_of_its_words() {
        let caller = claims(json!({"scp": "a b", "roles": ["r"]}));
        for (demand, passes) in [
            (Demand::All(words(&[])), true),
            (Demand::All(words(&["a", "b"])), true),
            (Demand::All(words(&["a", "c"])), false),
            (Demand::All(words(&["A"])), false),
            (Demand::Any(words(&["c", "b"])), true),
            (Demand::Any(words(&["c"])), false),
            (Demand::Any(words(&[])), false),
            (Demand::All(words(&["r"])), false),
        ] {
            let policy = Policy { scopes: demand.clone(), ..policy() };
            assert_eq!(check(&policy, &caller).is_ok(), passes, "{demand:?}");
        }
        for (demand, passes) in [(Demand::Any(words(&["q", "r"])), true), (Demand::All(words(&["a"])), false)]
        {
            let policy = Policy { roles: demand.clone(), ..policy() };
            assert_eq!(check(&policy, &caller).is_ok(), passes, "{demand:?}");
        }
    }

    #[test]
    fn the_client_is_checked_first_and_an_absent_one_never_passes() {
        let demanding = |clients: &[&str]| Policy {
            clients: words(clients),
            scopes: Demand::All(words(&["missing"])),
            ..policy()
        };
        let by = |caller: Value, clients: &[&str]| check(&demanding(clients), &claims(caller)).err();
        assert_eq!(by(json!({"azp": "c"}), &["x"]), Some(Kind::ClientNotAllowed));
        assert_eq!(by(json!({"azp": "c"}), &["x", "c"]), Some(Kind::InsufficientScope));
        assert_eq!(by(json!({"azp": null, "appid": "c"}), &["c"]), Some(Kind::InsufficientScope));
        assert_eq!(by(json!({"azp": null}), &["c"]), Some(Kind::ClientNotAllowed));
        assert_eq!(by(json!({"azp": null}), &[]), Some(Kind::InsufficientScope));
    }

    #[test]
    fn a_claim_is_compared_by_its_text() {
        let caller = claims(json!({
            "acr": "1", "azpacr": 1, "flag": true, "amr": ["pwd", "mfa"], "deep": {"er": "x", "none": null},
        }));
        for (name, wanted, passes) in [
            ("acr", "1", true),
            ("acr", "01", false),
            ("azpacr", "1", true),
            ("flag", "true", true),
            ("amr", "mfa", true),
            ("amr", "mf", false),
            ("amr", "pwd mfa", false),
            ("deep.er", "x", true),
            ("deep", "x", false),
            ("deep.none", "null", false),
            ("absent", "", false),
        ] {
            let policy = Policy { claims: vec![(name.into(), wanted.into())], ..policy() };
            assert_eq!(check(&policy, &caller).is_ok(), passes, "{name}={wanted}");
        }
    }
}
