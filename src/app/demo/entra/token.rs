//! The tokens the emulated Entra issues: what a client gets for the proxy (A) and the proxy for an API (B).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::app::demo::entra::keys::SigningKey;
use crate::app::demo::entra::random;
use crate::app::demo::entra::settings::Realm;
use crate::app::demo::entra::users::User;
use crate::app::demo::entra::wish::SignIn;
use crate::app::demo::entra::wish::TokenWish;
use crate::config::EntraVersion;
use crate::domain::caller::Principal;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;

/// The client application the users sign in to.
pub const CLIENT: &str = "0c5a3c1e-3f0e-4b4c-9d2a-5b7e2f6a1d11";
/// The object id of that application itself.
const CLIENT_OID: &str = "5e4c1ce0-5b1e-4c55-8d0a-0a4c3f1e7b10";
/// Entra dates tokens back, for recipients whose clocks are behind.
const BACK_DATED: Duration = Duration::from_secs(300);

/// A token A: for the proxy, from a client `user` signed in to.
///
/// # Errors
/// If the cryptography library fails.
pub fn for_proxy(
    realm: &Realm,
    key: &SigningKey,
    user: &User,
    wish: &TokenWish,
    now: UnixTime,
) -> anyhow::Result<String> {
    let tenant = &realm.settings.tenant;
    let mut claims = volatile(now, wish.lifetime)?;
    claims.insert("iss".into(), realm.issuer(wish.version, tenant).into());
    claims.insert("tid".into(), tenant.as_str().into());
    let audience = match wish.version {
        EntraVersion::V1 => realm.app_id_uri(),
        EntraVersion::V2 => realm.settings.client_id.clone(),
    };
    claims.insert("aud".into(), audience.into());
    claims.extend(client(wish.version, CLIENT, "0"));
    match wish.principal {
        Principal::User => {
            claims.extend(person(realm, wish.version, user));
            claims.insert("sub".into(), pairwise(&realm.settings.client_id, user.oid).into());
            claims.extend(sign_in(wish));
            if !wish.scope.trim().is_empty() {
                claims.insert("scp".into(), wish.scope.trim().into());
            }
        }
        Principal::Application => claims.extend(members(json!({
            "oid": CLIENT_OID, "sub": CLIENT_OID, "idtyp": "app", "roles": ["Orders.Read.All"],
        }))),
    }
    key.sign(&claims, &Map::new())
}

/// The claims that a token B has as `claims` asks for them (OpenID Connect Core section 5.5): authentication contexts
/// and what the client is capable of. The others follow from the user, or are not known here.
pub fn requested(claims: &str) -> Map<String, Value> {
    let claims: Value = serde_json::from_str(claims).unwrap_or_default();
    let mut granted = Map::new();
    for name in ["acrs", "xms_cc"] {
        let wanted = claims.get("access_token").and_then(|token| token.get(name));
        let values = wanted.and_then(|wanted| wanted.get("values")).cloned();
        let value = wanted.and_then(|wanted| wanted.get("value")).map(|value| json!([value]));
        if let Some(values) = values.or(value) {
            granted.insert(name.to_owned(), values);
        }
    }
    granted
}

/// A token B: for the API `resource`, from the proxy on behalf of the user `assertion` is of, with the `requested`
/// claims. Its shape is version 1, which most APIs have registered.
///
/// # Errors
/// If the cryptography library fails.
pub fn for_api(
    realm: &Realm,
    key: &SigningKey,
    assertion: &Map<String, Value>,
    resource: &str,
    scopes: &[String],
    requested: &Map<String, Value>,
    now: UnixTime,
) -> anyhow::Result<String> {
    let text = |name: &str| assertion.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut claims = volatile(now, realm.settings.downstream_lifetime)?;
    claims.extend(members(json!({
        "iss": realm.issuer(EntraVersion::V1, text("tid")),
        "aud": resource,
        "scp": scopes.join(" "),
        "sub": pairwise(resource, text("oid")),
        "acr": "1",
    })));
    claims.extend(client(EntraVersion::V1, &realm.settings.client_id, "1"));
    for name in ["oid", "tid", "name", "amr", "ipaddr", "unique_name", "upn", "sid"] {
        if let Some(value) = assertion.get(name) {
            claims.insert(name.into(), value.clone());
        }
    }
    claims.extend(requested.clone());
    key.sign(&claims, &Map::new())
}

/// A token of the proxy's own, without a user, for the API `resource`.
///
/// # Errors
/// If the cryptography library fails.
pub fn for_application(
    realm: &Realm,
    key: &SigningKey,
    resource: &str,
    now: UnixTime,
) -> anyhow::Result<String> {
    let tenant = &realm.settings.tenant;
    let own = pairwise(tenant, &realm.settings.client_id);
    let mut claims = volatile(now, realm.settings.downstream_lifetime)?;
    claims.extend(members(json!({
        "iss": realm.issuer(EntraVersion::V1, tenant),
        "aud": resource,
        "tid": tenant,
        "oid": own,
        "sub": own,
        "idtyp": "app",
    })));
    claims.extend(client(EntraVersion::V1, &realm.settings.client_id, "1"));
    key.sign(&claims, &Map::new())
}

/// The claims in which two tokens of one session differ.
fn volatile(now: UnixTime, lifetime: Duration) -> anyhow::Result<Map<String, Value>> {
    let issued = now.before(BACK_DATED).as_seconds();
    Ok(members(json!({
        "iat": issued,
        "nbf": issued,
        "exp": now.after(lifetime).as_seconds(),
        "uti": random::text()?,
        "aio": random::text()?,
        "rh": format!("1.{}.", random::text()?),
    })))
}

/// Who the token was issued to. `authenticated` is "0" for a public client, "1" for one with a secret.
fn client(version: EntraVersion, id: &str, authenticated: &str) -> Map<String, Value> {
    members(match version {
        EntraVersion::V1 => json!({ "appid": id, "appidacr": authenticated, "ver": "1.0" }),
        EntraVersion::V2 => json!({ "azp": id, "azpacr": authenticated, "ver": "2.0" }),
    })
}

fn person(realm: &Realm, version: EntraVersion, user: &User) -> Map<String, Value> {
    let address = format!("{}@{}", user.name, realm.settings.domain);
    let mut claims = members(json!({ "oid": user.oid, "sid": user.sid, "name": user.display_name }));
    claims.extend(members(match version {
        EntraVersion::V1 => json!({ "upn": address, "unique_name": address, "ipaddr": "203.0.113.7" }),
        EntraVersion::V2 => json!({ "preferred_username": address }),
    }));
    claims
}

/// How the user signed in. Entra says so in version 1 tokens only, unless the API asks for the optional claim; here it
/// did, as a step-up could not be told otherwise.
fn sign_in(wish: &TokenWish) -> Map<String, Value> {
    let methods = match wish.sign_in {
        SignIn::Password => json!(["pwd"]),
        SignIn::MultiFactor => json!(["pwd", "mfa"]),
    };
    members(match wish.version {
        EntraVersion::V1 => json!({ "amr": methods, "acr": "1" }),
        EntraVersion::V2 => json!({ "amr": methods }),
    })
}

/// A user's `sub`: another one for each application.
fn pairwise(application: &str, oid: &str) -> String {
    let digest = Digest::of(format!("{application}\n{oid}").as_bytes());
    URL_SAFE_NO_PAD.encode(digest.as_bytes())
}

fn members(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
