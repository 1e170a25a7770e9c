//! Whether the client's own assertion proves who it is. Written apart from what the proxy signs with.
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::Header;
use jsonwebtoken::Validation;
use jsonwebtoken::decode;
use jsonwebtoken::decode_header;
use jsonwebtoken::errors::ErrorKind;
use serde_json::Map;
use serde_json::Value;
use x509_parser::parse_x509_certificate;

use crate::app::demo::entra::answers::Refusal;
use crate::app::demo::entra::settings::Realm;
use crate::config::EntraVersion;
use crate::domain::clock::UnixTime;

/// The longest an assertion may live, in seconds.
const LONGEST: i64 = 600;

/// Which assertions were shown already, and when they end.
#[derive(Debug, Default)]
pub struct Seen(Mutex<HashMap<String, UnixTime>>);

impl Seen {
    /// Notes `id`; whether it is new.
    fn note(&self, id: &str, end: UnixTime, now: UnixTime) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, end| *end > now);
        seen.insert(id.to_owned(), end).is_none()
    }
}

/// Checks that the key of a registered certificate signed `assertion` for our one application, now, for `tenant`, and
/// that it was not shown before.
///
/// # Errors
/// If any of that is not so.
pub fn verify(assertion: &str, realm: &Realm, tenant: &str, now: UnixTime) -> Result<(), Refusal> {
    let header = decode_header(assertion).map_err(|_| unknown_key())?;
    let certificates = &realm.settings.client_certificates;
    let der = certificates.iter().find(|der| is_named(der, &header)).ok_or_else(unknown_key)?;
    if !matches!(header.alg, Algorithm::PS256 | Algorithm::RS256) || header.crit.is_some() {
        return Err(unsigned("The algorithm is not supported."));
    }
    if header.typ.is_some_and(|typ| typ != "JWT") {
        return Err(unsigned("The type is not supported."));
    }
    let (_, certificate) = parse_x509_certificate(der).map_err(|_| unknown_key())?;
    let not_after = UnixTime::from_seconds(certificate.validity().not_after.timestamp());
    if not_after <= now {
        let text = "The provided certificate is not within its specified validity period.";
        return Err(Refusal::new("invalid_client", 1_000_502, text));
    }
    let key = DecodingKey::from_rsa_der(&certificate.public_key().subject_public_key.data);
    let claims = signed(assertion, header.alg, &key, &audiences(realm, tenant))?;
    check_claims(&claims, realm, now)
}

/// By either thumbprint; one that is there must be right.
fn is_named(der: &[u8], header: &Header) -> bool {
    let is = |algorithm: &'static digest::Algorithm, thumbprint: &Option<String>| {
        let own = URL_SAFE_NO_PAD.encode(digest::digest(algorithm, der));
        thumbprint.as_ref().map(|thumbprint| *thumbprint == own)
    };
    let by_sha256 = is(&digest::SHA256, &header.x5t_s256);
    let by_sha1 = is(&digest::SHA1_FOR_LEGACY_USE_ONLY, &header.x5t);
    by_sha256.or(by_sha1) == Some(true) && by_sha1 != Some(false)
}

fn audiences(realm: &Realm, tenant: &str) -> [String; 3] {
    let authority = &realm.authority;
    [
        format!("{authority}/{tenant}/oauth2/v2.0/token"),
        format!("{authority}/{tenant}/oauth2/token"),
        realm.issuer(EntraVersion::V2, tenant),
    ]
}

fn signed(
    assertion: &str,
    algorithm: Algorithm,
    key: &DecodingKey,
    audiences: &[String],
) -> Result<Map<String, Value>, Refusal> {
    let mut validation = Validation::new(algorithm);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_audience(audiences);
    // the library reads the machine's clock; the times are checked by ours
    validation.validate_exp = false;
    validation.validate_nbf = false;
    match decode(assertion, key, &validation) {
        Ok(token) => Ok(token.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidAudience => wrong_audience(),
            ErrorKind::MissingRequiredClaim(_) => incomplete(),
            _ => unsigned("The provided signature is not valid."),
        }),
    }
}

fn check_claims(claims: &Map<String, Value>, realm: &Realm, now: UnixTime) -> Result<(), Refusal> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    // the library takes an audience out of a list
    if text("aud").is_none() {
        return Err(wrong_audience());
    }
    let client_id = Some(realm.settings.client_id.as_str());
    if text("iss") != client_id || text("sub") != client_id {
        let text = "Client assertion application identifier doesn't match 'client_id' parameter.";
        return Err(Refusal::new("invalid_client", 700_021, text));
    }
    let (Some(expires), Some(not_before), Some(issued), Some(id)) =
        (time("exp"), time("nbf"), time("iat"), text("jti"))
    else {
        return Err(incomplete());
    };
    let seconds = now.as_seconds();
    if !(not_before <= seconds
        && issued <= seconds
        && seconds < expires
        && expires.saturating_sub(not_before) <= LONGEST)
    {
        return Err(Refusal::new(
            "invalid_client",
            700_024,
            "Client assertion is not within its valid time range.",
        ));
    }
    match realm.seen.note(id, UnixTime::from_seconds(expires), now) {
        true => Ok(()),
        false => Err(unsigned("The assertion was shown before.")),
    }
}

fn unknown_key() -> Refusal {
    unsigned("The key was not found.")
}

fn unsigned(reason: &str) -> Refusal {
    let text = format!("Client assertion failed signature validation. [Reason - {reason}]");
    Refusal::new("invalid_client", 700_027, text)
}

fn wrong_audience() -> Refusal {
    Refusal::new("invalid_client", 700_023, "Client assertion audience claim does not match Realm issuer.")
}

fn incomplete() -> Refusal {
    Refusal::new("invalid_client", 50_027, "JWT token is invalid or malformed. A claim is missing.")
}
