//! What a route demands of a validated token A. Pure.

use serde_json::Map;
use serde_json::Value;

use crate::config::Demand;
use crate::config::Policy;
use crate::domain::caller;
use crate::domain::caller::Claims;
use crate::domain::scope::Scopes;
use crate::pipeline::authenticate::error::Kind;

/// Checks that `claims` satisfy `policy`.
///
/// # Errors
/// [`Kind::ClientNotAllowed`] first, then [`Kind::InsufficientScope`].
pub fn check(policy: &Policy, claims: &Claims) -> Result<(), Kind> {
    client(policy, claims.client.as_deref())?;
    scopes(policy, &claims.scopes)?;
    roles(policy, &claims.roles)?;
    policy.claims.iter().try_for_each(|wanted| claim(wanted, &claims.all))
}

/// Whether a token that was issued to `client` may pass.
///
/// # Errors
/// [`Kind::ClientNotAllowed`].
pub fn client(policy: &Policy, client: Option<&str>) -> Result<(), Kind> {
    let is_admitted = policy.clients.is_empty()
        || client.is_some_and(|client| policy.clients.iter().any(|admitted| admitted == client));
    if is_admitted { Ok(()) } else { Err(Kind::ClientNotAllowed) }
}

/// Whether `own` are the scopes that are demanded.
///
/// # Errors
/// [`Kind::InsufficientScope`].
pub fn scopes(policy: &Policy, own: &Scopes) -> Result<(), Kind> {
    sufficient(holds(&policy.scopes, |scope| own.contains(scope)))
}

/// Whether `own` are the roles that are demanded.
///
/// # Errors
/// [`Kind::InsufficientScope`].
pub fn roles(policy: &Policy, own: &[String]) -> Result<(), Kind> {
    sufficient(holds(&policy.roles, |role| own.iter().any(|own| own == role)))
}

/// Whether the claims that are `members` say what is wanted of one of them.
///
/// # Errors
/// [`Kind::InsufficientScope`].
pub fn claim((name, wanted): &(String, String), members: &Map<String, Value>) -> Result<(), Kind> {
    sufficient(caller::claim(members, name).is_some_and(|value| says(value, wanted)))
}

fn sufficient(is: bool) -> Result<(), Kind> {
    if is { Ok(()) } else { Err(Kind::InsufficientScope) }
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
            "nested": [["x"]],
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
            ("nested", "x", false),
            ("absent", "", false),
        ] {
            let policy = Policy { claims: vec![(name.into(), wanted.into())], ..policy() };
            assert_eq!(check(&policy, &caller).is_ok(), passes, "{name}={wanted}");
        }
    }
}
