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

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::RSA_PSS_SHA256;
    use aws_lc_rs::signature::RsaKeyPair;
    use rcgen::CertificateParams;
    use rcgen::KeyPair;
    use serde_json::json;

    use super::*;
    use crate::app::demo::entra::settings::Settings;

    const NOW: i64 = 1_795_000_000;
    const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";

    fn merged(mut base: Value, changes: &Value) -> String {
        for (name, value) in changes.as_object().unwrap() {
            base[name] = value.clone();
        }
        base.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        URL_SAFE_NO_PAD.encode(base.to_string())
    }

    #[test]
    fn every_mistake_in_a_client_assertion_is_refused() {
        let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        let pair = RsaKeyPair::from_pkcs8(key.serialized_der()).unwrap();
        let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &der));
        let settings = Settings { client_certificates: vec![der], ..Settings::default() };
        let client = settings.client_id.clone();
        let authority = "http://127.0.0.1:8090".to_owned();
        let aud = format!("{authority}/{TENANT}/oauth2/v2.0/token");
        let realm = Realm { settings, authority, seen: Seen::default() };
        let mut turn = 0;
        let mut answer = |header: Value, claims: Value, now: i64| {
            turn += 1;
            let base = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint});
            let header = merged(base, &header);
            let base = json!({
                "aud": aud, "iss": client, "sub": client, "jti": turn.to_string(),
                "nbf": NOW, "iat": NOW, "exp": NOW + 300,
            });
            let input = format!("{header}.{}", merged(base, &claims));
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
            let assertion = format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature));
            verify(&assertion, &realm, TENANT, UnixTime::from_seconds(now)).err().map(|refusal| refusal.code)
        };
        let same = || json!({});
        assert_eq!(answer(same(), same(), NOW), None);
        for (header, claims, now, code) in [
            (json!({"x5t#S256": null}), same(), NOW, 700_027),
            (json!({"x5t#S256": "AAAA"}), same(), NOW, 700_027),
            (json!({"x5t": "AAAA"}), same(), NOW, 700_027),
            (json!({"alg": "RS256"}), same(), NOW, 700_027),
            (json!({"alg": "HS256"}), same(), NOW, 700_027),
            (json!({"typ": "at+jwt"}), same(), NOW, 700_027),
            (json!({"crit": ["exp"]}), same(), NOW, 700_027),
            (same(), json!({"jti": "1"}), NOW, 700_027),
            (same(), json!({"aud": "https://elsewhere.example"}), NOW, 700_023),
            (same(), json!({"aud": [aud]}), NOW, 700_023),
            (same(), json!({"iss": "someone"}), NOW, 700_021),
            (same(), json!({"sub": "someone"}), NOW, 700_021),
            (same(), json!({"exp": NOW + 601}), NOW, 700_024),
            (same(), same(), NOW - 1, 700_024),
            (same(), same(), NOW + 300, 700_024),
            (same(), json!({"exp": NOW.to_string()}), NOW, 50_027),
            (same(), json!({"jti": null}), NOW, 50_027),
            (same(), json!({"nbf": null}), NOW, 50_027),
            (same(), json!({"aud": null}), NOW, 50_027),
            (same(), same(), NOW + 86_400 * 365, 1_000_502),
        ] {
            assert_eq!(answer(header.clone(), claims.clone(), now), Some(code), "{header} {claims} {now}");
        }
    }
}
