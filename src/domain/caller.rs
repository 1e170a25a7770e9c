//! Who is calling: token A after every check, and what the later stages need to know of it.

use std::fmt;
use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;

use crate::domain::clock::UnixTime;
use crate::domain::derived::Derived;
use crate::domain::digest::Digest;
use crate::domain::digest::Hasher;
use crate::domain::name::Name;
use crate::domain::scope::Scopes;
use crate::domain::tenant::TenantId;
use crate::domain::token::UserToken;

/// A caller whose token A was validated. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Token A itself.
    pub token: UserToken,
    /// What it says, validated.
    pub claims: Arc<Claims>,
}

/// The validated claims of a token A, in the form the stages use them.
pub struct Claims {
    /// The identity provider whose key signed it.
    pub identity_provider: Name,
    /// `iss`.
    pub issuer: String,
    /// `tid`, of an Entra token.
    pub tenant: Option<TenantId>,
    /// Who it is for.
    pub user: UserKey,
    /// Who that is among all there are: see [`user_digest`].
    pub user_digest: Digest,
    /// `azp` or `appid`: the client the token was issued to.
    pub client: Option<String>,
    /// Delegated permissions.
    pub scopes: Scopes,
    /// Application roles.
    pub roles: Vec<String>,
    /// Whether a user stands behind the token, or only an application.
    pub principal: Principal,
    /// `exp`.
    pub expires_on: UnixTime,
    /// `nbf`.
    pub not_before: Option<UnixTime>,
    /// SHA-256 of the compact token.
    pub token_digest: Digest,
    /// SHA-256 over every claim that is not volatile: see [`claims_digest`].
    pub claims_digest: Digest,
    /// All claims.
    pub all: Map<String, Value>,
    /// What later stages made of them.
    pub derived: Derived,
}

impl Claims {
    /// The claim `path`: see [`claim`].
    pub fn find(&self, path: &str) -> Option<&Value> {
        claim(&self.all, path)
    }
}

/// The member `path` of `members`, or, if there is none, what lies at the dotted path. The plain name comes first,
/// as some issuers name claims by URL.
pub fn claim<'m>(members: &'m Map<String, Value>, path: &str) -> Option<&'m Value> {
    members.get(path).or_else(|| {
        let mut steps = path.split('.');
        let first = members.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.as_object()?.get(step))
    })
}

/// Hides the claims: they are personal data and belong in no log.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claims({}, ..)", self.identity_provider)
    }
}

/// Whether a user stands behind a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A user, by delegation.
    User,
    /// An application on its own behalf.
    Application,
}

/// The user as the cache key and the keyed log hash see it: `oid:<oid>` for Entra, `iss:<iss>\n<sub>` elsewhere, and
/// `app:<iss>\n<client>` where there is no user.
/// Only unique together with the tenant.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserKey(String);

impl UserKey {
    /// An Entra user by object id.
    pub fn entra(oid: &str) -> Self {
        Self(format!("oid:{}", oid.to_ascii_lowercase()))
    }

    /// A user of any other issuer.
    pub fn subject(issuer: &str, subject: &str) -> Self {
        Self(format!("iss:{issuer}\n{subject}"))
    }

    /// An application that no user stands behind. No user's key is the same, whatever the application is called
    /// (RFC 9700 section 4.15).
    pub fn application(issuer: &str, client: &str) -> Self {
        Self(format!("app:{issuer}\n{client}"))
    }

    /// The key as bytes to hash.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Hides the user: logs name users by keyed hash only.
impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserKey(..)")
    }
}

/// What stands for a user wherever one is told from another: SHA-256 of the tenant, a zero byte, and the user's key.
pub fn user_digest(tenant: Option<&TenantId>, user: &UserKey) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(tenant.map_or("", TenantId::as_str).as_bytes());
    hasher.update(b"\0");
    hasher.update(user.as_bytes());
    hasher.finish()
}

/// The claims that differ between two tokens of one session.
const VOLATILE: [&str; 14] = [
    "iat", "nbf", "exp", "uti", "jti", "aio", "rh", "nonce", "at_hash", "c_hash", "s_hash", "e_exp",
    "pwd_exp", "xms_ftd",
];

/// SHA-256 over the canonical JSON (members sorted, no white space: RFC 8785) of every claim that is not volatile:
/// two tokens share it only when client, scopes, roles, authentication strength, session and all the rest agree.
pub fn claims_digest(claims: &Map<String, Value>) -> Digest {
    let mut lasting: Vec<(&String, &Value)> =
        claims.iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str())).collect();
    lasting.sort_by_key(|(name, _)| *name);
    let mut canonical = String::from("{");
    for (at, (name, value)) in lasting.into_iter().enumerate() {
        if at > 0 {
            canonical.push(',');
        }
        write_canonical_member(&mut canonical, name, value);
    }
    canonical.push('}');
    Digest::of(canonical.as_bytes())
}

fn write_canonical_member(out: &mut String, name: &str, value: &Value) {
    out.push_str(&Value::from(name).to_string());
    out.push(':');
    write_canonical(out, value);
}

fn write_canonical(out: &mut String, value: &Value) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_canonical_member(out, name, value);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_canonical(out, item);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;

    fn digest(value: Value) -> Digest {
        claims_digest(value.as_object().unwrap())
    }

    #[test]
    fn users_differ_by_tenant_and_by_key() {
        let tenants = ["26039cce-489d-4002-8293-5b0c5134eacb", "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"];
        let users = [UserKey::entra("a"), UserKey::entra("b"), UserKey::subject("i", "a")];
        let digests: HashSet<[u8; 32]> = [TenantId::parse(tenants[0]), TenantId::parse(tenants[1]), None]
            .iter()
            .flat_map(|tenant| users.iter().map(|user| *user_digest(tenant.as_ref(), user).as_bytes()))
            .collect();
        assert_eq!(digests.len(), 9);
        assert_eq!(user_digest(None, &users[0]), Digest::of(b"\0oid:a"));
        assert_eq!(user_digest(None, &UserKey::entra("A")), user_digest(None, &users[0]));
    }

    #[test]
    fn volatile_claims_and_member_order_do_not_change_the_digest() {
        let one = digest(json!({"oid": "o", "scp": "a", "exp": 1, "nested": {"b": 1, "a": [1, 2]}}));
        let two =
            digest(json!({"nested": {"a": [1, 2], "b": 1}, "uti": "x", "scp": "a", "exp": 2, "oid": "o"}));
        assert_eq!(one, two);
    }

    #[test]
    fn every_other_claim_changes_the_digest() {
        let base = json!({"oid": "o", "scp": "a", "amr": ["pwd"]});
        for (name, value) in
            [("oid", json!("p")), ("scp", json!("a b")), ("amr", json!(["pwd", "mfa"])), ("acr", json!("1"))]
        {
            let mut other = base.clone();
            other[name] = value;
            assert_ne!(digest(base.clone()), digest(other), "{name}");
        }
        // a list is not the text that looks like it
        assert_ne!(digest(json!({"a": "[1]"})), digest(json!({"a": [1]})));
    }
}
