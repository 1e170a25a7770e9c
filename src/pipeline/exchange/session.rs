//! Whether an issuer's tokens tell a user's sessions apart. Where they do not, a token B that was exchanged for one session
//! serves the others, unless the cache is told otherwise.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::PoisonError;

use serde_json::Map;
use serde_json::Value;

use crate::domain::caller::Claims;
use crate::domain::name::Name;

/// What of a token differs between a user's sessions: OpenID Connect Core section 2, Front-Channel Logout section 3, Entra's
/// authentication contexts.
const TELLING: [&str; 5] = ["sid", "auth_time", "amr", "acr", "acrs"];

/// The advice on issuers whose tokens name no session: given once for each identity provider.
#[derive(Debug, Default)]
pub struct Advice(Mutex<HashSet<Name>>);

impl Advice {
    /// Logs the advice if these `claims` are the first of their provider that call for it.
    pub fn give(&self, claims: &Claims) {
        if names_session(&claims.all) || !self.is_new(&claims.identity_provider) {
            return;
        }
        tracing::info!(
            identity_provider = %claims.identity_provider,
            issuer = claims.issuer,
            "tokens of this issuer carry none of sid, auth_time, amr, acr and acrs, so that a user's sessions share what is \
             cached; where policies differ by device or place, set cache.key: assertion, or have it add one of them"
        );
    }

    fn is_new(&self, provider: &Name) -> bool {
        // an insertion is whole or not there
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !given.contains(provider) && given.insert(provider.clone())
    }
}

/// Whether the token says something of the session it belongs to.
fn names_session(claims: &Map<String, Value>) -> bool {
    TELLING.iter().any(|name| claims.get(*name).is_some_and(|value| !value.is_null()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_names_its_session_by_any_of_the_five_claims() {
        let of = |claims: Value| names_session(claims.as_object().unwrap());
        for name in TELLING {
            assert!(of(json!({"oid": "alice", name: "x"})), "{name}");
            assert!(!of(json!({"oid": "alice", name: null})), "{name}");
        }
        assert!(!of(json!({"oid": "alice", "scp": "a", "uti": "x", "iat": 1})));
    }

    #[test]
    fn each_provider_is_named_once() {
        let advice = Advice::default();
        let [contoso, partner] = ["contoso", "partner"].map(|name| Name::parse(name).unwrap());
        assert_eq!(
            [&contoso, &partner, &contoso, &partner].map(|name| advice.is_new(name)),
            [true, true, false, false]
        );
    }
}
