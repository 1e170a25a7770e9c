//! Tokens that are worth something to one holder only (`cnf`, RFC 7800). Pure.

use serde_json::Value;

use crate::domain::digest::Digest;
use crate::pipeline::authenticate::error::Kind;
use crate::pipeline::authenticate::jws;

/// The digest of the certificate that `cnf` binds a token to (RFC 8705 section 3.1).
///
/// # Errors
/// [`Kind::UnsupportedCnf`] if it binds the token to anything else, or to more: taken for a plain bearer token, it would
/// work for a thief (RFC 9449 section 7.1).
pub fn certificate(cnf: &Value) -> Result<Digest, Kind> {
    let members = cnf.as_object().filter(|members| members.len() == 1);
    let thumbprint = members.and_then(|members| members.get("x5t#S256")).and_then(Value::as_str);
    let bytes = thumbprint.and_then(jws::decode).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(Digest::from).ok_or(Kind::UnsupportedCnf)
}

/// Whether a token bound to `holder` comes from whoever showed `certificate` in the TLS handshake.
///
/// # Errors
/// [`Kind::UnsupportedCnf`].
pub fn check(holder: Option<&Digest>, certificate: Option<&Digest>) -> Result<(), Kind> {
    if holder.is_none() || holder == certificate { Ok(()) } else { Err(Kind::UnsupportedCnf) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The example of RFC 8705 section 3.1.
    const THUMBPRINT: &str = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";

    #[test]
    fn a_certificate_is_bound_to_by_its_thumbprint_alone() {
        let bytes: [u8; 32] = std::array::from_fn(|at| at as u8);
        let text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        assert_eq!(certificate(&json!({"x5t#S256": text})), Ok(Digest::from(bytes)));
        for cnf in [
            json!(null),
            json!("x"),
            json!({}),
            json!({"jkt": text}),
            json!({"jwk": {"kty": "RSA"}}),
            json!({"kid": "k"}),
            json!({"x5t": text}),
            json!({"x5t#S256": text, "jkt": text}),
            json!({"x5t#S256": null}),
            json!({"x5t#S256": "AAEC"}),
            json!({"x5t#S256": format!("{text}=")}),
            json!({"x5t#S256": [text]}),
        ] {
            assert_eq!(certificate(&cnf), Err(Kind::UnsupportedCnf), "{cnf}");
        }
    }

    #[test]
    fn the_example_of_the_standard_has_stray_bits_and_is_refused() {
        // its last character stands for bits that no 32 bytes have (RFC 4648 section 3.5)
        assert_eq!(certificate(&json!({"x5t#S256": THUMBPRINT})), Err(Kind::UnsupportedCnf));
    }

    #[test]
    fn a_bound_token_wants_its_own_certificate() {
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        assert_eq!(check(None, None), Ok(()));
        assert_eq!(check(None, Some(&one)), Ok(()));
        assert_eq!(check(Some(&one), Some(&one)), Ok(()));
        assert_eq!(check(Some(&one), Some(&other)), Err(Kind::UnsupportedCnf));
        assert_eq!(check(Some(&one), None), Err(Kind::UnsupportedCnf));
    }
}
