//! Whether a token A may be exchanged. Written apart from the proxy's own verifier, so that neither can hide a mistake
//! of the other.

use jsonwebtoken::Algorithm;
use jsonwebtoken::Validation;
use jsonwebtoken::decode;
use jsonwebtoken::decode_header;
use jsonwebtoken::errors::ErrorKind;
use serde_json::Map;
use serde_json::Value;

use crate::app::demo::entra::answers::Refusal;
use crate::app::demo::entra::keys::KeyRing;
use crate::app::demo::entra::settings::Realm;
use crate::config::EntraVersion;
use crate::domain::clock::UnixTime;

/// The claims of `assertion`, an access token `tenant` issued for our one application to act on behalf of a user.
///
/// # Errors
/// If it is anything else. There is no tolerance for its times.
pub fn verify(
    assertion: &str,
    keys: &KeyRing,
    realm: &Realm,
    tenant: &str,
    now: UnixTime,
) -> Result<Map<String, Value>, Refusal> {
    let claims = authentic(assertion, keys, realm, tenant)?;
    check_issuer(&claims, realm, tenant)?;
    check_times(&claims, now)?;
    check_kind(&claims)?;
    Ok(claims)
}

fn authentic(
    assertion: &str,
    keys: &KeyRing,
    realm: &Realm,
    tenant: &str,
) -> Result<Map<String, Value>, Refusal> {
    // an algorithm the library does not know, such as `none`, fails here too
    let header = decode_header(assertion).map_err(|_| malformed("JWT token is invalid or malformed."))?;
    if header.alg != Algorithm::RS256 {
        return Err(malformed("JWT token is invalid or malformed. The algorithm is not supported."));
    }
    if header.crit.is_some() {
        return Err(malformed("JWT token is invalid or malformed. The header holds critical parameters."));
    }
    let kid = header.kid.ok_or_else(|| malformed("JWT token is invalid or malformed. No key is named."))?;
    let key = keys
        .find(&kid)
        .ok_or_else(|| invalid("Assertion failed signature validation. [Reason - The key was not found.]"))?;
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_audience(&[&realm.settings.client_id, &realm.app_id_uri()]);
    validation.set_issuer(&[EntraVersion::V1, EntraVersion::V2].map(|version| realm.issuer(version, tenant)));
    // the library reads the machine's clock; the times are checked by ours
    validation.validate_exp = false;
    validation.validate_nbf = false;
    match decode(assertion, &key.decoding_key(), &validation) {
        Ok(token) => Ok(token.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidSignature => invalid(
                "Assertion failed signature validation. [Reason - The provided signature is not valid.]",
            ),
            ErrorKind::InvalidIssuer => wrong_issuer(),
            ErrorKind::InvalidAudience => Refusal::new(
                "invalid_grant",
                500_131,
                "Assertion audience does not match the Client app presenting the assertion.",
            ),
            ErrorKind::MissingRequiredClaim(_) => incomplete(),
            _ => malformed("JWT token is invalid or malformed."),
        }),
    }
}

/// The library takes an issuer out of a list, and any version's.
fn check_issuer(claims: &Map<String, Value>, realm: &Realm, tenant: &str) -> Result<(), Refusal> {
    let version = match text(claims, "ver") {
        Some("1.0") => EntraVersion::V1,
        Some("2.0") => EntraVersion::V2,
        _ => return Err(incomplete()),
    };
    let is_ours = text(claims, "iss") == Some(&realm.issuer(version, tenant));
    (is_ours && text(claims, "tid") == Some(tenant)).then_some(()).ok_or_else(wrong_issuer)
}

fn check_times(claims: &Map<String, Value>, now: UnixTime) -> Result<(), Refusal> {
    let time = |name: &str| claims.get(name).map(|value| value.as_i64().map(UnixTime::from_seconds));
    let (Some(Some(expires_on)), Some(Some(not_before))) = (time("exp"), time("nbf")) else {
        return Err(incomplete());
    };
    if not_before <= now && now < expires_on {
        return Ok(());
    }
    Err(Refusal::new(
        "invalid_grant",
        500_133,
        "Assertion is not within its valid time range. Ensure that the access token is not expired before using it \
         for user assertion, or request a new token.",
    ))
}

fn check_kind(claims: &Map<String, Value>) -> Result<(), Refusal> {
    let oid = text(claims, "oid").ok_or_else(incomplete)?;
    let has_roles = claims.contains_key("roles");
    if text(claims, "idtyp") == Some("app")
        || (!claims.contains_key("scp") && has_roles && text(claims, "sub") == Some(oid))
    {
        let text = "Application is not allowed to make application on-behalf-of calls.";
        return Err(Refusal::new("unauthorized_client", 7_000_114, text));
    }
    if text(claims, "scp").is_none_or(|scopes| scopes.trim().is_empty()) {
        let text = "Input id_token cannot be used as 'urn:ietf:params:oauth:grant-type:jwt-bearer' grant.";
        return Err(Refusal::new("invalid_grant", 240_002, text));
    }
    Ok(())
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

fn malformed(text: &str) -> Refusal {
    Refusal::new("invalid_request", 50_027, text)
}

fn invalid(text: &str) -> Refusal {
    Refusal::new("invalid_grant", 50_013, text)
}

fn wrong_issuer() -> Refusal {
    invalid("Assertion is invalid because of various reasons. [Reason - The token issuer doesn't match.]")
}

fn incomplete() -> Refusal {
    Refusal::new("invalid_grant", 90_016, "Required claim is missing in the access token.")
}
